package kernel

import (
	"fmt"
	"slices"
)

// Convolutions of which few weights are kept. Images lie side by side, some
// pixels of a row after another, so that what a kept weight reads for
// sparseSamples values of y is one piece of memory, wherever its place in the
// kernel: each kept weight is one number times such a piece, as in SparseMatMul.

const (
	// sparseChunk bounds what is laid out side by side at once, so that it stays in a cache.
	sparseChunk = 1 << 20
	// sparsePixels is how many pixels of each image are brought side by side at
	// once; rows of sparseWide and more go to their place one by one.
	sparsePixels = 256
	sparseWide   = 16
	// sparseBand is how many elements a unit sums up before it writes images.
	sparseBand = 1 << 15
	// sparseRun is how many weights a row of a block of channels should have, so
	// that what the block reads stays in the first-level cache, and sums are not
	// written too often.
	sparseRun = 14
	// sparseTiles is how many tiles are worth to have sums of their own.
	sparseTiles = 8
)

// sparsePlanes is how images [N channels h w] lie side by side, with zeros around:
//
//	[N/lanes channels phases rows cols lanes]
//
// A phase has the pixels of one remainder of the steps: (y, x) lies at row
// (y+top)/stepH and column (x+left)/stepW of phase (y+top)%stepH*stepW + (x+left)%stepW.
type sparsePlanes struct {
	n, channels, h, w int
	lanes             int
	stepH, stepW      int
	top, left         int
	rows, cols        int
	slots             []int // of each phase, -1 for those that nothing reads
	used              int
}

func (p *sparsePlanes) plane() int  { return p.rows * p.cols * p.lanes }
func (p *sparsePlanes) block() int  { return p.channels * p.used * p.plane() }
func (p *sparsePlanes) blocks() int { return ceilDiv(p.n, p.lanes) }

// place is where channel c of a phase begins in its block, at a row and column.
func (p *sparsePlanes) place(c, phase, row, col int) int {
	return (c*p.used+p.slots[phase])*p.plane() + (row*p.cols+col)*p.lanes
}

// use gives phases their slots.
func (p *sparsePlanes) use(phase int) {
	if p.slots == nil {
		p.slots = slices.Repeat([]int{-1}, p.stepH*p.stepW)
	}
	if p.slots[phase] < 0 {
		p.slots[phase] = p.used
		p.used++
	}
}

// sparseFill lays out one channel of a block of images.
func sparseFill[T Float](tl *tiling[T], w *Worker, p *sparsePlanes, src []T, block, channel int, dst []T) {
	images, image := min(p.lanes, p.n-block*p.lanes), p.channels*p.h*p.w
	src = src[block*p.lanes*image+channel*p.h*p.w:]
	dst = dst[channel*p.used*p.plane():][:p.used*p.plane()]
	if images < p.lanes {
		clear(dst)
	} else {
		sparseBorder(p, dst)
	}
	together := min(max(sparsePixels/p.w, 1), p.h)
	switch first, end := p.inside(0); {
	case p.stepH*p.stepW == 1 && p.cols == p.w && p.rows == p.h:
		for y := 0; y < p.h; y += together {
			tl.transpose(images, min(together, p.h-y)*p.w, src[y*p.w:], image, dst[y*p.w*p.lanes:], p.lanes)
		}
	case p.stepW == 1 && p.w >= sparseWide && first < end:
		for y := range p.h {
			i, slot := (y+p.top)/p.stepH, p.slots[(y+p.top)%p.stepH]
			if i < p.rows && slot >= 0 {
				tl.transpose(images, end-first, src[y*p.w+first-p.left:], image, dst[slot*p.plane()+(i*p.cols+first)*p.lanes:], p.lanes)
			}
		}
	default:
		band := scratchOf[T](w, slotA, together*p.w*p.lanes)
		if images < p.lanes {
			clear(band)
		}
		for y := 0; y < p.h; y += together {
			rows := min(together, p.h-y)
			tl.transpose(images, rows*p.w, src[y*p.w:], image, band, p.lanes)
			for i := range rows {
				sparseRow(p, y+i, band[i*p.w*p.lanes:], dst)
			}
		}
	}
}

