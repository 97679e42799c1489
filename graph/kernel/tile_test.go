package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// guarded is a slice of n elements between guard elements that must not change.
type guarded[T Float] struct {
	whole, s []T
}

const guard = 64

func newGuarded[T Float](n int) guarded[T] {
	g := guarded[T]{whole: make([]T, n+2*guard)}
	for i := range g.whole {
		g.whole[i] = T(math.NaN())
	}
	g.s = g.whole[guard : guard+n : guard+n]
	return g
}

// check reports writes outside the slice.
func (g guarded[T]) check(t *testing.T, what string) {
	t.Helper()
	n := len(g.s)
	for i, v := range g.whole {
		if (i < guard || i >= guard+n) && v == v {
			t.Fatalf("%s: wrote %v at index %d of %d", what, v, i-guard, n)
		}
	}
}

// fill puts small random numbers into s, the same for the same seed.
func fill[T Float](s []T, seed uint64) []T {
	rng := rand.New(rand.NewPCG(seed, 7))
	for i := range s {
		s[i] = T(rng.Float64()*2 - 1)
	}
	return s
}

// nearSum tells whether got is want, up to the rounding of terms additions.
func nearSum[T Float](got T, want float64, terms int) bool {
	if math.IsNaN(want) {
		return got != got
	}
	eps := 1e-6
	if _, double := any(got).(float64); double {
		eps = 1e-14
	}
	return math.Abs(float64(got)-want) <= eps*(1+math.Abs(want))*math.Sqrt(float64(terms+1))
}

func TestTiles(t *testing.T) {
	for _, tl := range tilings[float32]() {
		t.Run("f32_"+tl.name, func(t *testing.T) { testTiles(t, tl) })
	}
	for _, tl := range tilings[float64]() {
		t.Run("f64_"+tl.name, func(t *testing.T) { testTiles(t, tl) })
	}
}

func testTiles[T Float](t *testing.T, tl *tiling[T]) {
	for rows := 1; rows <= tl.rows; rows++ {
		for cols := 1; cols <= tl.cols; cols++ {
			for _, k := range []int{0, 1, 2, 7, 40} {
				for flags := range rectify << 1 {
					testTile(t, tl, rows, cols, k, flags)
				}
				testTile(t, tl, rows, cols, k, addC|wholeRows)
			}
		}
	}
}

func testTile[T Float](t *testing.T, tl *tiling[T], rows, cols, k, flags int) {
	name := fmt.Sprintf("%dx%d k %d flags %05b", rows, cols, k, flags)
	aRow, aCol := k+3, 1
	if flags&1 != k&1 { // half of the cases read A through its other stride
		aRow, aCol = 1, rows+2
	}
	bRow, cRow := cols+5, cols+1
	read := cols // of a row of B
	if flags&wholeRows != 0 {
		read = roundUp(cols, pickLanes)
		bRow = read
	}
	a := newGuarded[T](max(0, (rows-1)*aRow+(k-1)*aCol+1))
	b := newGuarded[T](max(0, (k-1)*bRow+read))
	c := newGuarded[T]((rows-1)*cRow + cols)
	bias := newGuarded[T](max(rows, cols))
	fill(a.s, 1)
	fill(b.s, 2)
	fill(bias.s, 3)
	if flags&addC != 0 {
		fill(c.s, 4)
	}
	before := append([]T(nil), c.s...)

	tl.tile(rows, cols)(k, a.s, aRow, aCol, b.s, bRow, c.s, cRow, cols, bias.s, flags)

	for i := range rows {
		for j := range cRow {
			at := i*cRow + j
			if at >= len(c.s) {
				break
			}
			if j >= cols {
				if got := c.s[at]; got != before[at] && (got == got || before[at] == before[at]) {
					t.Fatalf("%s: wrote between rows, C[%d][%d] = %v", name, i, j, got)
				}
				continue
			}
			want := 0.0
			for p := range k {
				want += float64(a.s[i*aRow+p*aCol]) * float64(b.s[p*bRow+j])
			}
			if flags&addC != 0 {
				want += float64(before[at])
			}
			if flags&addRowBias != 0 {
				want += float64(bias.s[i])
			}
			if flags&addColBias != 0 {
				want += float64(bias.s[j])
			}
			if flags&rectify != 0 {
				want = max(want, 0)
			}
			if !nearSum(c.s[at], want, k) {
				t.Fatalf("%s: C[%d][%d] = %v, want %v", name, i, j, c.s[at], want)
			}
		}
	}
	c.check(t, name)
}

// TestStrips compares tiles that are computed in one call with single ones, to
// the bit.
func TestStrips(t *testing.T) {
	for _, tl := range tilings[float32]() {
		if tl.strips == nil {
			continue
		}
		for n := 1; n <= 4; n++ {
			for _, k := range []int{1, 2, 37} {
				for flags := range rectify << 1 {
					if flags&addRowBias == 0 {
						testStrips(t, tl, n, k, flags)
					}
				}
			}
		}
	}
}

