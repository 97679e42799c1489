package kernel

// batch is a number of images whose pixels are numbered through, so that
// images smaller than a vector still fill it.
type batch struct {
	images, pixels int
	vectors        []vector // for each 16 pixels
	out            []int32  // where each pixel goes, from the first image on; nil: to its own number
}

// A vector is how 16 pixels are read: by picks that begin base elements into the
// source. Vectors that read alike have them in common.
type vector struct {
	picks []pick
	base  int
}

// newBatch works out how the pixels of images that lie imageSize elements
// apart are read.
func newBatch(s *sampling, images, imageSize int) batch {
	b := batch{images: images, pixels: images * s.rows * s.cols}
	// After so many vectors pixels begin at the same column again.
	period := s.cols / gcd(s.cols, pickLanes)
	for first := 0; first < b.pixels; first += pickLanes {
		if v := len(b.vectors) - period; v >= 0 && s.inside(v*pickLanes, b.pixels) && s.inside(first, b.pixels) {
			like := b.vectors[v]
			like.base += s.place(first, imageSize) - s.place(v*pickLanes, imageSize)
			b.vectors = append(b.vectors, like)
			continue
		}
		b.vectors = append(b.vectors, vector{picks: s.picks(first, b.pixels, imageSize)})
	}
	return b
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
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
