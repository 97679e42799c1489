package kernel

// winogradGradWeight computes the gradient of a 3 by 3 convolution by its
// weights with [winogradNear]'s or [stridedNear]'s transforms: tiles of x and of
// dy are transformed, and multiplied with each other over all tiles. Groups of
// tiles are either cut into parts, each of which has sums of its own that are
// added in order, or, where the sums are large or the groups few, worked on by all
// units, step by step.
type winogradGradWeight[T Float] struct {
	tiling   *tiling[T]
	x, dy    *planes[T]
	input    tileTransform[T]
	gradient tileTransform[T]
	sum      tileTransform[T]
	pairs    [][]pair   // of each element of the sums
	places   [][][2]int // where their matrices begin
	lines    int        // of a group
	groups   int
	parts    int // that the groups are cut into; 0: units share groups
	width    int // of a panel of dy's channels
	panels   int

	srcX, srcDY, dw []T
	common          *Worker // memory that all units share
	group           int
	own, add, put   func(w *Worker, unit int)
	load, multiply  func(w *Worker, unit int)
}

const (
	// winogradParts is how many parts sum apart: enough to keep cores busy, and
	// as many rounding chains the fewer tiles each has.
	winogradParts = 8
	// ownSums bounds the sums of a part.
	ownSums = 256 << 10
)

// useWinogradGrad tells whether to compute the gradient so.
func useWinogradGrad[T Float](tl *tiling[T], g *ConvGeom, s *sampling, wish Winograd) bool {
	step, _ := tapsOf3x3(s)
	if step == 0 || g.Group != 1 || g.N == 0 || wish == WinogradNever {
		return false
	}
	pays, plain := winogradPays[T], 9*g.C*g.ySize()
	if step == 2 {
		c := correlationOf(tl, g)
		pays, plain = stridedPays[T], c.products(s)
	}
	t := newTiles(g.N, g.OH, g.OW)
	return wish == WinogradWhereFits || pays(tl, &t, g.OutC, g.C, weightTransform, plain)
}

func newWinogradGradWeight[T Float](tl *tiling[T], g *ConvGeom, s *sampling) *winogradGradWeight[T] {
	if s.stepH == 2 {
		return newStridedGradWeight(tl, g, s)
	}
	t, l := newTiles(g.N, g.OH, g.OW), tl.winograd
	wg := &winogradGradWeight[T]{
		tiling: tl, input: l.input, gradient: l.gradient, sum: l.sum, pairs: diagonal,
		x:  newPlanes(tl, t, g.C, g.C*g.H*g.W, g.H, g.W, inTile, s.originH, s.originW),
		dy: newPlanes(tl, t, g.OutC, g.OutC*g.OH*g.OW, g.OH, g.OW, outTile, 0, 0),
	}
	wg.init()
	return wg
}

// init chooses panels, groups and parts.
func (wg *winogradGradWeight[T]) init() {
	t, lanes, channels, outs := &wg.x.tiles, wg.tiling.winograd.lanes, wg.x.channels, wg.dy.channels
	wg.width = even(ceilDiv(outs, lanes), wg.tiling.cols/lanes) * lanes
	wg.panels = ceilDiv(outs, wg.width)
	line := (wg.x.area()*wg.x.pitch + wg.dy.area()*wg.dy.pitch) * t.perLine
	wg.lines = even(t.lines(), ownElements/line)
	if tileArea*channels*outs <= ownSums && ceilDiv(t.lines(), wg.lines) >= winogradParts {
		wg.parts = winogradParts
	} else {
		wg.lines = even(t.lines(), sharedElements/line)
	}
	wg.groups = ceilDiv(t.lines(), wg.lines)
	wg.places = placesOf(wg.pairs, wg.xArea(), wg.dyArea())
	wg.own, wg.add, wg.put = wg.ownUnit, wg.addUnit, wg.putUnit
	wg.load, wg.multiply = wg.loadUnit, wg.multiplyUnit
}

// xArea, dyArea and sumArea are the numbers from one element's matrix to the
// next one's.
func (wg *winogradGradWeight[T]) xArea() int  { return wg.lines*wg.x.perLine*wg.x.pitch + areaGap }
func (wg *winogradGradWeight[T]) dyArea() int { return wg.lines*wg.x.perLine*wg.dy.pitch + areaGap }
func (wg *winogradGradWeight[T]) sumArea() int {
	return wg.panels*wg.width*wg.x.channels + areaGap
}

// xMemory and dyMemory are the transformed tiles of a group in the given memory.
func (wg *winogradGradWeight[T]) xMemory(w *Worker, slot int) []T {
	return scratchOf[T](w, slot, wg.x.area()*wg.xArea())
}

func (wg *winogradGradWeight[T]) dyMemory(w *Worker, slot int) []T {
	return scratchOf[T](w, slot, wg.dy.area()*wg.dyArea())
}

// sums are the transformed gradients of a part, as [element][panel][c][o].
func (wg *winogradGradWeight[T]) sums(part int) []T {
	size := tileArea * wg.sumArea()
	return scratchOf[T](wg.common, slotSums, max(wg.parts, 1)*size)[part*size:]
}