func testStrips(t *testing.T, tl *tiling[float32], n, k, flags int) {
	name := fmt.Sprintf("%s: %d strips, k %d, flags %04b", tl.name, n, k, flags)
	cRow := tl.cols + 3
	a, b := fill(make([]float32, n*k*packedRow), 1), fill(make([]float32, k*tl.cols), 2)
	bias := fill(make([]float32, tl.cols), 3)
	got, want := newGuarded[float32]((n*tl.rows-1)*cRow+tl.cols), newGuarded[float32]((n*tl.rows-1)*cRow+tl.cols)
	if flags&addC != 0 {
		fill(got.s, 4)
		fill(want.s, 4)
	}
	tl.strips(n, k, a, b, b, got.s, cRow, bias, flags)
	for i := range n {
		tl.tile(tl.rows, tl.cols)(k, a[i*k*packedRow:], 1, packedRow, b, tl.cols, want.s[i*tl.rows*cRow:], cRow, tl.cols, bias, flags)
	}
	sameBits(t, name, got.s, want.s)
	got.check(t, name)
}

// TestSumColumn sums one to three products of rows that whole tiles cover, or not.
func TestSumColumn(t *testing.T) {
	of := [][2]int{{0, 0}, {50, 7}, {3, 300}}
	for _, tl := range tilings[float32]() {
		for _, rows := range []int{1, tl.rows - 1, tl.rows, 2*tl.rows - 1, 3*tl.rows + 2, 5 * tl.rows} {
			for _, k := range []int{1, 3, 4, 9} {
				for products := 1; products <= len(of); products++ {
					for whole := pickLanes; whole <= tl.cols; whole += pickLanes {
						for cols := whole - 1; cols <= whole; cols++ {
							testSumColumn(t, tl, rows, cols, k, of[:products], 0)
							testSumColumn(t, tl, rows, cols, k, of[:products], addC)
						}
					}
				}
			}
		}
	}
}

func testSumColumn(t *testing.T, tl *tiling[float32], rows, cols, k int, of [][2]int, flags int) {
	name := fmt.Sprintf("%s: %d rows, %d columns, k %d, %d products, flags %b", tl.name, rows, cols, k, len(of), flags)
	aRow, aCol, bRow, cRow := k+2, 1, cols+3, cols+1
	if rows%2 == 0 {
		aRow, aCol = 1, rows+1
	}
	a, b := fill(make([]float32, 60+(rows-1)*aRow+k*aCol), 1), fill(make([]float32, 310+k*bRow), 2)
	c := newGuarded[float32]((rows-1)*cRow + cols)
	before := make([]float32, len(c.s))
	if flags&addC != 0 {
		fill(c.s, 3)
		copy(before, c.s)
	}
	tl.sumColumn(rows, cols, k, of, a, aRow, aCol, b, bRow, cols, c.s, cRow, flags)
	for i := range rows {
		for j := range cols {
			want := float64(before[i*cRow+j])
			for _, p := range of {
				for q := range k {
					want += float64(a[p[0]+i*aRow+q*aCol]) * float64(b[p[1]+q*bRow+j])
				}
			}
			if got := c.s[i*cRow+j]; !nearSum(got, want, k*len(of)) {
				t.Fatalf("%s: C[%d][%d] = %v, want %v", name, i, j, got, want)
			}
		}
		if at := i*cRow + cols; at < len(c.s) && flags == 0 && c.s[at] == c.s[at] {
			t.Fatalf("%s: wrote behind row %d", name, i)
		}
	}
	c.check(t, name)
}

func TestTilesKeepNaN(t *testing.T) {
	for _, tl := range tilings[float32]() {
		for cols := 1; cols <= tl.cols; cols++ {
			a, b, c := make([]float32, tl.rows), make([]float32, cols), make([]float32, tl.rows*cols)
			a[tl.rows-1], b[cols-1] = 1, float32(math.NaN())
			tl.tile(tl.rows, cols)(1, a, 1, 1, b, cols, c, cols, cols, nil, rectify)
			for i, v := range c {
				if want := i%cols == cols-1; (v != v) != want {
					t.Fatalf("%s: %d columns: C[%d][%d] = %v, NaN wanted: %v", tl.name, cols, i/cols, i%cols, v, want)
				}
			}
		}
	}
}

func BenchmarkTile(b *testing.B) {
	const k = 384
	for _, tl := range tilings[float32]() {
		for rows := 1; rows <= tl.rows; rows++ {
			for cols := tl.lanes; cols <= tl.cols; cols += tl.lanes {
				b.Run(fmt.Sprintf("%s/%dx%d", tl.name, rows, cols), func(b *testing.B) {
					x, y, z := alignedSlice[float32](k*tl.rows), alignedSlice[float32](k*cols), alignedSlice[float32](rows*cols)
					tile := tl.tile(rows, cols)
					for b.Loop() {
						tile(k, x, 1, tl.rows, y, cols, z, cols, cols, nil, 0)
					}
					reportGFLOPS(b, 2*k*rows*cols)
				})
			}
		}
	}
}

func reportGFLOPS(b *testing.B, flop int) {
	b.ReportMetric(float64(flop)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
}
