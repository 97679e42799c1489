package kernel

// scattered is the geometry of a convolution for its gradients where few elements
// of dy are not zero, as behind a max pooling and a ReLU: only those are gone
// through, and each meets a whole kernel, whose rows are vectors. It is for
// kernels of long rows and few channels.
//
// An element of dy that is not finite reaches up to seven columns of dx more than
// its kernel does.
type scattered[T Float] struct {
	geom         ConvGeom
	loops        *scatteredLoops[T]
	width, plane int     // of a plane of x with its padding, in elements
	places       []int32 // where in such a plane an element of dy begins to read
	kept         int     // elements that are not zero, as counted last
	count        func(w *Worker, unit int)

	x, dy []T
}

const (
	// scatteredKernels bounds the kernels with their rows filled up, so that they
	// stay in the caches.
	scatteredKernels = 16 << 10
	// scatteredLook is at how many images is looked to tell how many elements
	// are zero.
	scatteredLook = 4
)

// newScattered returns nil where a convolution does not fit.
func newScattered[T Float](tl *tiling[T], g *ConvGeom) *scattered[T] {
	if tl.scattered == nil || g.Group != 1 || g.DilW != 1 || g.N == 0 ||
		g.KW < scatteredLanes/2 || g.KW > scatteredLanes || g.KH > scatteredRows {
		return nil
	}
	s := &scattered[T]{geom: *g, loops: tl.scattered, width: g.W + g.PadL + g.PadR}
	s.plane = s.width * (g.H + g.PadT + g.PadB)
	if s.kernels() > scatteredKernels {
		return nil
	}
	for oh := range g.OH {
		for ow := range g.OW {
			s.places = append(s.places, int32(oh*g.StrideH*s.width+ow*g.StrideW))
		}
	}
	s.count = func(w *Worker, _ int) { s.kept = s.look(w) }
	return s
}

// kernel is the size of the kernels of one channel of y with their rows filled up,
// kernels that of all.
func (s *scattered[T]) kernel() int  { return s.geom.C * s.geom.KH * scatteredLanes }
func (s *scattered[T]) kernels() int { return s.geom.OutC * s.kernel() }

// few tells whether so few elements of dy are not zero that this is the faster
// way: per element and channel, 8 products for each row of the kernel, at some
// three fifths of the speed of those of a product of matrices.
func (s *scattered[T]) few(t *Team, dy []T) bool {
	s.dy = dy
	t.For(1, s.count)
	s.dy = nil
	seen := min(scatteredLook, s.geom.N) * s.geom.OutC * len(s.places)
	return 5*scatteredLanes*s.kept <= 3*s.geom.KW*seen
}

// look counts elements of some images that are not zero.
func (s *scattered[T]) look(w *Worker) int {
	total := 0
	images := min(scatteredLook, s.geom.N)
	for i := range images {
		for o := range s.geom.OutC {
			at, _ := s.list(w, i*s.geom.N/images, o)
			total += len(at)
		}
	}
	return total
}

// list is what is not zero of a plane of dy.
func (s *scattered[T]) list(w *Worker, image, channel int) (at []int32, values []T) {
	size := len(s.places)
	at, values = w.Int32(slotA, size), scratchOf[T](w, slotB, size)
	plane := s.dy[(image*s.geom.OutC+channel)*size:][:size]
	n := s.loops.collect(plane, s.places, at, values)
	return at[:n], values[:n]
}

// padded is memory for an image of x with its padding, all zero, and room for a
// vector behind it.
func (s *scattered[T]) padded(w *Worker) []T {
	in := scratchOf[T](w, slotA, s.geom.C*s.plane+scatteredLanes)
	clear(in)
	return in
}

// rows calls f with each row of an image of x and the row in the padded one.
func (s *scattered[T]) rows(image int, x, padded []T, f func(dst, src []T)) {
	g := &s.geom
	for c := range g.C {
		for h := range g.H {
			f(padded[c*s.plane+(h+g.PadT)*s.width+g.PadL:][:g.W], x[((image*g.C+c)*g.H+h)*g.W:][:g.W])
		}
	}
}

