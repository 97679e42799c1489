package kernel

// pixelwise computes a correlation pixel by pixel, with the images of a batch
// side by side: a matrix product per pixel and tap. It takes two transpositions
// of the images, and leaves out every tap that would read padding: in the last
// layers of a network, where planes are 4 by 4 or smaller, that is a third of
// the work or more.
type pixelwise[T Float] struct {
	correlation[T]
	reach     [][]reached // of each pixel
	size      int         // elements of a plane of src
	pitch     int         // images, rounded up
	width     int         // images that are multiplied together
	block     int         // rows of weights that a unit multiplies
	planes    int         // that a unit transposes
	in        []T         // src as [place][channel][image]
	out       []T         // dst as [pixel][row][image]
	spread    func(w *Worker, unit int)
	multiply  func(w *Worker, unit int)
	gatherOut func(w *Worker, unit int)
}

// reached is a tap that reads a place inside the plane.
type reached struct{ tap, place int }

// reach lists what each pixel reads, tap by tap.
func (s *sampling) reach() [][]reached {
	all := make([][]reached, s.rows*s.cols)
	for q := range all {
		for t := range s.taps {
			if place, ok := s.read(q, s.taps[t]); ok {
				all[q] = append(all[q], reached{t, place})
			}
		}
	}
	return all
}

// pixelwisePays weighs the padding that is left out against tiles as shallow
// as the number of channels.
func pixelwisePays[T Float](c *correlation[T], s *sampling) bool {
	all := c.groups * c.images * c.m * c.channels * s.rows * s.cols * c.taps
	return c.images >= pickLanes && c.channels >= 16 && 10*c.products(s) < 9*all
}

func newPixelwise[T Float](c correlation[T], s *sampling) *pixelwise[T] {
	pw := &pixelwise[T]{correlation: c, size: s.planeH * s.planeW, reach: s.reach()}
	vectors := ceilDiv(c.images, pickLanes)
	pw.pitch = vectors * pickLanes
	pw.width = even(vectors, c.tiling.cols/pickLanes) * pickLanes
	pw.block = c.rows * even(c.strips(), 8)
	pw.planes = max(8, ceilDiv(64, min(pw.size, len(pw.reach)))) // units share no line of the cache
	pw.in = alignedSlice[T](pw.size * c.groups * c.channels * pw.pitch)
	pw.out = alignedSlice[T](len(pw.reach) * c.groups * c.m * pw.pitch)
	pw.spread, pw.multiply, pw.gatherOut = pw.spreadUnit, pw.multiplyUnit, pw.gatherUnit
	return pw
}

func (pw *pixelwise[T]) compute(t *Team) {
	t.For(ceilDiv(pw.groups*pw.channels, pw.planes), pw.spread)
	t.For(len(pw.reach)*pw.groups*ceilDiv(pw.m, pw.block), pw.multiply)
	t.For(ceilDiv(pw.groups*pw.m, pw.planes), pw.gatherOut)
}

// spreadUnit brings some planes of src into in.
func (pw *pixelwise[T]) spreadUnit(_ *Worker, unit int) {
	planes := pw.groups * pw.channels
	for p := unit * pw.planes; p < min((unit+1)*pw.planes, planes); p++ {
		pw.tiling.transpose(pw.images, pw.size, pw.src[p*pw.srcPlane:], pw.srcImage, pw.in[p*pw.pitch:], planes*pw.pitch)
	}
}

// gatherUnit brings some planes of out into dst.
func (pw *pixelwise[T]) gatherUnit(_ *Worker, unit int) {
	planes := pw.groups * pw.m
	for p := unit * pw.planes; p < min((unit+1)*pw.planes, planes); p++ {
		pw.tiling.transpose(len(pw.reach), pw.images, pw.out[p*pw.pitch:], planes*pw.pitch, pw.dst[p*pw.dstPlane:], pw.dstImage)
	}
}

// multiplyUnit computes some rows of one group for one pixel of all images.
func (pw *pixelwise[T]) multiplyUnit(_ *Worker, unit int) {
	blocks := ceilDiv(pw.m, pw.block)
	pixel, group, i0 := unit/blocks/pw.groups, unit/blocks%pw.groups, unit%blocks*pw.block
	for n := 0; n < pw.images; n += pw.width {
		for i := i0; i < min(i0+pw.block, pw.m); i += pw.rows {
			pw.tile(pixel, group, i, n)
		}
	}
}

// tile computes a strip of rows from i on for one pixel of images from n on.
func (pw *pixelwise[T]) tile(pixel, group, i, n int) {
	tile := pw.tiling.tile(min(pw.rows, pw.m-i), min(pw.width, pw.images-n))
	cols := min(pw.width, pw.images-n)
	c := pw.out[((pixel*pw.groups+group)*pw.m+i)*pw.pitch+n:]
	bias, reach := pw.biasFrom(group, i), pw.reach[pixel]
	if len(reach) == 0 { // the pixel reads padding only
		tile(0, nil, 0, 0, nil, 0, c, pw.pitch, cols, bias, pw.flags)
		return
	}
	weights := pw.strip(group, i, 0)
	for at, r := range reach {
		flags := 0
		if at > 0 {
			flags |= addC
		}
		if at == len(reach)-1 {
			flags |= pw.flags
		}
		b := pw.in[(r.place*pw.groups+group)*pw.channels*pw.pitch+n:]
		tile(pw.channels, weights[r.tap*packedRow:], 1, pw.taps*packedRow, b, pw.pitch, c, pw.pitch, cols, bias, flags)
	}
}
