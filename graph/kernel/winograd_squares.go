package kernel

// winogradSquares computes the sums of ConvSampleSquares for a 3 by 3
// convolution with [winogradNear]'s or [stridedNear]'s transforms. Tiles of some
// images are transformed; then, for a block of channels after the other, those of
// an image are multiplied, the products transformed back to that block of the
// image's gradient, and its square added to the sums. Where the sums are small, the
// images are cut into parts, each of which has sums of its own that are added in
// order, so that a thread reads what it transformed; else units share a group of
// images, and the order of the images is that of the batch, whoever adds.
type winogradSquares[T Float] struct {
	tiling   *tiling[T]
	x, dy    *planes[T]
	input    tileTransform[T]
	gradient tileTransform[T]
	sum      squaresSum[T]
	scales   []T           // what to multiply the sums of a vector of x's channels with
	pairs    []squaresPair // of all elements of the sums
	tiles    int           // of an image
	parts    int           // that the images are cut into; 0: units share groups
	images   int           // of a group
	width    int           // of a panel of channels of dy
	panels   int
	strips   int // of lanes channels of x

	srcX, srcDY, squares     []T
	common                   *Worker // memory that all units share
	group                    int
	own, load, multiply, put func(w *Worker, unit int)
}

// useWinogradSquares tells whether to compute the sums so. To transform a
// gradient back and add it takes the time of transformedSums products per pair
// of channels, to add it alone that of plainSums.
func useWinogradSquares[T Float](tl *tiling[T], g *ConvGeom, s *sampling, wish Winograd) bool {
	const transformedSums, plainSums = 150, 60
	step, _ := tapsOf3x3(s)
	if step == 0 || g.Group != 1 || g.N == 0 || wish == WinogradNever {
		return false
	}
	plain, pairs := plainSums*g.OutC*g.C, g.OutC*g.C
	for _, t := range s.taps {
		r := newSquaresTap(s, t)
		plain += max(r.height, 0) * max(r.width, 0) * pairs
	}
	pays := winogradPays[T]
	if step == 2 {
		pays = stridedPays[T]
	}
	t := newTiles(1, g.OH, g.OW)
	return wish == WinogradWhereFits || pays(tl, &t, g.OutC, g.C, transformedSums, plain)
}

func newWinogradSquares[T Float](tl *tiling[T], g *ConvGeom, s *sampling) *winogradSquares[T] {
	if s.stepH == 2 {
		return newStridedSquares(tl, g, s)
	}
	t, l := newTiles(g.N, g.OH, g.OW), tl.winograd
	q := &winogradSquares[T]{
		tiling: tl, input: l.input, gradient: l.gradient, sum: tl.squares.sum,
		x:  newPlanes(tl, t, g.C, g.C*g.H*g.W, g.H, g.W, inTile, s.originH, s.originW),
		dy: newPlanes(tl, t, g.OutC, g.OutC*g.OH*g.OW, g.OH, g.OW, outTile, 0, 0),
	}
	sum, _ := squaresMatrices[T]()
	q.init(diagonal, sum)
	return q
}

// init chooses panels, groups and parts, and places the pairs. The matrix of the sum
// is m but for the factors of its rows, whose squares are left to the end.
func (q *winogradSquares[T]) init(pairs [][]pair, m [][]T) {
	_, first := unitRows(m)
	t, lanes := &q.x.tiles, q.tiling.squares.lanes
	q.tiles = t.rows * t.perLine
	q.width = even(ceilDiv(q.dy.channels, lanes), len(q.tiling.squares.products)) * lanes
	q.strips = ceilDiv(q.x.channels, lanes)
	q.panels = ceilDiv(q.dy.channels, q.width)
	for _, sum := range pairs {
		for i, p := range sum {
			q.pairs = append(q.pairs, squaresPair{p.tile * q.xArea(), p.other * q.dyArea(), len(sum) - 1 - i})
		}
	}
	for range lanes {
		for e := range 9 {
			f := first[e/3] * first[e%3]
			for range lanes {
				q.scales = append(q.scales, f*f)
			}
		}
	}
	group, images := groupElements, t.images
	if winogradParts*q.vectors()*q.vectorSums() <= groupElements {
		q.parts = min(winogradParts, t.images)
		group, images = ownElements, ceilDiv(t.images, q.parts)
	}
	q.images = even(images, max(group/(q.strips*q.strip()+q.panels*q.panel()), 1))
	q.own, q.load, q.multiply, q.put = q.ownUnit, q.loadUnit, q.multiplyUnit, q.putUnit
}