// weigh adds to sums, [row of a kernel of all channels][lane], what the elements
// of one plane of dy contribute.
func (s *scattered[T]) weigh(at []int32, values, x, sums []T) {
	s.loops.dot(s.geom.KH, at, values, s.geom.C, x, s.plane, s.geom.DilH*s.width, sums)
}

// unfill copies kernels without what fills up their rows.
func (s *scattered[T]) unfill(dst, src []T) {
	for r := range len(src) / scatteredLanes {
		copy(dst[r*s.geom.KW:][:s.geom.KW], src[r*scatteredLanes:])
	}
}

// scatteredGradWeight computes the gradient by the weights. Images are cut into
// parts that are summed apart and then added in order.
type scatteredGradWeight[T Float] struct {
	*scattered[T]
	parts    int
	common   *Worker // memory that all units share
	dw       []T
	own, put func(w *Worker, unit int)
}

func newScatteredGradWeight[T Float](tl *tiling[T], g *ConvGeom) *scatteredGradWeight[T] {
	s := newScattered(tl, g)
	if s == nil {
		return nil
	}
	d := &scatteredGradWeight[T]{scattered: s, parts: min(winogradParts, g.N)}
	d.own, d.put = d.ownUnit, d.putUnit
	return d
}

// run computes dw if few elements of dy are not zero.
func (d *scatteredGradWeight[T]) run(t *Team, x, dy, dw []T) bool {
	if d == nil || !d.few(t, dy) {
		return false
	}
	d.x, d.dy, d.dw = x, dy, dw
	d.common = t.borrow()
	d.sums(0)
	t.For(d.parts, d.own)
	t.For(d.geom.OutC, d.put)
	t.giveBack(d.common)
	d.x, d.dy, d.dw, d.common = nil, nil, nil, nil
	return true
}

func (d *scatteredGradWeight[T]) sums(part int) []T {
	size := d.kernels()
	return scratchOf[T](d.common, slotSums, d.parts*size)[part*size : (part+1)*size]
}

// ownUnit sums a part.
func (d *scatteredGradWeight[T]) ownUnit(w *Worker, part int) {
	sums, size := d.sums(part), d.kernel()
	clear(sums)
	x := d.padded(w)
	for n := part * d.geom.N / d.parts; n < (part+1)*d.geom.N/d.parts; n++ {
		d.rows(n, d.x, x, func(dst, src []T) { copy(dst, src) })
		for o := range d.geom.OutC {
			at, values := d.list(w, n, o)
			d.weigh(at, values, x, sums[o*size:(o+1)*size])
		}
	}
}

// putUnit adds up the parts of one channel of y.
func (d *scatteredGradWeight[T]) putUnit(_ *Worker, o int) {
	size := d.kernel()
	total := d.sums(0)[o*size : (o+1)*size]
	for part := 1; part < d.parts; part++ {
		Add(total, total, d.sums(part)[o*size:(o+1)*size])
	}
	d.unfill(d.dw[o*d.geom.C*d.geom.KH*d.geom.KW:], total)
}

// scatteredGradInput computes the gradient by the input.
type scatteredGradInput[T Float] struct {
	*scattered[T]
	w    []T // kernels with their rows filled up
	body func(w *Worker, image int)
}

func newScatteredGradInput[T Float](tl *tiling[T], g *ConvGeom) *scatteredGradInput[T] {
	s := newScattered(tl, g)
	if s == nil {
		return nil
	}
	d := &scatteredGradInput[T]{scattered: s, w: alignedSlice[T](s.kernels())}
	d.body = d.unit
	return d
}

