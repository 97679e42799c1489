package kernel

// winograd computes a correlation with 3 by 3 taps by [winogradNear]'s or
// [stridedNear]'s transforms. Tiles are worked on in groups. Where the transformed
// weights are small and there are many tiles, a unit takes a group from the images
// to the results, within the second-level cache; else all units work on the same
// group, step by step, so that weights are read once per group.
type winograd[T Float] struct {
	correlation[T]
	in, out *planes[T]
	input   tileTransform[T]
	weight  tileTransform[T]
	output  outputTransform[T]
	pairs   [][]pair   // of each element of a tile of out
	places  [][][2]int // where their matrices begin
	lines   int        // of a group
	groups  int
	shared  bool // units share a group
	width   int  // of a panel of weights
	panels  int
	biases  []T // padded to whole vectors

	common              *Worker // memory that all units share
	group, term         int
	transformWeights    func(w *Worker, unit int)
	own                 func(w *Worker, unit int)
	load, multiply, put func(w *Worker, unit int)
}

// pair is a product of an element of a transformed tile with one of a transformed
// kernel, or, for the gradient by the weights, with one of a tile of dy.
type pair struct{ tile, other int }

// placesOf turns pairs into where their matrices begin, which lie so far apart.
func placesOf(pairs [][]pair, tiles, others int) [][][2]int {
	places := make([][][2]int, len(pairs))
	for e, list := range pairs {
		for _, p := range list {
			places[e] = append(places[e], [2]int{p.tile * tiles, p.other * others})
		}
	}
	return places
}

// diagonal are those of [winogradNear]'s transforms: each element by itself.
var diagonal = func() (pairs [][]pair) {
	for e := range tileArea {
		pairs = append(pairs, []pair{{e, e}})
	}
	return pairs
}()

const (
	// ownElements bounds the transformed tiles and products that a unit keeps
	// to itself, and ownWeights the weights that it reads for each group, from
	// the third-level cache.
	ownElements = 112 << 10
	ownWeights  = 640 << 10
	// sharedElements bounds them where units share a group.
	sharedElements = 4 << 20
)

// useWinograd tells whether to compute a correlation so.
func useWinograd[T Float](c *correlation[T], s *sampling, wish Winograd) bool {
	step, _ := tapsOf3x3(s)
	if step == 0 || c.groups != 1 || c.images == 0 || wish == WinogradNever {
		return false
	}
	pays := winogradPays[T]
	if step == 2 {
		pays = stridedPays[T]
	}
	t := newTiles(c.images, s.rows, s.cols)
	return wish == WinogradWhereFits || pays(c.tiling, &t, c.m, c.channels, weightTransform, c.products(s))
}

// weightTransform is how many products take the time of transforming the
// kernel of a pair of channels.
const weightTransform = 400

// winogradPays weighs the products that a plain sum takes against those of the
// tiles and the transforms, which take the time of so many products per tile
// and channel, and per pair of channels.
func winogradPays[T Float](tl *tiling[T], t *tiles, outs, channels, perPair, plain int) bool {
	const perTile = 300
	_, single := any(tl).(*tiling[float32])
	lanes := tl.winograd.lanes
	vectors := roundUp(outs, lanes) + roundUp(channels, lanes)
	cost := t.lines()*t.perLine*(tileArea*outs*channels+perTile*vectors) + perPair*outs*channels
	return single && 10*cost < 9*plain
}

// tapsOf3x3 tells by how much a dense kernel of 3 by 3 moves in both directions, 1
// or 2, and whether its taps are listed backwards, as only those of a gradient are.
// The step is 0 if it is another kernel.
func tapsOf3x3(s *sampling) (step int, mirror bool) {
	if len(s.taps) != 9 || s.stepH > 2 || s.stepW != s.stepH {
		return 0, false
	}
	mirror = s.taps[8].h < s.taps[0].h
	next := 1
	if mirror {
		next = -1
	}
	for i, t := range s.taps {
		if t.h != s.taps[0].h+i/3*next || t.w != s.taps[0].w+i%3*next {
			return 0, false
		}
	}
	return s.stepH, mirror
}

