package kernel

// direct computes a correlation from images side by side; see direct_loops.go.
// It is for few channels: what it saves is laying out samples, which few
// results would share. A unit is a block of images and some rows of results.
type direct[T Float] struct {
	correlation[T]
	beside   beside[T]
	cols     int // of results
	lines    int // of results
	stepW    int
	offsets  []int32
	rowsUnit int // lines of a unit
	body     func(w *Worker, unit int)
}

const (
	// directElements bounds what a unit lays out: half of the second-level cache.
	directElements = 48 << 10
	// directTerms bounds the terms of a sum, so that packed weights stay in the
	// first-level cache.
	directTerms = 512
)

// directPays tells whether few results share what would be sampled, and
// vectors of images are about full.
func directPays[T Float](c *correlation[T], s *sampling) bool {
	loops := c.tiling.direct
	if loops == nil || c.groups != 1 || c.m > loops.most || c.channels*c.taps > directTerms || c.taps == 0 {
		return false
	}
	return fullEnough(c.images, loops.images) && 4*c.products(s) > 3*c.images*c.m*c.channels*c.taps*s.rows*s.cols
}

// fullEnough tells whether images fill vectors to three quarters.
func fullEnough(images, side int) bool {
	return images > 0 && 4*images >= 3*roundUp(images, side)
}

// newDirect prepares some lines of results; a unit takes a multiple of step.
func newDirect[T Float](c correlation[T], s *sampling, lines, step int) *direct[T] {
	loops := c.tiling.direct
	c.rows = even(c.m, len(loops.tiles))
	d := &direct[T]{correlation: c, lines: lines, cols: s.cols, stepW: s.stepW}
	d.beside = newBeside(c.tiling, s, c.images, c.channels, c.srcImage)
	perLine := c.channels*s.stepH*d.beside.width + c.rows*s.cols
	d.rowsUnit = even(lines/step, max(directElements/(perLine*loops.images*step), 1)) * step
	d.beside.hold(d.rowsUnit)
	d.offsets = d.beside.offsets(s.taps)
	d.body = d.unit
	return d
}

func (d *direct[T]) compute(t *Team) { t.For(d.units(), d.body) }

func (d *direct[T]) units() int { return d.beside.blocks() * ceilDiv(d.lines, d.rowsUnit) }

func (d *direct[T]) unit(w *Worker, unit int) {
	d.tiles(w, unit, func(block, row, first, lines int, sums []T) {
		d.tiling.transpose(lines*d.cols, d.side(block), sums, d.beside.loops.images,
			d.dst[block*d.beside.loops.images*d.dstImage+row*d.dstPlane+first*d.cols:], d.dstImage)
	})
}

// side is how many images a block has.
func (d *direct[T]) side(block int) int {
	return min(d.beside.loops.images, d.images-block*d.beside.loops.images)
}

// tiles computes a unit and gives each row of results, [line][column][image], to
// put, with the block of images and the first line.
func (d *direct[T]) tiles(w *Worker, unit int, put func(block, row, first, lines int, sums []T)) {
	perBlock := ceilDiv(d.lines, d.rowsUnit)
	block, first := unit/perBlock, unit%perBlock*d.rowsUnit
	lines := min(d.rowsUnit, d.lines-first)
	side := d.beside.loops.images
	in := d.beside.load(w, slotA, d.src, block, first, lines)
	size := lines * d.cols * side
	out := scratchOf[T](w, slotB, d.rows*size)
	for i := 0; i < d.m; i += d.rows {
		rows := min(d.rows, d.m-i)
		tile := d.beside.loops.tiles[rows-1]
		for line := range lines {
			tile(d.cols, d.offsets, d.strip(0, i, 0), in[line*d.beside.lineNext():], d.stepW*side,
				out[line*d.cols*side:], size, d.biasFrom(0, i), d.flags)
		}
		for r := range rows {
			put(block, i+r, first, lines, out[r*size:(r+1)*size])
		}
	}
}