// inside is what columns of a phase's plane hold pixels.
func (p *sparsePlanes) inside(phase int) (first, end int) {
	s := phase % p.stepW
	first = max(ceilDiv(p.left-s, p.stepW), 0)
	return min(first, p.cols), max(min(p.cols, ceilDiv(p.w+p.left-s, p.stepW)), min(first, p.cols))
}

// sparseBorder clears what no pixel is at.
func sparseBorder[T Float](p *sparsePlanes, dst []T) {
	for phase, slot := range p.slots {
		if slot < 0 {
			continue
		}
		first, end := p.inside(phase)
		for i := range p.rows {
			row := dst[slot*p.plane()+i*p.cols*p.lanes:][:p.cols*p.lanes]
			if y := i*p.stepH + phase/p.stepW - p.top; y < 0 || y >= p.h {
				clear(row)
				continue
			}
			clear(row[:first*p.lanes])
			clear(row[end*p.lanes:])
		}
	}
}

// sparseRow copies row y of the images, [w lanes], to its phases.
func sparseRow[T Float](p *sparsePlanes, y int, row, dst []T) {
	i := (y + p.top) / p.stepH
	if i >= p.rows {
		return
	}
	for s := range p.stepW {
		phase := (y+p.top)%p.stepH*p.stepW + s
		slot := p.slots[phase]
		if slot < 0 {
			continue
		}
		first, end := p.inside(phase)
		to, from := dst[slot*p.plane()+(i*p.cols+first)*p.lanes:], (first*p.stepW+s-p.left)*p.lanes
		if p.stepW == 1 {
			copy(to[:(end-first)*p.lanes], row[from:])
			continue
		}
		for j := range end - first {
			copy(to[j*p.lanes:(j+1)*p.lanes], row[from+j*p.stepW*p.lanes:])
		}
	}
}

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

// sparseLanes is how many images to bring side by side, so that few lanes are empty.
func sparseLanes(n, width int) int {
	best, least := 0, 0
	for lanes := pickLanes; lanes <= sparseSamples; lanes *= 2 {
		if cost := roundUp(n, lanes) * roundUp(width, sparseSamples/lanes); best == 0 || cost < least {
			best, least = lanes, cost
		}
	}
	return best
}

// weightPlace is the place of a kept weight w[o][c][kh][kw], c counted through all groups.
type weightPlace struct{ o, c, kh, kw int }

// places checks the numbers of kept weights.
func (g *ConvGeom) places(kept []int64) []weightPlace {
	channels := g.C / g.Group
	list := make([]weightPlace, len(kept))
	for i, at := range kept {
		if at < 0 || at >= int64(g.wSize()) || i > 0 && at <= kept[i-1] {
			panic(fmt.Sprintf("kernel: kept weight %d of %d is number %d", i, g.wSize(), at))
		}
		rest := int(at)
		p := weightPlace{kw: rest % g.KW, kh: rest / g.KW % g.KH}
		rest /= g.KW * g.KH
		p.o = rest / channels
		p.c = p.o/(g.OutC/g.Group)*channels + rest%channels
		list[i] = p
	}
	return list
}

// sparseInput is how a convolution reads x, and the taps of its kept weights.
func (g *ConvGeom) sparseInput(kept []int64, lanes int) (sparsePlanes, []sparseTap) {
	p := sparsePlanes{
		n: g.N, channels: g.C, h: g.H, w: g.W, lanes: lanes, stepH: g.StrideH, stepW: g.StrideW, top: g.PadT, left: g.PadL,
		rows: g.OH + (g.KH-1)*g.DilH/g.StrideH, cols: roundUp(g.OW, sparseSamples/lanes) + (g.KW-1)*g.DilW/g.StrideW,
	}
	phase := func(t weightPlace) int {
		return t.kh*g.DilH%g.StrideH*g.StrideW + t.kw*g.DilW%g.StrideW
	}
	places := g.places(kept)
	p.use(0)
	for _, t := range places {
		p.use(phase(t))
	}
	taps := make([]sparseTap, len(kept))
	for i, t := range places {
		taps[i] = sparseTap{row: t.o, channel: t.c, at: p.place(t.c, phase(t), t.kh*g.DilH/g.StrideH, t.kw*g.DilW/g.StrideW)}
	}
	return p, taps
}

