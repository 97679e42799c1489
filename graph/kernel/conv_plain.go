package kernel

// plain computes a correlation whose one tap reads the pixel itself, such as a
// 1 by 1 convolution: for each image and group a matrix product with the image
// as it lies.
type plain[T Float] struct {
	correlation[T]
	pixels int
	width  int // of a panel of pixels
	panels int // of an image
	planes int // channels summed at once
	block  int // panels of a unit
	packs  bool
	body   func(w *Worker, unit int)
	begin  func(w *Worker, unit int)
	mask   func(w *Worker, unit int)
}

// packedPlane is the size of planes from which on panels are copied together
// first, when several strips of weights read them: their rows lie so far apart
// that they would push each other out of the first-level cache.
const packedPlane = 256

// plainPays tells whether a correlation is of that kind, with planes that are
// made of whole vectors.
func plainPays(s *sampling) bool {
	pixels := s.rows * s.cols
	return len(s.taps) == 1 && s.taps[0].h+s.originH == 0 && s.taps[0].w+s.originW == 0 &&
		s.stepH == 1 && s.stepW == 1 && s.rows == s.planeH && s.cols == s.planeW &&
		pixels > 0 && pixels%pickLanes == 0
}

func newPlain[T Float](c correlation[T], s *sampling) *plain[T] {
	p := &plain[T]{correlation: c, pixels: s.rows * s.cols}
	p.width = even(p.pixels/pickLanes, max(c.tiling.cols/pickLanes, 1)) * pickLanes
	p.panels = ceilDiv(p.pixels, p.width)
	p.planes = even(c.channels, maxDepth)
	p.packs = p.pixels >= packedPlane && c.strips() >= 4
	all := c.images * c.groups * p.panels
	p.block = max(min(unitProducts/max(c.m*c.channels*p.width, 1), all/(2*enoughUnits)), 1)
	p.body, p.begin, p.mask = p.unit, p.beginUnit, p.maskUnit
	return p
}

// compute adds to what is joined, which comes first; its panels are too narrow for a
// mask of their own.
func (p *plain[T]) compute(t *Team) {
	size := p.images * p.dstImage
	if addend := p.joined.Addend; size > 0 && addend != nil && &addend[0] != &p.dst[0] {
		t.For(unitsOf(size), p.begin)
	}
	t.For(ceilDiv(p.images*p.groups*p.panels, p.block), p.body)
	if p.joined.Mask != nil {
		t.For(unitsOf(size), p.mask)
	}
}

func (p *plain[T]) beginUnit(_ *Worker, unit int) {
	lo, hi := unitRange(unit, p.images*p.dstImage)
	copy(p.dst[lo:hi], p.joined.Addend[lo:hi])
}

func (p *plain[T]) maskUnit(_ *Worker, unit int) {
	lo, hi := unitRange(unit, p.images*p.dstImage)
	ReluGrad(p.dst[lo:hi], p.dst[lo:hi], p.joined.Mask[lo:hi])
}

func (p *plain[T]) unit(w *Worker, unit int) {
	for at := unit * p.block; at < min((unit+1)*p.block, p.images*p.groups*p.panels); at++ {
		p.panel(w, at/p.panels/p.groups, at/p.panels%p.groups, at%p.panels*p.width)
	}
}

// panel computes all rows of a group for some pixels of an image, from q on.
func (p *plain[T]) panel(w *Worker, image, group, q int) {
	for term := range p.terms() {
		p.term(w, term, image, group, q)
	}
}

// term adds a term of a panel to those before, and to what is joined.
func (p *plain[T]) term(w *Worker, term, image, group, q int) {
	cols := min(p.width, p.pixels-q)
	src, weights := p.termOf(term)
	src = src[image*p.srcImage+group*p.channels*p.srcPlane+q:]
	dst := p.dst[image*p.dstImage+group*p.m*p.dstPlane+q:]
	for c := 0; c < p.channels; c += p.planes {
		planes := min(p.planes, p.channels-c)
		flags := 0
		if c > 0 || term > 0 || p.joined.Addend != nil {
			flags |= addC
		}
		if c+planes == p.channels && term == p.terms()-1 {
			flags |= p.flags
		}
		b, bRow := src[c*p.srcPlane:], p.srcPlane
		if p.packs {
			packed := scratchOf[T](w, slotB, planes*p.width)
			p.tiling.copyRows(planes, b, bRow, packed, p.width, cols)
			b, bRow = packed, p.width
		}
		for i := 0; i < p.m; i += p.rows {
			rows := min(p.rows, p.m-i)
			p.tiling.tile(rows, cols)(planes, p.stripOf(weights, group, i, c), 1, packedRow, b, bRow,
				dst[i*p.dstPlane:], p.dstPlane, cols, p.biasFrom(group, i), flags)
		}
	}
}
