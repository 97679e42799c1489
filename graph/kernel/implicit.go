package kernel

// implicit is a prepared product of weights [m, channels*taps] with samples of
// images [channels*taps, pixels], once for each group of channels: the form
// that a convolution and its input gradient share. Samples are laid out panel
// by panel just before they are multiplied.
type implicit[T Float] struct {
	tiling             *tiling[T]
	groups             int // of channels
	m, channels, taps  int // per group
	images             int
	srcImage, srcPlane int // elements from one image, one plane to the next
	dstImage, dstPlane int
	whole, rest        batch // a full batch of images, and the last one if smaller
	batches            int
	panels             int // of all batches of one group
	split              blocking
	planes             int // channels summed at once
	rows               int // of a tile: as even as the tiling allows
	width              int // of a panel: pixels that are multiplied together
	src, dst, bias     []T
	weights            []T // packed in strips of rows rows: [strip][k][packedRow]
	flags              int
	body               func(w *Worker, unit int)
}

// newImplicit prepares a product of whose sampling, groups, m, channels,
// images and the distances in src and dst are given. place says where in a
// plane of dst a pixel goes; nil means that pixels are the plane.
func newImplicit[T Float](im implicit[T], s sampling, place func(pixel int) int) *implicit[T] {
	im.taps = len(s.taps)
	perBatch := min(imagesPerBatch(s.rows*s.cols), max(im.images, 1))
	im.batches = ceilDiv(im.images, perBatch)
	im.whole = newBatch(&s, perBatch, im.srcImage)
	im.rest = newBatch(&s, im.images-max(im.batches-1, 0)*perBatch, im.srcImage)
	im.whole.send(&s, im.dstImage, place)
	im.rest.send(&s, im.dstImage, place)
	im.width = panelWidth(im.whole.pixels, im.tiling.cols)
	im.panels = im.batches * ceilDiv(im.whole.pixels, im.width)
	im.planes = even(im.channels, max(maxDepth/max(im.taps, 1), 1))
	im.rows = even(im.m, im.tiling.rows)
	im.split = newBlocking(im.m, im.panels*im.width, im.channels*im.taps, im.rows, im.width)
	im.body = im.unit
	return &im
}

// imagesPerBatch is the smallest number of images that fills vectors well.
func imagesPerBatch(pixels int) int {
	n := 1
	for n < pickLanes && 20*n*pixels < 17*roundUp(n*pixels, pickLanes) {
		n++
	}
	return n
}

// run computes dst. Its flags are those of a tile; bias has m*groups elements.
func (im *implicit[T]) run(t *Team, weights, src, bias, dst []T, flags int) {
	im.weights, im.src, im.bias, im.dst, im.flags = weights, src, bias, dst, flags
	t.For(im.groups*im.split.units(), im.body)
	im.weights, im.src, im.bias, im.dst = nil, nil, nil, nil
}

// strips is how many strips the packed weights of one group have.
func (im *implicit[T]) strips() int { return ceilDiv(im.m, im.rows) }

// packedSize is the length of the packed weights.
func (im *implicit[T]) packedSize() int {
	return im.groups * im.strips() * im.channels * im.taps * packedRow
}

// block is what a unit works on: rows of one group, and panels.
type block[T Float] struct {
	group, i0, i1 int
	p0, p1        int
	packed        []T // [panel][k][width]
	result        []T // [row][panel, pixel], when pixels have to be put in their places
}

func (im *implicit[T]) unit(w *Worker, unit int) {
	units := im.split.units()
	i0, i1, j0, j1 := im.split.block(unit % units)
	width := im.width
	b := block[T]{group: unit / units, i0: i0, i1: i1, p0: j0 / width, p1: j1 / width}
	count := b.p1 - b.p0
	b.packed = scratchOf[T](w, slotB, count*width*im.planes*im.taps)
	if im.whole.out != nil {
		b.result = scratchOf[T](w, slotC, (i1-i0)*count*width)
	}
	for c := 0; ; c += im.planes {
		planes := min(im.planes, im.channels-c)
		flags := 0
		if c > 0 {
			flags |= addC
		}
		if c+planes == im.channels {
			flags |= im.flags
		}
		im.sample(&b, c, planes)
		im.multiply(&b, c, planes, flags)
		if c+planes == im.channels {
			break
		}
	}
	im.place(&b)
}

// panel returns the batch, the batch's number and the pixels of a panel.
func (im *implicit[T]) panel(p int) (b *batch, number, q0, q1 int) {
	width := im.width
	per := ceilDiv(im.whole.pixels, width)
	number = p / per
	b = &im.whole
	if number == im.batches-1 {
		b = &im.rest
	}
	q0 = min(p%per*width, b.pixels)
	return b, number, q0, min(q0+width, b.pixels)
}

// sample lays out the panels of some channels.
func (im *implicit[T]) sample(b *block[T], channel, planes int) {
	width := im.width
	for p := b.p0; p < b.p1; p++ {
		batch, number, q0, q1 := im.panel(p)
		base := number*im.whole.images*im.srcImage + (b.group*im.channels+channel)*im.srcPlane
		panel := b.packed[(p-b.p0)*width*im.planes*im.taps:]
		for q := q0; q < q1; q += pickLanes {
			im.tiling.window(batch.picks[q/pickLanes], im.src, base, planes, im.srcPlane,
				panel[q-q0:], width, im.taps*width)
		}
	}
}

// multiply adds the products of some channels.
func (im *implicit[T]) multiply(b *block[T], channel, planes, flags int) {
	tl, k, width := im.tiling, planes*im.taps, im.width
	for i := b.i0; i < b.i1; i += im.rows {
		rows := min(im.rows, b.i1-i)
		strip := b.group*im.strips() + i/im.rows
		a := im.weights[(strip*im.channels+channel)*im.taps*packedRow:]
		var bias []T
		if im.bias != nil {
			bias = im.bias[b.group*im.m+i:]
		}
		for p := b.p0; p < b.p1; p++ {
			batch, number, q0, q1 := im.panel(p)
			if q0 == q1 {
				continue
			}
			c, cRow := b.result, (b.p1-b.p0)*width
			if batch.out == nil {
				c, cRow = im.dst[number*im.whole.images*im.dstImage+(b.group*im.m+i)*im.dstPlane+q0:], im.dstPlane
			} else {
				c = c[(i-b.i0)*cRow+(p-b.p0)*width:]
			}
			tl.tile(rows, q1-q0)(k, a, 1, packedRow, b.packed[(p-b.p0)*width*im.planes*im.taps:], width,
				c, cRow, q1-q0, bias, flags)
		}
	}
}

// place puts a block's result where the pixels belong.
func (im *implicit[T]) place(b *block[T]) {
	width := im.width
	cRow := (b.p1 - b.p0) * width
	for p := b.p0; p < b.p1; p++ {
		batch, number, q0, q1 := im.panel(p)
		if batch.out == nil {
			continue
		}
		out := batch.out[q0:q1]
		for i := b.i0; i < b.i1; i++ {
			from := b.result[(i-b.i0)*cRow+(p-b.p0)*width:][:len(out)]
			to := im.dst[number*im.whole.images*im.dstImage+(b.group*im.m+i)*im.dstPlane:]
			for q, at := range out {
				to[at] = from[q]
			}
		}
	}
}
