package kernel

// ConvSampleSquares is the prepared sum, over the images of a batch, of the
// squared gradient of a convolution by its weights:
//
//	squares = sum over n of dw[n]^2
//
// where dw[n] is ConvGradWeight of image n alone. No dw[n] is ever in memory as a
// whole: a tile of it is computed in registers and its square added to the sum.
//
// The pixels of some images are laid out by channels; then blocks of the weights
// are computed, one kernel element after the other, from the pixels of
// x that the element reads and those of dy that it reaches: zeros around x take
// no time. Of few channels, the kernel elements become channels themselves. Units
// are parts of the images or share groups of them, as in winogradSquares.
type ConvSampleSquares[T Float] struct {
	geom   ConvGeom
	tiling *tiling[T]

	channels int // of x, per group
	outs     int // of dy, per group
	pixels   int // of a channel of x
	next     int // pixels of x from one pixel of dy to the next
	line     int // and from one line to the next
	taps     []squaresTap
	samples  batch // of x, where kernel elements are channels
	strips   int   // of tileRows channels of x, per group
	width    int   // of a panel of channels of dy
	panels   int   // per group
	parts    int   // that the images are cut into; 0: units share groups
	block    int   // strips that a unit owns
	images   int   // that are laid out at once
	hot      int   // of them, those whose share of a tile stays near

	winograd  *winogradSquares[T]  // instead of the rest, where that is faster
	scattered *scatteredSquares[T] // likewise, where dy lets it; nil: it never does

	srcX, srcDY, squares     []T
	common                   *Worker // memory that all units share
	group                    int     // of images that is laid out
	own, load, multiply, put func(w *Worker, unit int)
}

// squaresTap is what one kernel element reads: a rectangle of pixels of x, which
// begins at pixel x, against one of dy.
type squaresTap struct{ height, width, x, dy int }

const (
	// groupElements bounds what is laid out of the images of a group.
	groupElements = 512 << 10
	// partSums bounds the sums that all parts of the images have.
	partSums = 1 << 20
	// hotElements bounds what a tile reads of some images.
	hotElements = 9 << 10
	// blockStrips is how many strips of channels a unit owns.
	blockStrips = 8
)

// NewConvSampleSquares prepares the sums for the convolution with geometry g.
func NewConvSampleSquares[T Float](g ConvGeom, opt ConvOptions) *ConvSampleSquares[T] {
	return newConvSampleSquares(tilings[T]()[0], g, opt)
}

func newConvSampleSquares[T Float](tl *tiling[T], g ConvGeom, opt ConvOptions) *ConvSampleSquares[T] {
	g = g.withDefaults()
	s, l := g.forward(), tl.squares
	if useWinogradSquares(tl, &g, &s, opt.Winograd) {
		return &ConvSampleSquares[T]{geom: g, winograd: newWinogradSquares(tl, &g, &s)}
	}
	q := &ConvSampleSquares[T]{
		geom: g, tiling: tl, channels: g.C / g.Group, outs: g.OutC / g.Group,
		pixels: g.H * g.W, next: g.StrideW, line: g.StrideH * g.W, scattered: newScatteredSquares(tl, &g),
	}
	if q.channels < l.tileRows {
		q.samples = newBatch(&s, 1, 0)
		q.channels, q.pixels, q.next, q.line = q.channels*len(s.taps), g.OH*g.OW, 1, g.OW
		q.taps = []squaresTap{{height: g.OH, width: g.OW}}
	} else {
		for _, t := range s.taps {
			q.taps = append(q.taps, newSquaresTap(&s, t))
		}
	}
	q.strips = ceilDiv(q.channels, l.tileRows)
	q.width = even(ceilDiv(q.outs, l.lanes), len(l.tiles)) * l.lanes
	q.panels = ceilDiv(q.outs, q.width)
	q.block = even(q.strips, blockStrips)
	group, images := groupElements, g.N
	if winogradParts*q.allSums() <= partSums {
		q.parts = min(winogradParts, g.N)
		group, images = ownElements, ceilDiv(g.N, max(q.parts, 1))
	}
	q.images = even(images, max(group/(g.Group*(q.strips*q.xImage()+q.panels*q.dyImage())), 1))
	q.hot = even(q.images, hotElements/(q.xImage()+q.dyImage()))
	q.own, q.load, q.multiply, q.put = q.ownUnit, q.loadUnit, q.multiplyUnit, q.putUnit
	return q
}

// newSquaresTap finds the pixels of dy for which t reads a pixel of x.
func newSquaresTap(s *sampling, t tap) squaresTap {
	first := func(origin, step int) int { return max(ceilDiv(-origin, step), 0) }
	end := func(origin, step, plane, most int) int { return min(ceilDiv(plane-origin, step), most) }
	originH, originW := s.originH+t.h, s.originW+t.w
	oh, ow := first(originH, s.stepH), first(originW, s.stepW)
	return squaresTap{
		height: end(originH, s.stepH, s.planeH, s.rows) - oh,
		width:  end(originW, s.stepW, s.planeW, s.cols) - ow,
		x:      (originH+oh*s.stepH)*s.planeW + originW + ow*s.stepW,
		dy:     oh*s.cols + ow,
	}
}

