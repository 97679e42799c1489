package kernel

import (
	"fmt"
	"math"
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

// TestGemmStepGaps multiplies rows of zeros with infinities: left out, they do no harm.
func TestGemmStepGaps(t *testing.T) {
	if tilings[float32]()[0].gaps == nil {
		t.Skip("this processor, or this build, has no loops over elements that are not zero")
	}
	const m, n, k = 70, 95, 64
	for zeros, left := range map[int]bool{k / 4: false, k / 2: true, k: true} {
		a, b := fill(make([]float32, m*k), 1), fill(make([]float32, k*n), 2)
		for i := range a {
			a[i] += 2
		}
		clear(a[:zeros*m])
		for i := range b[:zeros*n] {
			b[i] = float32(math.Inf(1))
		}
		w, v := make([]float32, m*n), make([]float32, m*n)
		NewGemmStep[float32](m, n, k, true, false, GemmOptions{}).SGD(nil, SGD{Rate: 1, Momentum: 0.5}, w, a, b, nil, v)
		for i, x := range w {
			if finite := x-x == 0; finite != left {
				t.Fatalf("with %d of %d rows zero weight %d is %v", zeros, k, i, x)
			}
		}
	}
}

// TestGapsLoops compares every loop over elements that are not zero with plain sums.
func TestGapsLoops(t *testing.T) {
	for _, tl := range tilings[float32]() {
		loops := tl.gaps
		if loops == nil {
			continue
		}
		const rows, words, depth, aCol = 11, 2, 70, 13
		a := make([]float32, aCol*depth)
		set := make([]uint64, rows*words)
		for i := range a {
			if i%3 == 0 {
				a[i] = float32(i%17) - 8
			}
		}
		for i := range rows - 8 + 1 {
			loops.nonzero(64, a[i:], aCol, set[i*words:], words)
			loops.nonzero(depth-64, a[i+64*aCol:], aCol, set[i*words+1:], words)
		}
		for vectors := 1; vectors <= len(loops.whole); vectors++ {
			whole := vectors * loops.lanes
			testGapsLoop(t, fmt.Sprintf("%s, %d whole columns", tl.name, whole), loops.whole[vectors-1], whole, whole, rows, words, set, a, aCol)
			for _, cols := range []int{whole - loops.lanes + 1, whole - 1, whole} {
				testGapsLoop(t, fmt.Sprintf("%s, %d of %d columns", tl.name, cols, whole), loops.cut[vectors-1], cols, whole, rows, words, set, a, aCol)
			}
		}
	}
}

func testGapsLoop(t *testing.T, what string, loop gapsFunc[float32], cols, whole, rows, words int, set []uint64, a []float32, aCol int) {
	t.Helper()
	depth, pitch := len(a)/aCol, cols+3
	b := fill(make([]float32, depth*whole), 1)
	w, v := newGuarded[float32]((rows-1)*pitch+cols), newGuarded[float32]((rows-1)*pitch+cols)
	fill(w.s, 2)
	fill(v.s, 3)
	wantW, wantV := clone(w.s), clone(v.s)
	coef := coefficients[float32]{0.5, 0.25, 0.75}
	for i := range rows {
		for j := range cols {
			g := 0.0
			for p := range depth {
				g += float64(a[i+p*aCol]) * float64(b[p*whole+j])
			}
			at := i*pitch + j
			v := g + 0.25*float64(wantW[at]) + 0.75*float64(wantV[at])
			wantW[at], wantV[at] = float32(float64(wantW[at])-0.5*v), float32(v)
		}
	}
	loop(cols, rows, words, set, a, aCol, b, w.s, v.s, pitch, &coef[0])
	w.check(t, what)
	v.check(t, what)
	for i := range wantW {
		if math.Abs(float64(w.s[i]-wantW[i])) > 1e-4 || math.Abs(float64(v.s[i]-wantV[i])) > 1e-4 {
			t.Fatalf("%s: element %d is %v and %v, want %v and %v", what, i, w.s[i], v.s[i], wantW[i], wantV[i])
		}
	}
}
