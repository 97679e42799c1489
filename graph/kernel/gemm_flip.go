package kernel

// flipped computes a product with few rows and a B that is stored by columns,
// such as a linear layer's weights, as Cᵀ = Bᵀ·Aᵀ: tiles read B as it lies, and
// what is transposed is A, once for all units, and the result.
type flipped[T Float] struct {
	rows, width   int // of a tile: columns and rows of C
	slabs, panels int
	a             []T // packed: [slab][panel][k][width]
	packing       func(w *Worker, unit int)
}

// flip prepares the product so if it pays.
func (g *Gemm[T]) flip() {
	if g.bRow != 1 || g.bCol == 1 || g.aCol != 1 || g.beta != 0 || g.K == 0 || g.M < pickLanes || g.N < g.M {
		return
	}
	f := &flipped[T]{rows: even(g.N, g.tiling.rows), width: panelWidth(g.M, g.tiling.cols)}
	f.slabs, f.panels = ceilDiv(g.K, g.split.depth), ceilDiv(g.M, f.width)
	f.packing = g.packFlipped
	g.flipped, g.body = f, g.flippedUnit
}

func (g *Gemm[T]) runFlipped(t *Team) {
	f := g.flipped
	memory := t.borrow()
	f.a = scratchOf[T](memory, slotA, f.panels*f.width*g.K)
	t.For(f.slabs*f.panels, f.packing)
	t.For(ceilDiv(g.N, f.rows), g.body)
	f.a = nil
	t.giveBack(memory)
}

// slabOf is a slab's part of K, and of a panel.
func (g *Gemm[T]) slabOf(slab, panel int) (p0, p1 int, a []T) {
	f := g.flipped
	p0 = slab * g.split.depth
	p1 = min(p0+g.split.depth, g.K)
	return p0, p1, f.a[p0*f.panels*f.width+panel*(p1-p0)*f.width:]
}

// packFlipped transposes some rows of A: units that follow each other the same ones,
// which whoever fills rows in order has in its cache.
func (g *Gemm[T]) packFlipped(_ *Worker, unit int) {
	f := g.flipped
	panel, slab := unit/f.slabs, unit%f.slabs
	i := panel * f.width
	p0, p1, a := g.slabOf(slab, panel)
	g.tiling.pack(min(f.width, g.M-i), p1-p0, g.a[i*g.aRow+p0:], g.aRow, 1, a, f.width, g.alpha)
}

// flippedUnit computes some columns of C.
func (g *Gemm[T]) flippedUnit(w *Worker, unit int) {
	f := g.flipped
	j := unit * f.rows
	rows := min(f.rows, g.N-j)
	c := scratchOf[T](w, slotC, rows*g.M)
	for slab := range f.slabs {
		flags := wholeRows
		if slab > 0 {
			flags |= addC
		}
		if slab == f.slabs-1 {
			flags |= [...]int{0, addColBias, addRowBias}[g.opt.Bias] | g.opt.Activation.flags()
		}
		for panel := range f.panels {
			p0, p1, a := g.slabOf(slab, panel)
			i := panel * f.width
			cols := min(f.width, g.M-i)
			g.tiling.tile(rows, cols)(p1-p0, g.b[j*g.bCol+p0:], g.bCol, 1, a, f.width, c[i:], g.M, cols, g.biasAt(i, j), flags)
		}
	}
	activateRest(g.opt.Activation, c)
	g.tiling.transpose(rows, g.M, c, g.M, g.c[j:], g.opt.LDC)
}
