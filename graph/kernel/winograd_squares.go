package kernel

// winogradSquares computes the sums of ConvSampleSquares for a 3 by 3
// convolution with [winogradNear]'s transforms. Tiles of some images are
// transformed; then each unit multiplies, image by image, those of a block of
// channels, transforms the products back to that block of the image's gradient
// and adds its square to the sums. The order of the images is that of
// the batch, whoever adds.
type winogradSquares[T Float] struct {
	tiling *tiling[T]
	x, dy  *planes[T]
	tiles  int // of an image
	images int // of a group
	width  int // of a panel of channels of dy
	panels int
	strips int // of lanes channels of x

	srcX, srcDY, squares []T
	common               *Worker // memory that all units share
	group                int
	load, multiply, put  func(w *Worker, unit int)
}

// useWinogradSquares tells whether to compute the sums so. To transform a
// gradient back and add it takes the time of transformedSums products per pair
// of channels, to add it alone that of plainSums.
func useWinogradSquares[T Float](tl *tiling[T], g *ConvGeom, s *sampling, wish Winograd) bool {
	const transformedSums, plainSums = 150, 60
	step, _ := tapsOf3x3(s)
	if step != 1 || g.Group != 1 || g.N == 0 || wish == WinogradNever {
		return false
	}
	plain, pairs := plainSums*g.OutC*g.C, g.OutC*g.C
	for _, t := range s.taps {
		r := newSquaresTap(s, t)
		plain += max(r.height, 0) * max(r.width, 0) * pairs
	}
	t := newTiles(1, g.OH, g.OW)
	return wish == WinogradWhereFits || winogradPays(tl, &t, g.OutC, g.C, transformedSums, plain)
}

func newWinogradSquares[T Float](tl *tiling[T], g *ConvGeom, s *sampling) *winogradSquares[T] {
	t, lanes := newTiles(g.N, g.OH, g.OW), tl.squares.lanes
	q := &winogradSquares[T]{
		tiling: tl,
		x:      newPlanes(tl, t, g.C, g.C*g.H*g.W, g.H, g.W, inTile, s.originH, s.originW),
		dy:     newPlanes(tl, t, g.OutC, g.OutC*g.OH*g.OW, g.OH, g.OW, outTile, 0, 0),
		tiles:  t.rows * t.perLine,
		width:  even(ceilDiv(g.OutC, lanes), len(tl.squares.products)) * lanes,
		strips: ceilDiv(g.C, lanes),
	}
	q.panels = ceilDiv(g.OutC, q.width)
	q.images = even(g.N, max(groupElements/(q.strips*q.strip()+q.panels*q.panel()), 1))
	q.load, q.multiply, q.put = q.loadUnit, q.multiplyUnit, q.putUnit
	return q
}

// xArea and dyArea are the elements from one of the 36 matrices of a strip or a
// panel to the next, and strip and panel those of a strip of x and of a panel of
// dy of one image, as [element][tile][channel].
func (q *winogradSquares[T]) xArea() int  { return q.tiles*q.tiling.squares.lanes + areaGap }
func (q *winogradSquares[T]) dyArea() int { return q.tiles*q.width + areaGap }
func (q *winogradSquares[T]) strip() int  { return tileArea * q.xArea() }
func (q *winogradSquares[T]) panel() int  { return tileArea * q.dyArea() }

// transformed is the memory of the tiles of the group, of x as [strip][image]
// and of dy as [panel][image].
func (q *winogradSquares[T]) transformed() (v, d []T) {
	return scratchOf[T](q.common, slotTiles, q.strips*q.images*q.strip()), scratchOf[T](q.common, slotWeights, q.panels*q.images*q.panel())
}

// sums are those of the squares, as [vector of dy's channels][channel of
// x][kernel element][lane].
func (q *winogradSquares[T]) sums() []T {
	return scratchOf[T](q.common, slotSums, q.vectors()*q.vectorSums())
}

func (q *winogradSquares[T]) vectorSums() int {
	return q.strips * q.tiling.squares.lanes * 9 * q.tiling.squares.lanes
}

