package train_test

import (
	"math"
	"testing"

	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

// lossOf is a term's value by its formula, from the logits, and the
// cross-entropy of each row.
func lossOf(t *testing.T, e *train.Engine, term unprune.Term) (loss float64, each []float64) {
	t.Helper()
	z, err := e.Logits(t.Context(), term.Data, term.Index)
	if err != nil {
		t.Fatal(err)
	}
	classes, n := e.Classes(), len(term.Index)
	logs := func(row int, temperature float64) []float64 {
		sum := 0.0
		for _, x := range z[row*classes : (row+1)*classes] {
			sum += math.Exp(x / temperature)
		}
		out := make([]float64, classes)
		for c := range out {
			out[c] = z[row*classes+c]/temperature - math.Log(sum)
		}
		return out
	}
	total := 0.0
	for i, row := range term.Index {
		each = append(each, -logs(i, 1)[term.Data.Y[row]])
		share := 1.0
		if term.Samples != nil {
			share = term.Samples[i]
		}
		total += share
		loss += term.Weight * share * each[i]
	}
	loss /= total
	if s := term.Soft; s != nil {
		for i := range n {
			for c, l := range logs(i, s.Temperature) {
				if q := s.Targets[i*classes+c]; q > 0 {
					loss += s.Weight * q * (math.Log(q) - l) / float64(n)
				}
			}
		}
	}
	return loss, each
}

// rich is a term that uses everything but Power.
func rich(e *train.Engine, d *data.Dataset) unprune.Term {
	term := unprune.Term{Data: d, Index: rows(d.Len()), Weight: 0.7, Eval: true}
	soft := &unprune.Soft{Temperature: 3, Weight: -1.5}
	for i := range d.Len() {
		term.Samples = append(term.Samples, float64(1+i%3))
		for c := range e.Classes() {
			q := 0.0
			if c == i%e.Classes() {
				q = 0.25
			} else if c == (i+1)%e.Classes() {
				q = 0.75
			}
			soft.Targets = append(soft.Targets, q)
		}
	}
	term.Soft = soft
	return term
}

// TestLosses compares the loss of a term with its formula, and the gradient
// with a central difference of it.
func TestLosses(t *testing.T) {
	doubles(t, func(t *testing.T, e *train.Engine, d *data.Dataset) {
		if e.Weights().Params() > 1e6 {
			t.Skip("SKIPPED: the small networks suffice")
		}
		term, w := rich(e, d), e.Weights()
		grads, err := e.Gradient(t.Context(), term)
		if err != nil {
			t.Fatal(err)
		}
		g := w.Flatten(grads)
		v, start := directions(w.Params(), 1)[0], w.Vector()
		v.Scale(1 / v.Norm())
		value := func(by float64) float64 {
			at := append(unprune.Vector(nil), start...)
			at.Axpy(by, v)
			w.SetVector(at)
			loss, _ := lossOf(t, e, term)
			return loss
		}
		const step = 1e-6
		want := (value(step) - value(-step)) / (2 * step)
		w.SetVector(start)
		if got := g.Dot(v); math.Abs(got-want) > 1e-5*(math.Abs(want)+1e-2*g.Norm()) {
			t.Errorf("slope %g, by differences %g", got, want)
		}
		wantLoss, _ := lossOf(t, e, term)
		loss, err := e.Step(t.Context(), 0, term)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(loss-wantLoss) > 1e-9*math.Abs(wantLoss) {
			t.Errorf("loss %g, by its formula %g", loss, wantLoss)
		}
	})
}

// TestPower compares weights by the loss with the same weights given.
func TestPower(t *testing.T) {
	doubles(t, func(t *testing.T, e *train.Engine, d *data.Dataset) {
		term := unprune.Term{Data: d, Index: rows(d.Len()), Weight: -2, Eval: true}
		_, each := lossOf(t, e, term)
		for _, l := range each {
			term.Samples = append(term.Samples, 1/(math.Pow(l, 0.5)+1e-15))
		}
		gradient := func(term unprune.Term) unprune.Vector {
			g, err := e.Gradient(t.Context(), term)
			if err != nil {
				t.Fatal(err)
			}
			return e.Weights().Flatten(g)
		}
		want := gradient(term)
		term.Samples, term.Power = nil, 0.5
		near(t, "gradient", gradient(term), want, 1e-9)
	})
}