func (wg *winogradGradWeight[T]) run(t *Team, x, dy, dw []T) {
	wg.srcX, wg.srcDY, wg.dw = x, dy, dw
	wg.common = t.borrow()
	wg.sums(0)
	if wg.parts > 0 {
		t.For(wg.parts, wg.own)
		if wg.parts > 1 {
			t.For(tileArea, wg.add)
		}
	} else {
		wg.xMemory(wg.common, slotTiles)
		wg.dyMemory(wg.common, slotWeights)
		for wg.group = range wg.groups {
			t.For(wg.lineUnits(), wg.load)
			t.For(tileArea*wg.panels, wg.multiply)
		}
	}
	t.For(wg.panels*wg.channelBlocks(), wg.put)
	t.giveBack(wg.common)
	wg.srcX, wg.srcDY, wg.dw, wg.common = nil, nil, nil, nil
}

// span returns the lines of a group.
func (wg *winogradGradWeight[T]) span(group int) (first, end int) {
	return group * wg.lines, min((group+1)*wg.lines, wg.x.lines())
}

// ownUnit sums a part.
func (wg *winogradGradWeight[T]) ownUnit(w *Worker, part int) {
	v, d := wg.xMemory(w, slotA), wg.dyMemory(w, slotB)
	begin := part * wg.groups / wg.parts
	for group := begin; group < (part+1)*wg.groups/wg.parts; group++ {
		first, end := wg.span(group)
		wg.x.load(w, wg.input, wg.srcX, first, end, v, wg.xArea())
		wg.dy.load(w, wg.gradient, wg.srcDY, first, end, d, wg.dyArea())
		for e := range tileArea {
			for panel := range wg.panels {
				wg.product(v, d, wg.sums(part), e, panel, (end-first)*wg.x.perLine, group == begin)
			}
		}
	}
}

// product adds the tiles' products to element e of the sums, for a panel of dy's
// channels.
func (wg *winogradGradWeight[T]) product(v, d, sums []T, e, panel, tiles int, first bool) {
	at := panel * wg.width
	cols := min(wg.width, wg.dy.channels-at)
	d, sums = d[at:], sums[e*wg.sumArea()+at*wg.x.channels:]
	flags := addC
	if first {
		flags = 0
	}
	wg.tiling.sumColumn(wg.x.channels, cols, tiles, wg.places[e], v, 1, wg.x.pitch, d, wg.dy.pitch, wg.width, sums, wg.width, flags)
}

// addUnit adds the parts of one of the 36 matrices in order.
func (wg *winogradGradWeight[T]) addUnit(_ *Worker, e int) {
	size := wg.sumArea() - areaGap
	total := wg.sums(0)[e*wg.sumArea():][:size]
	for part := 1; part < wg.parts; part++ {
		Add(total, total, wg.sums(part)[e*wg.sumArea():][:size])
	}
}

// linesPerUnit is how many lines a unit transforms of a shared group.
func (wg *winogradGradWeight[T]) linesPerUnit() int {
	return even(wg.lines, max(16/wg.x.perLine, 1))
}

func (wg *winogradGradWeight[T]) lineUnits() int { return ceilDiv(wg.lines, wg.linesPerUnit()) }

func (wg *winogradGradWeight[T]) loadUnit(w *Worker, unit int) {
	begin, end := wg.span(wg.group)
	at := unit * wg.linesPerUnit()
	first, last := min(begin+at, end), min(begin+at+wg.linesPerUnit(), end)
	v, d := wg.xMemory(wg.common, slotTiles), wg.dyMemory(wg.common, slotWeights)
	wg.x.load(w, wg.input, wg.srcX, first, last, v[at*wg.x.perLine*wg.x.pitch:], wg.xArea())
	wg.dy.load(w, wg.gradient, wg.srcDY, first, last, d[at*wg.dy.perLine*wg.dy.pitch:], wg.dyArea())
}

func (wg *winogradGradWeight[T]) multiplyUnit(_ *Worker, unit int) {
	first, end := wg.span(wg.group)
	v, d := wg.xMemory(wg.common, slotTiles), wg.dyMemory(wg.common, slotWeights)
	wg.product(v, d, wg.sums(0), unit/wg.panels, unit%wg.panels, (end-first)*wg.x.perLine, wg.group == 0)
}

// putChannels is how many channels of x a unit transforms back.
const putChannels = 32

func (wg *winogradGradWeight[T]) channelBlocks() int { return ceilDiv(wg.x.channels, putChannels) }

// putUnit transforms the sums of some channels and a panel back to weights.
func (wg *winogradGradWeight[T]) putUnit(w *Worker, unit int) {
	lanes, area := wg.tiling.winograd.lanes, wg.sumArea()
	panel, c := unit/wg.channelBlocks(), unit%wg.channelBlocks()*putChannels
	channels, row := min(putChannels, wg.x.channels-c), wg.x.channels*9
	grid := scratchOf[T](w, slotGrid, putChannels*9*lanes)
	for o := panel * wg.width; o < min((panel+1)*wg.width, wg.dy.channels); o += lanes {
		from := wg.sums(0)[(panel*wg.x.channels+c)*wg.width+o-panel*wg.width:]
		wg.sum(channels, from, wg.width, tileIn*area, area, grid, 9*lanes, 3*lanes, lanes)
		wg.tiling.transpose(channels*9, min(lanes, wg.dy.channels-o), grid, lanes, wg.dw[o*row+c*9:], row)
	}
}
