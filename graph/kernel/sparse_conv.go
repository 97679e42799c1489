package kernel

import "slices"

// Convolutions of which few weights are kept. Images lie side by side, some
// pixels of a row after another, so that what a kept weight reads for
// sparseSamples values of y is one piece of memory, wherever its place in the
// kernel: each kept weight is one number times such a piece, as in SparseMatMul.

const (
	// sparseBand is how many elements a unit sums up before it writes images.
	sparseBand = 1 << 15
	// sparseRun is how many weights a row of a block of channels should have, so
	// that what the block reads stays in the first-level cache, and sums are not
	// written too often.
	sparseRun = 14
)

// sparseLists are the kept weights that make up each row of a result: by phase
// of the result, then by blocks of channels that are read, then by row.
type sparseLists struct {
	blocks, rows int
	start        []int32 // of each list in at, and the end
	at           []int32 // where each reads, from the place of the pixel
	order        []int32 // which of the kept weights it is
	sorted       bool    // order counts up
}

// sparseTap is a kept weight on its way into a list.
type sparseTap struct{ phase, row, channel, at int }

// newSparseLists sorts taps.
func newSparseLists(phases, rows, channels int, taps []sparseTap) sparseLists {
	block := even(channels, sparseRun*rows*channels/max(len(taps), 1))
	l := sparseLists{blocks: ceilDiv(channels, block), rows: rows}
	list := func(t sparseTap) int { return (t.phase*l.blocks+t.channel/block)*rows + t.row }
	l.start = make([]int32, phases*l.blocks*rows+1)
	l.order, l.at = make([]int32, len(taps)), make([]int32, len(taps))
	for _, t := range taps {
		l.start[list(t)+1]++
	}
	for i := range len(l.start) - 1 {
		l.start[i+1] += l.start[i]
	}
	next := slices.Clone(l.start)
	for i, t := range taps {
		to := next[list(t)]
		next[list(t)]++
		l.order[to], l.at[to] = int32(i), int32(t.at)
	}
	l.sorted = slices.IsSorted(l.order)
	return l
}

// of are the starts of the lists of some rows, and the end of the last.
func (l *sparseLists) of(phase, block, first, end int) []int32 {
	i := (phase*l.blocks + block) * l.rows
	return l.start[i+first : i+end+1]
}

// SparseConv is a prepared convolution of which few weights are kept, or its
// gradient by the input.
type SparseConv[T Float] struct {
	Geom ConvGeom

	loops    sparseLoops[T]
	tiling   *tiling[T]
	src      sparsePlanes
	dst      sparsePlanes // how pixels of the result read src: its steps, top and left
	lists    sparseLists
	zeros    []T // in the place of a bias
	pixels   int // of a tile
	pitch    int // pixels of a row while they are side by side
	band     int // rows of a unit
	channels int // of a unit
	chunk    int // blocks at once

	common                        *Worker
	first                         int // block of the chunk
	x, values, bias, y            []T
	filling, sorting, multiplying func(w *Worker, unit int)
}

// NewSparseConv prepares a convolution. Of w [OutC C/Group KH KW] the elements
// numbered by kept, in rising order, are kept; they are what Run takes as values.
func NewSparseConv[T Float](g ConvGeom, kept []int64) *SparseConv[T] {
	return newSparseConv(sparseAvailable[T]()[0], g, kept)
}

func newSparseConv[T Float](loops sparseLoops[T], g ConvGeom, kept []int64) *SparseConv[T] {
	g = g.withDefaults()
	src, taps := g.sparseInput(kept, sparseLanes(g.N, g.OW))
	dst := sparsePlanes{n: g.N, channels: g.OutC, h: g.OH, w: g.OW, stepH: 1, stepW: 1}
	return sparseConvOf(loops, g, src, dst, taps)
}

// NewSparseConvGradInput prepares the gradient of the convolution by its input:
// Run takes dy for x and writes dx for y.
func NewSparseConvGradInput[T Float](g ConvGeom, kept []int64) *SparseConv[T] {
	return newSparseConvGradInput(sparseAvailable[T]()[0], g, kept)
}