func newWinograd[T Float](c correlation[T], s *sampling) *winograd[T] {
	step, mirror := tapsOf3x3(s)
	if step == 2 {
		return newStrided(c, s)
	}
	l := c.tiling.winograd
	wg := &winograd[T]{correlation: c, input: l.input, weight: l.weight, output: l.output, pairs: diagonal}
	first := s.taps[0]
	if mirror {
		wg.weight, first = l.mirror, s.taps[8]
	}
	t := newTiles(c.images, s.rows, s.cols)
	wg.in = newPlanes(c.tiling, t, c.channels, c.srcImage, s.planeH, s.planeW, inTile, s.originH+first.h, s.originW+first.w)
	wg.out = newPlanes(c.tiling, t, c.m, c.dstImage, s.rows, s.cols, outTile, 0, 0)
	wg.init()
	return wg
}

// init chooses panels and groups.
func (wg *winograd[T]) init() {
	wg.correlation.rows = packedRow
	t, lanes := &wg.in.tiles, wg.tiling.winograd.lanes
	wg.width = even(ceilDiv(wg.m, lanes), wg.tiling.cols/lanes) * lanes
	wg.panels = ceilDiv(wg.m, wg.width)
	wg.biases = make([]T, wg.out.pitch)

	line := (wg.in.area()*wg.in.pitch + wg.out.area()*wg.out.pitch) * t.perLine
	wg.lines = even(t.lines(), ownElements/line)
	wg.shared = tileArea*wg.m*wg.channels > ownWeights || ceilDiv(t.lines(), wg.lines) < enoughUnits
	if wg.shared {
		wg.lines = even(t.lines(), sharedElements/line)
	}
	wg.groups = ceilDiv(t.lines(), wg.lines)
	wg.places = placesOf(wg.pairs, wg.inArea(), wg.weightArea())
	wg.transformWeights, wg.own = wg.weightUnit, wg.ownUnit
	wg.load, wg.multiply, wg.put = wg.loadUnit, wg.multiplyUnit, wg.putUnit
}

// Slots of the memory that units share.
const (
	slotWeights = iota
	slotTiles
	slotSums
)

// Slots of a worker beside slotA and slotB.
const (
	slotGrid   = slotC
	slotPixels = slotC + 1
)

// weightArea, inArea and outArea are the numbers from one element's matrix to the
// next one's. The gap keeps the same place of all of them apart in the cache.
func (wg *winograd[T]) weightArea() int { return wg.panels*wg.width*wg.channels + areaGap }
func (wg *winograd[T]) inArea() int     { return wg.lines*wg.in.perLine*wg.in.pitch + areaGap }
func (wg *winograd[T]) outArea() int    { return wg.lines*wg.in.perLine*wg.out.pitch + areaGap }

const areaGap = 16

// tileMemory and sumMemory are the transformed tiles of a group, and the sums of
// their products, in the given memory.
func (wg *winograd[T]) tileMemory(w *Worker, slot int) []T {
	return scratchOf[T](w, slot, wg.in.area()*wg.inArea())
}

func (wg *winograd[T]) sumMemory(w *Worker, slot int) []T {
	return scratchOf[T](w, slot, wg.out.area()*wg.outArea())
}

// transformed is the memory of a term's transformed weights.
func (wg *winograd[T]) transformed(term int) []T {
	size := tileArea * wg.weightArea()
	return scratchOf[T](wg.common, slotWeights, wg.terms()*size)[term*size:]
}

func (wg *winograd[T]) compute(t *Team) {
	wg.common = t.borrow()
	clear(wg.biases)
	copy(wg.biases, wg.bias)
	wg.transformed(0)
	t.For(wg.terms()*ceilDiv(wg.strips(), 2), wg.transformWeights)
	if wg.shared {
		wg.tileMemory(wg.common, slotTiles)
		wg.sumMemory(wg.common, slotSums)
		for wg.group = range wg.groups {
			for wg.term = range wg.terms() {
				t.For(wg.lineUnits(), wg.load)
				t.For(len(wg.pairs)*wg.panels, wg.multiply)
			}
			t.For(wg.lineUnits(), wg.put)
		}
	} else {
		t.For(wg.groups, wg.own)
	}
	t.giveBack(wg.common)
	wg.common = nil
}

