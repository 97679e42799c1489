package kernel

// ConvGradWeight is the prepared gradient of a convolution by its weights,
//
//	dw[o][c][kh][kw] = sum over n, oh, ow of
//	    dy[n][o][oh][ow] * x[n][c][oh*StrideH - PadT + kh*DilH][ow*StrideW - PadL + kw*DilW]
//
// It is computed, per group, as a matrix product of samples of x
// [channels*taps, pixels] with dy [pixels, outs], summed over chunks of pixels.
// Where the result is small, the images are cut into parts that are summed
// apart and then added in order; how many follows from the sizes.
type ConvGradWeight[T Float] struct {
	Geom ConvGeom

	tiling      *tiling[T]
	channels    int   // of x, per group
	outs        int   // channels of y, per group
	taps        int   // kernel elements
	whole, rest batch // a full batch of images, and the last one
	batches     int
	chunk       int // pixels summed at once
	width       int // of a panel of dy
	planes      int // channels of x that a unit owns
	parts       int // that the batches are cut into
	sums        []T // [part][OutC][channels*taps] when parts > 1

	winograd  *winogradGradWeight[T]  // instead of the rest, where that is faster
	direct    *directGradWeight[T]    // likewise
	depthwise *depthwise[T]           // likewise
	flat      *Gemm[T]                // likewise
	scattered *scatteredGradWeight[T] // likewise, where dy lets it; nil: it never does

	x, dy, dw   []T
	body, total func(w *Worker, unit int)
}

const (
	// dyElements and sampleElements bound what a unit lays out of dy and x at
	// once, resultElements the sums that it keeps: together the second-level
	// cache.
	dyElements     = 64 << 10
	sampleElements = 96 << 10
	resultElements = 80 << 10
	// maxChunk bounds the pixels of a chunk: longer ones gain nothing.
	maxChunk = 256
	// enoughUnits is how many units keep a machine busy.
	enoughUnits = 8
)

// NewConvGradWeight prepares the gradient of the convolution with geometry g.
func NewConvGradWeight[T Float](g ConvGeom, opt ConvOptions) *ConvGradWeight[T] {
	return newConvGradWeight(tilings[T]()[0], g, opt)
}

func newConvGradWeight[T Float](tl *tiling[T], g ConvGeom, opt ConvOptions) *ConvGradWeight[T] {
	g = g.withDefaults()
	if depthwisePays(&g) {
		return &ConvGradWeight[T]{Geom: g, depthwise: newDepthwiseGradWeight(tl, &g)}
	}
	if g.flat() {
		return &ConvGradWeight[T]{Geom: g, flat: newFlatGradWeight(tl, &g)}
	}
	s := g.forward()
	if useWinogradGrad(tl, &g, &s, opt.Winograd) {
		return &ConvGradWeight[T]{Geom: g, winograd: newWinogradGradWeight(tl, &g, &s)}
	}
	if directGradPays(tl, &g, &s) {
		return &ConvGradWeight[T]{Geom: g, direct: newDirectGradWeight(tl, &g, &s), scattered: newScatteredGradWeight(tl, &g)}
	}
	cg := &ConvGradWeight[T]{
		Geom: g, tiling: tl, channels: g.C / g.Group, outs: g.OutC / g.Group, taps: len(s.taps),
		scattered: newScatteredGradWeight(tl, &g),
	}
	cg.width = panelWidth(cg.outs, tl.cols)
	cg.chunk = min(max(dyElements/max(cg.outs, 1)&^(pickLanes-1), 64), maxChunk)
	perBatch := min(max(cg.chunk/(g.OH*g.OW), 1), max(g.N, 1))
	cg.batches = ceilDiv(g.N, perBatch)
	cg.whole = newBatch(&s, perBatch, g.C*g.H*g.W)
	cg.rest = cg.whole
	if last := g.N - max(cg.batches-1, 0)*perBatch; last < perBatch {
		cg.rest = newBatch(&s, last, g.C*g.H*g.W)
	}
	cg.chunk = min(cg.chunk, roundUp(cg.whole.pixels, pickLanes))

	fit := min(sampleElements/cg.chunk, resultElements/max(cg.outs, 1)) / cg.taps
	cg.planes = even(cg.channels, max(fit, 1))
	if products := g.wSize() * g.N * g.OH * g.OW; products > 2*unitProducts && cg.blocks()*cg.batches < enoughUnits {
		cg.planes = min(cg.planes, ceilDiv(cg.channels*g.Group, enoughUnits)) // too few images to cut into parts
	}
	cg.parts = 1
	if products := g.wSize() * g.N * g.OH * g.OW; products > 2*unitProducts {
		cg.parts = min(ceilDiv(enoughUnits, cg.blocks()), max(cg.batches, 1))
	}
	if cg.parts > 1 {
		cg.sums = alignedSlice[T](cg.parts * g.wSize())
	}
	cg.body, cg.total = cg.unit, cg.addParts
	return cg
}

// blocks is how many blocks dw is cut into.
func (cg *ConvGradWeight[T]) blocks() int {
	return cg.Geom.Group * ceilDiv(cg.channels, cg.planes)
}

