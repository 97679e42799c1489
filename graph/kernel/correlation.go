package kernel

// correlation is what a convolution and its input gradient have in common: for
// each group of channels a product of weights [m, channels*taps] with samples
// of images [channels*taps, pixels].
type correlation[T Float] struct {
	tiling             *tiling[T]
	groups             int
	m, channels, taps  int // per group: rows of weights, planes that are read, places in each
	images             int
	srcImage, srcPlane int // elements from one image, one plane to the next
	dstImage, dstPlane int
	rows               int // of a tile: as even as the tiling allows

	// What run was given.
	weights        []T // packed: [group][strip of rows][channel, tap][packedRow]
	src, bias, dst []T
	flags          int
	joined         Joined[T] // with packed weights
}

// method is a way to compute a correlation.
type method[T Float] interface {
	description() *correlation[T]
	compute(t *Team)
}

// newMethod chooses one. place says where in a plane of dst a pixel goes;
// nil means that pixels are the plane.
func newMethod[T Float](c correlation[T], s sampling, place func(pixel int) int, wish Winograd) method[T] {
	c.taps = len(s.taps)
	c.rows = even(c.m, c.tiling.rows)
	if place == nil && useWinograd(&c, &s, wish) {
		return newWinograd(c, &s)
	}
	if place == nil && plainPays(&s) {
		return newPlain(c, &s)
	}
	if place == nil && directPays(&c, &s) {
		return newDirect(c, &s, s.rows, 1)
	}
	if place == nil && pixelwisePays(&c, &s) {
		return newPixelwise(c, &s)
	}
	return newImplicit(c, &s, place)
}

// products counts the multiplications of the correlation without those of
// padding.
func (c *correlation[T]) products(s *sampling) int {
	inside := 0
	for q := range s.rows * s.cols {
		for _, t := range s.taps {
			if _, ok := s.read(q, t); ok {
				inside++
			}
		}
	}
	return c.groups * c.images * c.m * c.channels * inside
}

func (c *correlation[T]) description() *correlation[T] { return c }

// run computes dst. The flags are those of a tile; bias has m*groups elements.
func run[T Float](p method[T], t *Team, weights, src, bias, dst []T, flags int) {
	c := p.description()
	c.weights, c.src, c.bias, c.dst, c.flags = weights, src, bias, dst, flags
	p.compute(t)
	c.weights, c.src, c.bias, c.dst = nil, nil, nil, nil
}

// runJoined is run with what is joined to it, for methods that take anything along.
func runJoined[T Float](p method[T], t *Team, weights, src, bias, dst []T, flags int, j Joined[T]) {
	c := p.description()
	c.joined = j
	run(p, t, weights, src, bias, dst, flags)
	c.joined = Joined[T]{}
}

// terms is how many correlations are summed.
func (c *correlation[T]) terms() int {
	if c.joined.X != nil {
		return 2
	}
	return 1
}

// termOf returns a term's images and packed weights.
func (c *correlation[T]) termOf(term int) (src, weights []T) {
	if term > 0 {
		return c.joined.X, c.joined.W
	}
	return c.src, c.weights
}

// strips is how many strips of rows one group has.
func (c *correlation[T]) strips() int { return ceilDiv(c.m, c.rows) }

// strip returns the packed weights of a strip from a channel on.
func (c *correlation[T]) strip(group, row, channel int) []T {
	return c.stripOf(c.weights, group, row, channel)
}

func (c *correlation[T]) stripOf(weights []T, group, row, channel int) []T {
	strip := group*c.strips() + row/c.rows
	return weights[(strip*c.channels+channel)*c.taps*packedRow:]
}

// biasFrom returns the bias of a group's rows from one on, nil without bias.
func (c *correlation[T]) biasFrom(group, row int) []T {
	if c.bias == nil {
		return nil
	}
	return c.bias[group*c.m+row:]
}