// beside lays out blocks of images side by side, with padding.
type beside[T Float] struct {
	tiling           *tiling[T]
	loops            *directLoops[T]
	images, channels int
	image            int // elements from one image to the next
	planeH, planeW   int
	originH, originW int // of what the first place reads
	stepH, stepW     int
	spanH, spanW     int // of the taps
	width            int // of a line with its padding
	height           int // lines held at once
}

func newBeside[T Float](tl *tiling[T], s *sampling, images, channels, image int) beside[T] {
	low, high := s.taps[0], s.taps[0]
	for _, t := range s.taps {
		low = tap{min(low.h, t.h), min(low.w, t.w)}
		high = tap{max(high.h, t.h), max(high.w, t.w)}
	}
	b := beside[T]{
		tiling: tl, loops: tl.direct, images: images, channels: channels, image: image,
		planeH: s.planeH, planeW: s.planeW, originH: s.originH + low.h, originW: s.originW + low.w,
		stepH: s.stepH, stepW: s.stepW, spanH: high.h - low.h + 1, spanW: high.w - low.w + 1,
	}
	b.width = (s.cols-1)*s.stepW + b.spanW
	return b
}

// hold says for how many lines of results a layout is.
func (b *beside[T]) hold(lines int) { b.height = (lines-1)*b.stepH + b.spanH }

func (b *beside[T]) blocks() int { return ceilDiv(b.images, b.loops.images) }

// lineNext is the distance of what neighbouring lines of results read.
func (b *beside[T]) lineNext() int { return b.stepH * b.width * b.loops.images }

// offsets are the distances of all channels' taps from the first place.
func (b *beside[T]) offsets(taps []tap) []int32 {
	low := taps[0]
	for _, t := range taps {
		low = tap{min(low.h, t.h), min(low.w, t.w)}
	}
	var list []int32
	for c := range b.channels {
		for _, t := range taps {
			at := (c*b.height+t.h-low.h)*b.width + t.w - low.w
			list = append(list, int32(at*b.loops.images))
		}
	}
	return list
}

// load lays out what some lines of results read of a block of images:
// [channel][line][column][image]. Images that do not exist are zero.
func (b *beside[T]) load(w *Worker, slot int, src []T, block, first, lines int) []T {
	side := b.loops.images
	in := scratchOf[T](w, slot, b.channels*b.height*b.width*side)
	images := min(side, b.images-block*side)
	if images < side {
		clear(in)
	}
	src = src[block*side*b.image:]
	h0 := b.originH + first*b.stepH
	rows := (lines-1)*b.stepH + b.spanH
	for c := range b.channels {
		b.plane(w, in[c*b.height*b.width*side:], src[c*b.planeH*b.planeW:], images, h0, rows)
	}
	return in
}

// plane lays out rows of one channel from h0 on.
func (b *beside[T]) plane(w *Worker, in, src []T, images, h0, rows int) {
	side := b.loops.images
	from, to := min(max(h0, 0), b.planeH), min(max(h0+rows, 0), b.planeH)
	left := max(-b.originW, 0)
	at := max(b.originW, 0)
	used := max(min(b.width-left, b.planeW-at), 0)
	pitch := b.width * side
	if used == b.planeW && used == b.width && from == h0 && to == h0+rows { // without padding, lines follow each other
		b.tiling.transpose(images, rows*used, src[from*b.planeW:], b.image, in, side)
		return
	}
	pixels, narrow := in, b.planeW < 8
	if narrow && to > from { // too narrow for vectors: all lines at once
		pixels = scratchOf[T](w, slotPixels, (to-from)*b.planeW*side)
		b.tiling.transpose(images, (to-from)*b.planeW, src[from*b.planeW:], b.image, pixels, side)
	}
	for r := range rows {
		line, h := in[r*pitch:(r+1)*pitch], h0+r
		if h < from || h >= to || used == 0 {
			clear(line)
			continue
		}
		clear(line[:left*side])
		clear(line[(left+used)*side:])
		if !narrow {
			b.tiling.transpose(images, used, src[h*b.planeW+at:], b.image, line[left*side:], side)
			continue
		}
		pixel := ((h-from)*b.planeW + at) * side
		for x := range used {
			copy(line[(left+x)*side:][:images], pixels[pixel+x*side:])
		}
	}
}
