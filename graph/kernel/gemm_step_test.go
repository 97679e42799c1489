package kernel

import (
	"fmt"
	"testing"
)

// TestGemmStep compares with the product and the step one after the other.
func TestGemmStep(t *testing.T) {
	for _, rule := range []SGD{
		{Rate: 0.1, WeightDecay: 0.01}, {Rate: 0.1, Momentum: 0.9, WeightDecay: 0.01}, {Rate: 0.1, Momentum: 0.9, Nesterov: true},
	} {
		for _, masked := range []bool{false, true} {
			// B is read as it lies, with and without a rest, or packed: for a
			// distance that falls onto few sets of the cache.
			for _, size := range [][3]int{{1, 1, 1}, {5, 3, 0}, {12, 32, 3}, {13, 37, 5}, {16, 117, 9}, {100, 300, 64}, {20, 256, 64}, {61, 123, 65}, {17, 131, 128}, {40, 7000, 1}} {
				for zeros := range 4 {
					what := fmt.Sprintf("%v %+v, mask %v, %d of 4 zero", size, rule, masked, zeros)
					testGemmStep(t, what, rule, masked, zeros, size[0], size[1], size[2])
				}
			}
		}
	}
}

func testGemmStep(t *testing.T, what string, rule SGD, masked bool, zeros, m, n, k int) {
	t.Helper()
	a, b := fill(make([]float32, m*k), 1), fill(newGuarded[float32](n*k).s, 2)
	for i := range a {
		if i*7%16/4 < zeros {
			a[i] = special[i%2]
		}
	}
	gradient := make([]float32, m*n)
	opt := GemmOptions{Alpha: []float64{0.5, 1}[zeros%2]}
	NewGemm[float32](m, n, k, true, false, opt).Run(nil, a, b, gradient)
	var mask []float32
	if masked {
		mask = make([]float32, m*n)
		for i := range mask {
			mask[i] = float32(i % 2)
		}
	}
	state := func() (w, v guarded[float32]) {
		w, v = newGuarded[float32](m*n), newGuarded[float32](m*n)
		fill(w.s, 3)
		fill(v.s, 4)
		return w, v
	}
	w, v := state()
	NewStep[float32]().SGD(nil, rule, w.s, gradient, mask, v.s)
	want := append(w.s, v.s...)
	got := onTeams(t, func(team *Team) []float32 {
		w, v := state()
		NewGemmStep[float32](m, n, k, true, false, opt).SGD(team, rule, w.s, a, b, mask, v.s)
		w.check(t, what)
		v.check(t, what)
		return append(w.s, v.s...)
	})
	sameBits(t, what, got, want)
}