// vectors is how many vectors of channels dy has.
func (q *winogradSquares[T]) vectors() int { return ceilDiv(q.dy.channels, q.tiling.squares.lanes) }

func (q *winogradSquares[T]) run(t *Team, x, dy, squares []T) {
	q.srcX, q.srcDY, q.squares = x, dy, squares
	q.common = t.borrow()
	q.transformed()
	clear(q.sums())
	for q.group = range ceilDiv(q.x.images, q.images) {
		t.For(q.count()*(q.strips+q.vectors()), q.load)
		t.For(q.panels*q.strips, q.multiply)
	}
	t.For(q.vectors(), q.put)
	t.giveBack(q.common)
	q.srcX, q.srcDY, q.squares, q.common = nil, nil, nil, nil
}

// count is how many images the group has.
func (q *winogradSquares[T]) count() int { return min(q.images, q.x.images-q.group*q.images) }

// loadUnit transforms a vector of channels of an image.
func (q *winogradSquares[T]) loadUnit(w *Worker, unit int) {
	v, d := q.transformed()
	lanes := q.tiling.squares.lanes
	image, piece := unit/(q.strips+q.vectors()), unit%(q.strips+q.vectors())
	from := q.group*q.images + image
	if piece < q.strips {
		q.x.loadImage(w, q.tiling.winograd.input, q.srcX, from, piece*lanes, v[(piece*q.images+image)*q.strip():], lanes, q.xArea())
		return
	}
	o := (piece - q.strips) * lanes
	q.dy.loadImage(w, q.tiling.winograd.gradient, q.srcDY, from, o, d[(o/q.width*q.images+image)*q.panel()+o%q.width:], q.width, q.dyArea())
}

// loadImage transforms the tiles of a vector of channels of one image into dst,
// where element e of tile t is the vector at e*area + t*next.
func (p *planes[T]) loadImage(w *Worker, transform tileTransform[T], src []T, image, c int, dst []T, next, area int) {
	lanes := p.tiling.winograd.lanes
	for row := 0; row < p.rows; row += p.gridMax {
		count := min(p.gridMax, p.rows-row)
		grid := p.grid(w, src[image*p.image+c*p.plane:], min(lanes, p.channels-c), row, count)
		for i := range count {
			transform(p.perLine, grid[i*tileOut*p.gridWidth*lanes:], tileOut*lanes, p.gridWidth*lanes, lanes,
				dst[(row+i)*p.perLine*next:], next, tileIn*area, area)
		}
	}
}

// multiplyUnit adds the gradients of a strip and a panel.
func (q *winogradSquares[T]) multiplyUnit(w *Worker, unit int) {
	v, d := q.transformed()
	l := q.tiling.squares
	strip, panel := unit%q.strips, unit/q.strips
	c, o := strip*l.lanes, panel*q.width
	width := min(q.width, q.vectors()*l.lanes-o)
	multiply, area := l.products[width/l.lanes-1], l.productRows*width
	blocks := ceilDiv(min(l.lanes, q.x.channels-c), l.productRows)
	products := scratchOf[T](w, slotA, blocks*tileArea*area)
	for image := range q.count() {
		v, d := v[(strip*q.images+image)*q.strip():], d[(panel*q.images+image)*q.panel():]
		multiply(tileArea, blocks, q.tiles, v, l.lanes, q.xArea(), d, q.width, q.dyArea(), products, area, tileArea*area)
		for block := range blocks {
			for at := 0; at < width; at += l.lanes {
				sums := q.sums()[(o+at)/l.lanes*q.vectorSums()+(c+block*l.productRows)*9*l.lanes:]
				l.sum(l.productRows, products[block*tileArea*area+at:], width, tileIn*area, area, sums)
			}
		}
	}
}

// putUnit brings the sums of a vector of dy's channels into the order of the
// weights.
func (q *winogradSquares[T]) putUnit(_ *Worker, vector int) {
	lanes, row := q.tiling.squares.lanes, q.x.channels*9
	sums := q.sums()[vector*q.vectorSums():]
	count, to := min(lanes, q.dy.channels-vector*lanes), vector*lanes*row
	q.tiling.transpose(row, count, sums, lanes, q.squares[to:], row)
}