// xImage and dyImage are the elements of a strip of x and of a panel of dy of one
// image, as [pixel][channel]; behind a strip is room for what transposeWhole
// writes too much.
func (q *ConvSampleSquares[T]) xImage() int  { return (q.pixels + 1) * squaresRow }
func (q *ConvSampleSquares[T]) dyImage() int { return q.geom.OH * q.geom.OW * q.width }

// laidOut is the memory of the images that are laid out, of x as
// [group][strip][image] and of dy as [group][panel][image].
func (q *ConvSampleSquares[T]) laidOut(w *Worker) (x, dy []T) {
	return scratchOf[T](w, slotPixels, q.geom.Group*q.strips*q.images*q.xImage()),
		scratchOf[T](w, slotB, q.geom.Group*q.panels*q.images*q.dyImage())
}

// sums are those of the squares of a part, as [group][panel][channel of x][kernel
// element][channel of dy].
func (q *ConvSampleSquares[T]) sums(part int) []T {
	size := q.allSums()
	return scratchOf[T](q.common, slotSums, max(q.parts, 1)*size)[part*size : (part+1)*size]
}

func (q *ConvSampleSquares[T]) allSums() int { return q.geom.Group * q.panels * q.panelSums() }

func (q *ConvSampleSquares[T]) panelSums() int {
	return q.strips * q.tiling.squares.tileRows * len(q.taps) * q.width
}

// Run computes the sums.
func (q *ConvSampleSquares[T]) Run(t *Team, x, dy, squares []T) {
	g := &q.geom
	need(len(x), g.xSize(), "x")
	need(len(dy), g.ySize(), "dy")
	need(len(squares), g.wSize(), "squares")
	if q.scattered.run(t, x, dy, squares) {
		return
	}
	if q.winograd != nil {
		q.winograd.run(t, x, dy, squares)
		return
	}
	q.srcX, q.srcDY, q.squares = x, dy, squares
	q.common = t.borrow()
	units := g.Group * q.panels * ceilDiv(q.strips, q.block)
	if sums := q.sums(0); q.parts > 0 {
		t.For(q.parts, q.own)
	} else {
		clear(sums)
		q.laidOut(q.common)
		for q.group = range ceilDiv(g.N, q.images) {
			t.For(ceilDiv(q.loads(), q.loadsPerUnit()), q.load)
			t.For(units, q.multiply)
		}
	}
	t.For(units, q.put)
	t.giveBack(q.common)
	q.srcX, q.srcDY, q.squares, q.common = nil, nil, nil, nil
}

// ownUnit sums a part.
func (q *ConvSampleSquares[T]) ownUnit(w *Worker, part int) {
	sums := q.sums(part)
	clear(sums)
	x, dy := q.laidOut(w)
	end := (part + 1) * q.geom.N / q.parts
	for first := part * q.geom.N / q.parts; first < end; first += q.images {
		count := min(q.images, end-first)
		for at := range count * q.pieces() {
			q.lay(w, x, dy, first, at)
		}
		for panel := range q.geom.Group * q.panels {
			q.add(x, dy, count, panel, 0, q.strips, sums)
		}
	}
}

// count is how many images a shared group has.
func (q *ConvSampleSquares[T]) count() int { return min(q.images, q.geom.N-q.group*q.images) }

// xLoads is how many pieces an image's x is laid out in: strips, or whole groups
// of channels where kernel elements are channels.
func (q *ConvSampleSquares[T]) xLoads() int {
	if q.samples.images > 0 {
		return q.geom.Group
	}
	return q.geom.Group * q.strips
}

// pieces is how many pieces an image is laid out in, loads how many a shared group
// has, and loadsPerUnit how many a unit lays out.
func (q *ConvSampleSquares[T]) pieces() int { return q.xLoads() + q.geom.Group*q.panels }
func (q *ConvSampleSquares[T]) loads() int  { return q.count() * q.pieces() }

func (q *ConvSampleSquares[T]) loadsPerUnit() int {
	return max(hotElements/max(q.xImage(), q.dyImage()), 1)
}

func (q *ConvSampleSquares[T]) loadUnit(w *Worker, unit int) {
	x, dy := q.laidOut(q.common)
	for at := unit * q.loadsPerUnit(); at < min((unit+1)*q.loadsPerUnit(), q.loads()); at++ {
		q.lay(w, x, dy, q.group*q.images, at)
	}
}

// lay lays out a piece of the images from first on.
func (q *ConvSampleSquares[T]) lay(w *Worker, x, dy []T, first, at int) {
	at, piece := at/q.pieces(), at%q.pieces()
	image := first + at
	switch panel := piece - q.xLoads(); {
	case panel >= 0:
		q.loadDY(image, panel, dy[(panel*q.images+at)*q.dyImage():][:q.dyImage()])
	case q.samples.images > 0:
		q.sample(w, image, piece, x[(piece*q.strips*q.images+at)*q.xImage():])
	default:
		q.loadX(image, piece, x[(piece*q.images+at)*q.xImage():][:q.xImage()])
	}
}

