package kernel

// winograd computes a correlation with 3 by 3 taps by [winogradNear]'s
// transforms. Tiles are worked on in groups. Where the transformed weights are
// small, a unit takes a group from the images to the results, within the
// second-level cache; where they are large, all units work on the same group,
// step by step, so that weights are read once per group.
type winograd[T Float] struct {
	correlation[T]
	in, out *planes[T]
	mirror  bool // taps are listed backwards
	lines   int  // of a group
	groups  int
	shared  bool // units share a group
	width   int  // of a panel of weights
	panels  int
	rows    int // tiles that are multiplied at once
	biases  []T // padded to whole vectors

	common              *Worker // memory that all units share
	group               int
	transformWeights    func(w *Worker, unit int)
	own                 func(w *Worker, unit int)
	load, multiply, put func(w *Worker, unit int)
}

const (
	// ownElements bounds the transformed tiles and products that a unit keeps
	// to itself, and ownWeights the weights that it reads for each group.
	ownElements = 96 << 10
	ownWeights  = 256 << 10
	// sharedElements bounds them where units share a group.
	sharedElements = 2 << 20
)

// useWinograd tells whether to compute a correlation so.
func useWinograd[T Float](c *correlation[T], s *sampling, wish Winograd) bool {
	_, fits := tapsOf3x3(s)
	if !fits || c.groups != 1 || c.images == 0 || wish == WinogradNever {
		return false
	}
	t := newTiles(c.images, s.rows, s.cols)
	return wish == WinogradWhereFits || winogradPays(c.tiling, &t, c.m, c.channels, weightTransform, c.products(s))
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

// tapsOf3x3 tells whether the taps are those of a dense kernel of 3 by 3 that
// moves by one, and whether they are listed backwards.
func tapsOf3x3(s *sampling) (mirror, fits bool) {
	if len(s.taps) != 9 || s.stepH != 1 || s.stepW != 1 {
		return false, false
	}
	mirror = s.taps[8].h < s.taps[0].h
	step := 1
	if mirror {
		step = -1
	}
	for i, t := range s.taps {
		if t.h != s.taps[0].h+i/3*step || t.w != s.taps[0].w+i%3*step {
			return false, false
		}
	}
	return mirror, true
}

func newWinograd[T Float](c correlation[T], s *sampling) *winograd[T] {
	c.rows = packedRow
	lanes := c.tiling.winograd.lanes
	wg := &winograd[T]{correlation: c}
	wg.mirror, _ = tapsOf3x3(s)
	first := s.taps[0]
	if wg.mirror {
		first = s.taps[8]
	}
	t := newTiles(c.images, s.rows, s.cols)
	wg.in = newPlanes(c.tiling, t, c.channels, c.srcImage, s.planeH, s.planeW, tileIn, s.originH+first.h, s.originW+first.w)
	wg.out = newPlanes(c.tiling, t, c.m, c.dstImage, s.rows, s.cols, tileOut, 0, 0)
	wg.width = even(ceilDiv(c.m, lanes), c.tiling.cols/lanes) * lanes
	wg.panels = ceilDiv(c.m, wg.width)
	wg.biases = make([]T, wg.out.pitch)

	wg.shared = tileArea*c.m*c.channels > ownWeights
	fit := ownElements
	if wg.shared {
		fit = sharedElements
	}
	fit /= tileArea * (wg.in.pitch + wg.out.pitch) * t.perLine
	wg.lines = even(t.lines(), max(fit, 1))
	wg.groups = ceilDiv(t.lines(), wg.lines)
	wg.rows = even(wg.lines*t.perLine, c.tiling.rows)
	wg.transformWeights, wg.own = wg.weightUnit, wg.ownUnit
	wg.load, wg.multiply, wg.put = wg.loadUnit, wg.multiplyUnit, wg.putUnit
	return wg
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

// weightArea, inArea and outArea are the elements from one of the 36 matrices to the
// next. The gap keeps the same element of all of them apart in the cache.
func (wg *winograd[T]) weightArea() int { return wg.panels*wg.width*wg.channels + areaGap }
func (wg *winograd[T]) inArea() int     { return wg.lines*wg.in.perLine*wg.in.pitch + areaGap }
func (wg *winograd[T]) outArea() int    { return wg.lines*wg.in.perLine*wg.out.pitch + areaGap }

const areaGap = 16

func (wg *winograd[T]) compute(t *Team) {
	wg.common = t.borrow()
	clear(wg.biases)
	copy(wg.biases, wg.bias)
	scratchOf[T](wg.common, slotWeights, tileArea*wg.weightArea())
	t.For(ceilDiv(wg.strips(), 2), wg.transformWeights)
	if wg.shared {
		scratchOf[T](wg.common, slotTiles, tileArea*wg.inArea())
		scratchOf[T](wg.common, slotSums, tileArea*wg.outArea())
		for wg.group = range wg.groups {
			t.For(wg.lineUnits(), wg.load)
			t.For(tileArea*wg.panels, wg.multiply)
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

// weightUnit transforms two strips of weights, which together fill lines of
// the cache, some channels at a time.
func (wg *winograd[T]) weightUnit(_ *Worker, unit int) {
	const atOnce = 32
	u, area := scratchOf[T](wg.common, slotWeights, tileArea*wg.weightArea()), wg.weightArea()
	transform := wg.tiling.winograd.weight
	if wg.mirror {
		transform = wg.tiling.winograd.mirror
	}
	for c := 0; c < wg.channels; c += atOnce {
		for row := 2 * unit * packedRow; row < min(2*(unit+1)*packedRow, wg.m); row += packedRow {
			to := u[(row/wg.width*wg.channels+c)*wg.width+row%wg.width:]
			transform(min(atOnce, wg.channels-c), wg.strip(0, row, c), 9*packedRow, 3*packedRow, packedRow,
				to, wg.width, tileIn*area, area)
		}
	}
}

// ownUnit computes a group.
func (wg *winograd[T]) ownUnit(w *Worker, group int) {
	first, end := wg.span(group)
	v := scratchOf[T](w, slotA, tileArea*wg.inArea())
	m := scratchOf[T](w, slotB, tileArea*wg.outArea())
	wg.in.load(w, wg.tiling.winograd.input, wg.src, first, end, v, wg.inArea())
	for e := range tileArea {
		for panel := range wg.panels {
			wg.product(v, m, e, panel, (end-first)*wg.in.perLine)
		}
	}
	wg.out.store(w, m, wg.outArea(), first, end, wg.dst, wg.biases, floorOf[T](wg.flags))
}

// product multiplies the tiles' element e with a panel of weights.
func (wg *winograd[T]) product(v, m []T, e, panel, tiles int) {
	u := scratchOf[T](wg.common, slotWeights, tileArea*wg.weightArea())[e*wg.weightArea()+panel*wg.width*wg.channels:]
	v, m = v[e*wg.inArea():], m[e*wg.outArea()+panel*wg.width:]
	cols := min(wg.width, wg.m-panel*wg.width)
	for i := 0; i < tiles; i += wg.rows {
		rows := min(wg.rows, tiles-i)
		wg.tiling.tile(rows, cols)(wg.channels, v[i*wg.in.pitch:], wg.in.pitch, 1, u, wg.width,
			m[i*wg.out.pitch:], wg.out.pitch, cols, nil, 0)
	}
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
	v := scratchOf[T](wg.common, slotTiles, tileArea*wg.inArea())
	wg.in.load(w, wg.tiling.winograd.input, wg.src, first, end, v[at*wg.in.perLine*wg.in.pitch:], wg.inArea())
}

func (wg *winograd[T]) multiplyUnit(_ *Worker, unit int) {
	first, end := wg.span(wg.group)
	v := scratchOf[T](wg.common, slotTiles, tileArea*wg.inArea())
	m := scratchOf[T](wg.common, slotSums, tileArea*wg.outArea())
	wg.product(v, m, unit/wg.panels, unit%wg.panels, (end-first)*wg.in.perLine)
}

func (wg *winograd[T]) putUnit(w *Worker, unit int) {
	first, end, at := wg.part(unit)
	m := scratchOf[T](wg.common, slotSums, tileArea*wg.outArea())
	wg.out.store(w, m[at*wg.in.perLine*wg.out.pitch:], wg.outArea(), first, end, wg.dst, wg.biases, floorOf[T](wg.flags))
}