func newSparseConvGradInput[T Float](loops sparseLoops[T], g ConvGeom, kept []int64) *SparseConv[T] {
	g = g.withDefaults()
	src, taps := g.sparseGradient(kept, sparseLanes(g.N, ceilDiv(g.W, g.StrideW)))
	dst := sparsePlanes{n: g.N, channels: g.C, h: g.H, w: g.W, stepH: g.StrideH, stepW: g.StrideW, top: g.PadT, left: g.PadL}
	return sparseConvOf(loops, g, src, dst, taps)
}

func sparseConvOf[T Float](loops sparseLoops[T], g ConvGeom, src, dst sparsePlanes, taps []sparseTap) *SparseConv[T] {
	s := &SparseConv[T]{
		Geom: g, loops: loops, tiling: tilings[T]()[0], src: src, dst: dst,
		lists: newSparseLists(dst.stepH*dst.stepW, dst.channels, src.channels, taps), pixels: sparseSamples / src.lanes,
	}
	s.zeros = make([]T, dst.channels)
	s.pitch = dst.w
	if dst.stepW == 1 {
		s.pitch = roundUp(dst.w, s.pixels)
	}
	s.band = even(dst.h, max(32/s.pitch, 1))
	s.chunk = even(src.blocks(), sparseChunk/max(src.block(), 1))
	bands := s.chunk * ceilDiv(dst.h, s.band)
	s.channels = even(dst.channels, min(max(sparseBand/(s.band*s.pitch*src.lanes), 1), max(ceilDiv(dst.channels*bands, enoughUnits), pickLanes)))
	s.filling, s.sorting, s.multiplying = s.fillUnit, s.sortUnit, s.productUnit
	return s
}

// Run computes y; bias, one number per channel of y, may be nil.
func (s *SparseConv[T]) Run(t *Team, x, values, bias, y []T) {
	need(len(x), s.src.n*s.src.channels*s.src.h*s.src.w, "x")
	need(len(values), len(s.lists.at), "values")
	need(len(y), s.dst.n*s.dst.channels*s.dst.h*s.dst.w, "y")
	if bias != nil {
		need(len(bias), s.dst.channels, "bias")
	}
	s.x, s.values, s.bias, s.y = x, values, bias, y
	if bias == nil {
		s.bias = s.zeros
	}
	s.common = t.borrow()
	if !s.lists.sorted {
		scratchOf[T](s.common, slotB, len(values))
		t.For(unitsOf(len(values)), s.sorting)
		s.values = scratchOf[T](s.common, slotB, len(values))
	}
	for s.first = 0; s.first < s.src.blocks(); s.first += s.chunk {
		count := min(s.chunk, s.src.blocks()-s.first)
		scratchOf[T](s.common, slotA, count*s.src.block())
		t.For(count*s.src.channels, s.filling)
		t.For(count*ceilDiv(s.dst.h, s.band)*ceilDiv(s.dst.channels, s.channels), s.multiplying)
	}
	t.giveBack(s.common)
	s.common, s.x, s.values, s.bias, s.y = nil, nil, nil, nil, nil
}

func (s *SparseConv[T]) sortUnit(_ *Worker, unit int) {
	sorted := scratchOf[T](s.common, slotB, len(s.values))
	lo, hi := unitRange(unit, len(s.values))
	for i, from := range s.lists.order[lo:hi] {
		sorted[lo+i] = s.values[from]
	}
}

// blockOf is a block of the chunk.
func (s *SparseConv[T]) blockOf(i int) []T {
	return scratchOf[T](s.common, slotA, (i+1)*s.src.block())[i*s.src.block():]
}

func (s *SparseConv[T]) fillUnit(w *Worker, unit int) {
	i := unit / s.src.channels
	sparseFill(s.tiling, w, &s.src, s.x, s.first+i, unit%s.src.channels, s.blockOf(i))
}

