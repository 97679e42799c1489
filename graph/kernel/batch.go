package kernel

// batch is a number of images whose pixels are numbered through, so that
// images smaller than a vector still fill it.
type batch struct {
	images, pixels int
	picks          [][]pick // for each 16 pixels
	out            []int32  // where each pixel goes, from the first image on; nil: to its own number
}

// newBatch works out how the pixels of images that lie imageSize elements
// apart are read.
func newBatch(s *sampling, images, imageSize int) batch {
	b := batch{images: images, pixels: images * s.rows * s.cols}
	for first := 0; first < b.pixels; first += pickLanes {
		b.picks = append(b.picks, s.picks(first, b.pixels, imageSize))
	}
	return b
}

// send works out where pixels go: place gives the place in an image's plane,
// nil means that the pixels are the plane.
func (b *batch) send(s *sampling, imageSize int, place func(pixel int) int) {
	if b.images == 1 && place == nil {
		return
	}
	pixels := s.rows * s.cols
	b.out = make([]int32, b.pixels)
	for q := range b.out {
		at := q % pixels
		if place != nil {
			at = place(at)
		}
		b.out[q] = int32(q/pixels*imageSize + at)
	}
}
