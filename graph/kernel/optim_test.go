package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestStepLoops(t *testing.T) {
	withLoops(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		coef := adamCoefficients[float32](Adam{Rate: 0.1, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.1, Decoupled: true}, 3)
		coef[1] = 0.01
		for k := range stepLoops {
			for _, n := range lengths() {
				const guard = 3 // also makes the slices unaligned
				var got, want [5][]float32
				for i := range got {
					got[i] = normal[float32](rng, n+2*guard)
					if i == 2 {
						got[i] = bernoulli[float32](rng, n+2*guard)
					}
					for j, v := range got[4] { // second moments are not negative
						got[4][j] = v * v
					}
					want[i] = clone(got[i])
				}
				in := func(x []float32) []float32 { return x[guard : guard+n] }
				step(k, in(got[0]), in(got[1]), in(got[2]), in(got[3]), in(got[4]), &coef)
				stepTwin(k, in(want[0]), in(want[1]), in(want[2]), in(want[3]), in(want[4]), &coef)
				for i := range got {
					sameBits(t, fmt.Sprintf("loop %d, length %d, tensor %d", k, n, i), got[i], want[i])
				}
			}
		}
	})
}

func TestOptimizers(t *testing.T) {
	const n = 2*unitSize + 77
	for _, masked := range []bool{false, true} {
		for name, opt := range map[string]any{
			"sgd":      SGD{Rate: 0.1, WeightDecay: 0.01},
			"momentum": SGD{Rate: 0.1, Momentum: 0.9, WeightDecay: 0.01},
			"nesterov": SGD{Rate: 0.1, Momentum: 0.9, WeightDecay: 0.01, Nesterov: true},
			"adam":     Adam{Rate: 0.1, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01},
			"adamw":    Adam{Rate: 0.1, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, Decoupled: true},
		} {
			t.Run(fmt.Sprintf("%s/masked=%v", name, masked), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(7, 8))
				w0, g := normal[float32](rng, n), normal[float32](rng, n)
				var mask []float32
				if masked {
					mask = bernoulli[float32](rng, n)
				}
				got := onTeams(t, func(team *Team) []float32 {
					s, w := NewStep[float32](), clone(w0)
					m, v := make([]float32, n), make([]float32, n)
					for count := range 3 {
						takeStep(s, team, opt, count+1, w, g, mask, m, v)
					}
					return w
				})
				want := widen(w0)
				m, v := make([]float64, n), make([]float64, n)
				for count := range 3 {
					for i := range want {
						want[i], m[i], v[i] = referenceStep(opt, count+1, want[i], float64(g[i]), m[i], v[i])
						if masked && mask[i] == 0 {
							want[i], m[i], v[i] = 0, 0, 0
						}
					}
				}
				near(t, "weights", widen(got), want, 1e-6)

				s, w := NewStep[float64](), widen(w0)
				m, v = make([]float64, n), make([]float64, n)
				for count := range 3 {
					takeStep(s, nil, opt, count+1, w, widen(g), widen(mask), m, v)
				}
				near(t, "weights in float64", w, want, 1e-14)
			})
		}
	}
}

func takeStep[T Float](s *Step[T], team *Team, opt any, count int, w, g, mask, m, v []T) {
	switch o := opt.(type) {
	case SGD:
		s.SGD(team, o, w, g, mask, m)
	case Adam:
		s.Adam(team, o, count, w, g, mask, m, v)
	}
}

// referenceStep is one step for one weight, as the documentation writes it.
func referenceStep(opt any, count int, w, g, m, v float64) (float64, float64, float64) {
	switch o := opt.(type) {
	case SGD:
		g += o.WeightDecay * w
		m = o.Momentum*m + g
		if o.Nesterov {
			return w - o.Rate*(g+o.Momentum*m), m, v
		}
		return w - o.Rate*m, m, v
	case Adam:
		if o.Decoupled {
			w -= o.Rate * o.WeightDecay * w
		} else {
			g += o.WeightDecay * w
		}
		m = o.Beta1*m + (1-o.Beta1)*g
		v = o.Beta2*v + (1-o.Beta2)*g*g
		mean := m / (1 - math.Pow(o.Beta1, float64(count)))
		root := math.Sqrt(v / (1 - math.Pow(o.Beta2, float64(count))))
		return w - o.Rate*mean/(root+o.Epsilon), m, v
	}
	return w, m, v
}

func TestStepAllocs(t *testing.T) {
	const n = 3 * unitSize
	w, g, m, v := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	s := NewStep[float32]()
	noAllocs(t, func(team *Team) { s.SGD(team, SGD{Rate: 0.1, Momentum: 0.9}, w, g, nil, v) })
	noAllocs(t, func(team *Team) { s.Adam(team, Adam{Rate: 0.1, Beta1: 0.9, Beta2: 0.999}, 1, w, g, nil, m, v) })
	norm := NewNorm[float32](n)
	noAllocs(t, func(team *Team) { norm.SumSquares(team, w) })
}

func TestNorm(t *testing.T) {
	for _, n := range []int{0, 1, 100, unitSize, 5*unitSize + 3} {
		x := normal[float32](rand.New(rand.NewPCG(9, uint64(n))), n)
		norm := NewNorm[float32](n)
		got := onTeams(t, func(team *Team) []float64 { return []float64{norm.SumSquares(team, x)} })
		var want float64
		for _, v := range x {
			want += float64(v) * float64(v)
		}
		near(t, "sum of squares", got, []float64{want}, 1e-6)
	}
	if f := ClipFactor(100, 5); math.Abs(f-0.5) > 1e-6 {
		t.Errorf("factor for norm 10 and limit 5 is %v", f)
	}
	if f := ClipFactor(1, 5); f != 1 {
		t.Errorf("factor for norm 1 and limit 5 is %v", f)
	}
}

func BenchmarkStep(b *testing.B) {
	const n = 1 << 20
	w, g, mask, m, v := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	s := NewStep[float32]()
	b.Run("sgd-momentum-masked", func(b *testing.B) {
		b.SetBytes(6 * 4 * n)
		for b.Loop() {
			s.SGD(nil, SGD{Rate: 0.1, Momentum: 0.9}, w, g, mask, m)
		}
	})
	b.Run("adam", func(b *testing.B) {
		b.SetBytes(7 * 4 * n)
		for b.Loop() {
			s.Adam(nil, Adam{Rate: 0.1, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, 1, w, g, nil, m, v)
		}
	})
}
