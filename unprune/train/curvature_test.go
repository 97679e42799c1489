package train_test

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

// doubles returns a float64 engine for each network of the fixtures, with its
// data.
func doubles(t *testing.T, run func(t *testing.T, e *train.Engine, d *data.Dataset)) {
	t.Helper()
	for _, net := range networks(t) {
		z, err := npz.ReadFile(filepath.Join(gradients, net.Data))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range net.Models {
			t.Run(file, func(t *testing.T) {
				m, err := onnx.Read(filepath.Join(gradients, file))
				if err != nil {
					t.Fatal(err)
				}
				im, err := pass.Import(m)
				if err != nil {
					t.Fatal(err)
				}
				e, err := train.New(im, train.Options{Double: true, Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
					return exec.Compile(g, exec.Options{State: state, Into: into})
				}})
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, dataset(z))
			})
		}
	}
}

// singles are the gradients of single samples in inference mode, one by one.
func singles(t *testing.T, e *train.Engine, d *data.Dataset, labels func(row int) []int64) []unprune.Vector {
	t.Helper()
	var out []unprune.Vector
	for row := range d.Len() {
		g, err := e.Gradient(t.Context(), unprune.Term{Data: d, Index: []int{row}, Labels: labels(row), Weight: 1, Eval: true})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Weights().Flatten(g))
	}
	return out
}

func own(int) []int64 { return nil }

func directions(n, count int) []unprune.Vector {
	r := data.Stream(1, "test", "direction")
	out := make([]unprune.Vector, count)
	for i := range out {
		out[i] = normals(r, n)
	}
	return out
}

func normals(r *rand.Rand, n int) unprune.Vector {
	v := make(unprune.Vector, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

// near fails when two vectors differ by more than a share of the larger norm.
func near(t *testing.T, what string, got, want unprune.Vector, tol float64) {
	t.Helper()
	d := append(unprune.Vector(nil), got...)
	d.Axpy(-1, want)
	if !(d.Norm() <= tol*want.Norm()) {
		t.Errorf("%s: off by %.2g of %.3g", what, d.Norm(), want.Norm())
	}
}

// TestSampleGradients compares what is computed in batches with gradients of
// one sample at a time.
func TestSampleGradients(t *testing.T) {
	doubles(t, func(t *testing.T, e *train.Engine, d *data.Dataset) {
		n := e.Weights().Params()
		each := singles(t, e, d, own)
		wantSquares := make(unprune.Vector, n)
		vs := directions(n, 2)
		wantDots := make([]unprune.Vector, 2)
		for _, g := range each {
			for i, x := range g {
				wantSquares[i] += float64(x * x)
			}
			for i, v := range vs {
				wantDots[i] = append(wantDots[i], v.Dot(g))
			}
		}
		term := unprune.Term{Data: d, Index: rows(d.Len())}
		before := e.Cost()
		squares, err := e.SampleSquares(t.Context(), term)
		if err != nil {
			t.Fatal(err)
		}
		if c := e.Cost().Forward - before.Forward; c != int64(d.Len()) {
			t.Errorf("%d forward passes counted for %d samples", c, d.Len())
		}
		near(t, "squares", squares, wantSquares, 1e-10)
		dots, err := e.SampleDots(t.Context(), term, vs...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range vs {
			near(t, "dots", dots[i], wantDots[i], 1e-10)
		}
	})
}

// TestClassSquares compares with one gradient per class.
func TestClassSquares(t *testing.T) {
	doubles(t, func(t *testing.T, e *train.Engine, d *data.Dataset) {
		want := make(unprune.Vector, e.Weights().Params())
		z, err := e.Logits(t.Context(), d, rows(d.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for c := range e.Classes() {
			labels := make([]int64, d.Len())
			mean := 0.0
			for i := range labels {
				labels[i] = int64(c)
				sum := 0.0
				for k := range e.Classes() {
					sum += math.Exp(z[i*e.Classes()+k] - z[i*e.Classes()+c])
				}
				mean += 1 / sum / float64(d.Len())
			}
			g, err := e.Gradient(t.Context(), unprune.Term{Data: d, Index: rows(d.Len()), Labels: labels, Weight: 1, Eval: true})
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range e.Weights().Flatten(g) {
				want[i] += float64(mean * float64(x*x))
			}
		}
		got, err := e.ClassSquares(t.Context(), unprune.Term{Data: d, Index: rows(d.Len())})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "squares", got, want, 1e-10)
	})
}

// TestHVP compares with a central difference of gradients.
func TestHVP(t *testing.T) {
	doubles(t, func(t *testing.T, e *train.Engine, d *data.Dataset) {
		w := e.Weights()
		v := directions(w.Params(), 1)[0]
		term := unprune.Term{Data: d, Index: rows(d.Len()), Weight: 1, Eval: true}
		hessian, err := e.Hessian(t.Context(), term)
		if err != nil {
			t.Fatal(err)
		}
		other, err := hessian(t.Context(), directions(w.Params(), 2)[1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := hessian(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := hessian(t.Context(), directions(w.Params(), 2)[1])
		if err != nil {
			t.Fatal(err)
		}
		near(t, "a product once more", again, other, 0)
		const step = 1e-7
		start := w.Vector()
		side := func(by float64) unprune.Vector {
			at := append(unprune.Vector(nil), start...)
			at.Axpy(by, v)
			w.SetVector(at)
			g, err := e.Gradient(t.Context(), term)
			if err != nil {
				t.Fatal(err)
			}
			return w.Flatten(g)
		}
		want := side(step)
		want.Axpy(-1, side(-step))
		want.Scale(1 / (2 * step))
		w.SetVector(start)
		near(t, "product", got, want, 1e-4)
	})
}