// productUnit computes some channels of some rows of a block.
func (s *SparseConv[T]) productUnit(w *Worker, unit int) {
	parts, bands := ceilDiv(s.dst.channels, s.channels), ceilDiv(s.dst.h, s.band)
	i, y0, c0 := unit/(parts*bands), unit/parts%bands*s.band, unit%parts*s.channels
	y1, c1 := min(y0+s.band, s.dst.h), min(c0+s.channels, s.dst.channels)
	lanes := s.src.lanes
	size := (y1 - y0) * s.pitch * lanes
	sums := scratchOf[T](w, slotA, (c1-c0)*size)
	for y := y0; y < y1; y++ {
		s.row(w, s.blockOf(i), y, c0, c1, sums[(y-y0)*s.pitch*lanes:], size)
	}
	block := s.first + i
	images, plane := min(lanes, s.dst.n-block*lanes), s.dst.h*s.dst.w
	for c := c0; c < c1; c++ {
		from, to := sums[(c-c0)*size:], s.y[(block*lanes*s.dst.channels+c)*plane:]
		if s.pitch == s.dst.w {
			s.tiling.transpose((y1-y0)*s.dst.w, images, from, lanes, to[y0*s.dst.w:], s.dst.channels*plane)
			continue
		}
		for y := y0; y < y1; y++ {
			s.tiling.transpose(s.dst.w, images, from[(y-y0)*s.pitch*lanes:], lanes, to[y*s.dst.w:], s.dst.channels*plane)
		}
	}
}

// row computes row y of some channels, which lie size apart in sums.
func (s *SparseConv[T]) row(w *Worker, src []T, y, c0, c1 int, sums []T, size int) {
	d, lanes := &s.dst, s.src.lanes
	var apart []T // a tile of each channel, where the steps keep its pixels apart
	if d.stepW > 1 {
		apart = scratchOf[T](w, slotB, (c1-c0)*sparseSamples)
	}
	for phase := (y + d.top) % d.stepH * d.stepW; ; phase++ {
		first := (phase - d.left%d.stepW + d.stepW) % d.stepW
		count := ceilDiv(d.w-first, d.stepW)
		from := ((y+d.top)/d.stepH*s.src.cols + (first+d.left)/d.stepW) * lanes
		for j := 0; j < count; j += s.pixels {
			if apart == nil {
				s.tile(src[from+j*lanes:], phase, c0, c1, sums[j*lanes:], size)
				continue
			}
			s.tile(src[from+j*lanes:], phase, c0, c1, apart, sparseSamples)
			for c := range c1 - c0 {
				for q := range min(s.pixels, count-j) {
					to := c*size + (first+(j+q)*d.stepW)*lanes
					copy(sums[to:to+lanes], apart[c*sparseSamples+q*lanes:])
				}
			}
		}
		if (phase+1)%d.stepW == 0 {
			return
		}
	}
}

// tile computes sparseSamples elements of some channels, which lie size apart in sums.
func (s *SparseConv[T]) tile(src []T, phase, c0, c1 int, sums []T, size int) {
	bias := s.bias[c0:c1]
	for b := range s.lists.blocks {
		s.loops.combine(s.lists.of(phase, b, c0, c1), s.lists.at, s.values, src, sums, size, bias)
		bias = nil
	}
}

// What a product and an element that is laid out cost the three kernels of a
// step, as measured, relative to a product of a convolution with Winograd's
// transforms.
const (
	sparseDense = 2.4 // a product of a convolution without transforms
	sparseStep  = 2   // a product of one with the transforms of stride 2
	sparseKept  = 5   // a product with a kept weight
	sparseMoved = 50  // an element of x or y
	sparseGain  = 0.85

	sparseLargest = 1 << 24 // elements of a block: far more than a cache holds
)

// SparsePays tells whether the convolution and its gradients are clearly faster
// with so many weights kept than with all.
func (g ConvGeom) SparsePays(kept int) bool {
	g = g.withDefaults()
	lanes := sparseLanes(g.N, g.OW)
	if g.N == 0 || g.depthwise() || lanes*max(g.C*g.H*g.W, g.OutC*g.OH*g.OW) > sparseLargest {
		return false
	}
	c, s := correlationOf(tilings[float32]()[0], &g), g.forward()
	dense := float64(c.products(&s))
	switch step, _ := tapsOf3x3(&s); {
	case !useWinograd(&c, &s, WinogradWherePays):
		dense *= sparseDense
	case step == 2:
		dense *= sparseStep
	}
	elements := roundUp(g.N, lanes) * g.OH * roundUp(g.OW, sparseSamples/lanes)
	return sparseKept*float64(kept)*float64(elements)+sparseMoved*float64(g.xSize()+g.ySize()) <= sparseGain*dense
}