// run computes dx if few elements of dy are not zero.
func (d *scatteredGradInput[T]) run(t *Team, dy, w, dx []T) bool {
	if d == nil || !d.few(t, dy) {
		return false
	}
	for r := range len(d.w) / scatteredLanes {
		copy(d.w[r*scatteredLanes:], w[r*d.geom.KW:][:d.geom.KW])
	}
	d.x, d.dy = dx, dy
	t.For(d.geom.N, d.body)
	d.x, d.dy = nil, nil
	return true
}

// unit computes dx of one image.
func (d *scatteredGradInput[T]) unit(w *Worker, image int) {
	size, x := d.kernel(), d.padded(w)
	for o := range d.geom.OutC {
		at, values := d.list(w, image, o)
		d.loops.spread(d.geom.KH, at, values, d.geom.C, d.w[o*size:(o+1)*size], x, d.plane, d.geom.DilH*d.width)
	}
	d.rows(image, d.x, x, func(dst, src []T) { copy(src, dst) })
}

// scatteredSquares computes the sums of ConvSampleSquares, over parts of the
// images that are added in order.
type scatteredSquares[T Float] struct {
	*scattered[T]
	parts          int
	common         *Worker // memory that all units share
	squares, total []T
	own, put       func(w *Worker, unit int)
}

func newScatteredSquares[T Float](tl *tiling[T], g *ConvGeom) *scatteredSquares[T] {
	s := newScattered(tl, g)
	if s == nil {
		return nil
	}
	d := &scatteredSquares[T]{scattered: s, parts: min(enoughUnits, g.N)}
	d.own, d.put = d.ownUnit, d.putUnit
	return d
}

// run computes the sums if few elements of dy are not zero.
func (d *scatteredSquares[T]) run(t *Team, x, dy, squares, total []T) bool {
	if d == nil || !d.few(t, dy) {
		return false
	}
	d.x, d.dy, d.squares, d.total = x, dy, squares, total
	d.common = t.borrow()
	d.sums(0, 0)
	t.For(d.parts, d.own)
	t.For(d.geom.OutC, d.put)
	t.giveBack(d.common)
	d.x, d.dy, d.squares, d.total, d.common = nil, nil, nil, nil, nil
	return true
}

// sums are those of the squares (which 0) and of the gradients (which 1).
func (d *scatteredSquares[T]) sums(part, which int) []T {
	size := d.kernels()
	at := (2*part + which) * size
	return scratchOf[T](d.common, slotSums, 2*d.parts*size)[at : at+size]
}

// ownUnit sums a part: the gradient of one image and one channel of y after the
// other, which then goes into both sums.
func (d *scatteredSquares[T]) ownUnit(w *Worker, part int) {
	squares, total, size := d.sums(part, 0), d.sums(part, 1), d.kernel()
	clear(squares)
	clear(total)
	x := d.padded(w)
	memory := scratchOf[T](w, slotC, size+min(size, momentStrip))
	one, strip := memory[:size], memory[size:]
	for n := part * d.geom.N / d.parts; n < (part+1)*d.geom.N/d.parts; n++ {
		d.rows(n, d.x, x, func(dst, src []T) { copy(dst, src) })
		for o := range d.geom.OutC {
			at, values := d.list(w, n, o)
			if len(at) == 0 {
				continue
			}
			clear(one)
			d.weigh(at, values, x, one)
			addMoments(squares[o*size:(o+1)*size], total[o*size:(o+1)*size], one, strip)
		}
	}
}

// putUnit adds up the parts of one channel of y.
func (d *scatteredSquares[T]) putUnit(_ *Worker, o int) {
	size := d.kernel()
	for which, dst := range [][]T{d.squares, d.total} {
		sum := d.sums(0, which)[o*size : (o+1)*size]
		for part := 1; part < d.parts; part++ {
			Add(sum, sum, d.sums(part, which)[o*size:(o+1)*size])
		}
		d.unfill(dst[o*d.geom.C*d.geom.KH*d.geom.KW:], sum)
	}
}