// loadDY lays out a panel.
func (q *ConvSampleSquares[T]) loadDY(image, panel int, dst []T) {
	size := q.geom.OH * q.geom.OW
	o := panel % q.panels * q.width
	outs := min(q.width, q.outs-o)
	if outs < q.width {
		clear(dst)
	}
	from := image*q.geom.OutC + panel/q.panels*q.outs + o
	q.tiling.transpose(outs, size, q.srcDY[from*size:], size, dst, q.width)
}

// loadX lays out a strip.
func (q *ConvSampleSquares[T]) loadX(image, strip int, dst []T) {
	rows := q.tiling.squares.tileRows
	c := strip % q.strips * rows
	channels := min(squaresRow, q.channels-c) // more than a tile reads: four are moved faster than three
	if channels < rows {
		clear(dst)
	}
	from := image*q.geom.C + strip/q.strips*q.channels + c
	q.tiling.transposeWhole(channels, q.pixels, q.srcX[from*q.pixels:], q.pixels, dst, squaresRow) // in order: a pixel mends what the one before wrote too much
}

// sample lays out all strips of a group of channels.
func (q *ConvSampleSquares[T]) sample(w *Worker, image, group int, dst []T) {
	g, rows := &q.geom, q.tiling.squares.tileRows
	planes, taps := g.C/g.Group, g.KH*g.KW
	samples := scratchOf[T](w, slotA, q.strips*rows*pickLanes)
	clear(samples)
	base := (image*g.C + group*planes) * g.H * g.W
	for at, v := range q.samples.vectors {
		q.tiling.window(v.picks, q.srcX, base+v.base, planes, g.H*g.W, samples, pickLanes, taps*pickLanes)
		pixel := at * pickLanes
		for strip := range q.strips {
			q.tiling.transpose(rows, min(pickLanes, q.pixels-pixel), samples[strip*rows*pickLanes:], pickLanes,
				dst[strip*q.images*q.xImage()+pixel*squaresRow:], squaresRow)
		}
	}
}

// unit returns what a unit owns: a panel of a group, and strips of channels.
func (q *ConvSampleSquares[T]) unit(unit int) (panel, first, end int) {
	blocks := ceilDiv(q.strips, q.block)
	return unit / blocks, unit % blocks * q.block, min((unit%blocks+1)*q.block, q.strips)
}

// multiplyUnit adds the images of a shared group.
func (q *ConvSampleSquares[T]) multiplyUnit(_ *Worker, unit int) {
	x, dy := q.laidOut(q.common)
	panel, first, end := q.unit(unit)
	q.add(x, dy, q.count(), panel, first, end, q.sums(0))
}

// add adds the squared gradients of the count images that are laid out, of a panel
// and some strips.
func (q *ConvSampleSquares[T]) add(x, dy []T, count, panel, first, end int, all []T) {
	l := q.tiling.squares
	tile := l.tiles[min(q.width, roundUp(q.outs-panel%q.panels*q.width, l.lanes))/l.lanes-1]
	row := len(q.taps) * q.width
	for strip := first; strip < end; strip++ {
		x := x[(panel/q.panels*q.strips+strip)*q.images*q.xImage():]
		sums := all[panel*q.panelSums()+strip*l.tileRows*row:]
		for image := 0; image < count; image += q.hot {
			x, dy := x[image*q.xImage():], dy[(panel*q.images+image)*q.dyImage():]
			for i, t := range q.taps {
				if t.height <= 0 || t.width <= 0 {
					continue
				}
				tile(min(q.hot, count-image), t.height, t.width,
					x[t.x*squaresRow:], q.next*squaresRow, (q.line-t.width*q.next)*squaresRow, q.xImage(),
					dy[t.dy*q.width:], q.width, (q.geom.OW-t.width)*q.width, q.dyImage(),
					sums[i*q.width:], row)
			}
		}
	}
}

// putUnit adds up the parts of a block and brings them into the order of the
// weights.
func (q *ConvSampleSquares[T]) putUnit(_ *Worker, unit int) {
	panel, first, end := q.unit(unit)
	rows, taps := q.tiling.squares.tileRows, len(q.taps)
	c, k := first*rows, q.channels*taps
	channels := min(end*rows, q.channels) - c
	o := panel % q.panels * q.width
	outs := min(q.width, q.outs-o)
	at, size := panel*q.panelSums()+c*taps*q.width, channels*taps*q.width
	total := q.sums(0)[at:][:size]
	for part := 1; part < q.parts; part++ {
		Add(total, total, q.sums(part)[at:][:size])
	}
	q.tiling.transpose(channels*taps, outs, total, q.width, q.squares[(panel/q.panels*q.outs+o)*k+c*taps:], k)
}