// apart is the distance of matrices of size elements that begin at different sets of
// the cache: if small, they do anyway.
func apart(size int) int {
	if size < 256 {
		return size
	}
	return size + areaGap
}

// xArea and dyArea are the elements from one matrix of a strip or a panel to the
// next, and strip and panel those of a strip of x and of a panel of dy of one
// image, as [element][tile][channel].
func (q *winogradSquares[T]) xArea() int  { return apart(q.tiles * q.tiling.squares.lanes) }
func (q *winogradSquares[T]) dyArea() int { return apart(q.tiles * q.width) }
func (q *winogradSquares[T]) strip() int  { return q.x.area() * q.xArea() }
func (q *winogradSquares[T]) panel() int  { return q.dy.area() * q.dyArea() }

// transformed is the memory of the tiles of a group, of x as [strip][image]
// and of dy as [panel][image].
func (q *winogradSquares[T]) transformed(w *Worker) (v, d []T) {
	return scratchOf[T](w, slotA, q.strips*q.images*q.strip()), scratchOf[T](w, slotB, q.panels*q.images*q.panel())
}

// sums are those of the squares of a part, as [vector of dy's channels][channel
// of x][kernel element][lane].
func (q *winogradSquares[T]) sums(part int) []T {
	size := q.vectors() * q.vectorSums()
	return scratchOf[T](q.common, slotSums, max(q.parts, 1)*size)[part*size : (part+1)*size]
}

func (q *winogradSquares[T]) vectorSums() int {
	return q.strips * q.tiling.squares.lanes * 9 * q.tiling.squares.lanes
}

// vectors is how many vectors of channels dy has, and pieces how many both sides
// have.
func (q *winogradSquares[T]) vectors() int { return ceilDiv(q.dy.channels, q.tiling.squares.lanes) }
func (q *winogradSquares[T]) pieces() int  { return q.strips + q.vectors() }

func (q *winogradSquares[T]) run(t *Team, x, dy, squares []T) {
	q.srcX, q.srcDY, q.squares = x, dy, squares
	q.common = t.borrow()
	if sums := q.sums(0); q.parts > 0 {
		t.For(q.parts, q.own)
	} else {
		clear(sums)
		q.transformed(q.common)
		for q.group = range ceilDiv(q.x.images, q.images) {
			t.For(q.count()*q.pieces(), q.load)
			t.For(q.panels*q.strips, q.multiply)
		}
	}
	t.For(q.vectors(), q.put)
	t.giveBack(q.common)
	q.srcX, q.srcDY, q.squares, q.common = nil, nil, nil, nil
}

// ownUnit sums a part.
func (q *winogradSquares[T]) ownUnit(w *Worker, part int) {
	sums := q.sums(part)
	clear(sums)
	v, d := q.transformed(w)
	end := (part + 1) * q.x.images / q.parts
	for first := part * q.x.images / q.parts; first < end; first += q.images {
		count := min(q.images, end-first)
		for image := range count {
			for piece := range q.pieces() {
				q.transform(w, v, d, first, image, piece)
			}
		}
		for panel := range q.panels {
			for strip := range q.strips {
				q.add(w, v, d, count, strip, panel, sums)
			}
		}
	}
}