// sparseGradient is how the gradient by the input reads dy. Pixel h of x at
// remainder r of h+PadT reads row (h+PadT-kh*DilH)/StrideH, for kh of the same remainder.
func (g *ConvGeom) sparseGradient(kept []int64, lanes int) (sparsePlanes, []sparseTap) {
	top, left := (g.KH-1)*g.DilH/g.StrideH, (g.KW-1)*g.DilW/g.StrideW
	last := (g.W - 1 + g.PadL) / g.StrideW
	p := sparsePlanes{
		n: g.N, channels: g.OutC, h: g.OH, w: g.OW, lanes: lanes, stepH: 1, stepW: 1, top: top, left: left,
		rows: (g.H-1+g.PadT)/g.StrideH + top + 1, cols: last + left + sparseSamples/lanes,
	}
	p.use(0)
	taps := make([]sparseTap, len(kept))
	for i, t := range g.places(kept) {
		h, w := t.kh*g.DilH, t.kw*g.DilW
		taps[i] = sparseTap{
			phase: h%g.StrideH*g.StrideW + w%g.StrideW, row: t.c, channel: t.o,
			at: p.place(t.o, 0, top-h/g.StrideH, left-w/g.StrideW),
		}
	}
	return p, taps
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

// SparseConvGradWeight is the prepared gradient of the kept weights of a
// convolution.
type SparseConvGradWeight[T Float] struct {
	Geom ConvGeom

	loops  sparseLoops[T]
	tiling *tiling[T]
	x, dy  sparsePlanes
	lists  sparseLists
	parts  int // of the pixels of a chunk, which have sums of their own
	rows   int // channels of a unit
	chunk  int // blocks at once

	common                    *Worker
	first, count              int // blocks of the chunk
	xs, dys, values           []T
	filling, summing, joining func(w *Worker, unit int)
}

// NewSparseConvGradWeight prepares the gradient of the weights that kept numbers,
// see NewSparseConv.
func NewSparseConvGradWeight[T Float](g ConvGeom, kept []int64) *SparseConvGradWeight[T] {
	return newSparseConvGradWeight(sparseAvailable[T]()[0], g, kept)
}

func newSparseConvGradWeight[T Float](loops sparseLoops[T], g ConvGeom, kept []int64) *SparseConvGradWeight[T] {
	g = g.withDefaults()
	lanes := sparseLanes(g.N, g.OW)
	x, taps := g.sparseInput(kept, lanes)
	s := &SparseConvGradWeight[T]{
		Geom: g, loops: loops, tiling: tilings[T]()[0], x: x,
		dy: sparsePlanes{
			n: g.N, channels: g.OutC, h: g.OH, w: g.OW, lanes: lanes, stepH: 1, stepW: 1,
			rows: g.OH, cols: roundUp(g.OW, sparseSamples/lanes),
		},
		lists: newSparseLists(1, g.OutC, g.C, taps),
	}
	s.dy.use(0)
	s.chunk = even(x.blocks(), sparseChunk/(x.block()+s.dy.block()))
	tiles := s.chunk * g.OH * s.dy.cols * lanes / sparseSamples
	s.parts = max(min(2*enoughUnits, s.chunk*g.OH, tiles/sparseTiles, sparseChunk/max(len(kept), 1)), 1)
	s.rows = even(g.OutC, ceilDiv(g.OutC, ceilDiv(2*enoughUnits, s.parts)))
	s.filling, s.summing, s.joining = s.fillUnit, s.sumUnit, s.joinUnit
	return s
}

// Run computes the gradient of the values from x and dy.
func (s *SparseConvGradWeight[T]) Run(t *Team, x, dy, values []T) {
	need(len(x), s.Geom.xSize(), "x")
	need(len(dy), s.Geom.ySize(), "dy")
	need(len(values), len(s.lists.at), "values")
	if s.Geom.N == 0 || len(values) == 0 {
		clear(values)
		return
	}
	s.common = t.borrow()
	s.xs, s.dys, s.values = x, dy, values
	scratchOf[T](s.common, slotC, s.parts*len(values))
	for s.first = 0; s.first < s.x.blocks(); s.first += s.chunk {
		s.count = min(s.chunk, s.x.blocks()-s.first)
		scratchOf[T](s.common, slotA, s.count*s.x.block())
		scratchOf[T](s.common, slotB, s.count*s.dy.block())
		t.For(s.count*(s.x.channels+s.dy.channels), s.filling)
		t.For(s.parts*ceilDiv(s.dy.channels, s.rows), s.summing)
	}
	t.For(unitsOf(len(values)), s.joining)
	t.giveBack(s.common)
	s.common, s.xs, s.dys, s.values = nil, nil, nil, nil
}

func (s *SparseConvGradWeight[T]) fillUnit(w *Worker, unit int) {
	i, c := unit/(s.x.channels+s.dy.channels), unit%(s.x.channels+s.dy.channels)
	if c < s.x.channels {
		sparseFill(s.tiling, w, &s.x, s.xs, s.first+i, c, s.xBlock(i))
		return
	}
	sparseFill(s.tiling, w, &s.dy, s.dys, s.first+i, c-s.x.channels, s.dyBlock(i))
}

func (s *SparseConvGradWeight[T]) xBlock(i int) []T {
	return scratchOf[T](s.common, slotA, (i+1)*s.x.block())[i*s.x.block():]
}

func (s *SparseConvGradWeight[T]) dyBlock(i int) []T {
	return scratchOf[T](s.common, slotB, (i+1)*s.dy.block())[i*s.dy.block():]
}

// sumsOf are the sums of a part.
func (s *SparseConvGradWeight[T]) sumsOf(part int) []T {
	n := len(s.values)
	return scratchOf[T](s.common, slotC, s.parts*n)[part*n : (part+1)*n]
}

// sumUnit adds some rows of pixels to the sums of some channels' weights.
func (s *SparseConvGradWeight[T]) sumUnit(_ *Worker, unit int) {
	part, o0 := unit%s.parts, unit/s.parts*s.rows
	o1, sums := min(o0+s.rows, s.dy.channels), s.sumsOf(part)
	if s.first == 0 {
		for b := range s.lists.blocks {
			list := s.lists.of(0, b, o0, o1)
			clear(sums[list[0]:list[o1-o0]])
		}
	}
	total := s.count * s.dy.h
	for b := range s.lists.blocks { // outermost, so that the lists and sums of one stay in a cache
		for row := part * total / s.parts; row < (part+1)*total/s.parts; row++ {
			s.row(row, b, o0, o1, sums)
		}
	}
}

// row adds the products of a row of some channels of dy with a block of channels of x.
func (s *SparseConvGradWeight[T]) row(row, b, o0, o1 int, sums []T) {
	list, lanes := s.lists.of(0, b, o0, o1), s.x.lanes
	x, dy := s.xBlock(row / s.dy.h)[row%s.dy.h*s.x.cols*lanes:], s.dyBlock(row / s.dy.h)[s.dy.place(o0, 0, row%s.dy.h, 0):]
	for j := 0; j < s.dy.cols*lanes; j += sparseSamples {
		s.loops.dots(list, s.lists.at, x[j:], dy[j:], s.dy.plane(), sums)
	}
}

// joinUnit adds up the parts.
func (s *SparseConvGradWeight[T]) joinUnit(_ *Worker, unit int) {
	lo, hi := unitRange(unit, len(s.values))
	for i := lo; i < hi; i++ {
		var sum T
		for p := range s.parts {
			sum += s.sumsOf(p)[i]
		}
		s.values[s.lists.order[i]] = sum
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
