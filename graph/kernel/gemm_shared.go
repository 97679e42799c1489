package kernel

// Large products pack B once for all units, some slabs at a time: first the panels
// are spread over the team, then the blocks of C. Of A a unit packs the rows that
// it multiplies, slab by slab, so that they stay in its second-level cache.

const (
	// shareFrom is the number of multiplications from which on packing is
	// shared: below, two more turns of the team cost more than they save.
	shareFrom = 1 << 22
	// sharedDepth bounds a slab. Panels and strips of this depth do not fit the
	// first-level cache together; the second level is fast enough.
	sharedDepth = 384
	// sharedStrips bounds the strips of A of a unit.
	sharedStrips = 16
	// sharedUnits is how many units a thread should have at least.
	sharedUnits = 2
	// sharedPacked bounds what is packed of B at a time, unless one slab is more.
	sharedPacked = 1 << 20
)

// sharing is the state of a product that shares what it packs.
type sharing[T Float] struct {
	rowUnits, colUnits int // into how many blocks rows and columns of C are cut; the bits do not depend on it
	depth, slabs       int // of a slab; how many are packed at a time
	p0, p1             int // what is packed of K
	b                  []T // [slab][panel][k][width]
	packing, summing   func(w *Worker, unit int)
}

// share prepares shared packing if it pays.
func (g *Gemm[T]) share() {
	if g.split.rowBlocks < 2 || g.split.colBlocks < 2 || g.M*g.N*g.K < shareFrom {
		return
	}
	s := &sharing[T]{depth: even(g.K, sharedDepth), packing: g.packUnit, summing: g.sumUnit}
	// Two or four threads get the same number of units.
	s.rowUnits = min(roundUp(ceilDiv(g.strips(), sharedStrips), 4), g.strips())
	s.slabs = max(sharedPacked/(s.depth*g.panels()*g.width), 1)
	g.sharing = s
}

func (g *Gemm[T]) strips() int { return ceilDiv(g.M, g.rows) }
func (g *Gemm[T]) panels() int { return ceilDiv(g.N, g.width) }

func (g *Gemm[T]) runShared(t *Team) {
	s := g.sharing
	s.colUnits = min(ceilDiv(sharedUnits*t.Threads(), s.rowUnits), g.panels())
	memory := t.borrow()
	most := min(s.slabs*s.depth, g.K)
	s.b = scratchOf[T](memory, slotB, g.panels()*g.width*most)
	for s.p0 = 0; s.p0 < g.K; s.p0 = s.p1 {
		s.p1 = min(s.p0+most, g.K)
		t.For(g.packUnits(), s.packing)
		t.For(s.rowUnits*s.colUnits, s.summing)
	}
	s.b = nil
	t.giveBack(memory)
}

func (g *Gemm[T]) packUnits() int { return unitsOf(g.N * (g.sharing.p1 - g.sharing.p0)) }

// part is one of so many parts of n things, about as large as the others.
func part(n, i, parts int) (from, to int) { return i * n / parts, (i + 1) * n / parts }

// packUnit packs some panels of B.
func (g *Gemm[T]) packUnit(_ *Worker, unit int) {
	s, panels := g.sharing, g.panels()
	first, last := part(panels*ceilDiv(s.p1-s.p0, s.depth), unit, g.packUnits())
	for i := first; i < last; i++ {
		j, p0 := i%panels*g.width, s.p0+i/panels*s.depth
		k := min(s.depth, s.p1-p0)
		g.tiling.pack(min(g.width, g.N-j), k, g.b[p0*g.bRow+j*g.bCol:], g.bCol, g.bRow, s.b[(p0-s.p0)*panels*g.width+j*k:], g.width, 1)
	}
}

// sumUnit adds the products of what is packed of K to one block of C.
func (g *Gemm[T]) sumUnit(w *Worker, unit int) {
	s := g.sharing
	block := sharedBlock[T]{tile: g.tiling.tile(g.rows, g.width)}
	block.strip0, block.strip1 = part(g.strips(), unit/s.colUnits, s.rowUnits)
	block.panel0, block.panel1 = part(g.panels(), unit%s.colUnits, s.colUnits)
	i0, i1 := block.strip0*g.rows, min(block.strip1*g.rows, g.M)
	j0, j1 := block.panel0*g.width, min(block.panel1*g.width, g.N)
	if s.p0 == 0 {
		g.scaleC(i0, i1, j0, j1)
	}
	for p0 := s.p0; p0 < s.p1; p0 += s.depth {
		g.sumSlab(w, &block, p0, min(p0+s.depth, s.p1))
	}
	if s.p1 == g.K {
		g.finish(i0, i1, j0, j1)
	}
}

// sumSlab adds the products of columns p0 to p1 of A to a block.
func (g *Gemm[T]) sumSlab(w *Worker, block *sharedBlock[T], p0, p1 int) {
	s, k := g.sharing, p1-p0
	block.k, block.flags = k, wholeRows
	if p0 > 0 || g.beta != 0 {
		block.flags |= addC
	}
	if p1 == g.K {
		block.flags |= g.lastFlags()
	}
	block.a = scratchOf[T](w, slotA, (block.strip1-block.strip0)*packedRow*k)
	block.b = s.b[(p0-s.p0)*g.panels()*g.width:]
	for strip := block.strip0; strip < block.strip1; strip++ {
		i := strip * g.rows
		g.tiling.pack(min(g.rows, g.M-i), k, g.a[i*g.aRow+p0*g.aCol:], g.aRow, g.aCol, block.a[(strip-block.strip0)*packedRow*k:], packedRow, g.alpha)
	}
	for panel := block.panel0; panel < block.panel1; panel++ {
		for strip := block.strip0 + g.wholeStrips(block, panel); strip < block.strip1; strip++ {
			g.sharedTile(block, strip, panel)
		}
	}
}

// sharedBlock is what the tiles of a block have in common.
type sharedBlock[T Float] struct {
	k, flags       int
	a, b           []T         // packed: the block's strips of A, all panels of the slab
	tile           tileFunc[T] // for tiles that are not at the edge of C
	strip0, strip1 int
	panel0, panel1 int
}

// wholeStrips computes as many tiles of a panel as go in one call, from the
// block's first strip on, and returns how many.
func (g *Gemm[T]) wholeStrips(block *sharedBlock[T], panel int) int {
	tl, k := g.tiling, block.k
	n := min(block.strip1, g.M/g.rows) - block.strip0
	if tl.strips == nil || n < 1 || g.rows != tl.rows || g.width != tl.cols || g.N-panel*g.width < g.width || block.flags&addRowBias != 0 {
		return 0
	}
	i, j, next := block.strip0*g.rows, panel*g.width, (panel+1)%g.panels()
	tl.strips(n, k, block.a, block.b[panel*g.width*k:], block.b[next*g.width*k:], g.c[i*g.opt.LDC+j:], g.opt.LDC, g.biasAt(i, j), block.flags)
	return n
}

func (g *Gemm[T]) sharedTile(block *sharedBlock[T], strip, panel int) {
	k, i, j := block.k, strip*g.rows, panel*g.width
	rows, cols, tile := min(g.rows, g.M-i), min(g.width, g.N-j), block.tile
	if rows < g.rows || cols < g.width {
		tile = g.tiling.tile(rows, cols)
	}
	tile(k, block.a[(strip-block.strip0)*packedRow*k:], 1, packedRow, block.b[panel*g.width*k:], g.width,
		g.c[i*g.opt.LDC+j:], g.opt.LDC, cols, g.biasAt(i, j), block.flags)
}
