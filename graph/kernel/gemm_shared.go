package kernel

// Large products pack each factor once for all units instead of once for every
// unit that reads it: slab by slab, first what is packed is spread over the
// team, then the blocks of C.

const (
	// shareFrom is the number of multiplications from which on packing is
	// shared: below, two more turns of the team cost more than they save.
	shareFrom = 1 << 22
	// sharedDepth bounds a slab, so that a panel of B and a strip of A fit the
	// first-level cache together.
	sharedDepth = 256
	// firstLevel is what a panel may take of the first-level cache, in bytes.
	firstLevel = 24 << 10
)

// sharing is the state of a product that shares what it packs.
type sharing[T Float] struct {
	p0, p1, flags    int
	a, b             []T // packed strips of A and panels of B
	packUnits        int
	byPanel          bool // a panel of B stays in the first-level cache, not a strip of A
	packing, summing func(w *Worker, unit int)
}

// share prepares shared packing if it pays.
func (g *Gemm[T]) share() {
	if g.split.rowBlocks < 2 || g.split.colBlocks < 2 || g.M*g.N*g.K < shareFrom {
		return
	}
	depth := even(g.K, sharedDepth)
	g.split = newSharedBlocking(g.M, g.N, depth, g.rows, g.width)
	g.sharing = &sharing[T]{
		packUnits: unitsOf((g.strips()*packedRow + g.panels()*g.width) * depth),
		byPanel:   g.width*depth*4 <= firstLevel,
		packing:   g.packUnit,
		summing:   g.sumUnit,
	}
}

func (g *Gemm[T]) strips() int { return ceilDiv(g.M, g.rows) }
func (g *Gemm[T]) panels() int { return ceilDiv(g.N, g.width) }

func (g *Gemm[T]) runShared(t *Team) {
	s, depth := g.sharing, g.split.depth
	memory := t.borrow()
	s.a = scratchOf[T](memory, slotA, g.strips()*packedRow*depth)
	s.b = scratchOf[T](memory, slotB, g.panels()*g.width*depth)
	for s.p0 = 0; s.p0 < g.K; s.p0 = s.p1 {
		s.p1 = min(s.p0+depth, g.K)
		s.flags = wholeRows
		if s.p0 > 0 || g.beta != 0 {
			s.flags |= addC
		}
		if s.p1 == g.K {
			s.flags |= g.lastFlags()
		}
		t.For(s.packUnits, s.packing)
		t.For(g.split.units(), s.summing)
	}
	s.a, s.b = nil, nil
	t.giveBack(memory)
}

// packUnit packs some strips of A and some panels of B of the slab. Of A, a
// thread so packs about what it will multiply.
func (g *Gemm[T]) packUnit(_ *Worker, unit int) {
	s, tl := g.sharing, g.tiling
	k := s.p1 - s.p0
	part := func(n int) (from, to int) { return unit * n / s.packUnits, (unit + 1) * n / s.packUnits }
	first, last := part(g.strips())
	for strip := first; strip < last; strip++ {
		i := strip * g.rows
		tl.pack(min(g.rows, g.M-i), k, g.a[i*g.aRow+s.p0*g.aCol:], g.aRow, g.aCol, s.a[strip*packedRow*k:], packedRow, g.alpha)
	}
	first, last = part(g.panels())
	for panel := first; panel < last; panel++ {
		j := panel * g.width
		tl.pack(min(g.width, g.N-j), k, g.b[s.p0*g.bRow+j*g.bCol:], g.bCol, g.bRow, s.b[panel*g.width*k:], g.width, 1)
	}
}

// sumUnit adds the products of the slab to one block of C.
func (g *Gemm[T]) sumUnit(_ *Worker, unit int) {
	s := g.sharing
	if s.byPanel {
		// The next unit takes the same strips, which are in the second-level cache.
		unit = unit%g.split.colBlocks*g.split.rowBlocks + unit/g.split.colBlocks
	}
	i0, i1, j0, j1 := g.split.block(unit)
	if s.p0 == 0 {
		g.scaleC(i0, i1, j0, j1)
	}
	k := s.p1 - s.p0
	block := sharedBlock[T]{
		k: k, tile: g.tiling.tile(g.rows, g.width),
		strip0: i0 / g.rows, strip1: ceilDiv(i1, g.rows), panel0: j0 / g.width, panel1: ceilDiv(j1, g.width),
	}
	if s.byPanel {
		for panel := block.panel0; panel < block.panel1; panel++ {
			for strip := block.strip0 + g.wholeStrips(&block, panel); strip < block.strip1; strip++ {
				g.sharedTile(&block, strip, panel)
			}
		}
	} else {
		for strip := block.strip0; strip < block.strip1; strip++ {
			for panel := block.panel0; panel < block.panel1; panel++ {
				g.sharedTile(&block, strip, panel)
			}
		}
	}
	if s.p1 == g.K {
		g.finish(i0, i1, j0, j1)
	}
}

// sharedBlock is what the tiles of a block have in common.
type sharedBlock[T Float] struct {
	k              int
	tile           tileFunc[T] // for tiles that are not at the edge of C
	strip0, strip1 int
	panel0, panel1 int
}

// wholeStrips computes as many tiles of a panel as go in one call, from the
// block's first strip on, and returns how many.
func (g *Gemm[T]) wholeStrips(block *sharedBlock[T], panel int) int {
	s, tl, k := g.sharing, g.tiling, block.k
	n := min(block.strip1, g.M/g.rows) - block.strip0
	if tl.strips == nil || n < 1 || g.rows != tl.rows || g.width != tl.cols || g.N-panel*g.width < g.width || s.flags&addRowBias != 0 {
		return 0
	}
	i, j, next := block.strip0*g.rows, panel*g.width, (panel+1)%g.panels()
	tl.strips(n, k, s.a[block.strip0*packedRow*k:], s.b[panel*g.width*k:], s.b[next*g.width*k:], g.c[i*g.opt.LDC+j:], g.opt.LDC, g.biasAt(i, j), s.flags)
	return n
}

func (g *Gemm[T]) sharedTile(block *sharedBlock[T], strip, panel int) {
	s, k, i, j := g.sharing, block.k, strip*g.rows, panel*g.width
	rows, cols, tile := min(g.rows, g.M-i), min(g.width, g.N-j), block.tile
	if rows < g.rows || cols < g.width {
		tile = g.tiling.tile(rows, cols)
	}
	tile(k, s.a[strip*packedRow*k:], 1, packedRow, s.b[panel*g.width*k:], g.width,
		g.c[i*g.opt.LDC+j:], g.opt.LDC, cols, g.biasAt(i, j), s.flags)
}
