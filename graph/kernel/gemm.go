package kernel

import "fmt"

// Bias says what a Gemm's bias vector is added to.
type Bias int

const (
	NoBias        Bias = iota
	BiasPerRow         // bias has M elements
	BiasPerColumn      // bias has N elements
)

// GemmOptions are what a Gemm does beyond C = A·B. The zero value is that.
type GemmOptions struct {
	LDA, LDB, LDC int     // distance of stored rows; 0 means dense
	Alpha         float64 // factor of A·B; 0 means 1
	Beta          float64 // factor of what C holds; with 0, C is not read
	Bias          Bias
	Activation    Activation

	oneThread bool // the product is part of a unit: see within
}

// Gemm is a prepared matrix product
//
//	C = activation(Alpha·op(A)·op(B) + Beta·C + bias)
//
// with op(A) of M rows and K columns, op(B) of K by N, C of M by N.
//
// It follows Goto and van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication" (2008): a block of B is packed so that it stays in the
// second-level cache, and tiles of C are summed in registers. Each unit of
// work owns a block of C and packs the part of B that it needs; of large
// products B is packed once for all units (gemm_shared.go), some are computed
// transposed (gemm_flip.go), and some without the zeros of A (gemm_gaps.go).
type Gemm[T Float] struct {
	M, N, K int

	opt         GemmOptions
	alpha, beta T
	aRow, aCol  int // distance of neighbours in op(A)
	bRow, bCol  int // distance of neighbours in op(B)
	tiling      *tiling[T]
	rows        int // of a tile: as even as the tiling allows
	width       int // of a panel of B
	split       blocking
	packA       bool
	packB       bool
	sharing     *sharing[T] // nil: every unit packs for itself
	flipped     *flipped[T] // nil: C is computed as it lies
	gaps        *gaps[T]    // nil: zeros of A are multiplied like all else

	a, b, c, bias []T
	body          func(w *Worker, unit int)
}

// NewGemm prepares a product. transA means that A is stored as K rows of M,
// transB that B is stored as N rows of K.
func NewGemm[T Float](m, n, k int, transA, transB bool, opt GemmOptions) *Gemm[T] {
	return newGemm(tilings[T]()[0], m, n, k, transA, transB, opt)
}

func newGemm[T Float](tl *tiling[T], m, n, k int, transA, transB bool, opt GemmOptions) *Gemm[T] {
	g := &Gemm[T]{M: m, N: n, K: k, opt: opt, alpha: 1, beta: T(opt.Beta), tiling: tl}
	if opt.Alpha != 0 {
		g.alpha = T(opt.Alpha)
	}
	g.aRow, g.aCol = strides(opt.LDA, m, k, transA)
	g.bRow, g.bCol = strides(opt.LDB, k, n, transB)
	g.opt.LDC, _ = strides(opt.LDC, m, n, false)
	g.rows = even(m, tl.rows)
	g.width = panelWidth(n, tl.cols)
	g.split = newBlocking(m, n, k, g.rows, g.width, blockProducts)
	// Packing pays when what is packed is used several times.
	g.packA = g.alpha != 1 || g.split.cols >= 4*g.width
	g.packB = g.bCol != 1 || g.split.rows >= 4*g.rows
	g.body = g.unit
	if !opt.oneThread {
		g.share()
		if g.sharing == nil {
			g.flip()
		}
		if g.beta == 0 && opt.Bias == NoBias && opt.Activation == (Activation{}) {
			g.gaps = newGaps(g)
		}
	}
	if m == 1 && !opt.oneThread && n > 0 && k > 0 && g.aCol == 1 && g.bRow == 1 {
		// One row of dot products: packing would cost more than it saves.
		g.split.cols = min(n, max(unitProducts/8/max(k, 1), 1))
		g.split.rowBlocks, g.split.colBlocks = 1, ceilDiv(n, g.split.cols)
		g.body = g.dots
	}
	return g
}

// strides returns the distances of neighbouring rows and columns of a matrix.
func strides(ld, rows, cols int, transposed bool) (row, col int) {
	if transposed {
		rows, cols = cols, rows
	}
	if ld == 0 {
		ld = cols
	}
	if ld < cols {
		panic(fmt.Sprintf("kernel: leading dimension %d is less than a row of %d", ld, cols))
	}
	if transposed {
		return 1, ld
	}
	return ld, 1
}

// Run computes the product for an option set without bias.
func (g *Gemm[T]) Run(t *Team, a, b, c []T) { g.RunBias(t, a, b, c, nil) }

// RunBias computes the product; bias is nil or as long as the option Bias says.
func (g *Gemm[T]) RunBias(t *Team, a, b, c, bias []T) {
	need(len(a), extent(g.M, g.K, g.aRow, g.aCol), "a")
	need(len(b), extent(g.K, g.N, g.bRow, g.bCol), "b")
	need(len(c), extent(g.M, g.N, g.opt.LDC, 1), "c")
	need(len(bias), [...]int{0, g.M, g.N}[g.opt.Bias], "bias")
	g.a, g.b, g.c, g.bias = a, b, c, bias
	switch {
	case g.gaps.sparse(t, a):
		g.gaps.run(t, b, c, c, g.opt.LDC, nil)
	case g.sharing != nil:
		g.runShared(t)
	case g.flipped != nil:
		g.runFlipped(t)
	default:
		t.For(g.split.units(), g.body)
	}
	g.a, g.b, g.c, g.bias = nil, nil, nil, nil
}