// count is how many images the group has.
func (q *winogradSquares[T]) count() int { return min(q.images, q.x.images-q.group*q.images) }

func (q *winogradSquares[T]) loadUnit(w *Worker, unit int) {
	v, d := q.transformed(q.common)
	q.transform(w, v, d, q.group*q.images, unit/q.pieces(), unit%q.pieces())
}

func (q *winogradSquares[T]) multiplyUnit(w *Worker, unit int) {
	v, d := q.transformed(q.common)
	q.add(w, v, d, q.count(), unit%q.strips, unit/q.strips, q.sums(0))
}

// transform transforms a vector of channels of an image of the group that begins
// with image first.
func (q *winogradSquares[T]) transform(w *Worker, v, d []T, first, image, piece int) {
	lanes := q.tiling.squares.lanes
	if piece < q.strips {
		q.x.loadImage(w, q.input, q.srcX, first+image, piece*lanes, v[(piece*q.images+image)*q.strip():], lanes, q.xArea())
		return
	}
	o := (piece - q.strips) * lanes
	q.dy.loadImage(w, q.gradient, q.srcDY, first+image, o, d[(o/q.width*q.images+image)*q.panel()+o%q.width:], q.width, q.dyArea())
}

// loadImage transforms the tiles of a vector of channels of one image into dst,
// where element e of tile t is the vector at e*area + t*next.
func (p *planes[T]) loadImage(w *Worker, transform tileTransform[T], src []T, image, c int, dst []T, next, area int) {
	lanes := p.tiling.winograd.lanes
	for row := 0; row < p.rows; row += p.gridMax {
		count := min(p.gridMax, p.rows-row)
		grid := scratchOf[T](w, slotGrid, p.gridSize(count))
		p.lay(w, src[image*p.image+c*p.plane:], min(lanes, p.channels-c), row, count, grid)
		for i := range count {
			transform(p.perLine, grid[i*p.step*p.gridWidth*lanes:], p.step*lanes, p.gridWidth*lanes, lanes,
				dst[(row+i)*p.perLine*next:], next, p.side*area, area)
		}
	}
}

// add adds the squared gradients of count images, of a strip and a panel.
func (q *winogradSquares[T]) add(w *Worker, v, d []T, count, strip, panel int, sums []T) {
	l := q.tiling.squares
	c, o := strip*l.lanes, panel*q.width
	width := min(q.width, q.vectors()*l.lanes-o)
	multiply, block := l.products[width/l.lanes-1], l.productRows*width
	blocks := ceilDiv(min(l.lanes, q.x.channels-c), l.productRows)
	area := blocks * block
	products := scratchOf[T](w, slotGrid, tileArea*area)
	for image := range count {
		v, d := v[(strip*q.images+image)*q.strip():], d[(panel*q.images+image)*q.panel():]
		multiply(q.pairs, blocks, q.tiles, v, l.lanes, d, q.width, products, area, block)
		for at := 0; at < width; at += l.lanes {
			to := (o+at)/l.lanes*q.vectorSums() + c*9*l.lanes
			q.sum(blocks*l.productRows, products[at:], width, tileIn*area, area, sums[to:])
		}
	}
}

// putUnit adds up the parts of a vector of dy's channels and brings them into
// the order of the weights.
func (q *winogradSquares[T]) putUnit(_ *Worker, vector int) {
	lanes, row, size := q.tiling.squares.lanes, q.x.channels*9, q.vectorSums()
	total := q.sums(0)[vector*size:][:size]
	for part := 1; part < q.parts; part++ {
		Add(total, total, q.sums(part)[vector*size:][:size])
	}
	for at := 0; at < size; at += len(q.scales) {
		strip := total[at:][:len(q.scales)]
		Mul(strip, strip, q.scales)
	}
	q.tiling.transpose(row, min(lanes, q.dy.channels-vector*lanes), total, lanes, q.squares[vector*lanes*row:], row)
}
