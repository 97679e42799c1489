package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCrossEntropy(t *testing.T) {
	for _, c := range []struct {
		spec     CrossEntropySpec
		weighted bool
	}{
		{CrossEntropySpec{Samples: 4, Classes: 3, Inner: 1}, false},
		{CrossEntropySpec{Samples: 4, Classes: 3, Inner: 1, Reduction: LossSum}, false},
		{CrossEntropySpec{Samples: 4, Classes: 3, Inner: 1, Reduction: LossNone}, true},
		{CrossEntropySpec{Samples: 5, Classes: 3, Inner: 1, HasIgnore: true, Ignore: 1}, true},
		{CrossEntropySpec{Samples: 5, Classes: 3, Inner: 1, HasIgnore: true, Ignore: -100}, false},
		{CrossEntropySpec{Samples: 2, Classes: 4, Inner: 6, HasIgnore: true, Ignore: 0}, true},
		{CrossEntropySpec{Samples: 3, Classes: 4, Inner: 5, Reduction: LossNone}, false},
	} {
		t.Run(fmt.Sprintf("%+v/weighted=%v", c.spec, c.weighted), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			s := c.spec
			n := s.Samples * s.Classes * s.Inner
			x := normal[float64](rng, n)
			labels := make([]int64, s.Samples*s.Inner)
			for i := range labels {
				labels[i] = int64(rng.IntN(s.Classes))
			}
			if s.Ignore < 0 {
				labels[2] = s.Ignore
			}
			var weights []float64
			if c.weighted {
				weights = []float64{0.5, 2, 1.5, 1}[:s.Classes]
			}
			dLoss := []float64{1.5}
			if s.Reduction == LossNone {
				dLoss = normal[float64](rng, len(labels))
			}
			ce := NewCrossEntropy[float64](s)
			loss, logProbs, dx := make([]float64, len(dLoss)), make([]float64, n), make([]float64, n)
			run := func() float64 {
				if err := ce.Forward(nil, loss, logProbs, x, labels, weights); err != nil {
					t.Fatal(err)
				}
				return dot64(loss, dLoss)
			}
			numeric := numericGradient(x, run)
			if got, want := run(), referenceCrossEntropy(s, x, labels, weights, dLoss); math.Abs(got-want) > 1e-12 {
				t.Fatalf("loss %v, want %v", got, want)
			}
			ce.Backward(nil, dx, dLoss, logProbs, labels, weights)
			checkGradient(t, "logits", dx, numeric)

			single := NewCrossEntropy[float32](s)
			got := onTeams(t, func(team *Team) []float32 {
				loss, logProbs := make([]float32, len(dLoss)), make([]float32, n)
				var w []float32
				if weights != nil {
					w = narrow(weights)
				}
				if err := single.Forward(team, loss, logProbs, narrow(x), labels, w); err != nil {
					t.Fatal(err)
				}
				single.Backward(team, logProbs, narrow(dLoss), logProbs, labels, w)
				return append(logProbs, loss...)
			})
			near(t, "gradient and loss in float32", widen(got), append(dx, loss...), 2e-6)
		})
	}
}

func referenceCrossEntropy(s CrossEntropySpec, x []float64, labels []int64, weights, dLoss []float64) float64 {
	p := referenceSoftmax(s.Samples, s.Classes, s.Inner, true, x)
	var sum, total float64
	for i, label := range labels {
		if s.HasIgnore && label == s.Ignore {
			continue
		}
		w, d := 1.0, dLoss[0]
		if weights != nil {
			w = weights[label]
		}
		if s.Reduction == LossNone {
			d = dLoss[i]
		}
		sum -= d * w * p[(i/s.Inner*s.Classes+int(label))*s.Inner+i%s.Inner]
		total += w
	}
	if s.Reduction == LossMean {
		return sum / total
	}
	return sum
}

func TestCrossEntropyRefusesLabels(t *testing.T) {
	for _, label := range []int64{-1, 3, math.MaxInt64, math.MinInt64} {
		c := NewCrossEntropy[float32](CrossEntropySpec{Samples: 2, Classes: 3, Inner: 1, HasIgnore: true, Ignore: -100})
		err := c.Forward(nil, make([]float32, 1), make([]float32, 6), make([]float32, 6), []int64{0, label}, nil)
		if err == nil || !strings.Contains(err.Error(), "not a class") {
			t.Errorf("label %d: error %v", label, err)
		}
	}
}

func TestCrossEntropyAllocs(t *testing.T) {
	x, y, labels, loss := make([]float32, 6400), make([]float32, 6400), make([]int64, 640), make([]float32, 1)
	for _, inner := range []int{1, 4} {
		c := NewCrossEntropy[float32](CrossEntropySpec{Samples: 640 / inner, Classes: 10, Inner: inner})
		noAllocs(t, func(team *Team) {
			if err := c.Forward(team, loss, y, x, labels, nil); err != nil {
				t.Fatal(err)
			}
			c.Backward(team, x, loss, y, labels, nil)
		})
	}
}