// span returns the lines of a group.
func (wg *winograd[T]) span(group int) (first, end int) {
	return group * wg.lines, min((group+1)*wg.lines, wg.in.lines())
}

// weightUnit transforms two strips of a term's weights, which together fill lines
// of the cache, some channels at a time.
func (wg *winograd[T]) weightUnit(_ *Worker, unit int) {
	const atOnce = 32
	pairs := ceilDiv(wg.strips(), 2)
	_, weights := wg.termOf(unit / pairs)
	u, area := wg.transformed(unit/pairs), wg.weightArea()
	unit %= pairs
	for c := 0; c < wg.channels; c += atOnce {
		for row := 2 * unit * packedRow; row < min(2*(unit+1)*packedRow, wg.m); row += packedRow {
			to := u[(row/wg.width*wg.channels+c)*wg.width+row%wg.width:]
			wg.weight(min(atOnce, wg.channels-c), wg.stripOf(weights, 0, row, c), 9*packedRow, 3*packedRow, packedRow,
				to, wg.width, tileIn*area, area)
		}
	}
}

// ownUnit computes a group.
func (wg *winograd[T]) ownUnit(w *Worker, group int) {
	first, end := wg.span(group)
	v, m := wg.tileMemory(w, slotA), wg.sumMemory(w, slotB)
	for term := range wg.terms() {
		src, _ := wg.termOf(term)
		wg.in.load(w, wg.input, src, first, end, v, wg.inArea())
		for e := range wg.pairs {
			for panel := range wg.panels {
				wg.product(v, m, e, panel, (end-first)*wg.in.perLine, term)
			}
		}
	}
	wg.out.store(w, wg.output, m, wg.outArea(), first, end, wg.dst, wg.biases, wg.flags, &wg.joined)
}

// product computes a term of element e of the results' tiles, for a panel of
// weights, and adds it to the terms before.
func (wg *winograd[T]) product(v, m []T, e, panel, tiles, term int) {
	u := wg.transformed(term)[panel*wg.width*wg.channels:]
	cols := min(wg.width, wg.m-panel*wg.width)
	next := 0 // the next panel comes from afar where all units work on a group
	if wg.shared {
		next = wg.channels * wg.width
	}
	flags := 0
	if term > 0 {
		flags = addC
	}
	wg.tiling.sumColumn(tiles, cols, wg.channels, wg.places[e], v, wg.in.pitch, 1, u, wg.width, next,
		m[e*wg.outArea()+panel*wg.width:], wg.out.pitch, flags)
}

// linesPerUnit is how many lines a unit transforms of a shared group.
func (wg *winograd[T]) linesPerUnit() int { return even(wg.lines, max(16/wg.in.perLine, 1)) }

func (wg *winograd[T]) lineUnits() int { return ceilDiv(wg.lines, wg.linesPerUnit()) }

// part returns the lines of a unit of the shared group, and where in the group
// they begin.
func (wg *winograd[T]) part(unit int) (first, end, at int) {
	first, end = wg.span(wg.group)
	at = unit * wg.linesPerUnit()
	return min(first+at, end), min(first+at+wg.linesPerUnit(), end), at
}

func (wg *winograd[T]) loadUnit(w *Worker, unit int) {
	first, end, at := wg.part(unit)
	v := wg.tileMemory(wg.common, slotTiles)
	src, _ := wg.termOf(wg.term)
	wg.in.load(w, wg.input, src, first, end, v[at*wg.in.perLine*wg.in.pitch:], wg.inArea())
}

func (wg *winograd[T]) multiplyUnit(_ *Worker, unit int) {
	first, end := wg.span(wg.group)
	v, m := wg.tileMemory(wg.common, slotTiles), wg.sumMemory(wg.common, slotSums)
	wg.product(v, m, unit/wg.panels, unit%wg.panels, (end-first)*wg.in.perLine, wg.term)
}

func (wg *winograd[T]) putUnit(w *Worker, unit int) {
	first, end, at := wg.part(unit)
	m := wg.sumMemory(wg.common, slotSums)
	wg.out.store(w, wg.output, m[at*wg.in.perLine*wg.out.pitch:], wg.outArea(), first, end, wg.dst, wg.biases, wg.flags, &wg.joined)
}
