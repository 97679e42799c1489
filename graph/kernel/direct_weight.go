package kernel

// directGradWeight computes the gradient of a convolution by its weights from
// images side by side, as dot products over places and images. Blocks of
// images and lines are cut into parts that are summed apart and then added in
// order.
type directGradWeight[T Float] struct {
	geom     ConvGeom
	x, dy    beside[T]
	offsets  []int32
	rowsUnit int // lines laid out at once
	parts    int
	taps     int // of a tile
	outs     int // of a tile

	srcX, srcDY, dw []T
	common          *Worker // memory that all units share
	own, put        func(w *Worker, unit int)
}

// directGradOuts is up to how many channels of y that beats samples.
const directGradOuts = 64

// directGradPays tells whether to compute the gradient so.
func directGradPays[T Float](tl *tiling[T], g *ConvGeom, s *sampling) bool {
	loops := tl.direct
	if loops == nil || g.Group != 1 || !fullEnough(g.N, loops.images) {
		return false
	}
	return g.OutC <= min(loops.most, directGradOuts) && g.C*len(s.taps) <= directTerms
}

func newDirectGradWeight[T Float](tl *tiling[T], g *ConvGeom, s *sampling) *directGradWeight[T] {
	d := &directGradWeight[T]{geom: *g}
	itself := sampling{planeH: g.OH, planeW: g.OW, rows: g.OH, cols: g.OW, stepH: 1, stepW: 1, taps: []tap{{}}}
	d.x = newBeside(tl, s, g.N, g.C, g.C*g.H*g.W)
	d.dy = newBeside(tl, &itself, g.N, g.OutC, g.OutC*g.OH*g.OW)
	perLine := g.C*g.StrideH*d.x.width + g.OutC*g.OW
	d.rowsUnit = even(g.OH, max(directElements/(perLine*tl.direct.images), 1))
	d.x.hold(d.rowsUnit)
	d.dy.hold(d.rowsUnit)
	d.offsets = d.x.offsets(s.taps)
	d.parts = min(winogradParts, d.chunks())
	d.taps = even(len(d.offsets), len(tl.direct.dots))
	d.outs = even(g.OutC, len(tl.direct.dots[0]))
	d.own, d.put = d.ownUnit, d.putUnit
	return d
}

// chunks is how many layouts there are: lines of blocks of images.
func (d *directGradWeight[T]) chunks() int {
	return d.x.blocks() * ceilDiv(d.geom.OH, d.rowsUnit)
}

// sums are the vectors that a part sums up, as [tile of taps][tile of channels]
// [tap][channel].
func (d *directGradWeight[T]) sums(part int) []T {
	size := len(d.offsets) * d.geom.OutC * d.x.loops.lanes
	return scratchOf[T](d.common, slotSums, d.parts*size)[part*size : (part+1)*size]
}

func (d *directGradWeight[T]) run(t *Team, x, dy, dw []T) {
	d.srcX, d.srcDY, d.dw = x, dy, dw
	d.common = t.borrow()
	d.sums(0)
	t.For(d.parts, d.own)
	t.For(ceilDiv(len(d.offsets), d.taps), d.put)
	t.giveBack(d.common)
	d.srcX, d.srcDY, d.dw, d.common = nil, nil, nil, nil
}

// ownUnit sums a part.
func (d *directGradWeight[T]) ownUnit(w *Worker, part int) {
	sums := d.sums(part)
	clear(sums)
	perBlock := ceilDiv(d.geom.OH, d.rowsUnit)
	for chunk := part * d.chunks() / d.parts; chunk < (part+1)*d.chunks()/d.parts; chunk++ {
		block, first := chunk/perBlock, chunk%perBlock*d.rowsUnit
		lines := min(d.rowsUnit, d.geom.OH-first)
		x := d.x.load(w, slotA, d.srcX, block, first, lines)
		dy := d.dy.load(w, slotB, d.srcDY, block, first, lines)
		d.multiply(sums, x, dy, lines)
	}
}

// multiply adds the products of some lines.
func (d *directGradWeight[T]) multiply(sums, x, dy []T, lines int) {
	loops, side := d.x.loops, d.x.loops.images
	next, plane := d.x.stepW*side, d.dy.height*d.dy.width*side
	skip := d.x.lineNext() - d.geom.OW*next
	for i := 0; i < len(d.offsets); i += d.taps {
		offsets := d.offsets[i:min(i+d.taps, len(d.offsets))]
		for o := 0; o < d.geom.OutC; o += d.outs {
			outs := min(d.outs, d.geom.OutC-o)
			loops.dots[len(offsets)-1][outs-1](lines, d.geom.OW, offsets, x, next, skip, dy[o*plane:], plane,
				sums[(i*d.geom.OutC+len(offsets)*o)*loops.lanes:])
		}
	}
}

// putUnit adds up the parts and lanes of a tile of taps, in order.
func (d *directGradWeight[T]) putUnit(_ *Worker, unit int) {
	lanes, outC := d.x.loops.lanes, d.geom.OutC
	first := unit * d.taps
	taps := min(d.taps, len(d.offsets)-first)
	lo, hi := first*outC*lanes, (first+taps)*outC*lanes
	total := d.sums(0)[lo:hi]
	for part := 1; part < d.parts; part++ {
		Add(total, total, d.sums(part)[lo:hi])
	}
	for o := 0; o < outC; o += d.outs {
		outs := min(d.outs, outC-o)
		for i := range taps {
			for j := range outs {
				var sum T
				for _, v := range total[(taps*o+i*outs+j)*lanes:][:lanes] {
					sum += v
				}
				d.dw[(o+j)*len(d.offsets)+first+i] = sum
			}
		}
	}
}