// Run computes dw.
func (cg *ConvGradWeight[T]) Run(t *Team, x, dy, dw []T) {
	need(len(x), cg.Geom.xSize(), "x")
	need(len(dy), cg.Geom.ySize(), "dy")
	need(len(dw), cg.Geom.wSize(), "dw")
	if cg.depthwise != nil {
		cg.depthwise.runGradWeight(t, x, dy, dw)
		return
	}
	if cg.flat != nil {
		cg.flat.Run(t, dy, x, dw)
		return
	}
	if cg.scattered.run(t, x, dy, dw) {
		return
	}
	if cg.direct != nil {
		cg.direct.run(t, x, dy, dw)
		return
	}
	if cg.winograd != nil {
		cg.winograd.run(t, x, dy, dw)
		return
	}
	cg.x, cg.dy, cg.dw = x, dy, dw
	t.For(cg.blocks()*cg.parts, cg.body)
	if cg.parts > 1 {
		t.For(unitsOf(cg.Geom.wSize()), cg.total)
	}
	cg.x, cg.dy, cg.dw = nil, nil, nil
}

// addParts adds the parts of some elements in order.
func (cg *ConvGradWeight[T]) addParts(_ *Worker, unit int) {
	size := cg.Geom.wSize()
	lo, hi := unitRange(unit, size)
	copy(cg.dw[lo:hi], cg.sums[lo:])
	for part := 1; part < cg.parts; part++ {
		Add(cg.dw[lo:hi], cg.dw[lo:hi], cg.sums[part*size+lo:part*size+hi])
	}
}

// unit sums one part of one block of dw.
func (cg *ConvGradWeight[T]) unit(w *Worker, unit int) {
	blocks := cg.blocks()
	block, part := unit%blocks, unit/blocks
	perGroup := blocks / cg.Geom.Group
	group, channel := block/perGroup, block%perGroup*cg.planes
	planes := min(cg.planes, cg.channels-channel)
	rows := planes * cg.taps

	result := scratchOf[T](w, slotC, rows*cg.outs)
	flags := 0
	for n := part * cg.batches / cg.parts; n < (part+1)*cg.batches/cg.parts; n++ {
		b := &cg.whole
		if n == cg.batches-1 {
			b = &cg.rest
		}
		for q := 0; q < b.pixels; q += cg.chunk {
			count := min(cg.chunk, b.pixels-q)
			samples := cg.sample(w, b, n, q, count, group*cg.channels+channel, planes)
			cg.multiply(samples, cg.gradients(w, n, q, count, group*cg.outs), rows, count, result, flags)
			flags = addC
		}
	}
	if flags == 0 { // no image at all
		clear(result)
	}
	k := cg.channels * cg.taps
	dw := cg.dw
	if cg.parts > 1 {
		dw = cg.sums[part*cg.Geom.wSize():]
	}
	cg.tiling.transpose(rows, cg.outs, result, cg.outs, dw[group*cg.outs*k+channel*cg.taps:], k)
}

// sample lays out what count pixels of a batch, from q on, read of some planes
// of x: [planes*taps][chunk].
func (cg *ConvGradWeight[T]) sample(w *Worker, b *batch, number, q, count, plane, planes int) []T {
	g := &cg.Geom
	samples := scratchOf[T](w, slotA, planes*cg.taps*cg.chunk)
	base := (number*cg.whole.images*g.C + plane) * g.H * g.W
	for at := 0; at < count; at += pickLanes {
		v := &b.vectors[(q+at)/pickLanes]
		cg.tiling.window(v.picks, cg.x, base+v.base, planes, g.H*g.W,
			samples[at:], cg.chunk, cg.taps*cg.chunk)
	}
	return samples
}

// gradients lays out dy for the same pixels: [panel of outs][pixel][width].
func (cg *ConvGradWeight[T]) gradients(w *Worker, number, q, count, plane int) []T {
	g, width := &cg.Geom, cg.width
	size := g.OH * g.OW
	packed := scratchOf[T](w, slotB, roundUp(cg.outs, width)*count)
	for at := 0; at < count; {
		image, pixel := number*cg.whole.images+(q+at)/size, (q+at)%size
		n := min(count-at, size-pixel)
		for o := 0; o < cg.outs; o += width {
			cg.tiling.transpose(min(width, cg.outs-o), n, cg.dy[(image*g.OutC+plane+o)*size+pixel:], size,
				packed[o*count+at*width:], width)
		}
		at += n
	}
	return packed
}

// multiply adds a chunk's products to the result [rows][outs].
func (cg *ConvGradWeight[T]) multiply(samples, gradients []T, rows, count int, result []T, flags int) {
	tl := cg.tiling
	step := even(rows, tl.rows)
	for i := 0; i < rows; i += step {
		height := min(step, rows-i)
		for o := 0; o < cg.outs; o += cg.width {
			cols := min(cg.width, cg.outs-o)
			tl.tile(height, cols)(count, samples[i*cg.chunk:], cg.chunk, 1, gradients[o*count:], cg.width,
				result[i*cg.outs+o:], cg.outs, cols, nil, flags)
		}
	}
}
