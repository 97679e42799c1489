package kernel

// implicit computes a correlation as one matrix product per group. Samples are
// laid out panel by panel just before they are multiplied.
type implicit[T Float] struct {
	correlation[T]
	whole, rest batch // a full batch of images, and the last one
	batches     int
	panels      int // of all batches of one group
	split       blocking
	planes      int // channels summed at once
	width       int // of a panel: pixels that are multiplied together
	body        func(w *Worker, unit int)
}

func newImplicit[T Float](c correlation[T], s *sampling, place func(pixel int) int) *implicit[T] {
	im := &implicit[T]{correlation: c}
	perBatch := min(imagesPerBatch(s.rows*s.cols), max(im.images, 1))
	im.batches = ceilDiv(im.images, perBatch)
	im.whole = newBatch(s, perBatch, im.srcImage)
	im.whole.send(s, im.dstImage, place)
	im.rest = im.whole
	if last := im.images - max(im.batches-1, 0)*perBatch; last < perBatch {
		im.rest = newBatch(s, last, im.srcImage)
		im.rest.send(s, im.dstImage, place)
	}
	im.width = panelWidth(im.whole.pixels, im.tiling.cols)
	im.panels = im.batches * ceilDiv(im.whole.pixels, im.width)
	im.planes = even(im.channels, max(maxDepth/max(im.taps, 1), 1))
	im.split = newBlocking(im.m, im.panels*im.width, im.channels*im.taps, im.rows, im.width, unitProducts)
	im.body = im.unit
	return im
}

func (im *implicit[T]) compute(t *Team) { t.For(im.groups*im.split.units(), im.body) }

// imagesPerBatch is the smallest number of images that fills vectors well.
func imagesPerBatch(pixels int) int {
	n := 1
	for n < pickLanes && 20*n*pixels < 17*roundUp(n*pixels, pickLanes) {
		n++
	}
	return n
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
			v := &batch.vectors[q/pickLanes]
			im.tiling.window(v.picks, im.src, base+v.base, planes, im.srcPlane,
				panel[q-q0:], width, im.taps*width)
		}
	}
}

// multiply adds the products of some channels.
func (im *implicit[T]) multiply(b *block[T], channel, planes, flags int) {
	tl, k, width := im.tiling, planes*im.taps, im.width
	for i := b.i0; i < b.i1; i += im.rows {
		rows := min(im.rows, b.i1-i)
		a, bias := im.strip(b.group, i, channel), im.biasFrom(b.group, i)
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
