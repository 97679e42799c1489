package kernel

// sparseTiles is how many tiles are worth to have sums of their own.
const sparseTiles = 8

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
