package kernel

import (
	"fmt"
	"math"
	"testing"
)

// TestGaps compares products that leave out the zeros of A with those that do not, and
// looks that they do so when they should.
func TestGaps(t *testing.T) {
	if tilings[float32]()[0].gaps == nil {
		t.Skip("SKIPPED: this processor, or this build, has no loops over elements that are not zero")
	}
	plain := *tilings[float32]()[0]
	plain.gaps = nil
	for _, size := range [][3]int{{64, 300, 100}, {70, 95, 64}, {8, 9000, 4}, {41, 130, 128}, {300, 784, 63}, {33, 129, 71}} {
		for _, transA := range []bool{false, true} {
			m, n, k := size[0], size[1], size[2]
			g := NewGemm[float32](m, n, k, transA, false, GemmOptions{}) // for all, because it minds what A was before
			for _, zeros := range []int{4, 0, 2, 1, 3} {
				for _, infinite := range []bool{false, true} {
					what := fmt.Sprintf("%v, transposed %v, %d of 4 zero, infinite %v", size, transA, zeros, infinite)
					a, b := fill(make([]float32, m*k), 1), fill(newGuarded[float32](k*n).s, 2)
					for i := range a {
						if i*5%16/4 < zeros {
							a[i] = special[i%2]
						}
					}
					if infinite {
						b[len(b)-1], b[n/2] = float32(math.Inf(1)), float32(math.NaN())
					}
					want := make([]float32, m*n)
					newGemm(&plain, m, n, k, transA, false, GemmOptions{}).Run(nil, a, b, want)
					sameBits(t, what, onTeams(t, func(team *Team) []float32 {
						if g.gaps.sparse(team, a) != (zeros > 1) {
							t.Errorf("%s: leaves out zeros: %v", what, zeros <= 1)
						}
						c := newGuarded[float32](m * n)
						g.Run(team, a, b, c.s)
						c.check(t, what)
						return c.s
					}), want)
				}
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
	gradient := make([]float64, len(w.s))
	coef := coefficients[float32]{0.5, 0.25, 0.75}
	for i := range rows {
		for j := range cols {
			g := 0.0
			for p := range depth {
				g += float64(a[i+p*aCol]) * float64(b[p*whole+j])
			}
			at := i*pitch + j
			gradient[at] = g
			v := g + 0.25*float64(wantW[at]) + 0.75*float64(wantV[at])
			wantW[at], wantV[at] = float32(float64(wantW[at])-0.5*v), float32(v)
		}
	}
	loop(cols, rows, words, set, a, 1, aCol, b, w.s, v.s, pitch, &coef[0])
	w.check(t, what)
	v.check(t, what)
	product := newGuarded[float32]((rows-1)*pitch + cols)
	loop(cols, rows, words, set, a, 1, aCol, b, product.s, product.s, pitch, nil)
	product.check(t, what)
	for i := range rows {
		for j := range cols {
			at := i*pitch + j
			if got := float64(product.s[at]); math.Abs(got-gradient[at]) > 1e-4 {
				t.Fatalf("%s: element %d is %v, want %v", what, at, got, gradient[at])
			}
		}
	}
	for i := range wantW {
		if math.Abs(float64(w.s[i]-wantW[i])) > 1e-4 || math.Abs(float64(v.s[i]-wantV[i])) > 1e-4 {
			t.Fatalf("%s: element %d is %v and %v, want %v and %v", what, i, w.s[i], v.s[i], wantW[i], wantV[i])
		}
	}
}

// BenchmarkGaps times the gradients of LeNet-300-100's first two layers, 64 samples, on two
// threads, with no and with half of the elements of A zero.
func BenchmarkGaps(b *testing.B) {
	for _, c := range []struct {
		name    string
		m, n, k int
		step    bool
	}{{"first/weights", 300, 784, 64, true}, {"second/weights", 100, 300, 64, true}, {"second/input", 64, 300, 100, false}} {
		for _, zeros := range []int{0, 2} {
			b.Run(fmt.Sprintf("%s/zeros%d%%", c.name, zeros*25), func(b *testing.B) {
				team := NewTeam(2)
				defer team.Close()
				a, x := fill(make([]float32, c.m*c.k), 1), fill(make([]float32, c.k*c.n), 2)
				for i := range a {
					if i*5%16/4 < zeros {
						a[i] = 0
					}
				}
				w, v := make([]float32, c.m*c.n), make([]float32, c.m*c.n)
				product := NewGemm[float32](c.m, c.n, c.k, false, false, GemmOptions{})
				step := NewGemmStep[float32](c.m, c.n, c.k, true, false, GemmOptions{})
				for b.Loop() {
					if c.step {
						step.SGD(team, SGD{Rate: 1e-9, Momentum: 0.5}, w, a, x, nil, v)
					} else {
						product.Run(team, a, x, w)
					}
				}
			})
		}
	}
}