// within computes the product as a part of a unit that w works on. Unlike Run
// it may be called by several workers at once.
func (g *Gemm[T]) within(w *Worker, a, b, c []T) {
	one := *g
	one.a, one.b, one.c = a, b, c
	for unit := range one.split.units() {
		one.unit(w, unit)
	}
}

// extent is how many elements a matrix spans.
func extent(rows, cols, row, col int) int {
	if rows == 0 || cols == 0 {
		return 0
	}
	return (rows-1)*row + (cols-1)*col + 1
}

func need(have, want int, name string) {
	if have < want {
		panic(fmt.Sprintf("kernel: %s has %d elements, want %d", name, have, want))
	}
}

// unit computes one block of C.
func (g *Gemm[T]) unit(w *Worker, unit int) {
	i0, i1, j0, j1 := g.split.block(unit)
	g.scaleC(i0, i1, j0, j1)
	for p0 := 0; ; p0 += g.split.depth {
		p1 := min(p0+g.split.depth, g.K)
		flags := 0
		if p0 > 0 || g.beta != 0 {
			flags |= addC
		}
		if p1 == g.K {
			flags |= g.lastFlags()
		}
		g.slab(w, i0, i1, j0, j1, p0, p1, flags)
		if p1 == g.K {
			g.finish(i0, i1, j0, j1)
			return
		}
	}
}

// scaleC multiplies a block of C by beta, unless that is 0 or 1.
func (g *Gemm[T]) scaleC(i0, i1, j0, j1 int) {
	if g.beta == 0 || g.beta == 1 {
		return
	}
	for i := i0; i < i1; i++ {
		row := g.c[i*g.opt.LDC+j0 : i*g.opt.LDC+j1]
		Scale(row, g.beta, row)
	}
}

// dots computes columns of a C that has one row, of a B stored by columns.
func (g *Gemm[T]) dots(_ *Worker, unit int) {
	_, _, j0, j1 := g.split.block(unit)
	for j := j0; j < j1; j++ {
		v := g.alpha * Dot(g.b[j*g.bCol:j*g.bCol+g.K], g.a[:g.K], 0)
		if g.beta != 0 {
			v += g.beta * g.c[j]
		}
		switch g.opt.Bias {
		case BiasPerRow:
			v += g.bias[0]
		case BiasPerColumn:
			v += g.bias[j]
		}
		g.c[j] = v
	}
	if g.opt.Activation.flags() != 0 {
		Relu(g.c[j0:j1], g.c[j0:j1])
	}
	activateRest(g.opt.Activation, g.c[j0:j1])
}

func (g *Gemm[T]) lastFlags() int {
	return [...]int{0, addRowBias, addColBias}[g.opt.Bias] | g.opt.Activation.flags()
}

// finish does to a block of C, after its last slab, what tiles leave.
func (g *Gemm[T]) finish(i0, i1, j0, j1 int) {
	if low, high := g.opt.Activation.rest(); !low && !high {
		return
	}
	for i := i0; i < i1; i++ {
		activateRest(g.opt.Activation, g.c[i*g.opt.LDC+j0:i*g.opt.LDC+j1])
	}
}

// slab adds the products of columns p0 to p1 of A to a block of C.
func (g *Gemm[T]) slab(w *Worker, i0, i1, j0, j1, p0, p1, flags int) {
	tl, k, width := g.tiling, p1-p0, g.width
	b, bRow, bPanel := from(g.b, p0*g.bRow+j0*g.bCol), g.bRow, width
	if g.packB {
		packed := scratchOf[T](w, slotB, roundUp(j1-j0, width)*k)
		for j := 0; j < j1-j0; j += width {
			tl.pack(min(width, j1-j0-j), k, from(b, j*g.bCol), g.bCol, g.bRow, from(packed, j*k), width, 1)
		}
		b, bRow, bPanel = packed, width, width*k
		flags |= wholeRows
	}
	for i := i0; i < i1; i += g.rows {
		rows := min(g.rows, i1-i)
		a, aRow, aCol := from(g.a, i*g.aRow+p0*g.aCol), g.aRow, g.aCol
		if g.packA {
			packed := scratchOf[T](w, slotA, packedRow*k)
			tl.pack(rows, k, a, aRow, aCol, packed, packedRow, g.alpha)
			a, aRow, aCol = packed, 1, packedRow
		}
		for j := j0; j < j1; j += width {
			cols := min(width, j1-j)
			tl.tile(rows, cols)(k, a, aRow, aCol, from(b, (j-j0)/width*bPanel), bRow,
				g.c[i*g.opt.LDC+j:], g.opt.LDC, cols, g.biasAt(i, j), flags)
		}
	}
}

// from is s from an index on, or nothing: with K = 0, A and B have no elements.
func from[T any](s []T, at int) []T { return s[min(at, len(s)):] }

func (g *Gemm[T]) biasAt(i, j int) []T {
	switch g.opt.Bias {
	case BiasPerRow:
		return g.bias[i:]
	case BiasPerColumn:
		return g.bias[j:]
	}
	return nil
}
