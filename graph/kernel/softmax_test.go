package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// referenceSoftmax is the definition, in float64.
func referenceSoftmax(outer, axis, inner int, log bool, x []float64) []float64 {
	y := make([]float64, len(x))
	for o := range outer {
		for j := range inner {
			at := func(i int) int { return (o*axis+i)*inner + j }
			top, sum := math.Inf(-1), 0.0
			for i := range axis {
				top = max(top, x[at(i)])
			}
			for i := range axis {
				sum += math.Exp(x[at(i)] - top)
			}
			for i := range axis {
				if log {
					y[at(i)] = x[at(i)] - top - math.Log(sum)
				} else {
					y[at(i)] = math.Exp(x[at(i)]-top) / sum
				}
			}
		}
	}
	return y
}

func TestSoftmax(t *testing.T) {
	for _, c := range [][3]int{{1, 1, 1}, {3, 10, 1}, {64, 10, 1}, {2, 1000, 1}, {700, 37, 1}, {2, 5, 7}, {2, 3, 600}, {0, 3, 1}, {3, 0, 1}} {
		for _, log := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/log=%v", c, log), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 2))
				n := c[0] * c[1] * c[2]
				x, dy := normal[float64](rng, n), normal[float64](rng, n)
				for i := range x {
					x[i] = 5*x[i] + 300
				}
				x = widen(narrow(x))
				want := referenceSoftmax(c[0], c[1], c[2], log, x)
				s32, s64 := NewSoftmax[float32](c[0], c[1], c[2], log), NewSoftmax[float64](c[0], c[1], c[2], log)
				got := onTeams(t, func(team *Team) []float32 {
					y := make([]float32, n)
					s32.Forward(team, y, narrow(x))
					return y
				})
				near(t, "float32", widen(got), want, 2e-6)
				y, dx := make([]float64, n), make([]float64, n)
				s64.Forward(nil, y, x)
				near(t, "float64", y, want, 1e-13)
				s64.Backward(nil, dx, dy, y)
				if n <= 64 {
					z := make([]float64, n)
					checkGradient(t, "x", dx, numericGradient(x, func() float64 { s64.Forward(nil, z, x); return dot64(z, dy) }))
				}
				dx32 := onTeams(t, func(team *Team) []float32 {
					dx := narrow(dy)
					s32.Backward(team, dx, dx, narrow(y))
					return dx
				})
				near(t, "gradient in float32", widen(dx32), dx, 1e-5)
			})
		}
	}
}

func TestSoftmaxAllocs(t *testing.T) {
	x, y := make([]float32, 6400), make([]float32, 6400)
	for _, inner := range []int{1, 4} {
		for _, log := range []bool{false, true} {
			s := NewSoftmax[float32](640/inner, 10, inner, log)
			noAllocs(t, func(team *Team) { s.Forward(team, y, x); s.Backward(team, x, x, y) })
		}
	}
}

func BenchmarkSoftmax(b *testing.B) {
	for _, c := range [][3]int{{64, 10, 1}, {64, 1000, 1}, {16 * 12 * 197, 197, 1}} {
		b.Run(fmt.Sprint(c), func(b *testing.B) {
			x, y := make([]float32, c[0]*c[1]), make([]float32, c[0]*c[1])
			s := NewSoftmax[float32](c[0], c[1], c[2], false)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				s.Forward(nil, y, x)
			}
		})
	}
}
