package kernel

// ConvSampleSquares is the prepared sum, over the images of a batch, of the
// squared gradient of a convolution by its weights, with the gradient itself:
//
//	squares = sum over n of dw[n]^2    total = sum over n of dw[n]
//
// where dw[n] is ConvGradWeight of image n alone. No dw[n] is ever in memory as a
// whole: a unit owns a block of the weights and goes through the images.
type ConvSampleSquares[T Float] struct {
	grad  *ConvGradWeight[T] // one image at a time
	parts int                // that the images are cut into
	sums  []T                // [part][2][weights] when parts > 1

	scattered *scatteredSquares[T] // instead, where dy lets it; nil: it never does

	squares, total []T
	body, add      func(w *Worker, unit int)
}

const (
	// momentElements bounds the gradient that a unit holds with its two sums.
	momentElements = 24 << 10
	// momentStrip is how many of them are squared at once.
	momentStrip = 1 << 10
)

// NewConvSampleSquares prepares the sums for the convolution with geometry g.
func NewConvSampleSquares[T Float](g ConvGeom) *ConvSampleSquares[T] {
	return newConvSampleSquares(tilings[T]()[0], g)
}

func newConvSampleSquares[T Float](tl *tiling[T], g ConvGeom) *ConvSampleSquares[T] {
	g = g.withDefaults()
	s := g.forward()
	cg := &ConvGradWeight[T]{
		Geom: g, tiling: tl, channels: g.C / g.Group, outs: g.OutC / g.Group, taps: len(s.taps), batches: g.N,
	}
	cg.width = panelWidth(cg.outs, tl.cols)
	cg.whole = newBatch(&s, 1, g.C*g.H*g.W)
	cg.chunk = min(max(dyElements/max(cg.outs, 1)&^(pickLanes-1), 64), maxChunk, roundUp(cg.whole.pixels, pickLanes))
	fit := min(sampleElements/cg.chunk, momentElements/max(cg.outs, 1)) / cg.taps
	cg.planes = even(cg.channels, max(fit, 1))
	q := &ConvSampleSquares[T]{
		grad: cg, parts: min(ceilDiv(enoughUnits, cg.blocks()), max(g.N, 1)), scattered: newScatteredSquares(tl, &g),
	}
	if q.parts > 1 {
		q.sums = alignedSlice[T](q.parts * 2 * g.wSize())
	}
	q.body, q.add = q.unit, q.addParts
	return q
}

// Run computes both sums.
func (q *ConvSampleSquares[T]) Run(t *Team, x, dy, squares, total []T) {
	cg := q.grad
	need(len(x), cg.Geom.xSize(), "x")
	need(len(dy), cg.Geom.ySize(), "dy")
	need(len(squares), cg.Geom.wSize(), "squares")
	need(len(total), cg.Geom.wSize(), "total")
	if q.scattered.run(t, x, dy, squares, total) {
		return
	}
	cg.x, cg.dy, q.squares, q.total = x, dy, squares, total
	t.For(cg.blocks()*q.parts, q.body)
	if q.parts > 1 {
		t.For(unitsOf(cg.Geom.wSize()), q.add)
	}
	cg.x, cg.dy, q.squares, q.total = nil, nil, nil, nil
}

// addParts adds the parts of some elements in order.
func (q *ConvSampleSquares[T]) addParts(_ *Worker, unit int) {
	size := q.grad.Geom.wSize()
	lo, hi := unitRange(unit, size)
	for i, dst := range [][]T{q.squares, q.total} {
		copy(dst[lo:hi], q.sums[i*size+lo:])
		for part := 1; part < q.parts; part++ {
			from := (2*part + i) * size
			Add(dst[lo:hi], dst[lo:hi], q.sums[from+lo:from+hi])
		}
	}
}

// unit sums one part of the images for one block of the weights.
func (q *ConvSampleSquares[T]) unit(w *Worker, unit int) {
	cg := q.grad
	blocks := cg.blocks()
	block, part := unit%blocks, unit/blocks
	perGroup := blocks / cg.Geom.Group
	group, channel := block/perGroup, block%perGroup*cg.planes
	planes := min(cg.planes, cg.channels-channel)
	rows := planes * cg.taps

	all := scratchOf[T](w, slotC, 3*rows*cg.outs+momentStrip)
	result, squares, total, strip := all[:rows*cg.outs], all[rows*cg.outs:2*rows*cg.outs], all[2*rows*cg.outs:3*rows*cg.outs], all[3*rows*cg.outs:]
	clear(squares)
	clear(total)
	for n := part * cg.batches / q.parts; n < (part+1)*cg.batches/q.parts; n++ {
		flags := 0
		for at := 0; at < cg.whole.pixels; at += cg.chunk {
			count := min(cg.chunk, cg.whole.pixels-at)
			samples := cg.sample(w, &cg.whole, n, at, count, group*cg.channels+channel, planes)
			cg.multiply(samples, cg.gradients(w, n, at, count, group*cg.outs), rows, count, result, flags)
			flags = addC
		}
		addMoments(squares, total, result, strip)
	}
	k, size := cg.channels*cg.taps, cg.Geom.wSize()
	toSquares, toTotal := q.squares, q.total
	if q.parts > 1 {
		toSquares, toTotal = q.sums[2*part*size:], q.sums[(2*part+1)*size:]
	}
	first := group*cg.outs*k + channel*cg.taps
	cg.tiling.transpose(rows, cg.outs, squares, cg.outs, toSquares[first:], k)
	cg.tiling.transpose(rows, cg.outs, total, cg.outs, toTotal[first:], k)
}

// addMoments adds the squares of g to squares and g to total, a strip at a time
// so that all stays near.
func addMoments[T Float](squares, total, g, strip []T) {
	for at := 0; at < len(g); at += len(strip) {
		part := g[at:min(at+len(strip), len(g))]
		to := at + len(part)
		Mul(strip[:len(part)], part, part)
		Add(squares[at:to], squares[at:to], strip[:len(part)])
		Add(total[at:to], total[at:to], part)
	}
}
