package kernel

import "sync/atomic"

// scattered is the geometry of a convolution for its gradients where few elements
// of dy are not zero, as behind a max pooling and a ReLU: only those are gone
// through, and each meets a whole kernel, vector by vector. The lanes are channels
// of x, which then lie side by side, or the columns of a row of the kernel,
// whichever fills vectors better: it is for up to 8 channels or rows of 4 to 8.
//
// With columns as lanes, an element of dy that is not finite reaches a few columns
// of dx more than its kernel does.
//
// A dy that a max pooling spreads may be given pooled, with the place of each
// element; see Pooled.
type scattered[T Float] struct {
	geom     ConvGeom
	tiling   *tiling[T]
	loops    *scatteredLoops[T]
	channels bool       // are the lanes
	width    int        // of a plane of x with its padding
	height   int        // of that plane
	places   []int32    // where in a laid out x an element of dy begins to read
	line     [3]float32 // the same by pooledFunc's rule
	byLine   bool       // which is exact

	// A kernel is rows vectors, rowNext apart in a laid out x, in each of some
	// planes, planeNext apart.
	planes, rows       int
	planeNext, rowNext int

	kept  int // elements that are not zero, as counted last
	count func(w *Worker, unit int)

	x, dy  []T
	pooled int     // elements of a plane of dy that is given pooled
	index  []int64 // their places, nil: dy is whole
	strays atomic.Int64
}

const (
	// scatteredKernels bounds the kernels with their vectors filled up, so that
	// they stay in the caches.
	scatteredKernels = 16 << 10
	// scatteredLook is at how many images is looked to tell how many elements
	// are zero.
	scatteredLook = 4
)

// newScattered returns nil where a convolution does not fit.
func newScattered[T Float](tl *tiling[T], g *ConvGeom) *scattered[T] {
	if tl.scattered == nil || g.Group != 1 || g.N == 0 {
		return nil
	}
	s := &scattered[T]{
		geom: *g, tiling: tl, loops: tl.scattered, width: g.W + g.PadL + g.PadR, height: g.H + g.PadT + g.PadB,
		channels: g.C > g.KW && g.C <= scatteredLanes,
	}
	step := 1
	if s.channels {
		step = scatteredLanes
		s.planes, s.planeNext = g.KH, g.DilH*s.width*step
		s.rows, s.rowNext = g.KW, g.DilW*step
	} else {
		s.planes, s.planeNext = g.C, s.height*s.width
		s.rows, s.rowNext = g.KH, g.DilH*s.width
	}
	if s.rows > scatteredRows || !s.channels && (g.KW > scatteredLanes || g.DilW != 1) ||
		2*g.C*g.KH*g.KW < s.kernel() || s.kernels() > scatteredKernels {
		return nil
	}
	for oh := range g.OH {
		for ow := range g.OW {
			s.places = append(s.places, int32((oh*g.StrideH*s.width+ow*g.StrideW)*step))
		}
	}
	across, down := g.StrideW*step, g.StrideH*s.width*step
	s.line = [3]float32{1 / float32(max(g.OW, 1)), float32(across), float32(down - g.OW*across)}
	s.byLine = g.OH*g.OW <= 1<<20 && max(g.OH*down, g.OH*g.OW*across) <= 1<<23
	s.count = func(w *Worker, _ int) { s.kept = s.look(w) }
	return s
}

// kernel is the size of the kernels of one channel of y with their vectors filled
// up, kernels that of all.
func (s *scattered[T]) kernel() int  { return s.planes * s.rows * scatteredLanes }
func (s *scattered[T]) kernels() int { return s.geom.OutC * s.kernel() }

// few tells whether so few elements of dy are not zero that this is the faster
// way, at some three fifths of the speed of the products of matrices.
func (s *scattered[T]) few(t *Team, dy []T) bool {
	s.dy = dy
	t.For(1, s.count)
	s.dy = nil
	return s.pays(s.kept, min(scatteredLook, s.geom.N)*s.geom.OutC*len(s.places))
}

// pays tells so of kept elements among seen.
func (s *scattered[T]) pays(kept, seen int) bool {
	return 5*s.kernel()*kept <= 3*s.geom.C*s.geom.KH*s.geom.KW*seen
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
	number := image*s.geom.OutC + channel
	if s.index != nil {
		return s.listPooled(w, number)
	}
	size := len(s.places)
	at, values = w.Int32(slotA, size), scratchOf[T](w, slotB, size)
	n := s.loops.collect(s.dy[number*size:][:size], s.places, at, values)
	return at[:n], values[:n]
}

// blank is memory for a laid out image of x, all zero, and room for a vector
// behind it.
func (s *scattered[T]) blank(w *Worker) []T {
	in := scratchOf[T](w, slotA, s.laid())
	clear(in)
	return in
}

// laid is the size of that memory.
func (s *scattered[T]) laid() int {
	size := s.geom.C
	if s.channels {
		size = scatteredLanes
	}
	return size*s.height*s.width + scatteredLanes
}

// lay lays out an image of x.
func (s *scattered[T]) lay(x []T, image int, laid []T) {
	g := &s.geom
	x = x[image*g.C*g.H*g.W:][:g.C*g.H*g.W]
	if !s.channels {
		s.eachRow(x, laid, func(x, laid []T) { copy(laid, x) })
		return
	}
	rows, cols := s.runs()
	for h := range rows {
		s.tiling.transposeWhole(g.C, cols, x[h*g.W:], g.H*g.W, laid[((h+g.PadT)*s.width+g.PadL)*scatteredLanes:], scatteredLanes)
	}
}

// unlay is the converse; w lends memory.
func (s *scattered[T]) unlay(w *Worker, image int, laid []T) {
	g := &s.geom
	x := s.x[image*g.C*g.H*g.W:][:g.C*g.H*g.W]
	if !s.channels {
		s.eachRow(x, laid, func(x, laid []T) { copy(x, laid) })
		return
	}
	size := s.height * s.width
	planes := scratchOf[T](w, slotC, scatteredLanes*size)
	s.tiling.transpose(size, scatteredLanes, laid, scatteredLanes, planes, size)
	rows, cols := s.runs()
	for c := range g.C {
		for h := range rows {
			copy(x[c*g.H*g.W+h*cols:][:cols], planes[c*size+(h+g.PadT)*s.width+g.PadL:])
		}
	}
}

// runs is a plane of x as rows, all one if they follow each other laid out too.
func (s *scattered[T]) runs() (rows, cols int) {
	if g := &s.geom; s.width != g.W {
		return g.H, g.W
	}
	return 1, s.geom.H * s.geom.W
}

// eachRow calls f with each row of x and its place between the padding.
func (s *scattered[T]) eachRow(x, laid []T, f func(x, laid []T)) {
	g := &s.geom
	for c := range g.C {
		for h := range g.H {
			at := (c*s.height+h+g.PadT)*s.width + g.PadL
			f(x[(c*g.H+h)*g.W:][:g.W], laid[at:at+g.W])
		}
	}
}

// fill lays out the kernels of one channel of y.
func (s *scattered[T]) fill(filled, w []T) {
	g := &s.geom
	taps := g.KH * g.KW
	if s.channels {
		s.tiling.transpose(g.C, taps, w, taps, filled, scatteredLanes)
		return
	}
	for r := range g.C * g.KH {
		copy(filled[r*scatteredLanes:], w[r*g.KW:][:g.KW])
	}
}

// unfill is the converse; w lends memory.
func (s *scattered[T]) unfill(worker *Worker, w, filled []T) {
	g := &s.geom
	taps := g.KH * g.KW
	if s.channels {
		planes := scratchOf[T](worker, slotC, scatteredLanes*taps)
		s.tiling.transpose(taps, scatteredLanes, filled, scatteredLanes, planes, taps)
		copy(w[:g.C*taps], planes)
		return
	}
	for r := range g.C * g.KH {
		copy(w[r*g.KW:][:g.KW], filled[r*scatteredLanes:])
	}
}

// weigh adds to the kernels of one channel of y what the elements of a plane of dy
// contribute.
func (s *scattered[T]) weigh(at []int32, values, x, sums []T) {
	s.loops.dot(s.rows, at, values, s.planes, x, s.planeNext, s.rowNext, sums)
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
	d.compute(t, x, dy, dw)
	return true
}

func (d *scatteredGradWeight[T]) compute(t *Team, x, dy, dw []T) {
	d.x, d.dy, d.dw = x, dy, dw
	d.common = t.borrow()
	d.sums(0)
	t.For(d.parts, d.own)
	t.For(d.geom.OutC, d.put)
	t.giveBack(d.common)
	d.x, d.dy, d.dw, d.common = nil, nil, nil, nil
}

func (d *scatteredGradWeight[T]) sums(part int) []T {
	size := d.kernels()
	return scratchOf[T](d.common, slotSums, d.parts*size)[part*size : (part+1)*size]
}

// ownUnit sums a part.
func (d *scatteredGradWeight[T]) ownUnit(w *Worker, part int) {
	sums, size := d.sums(part), d.kernel()
	clear(sums)
	x := d.blank(w)
	for n := part * d.geom.N / d.parts; n < (part+1)*d.geom.N/d.parts; n++ {
		d.lay(d.x, n, x)
		for o := range d.geom.OutC {
			at, values := d.list(w, n, o)
			d.weigh(at, values, x, sums[o*size:(o+1)*size])
		}
	}
}

// putUnit adds up the parts of one channel of y.
func (d *scatteredGradWeight[T]) putUnit(w *Worker, o int) {
	size := d.kernel()
	total := d.sums(0)[o*size : (o+1)*size]
	for part := 1; part < d.parts; part++ {
		Add(total, total, d.sums(part)[o*size:(o+1)*size])
	}
	d.unfill(w, d.dw[o*d.geom.C*d.geom.KH*d.geom.KW:], total)
}

// scatteredGradInput computes the gradient by the input.
type scatteredGradInput[T Float] struct {
	*scattered[T]
	w    []T // kernels, laid out
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
	d.compute(t, dy, w, dx)
	return true
}

func (d *scatteredGradInput[T]) compute(t *Team, dy, w, dx []T) {
	for o, size := 0, d.kernel(); o < d.geom.OutC; o++ {
		d.fill(d.w[o*size:(o+1)*size], w[o*d.geom.C*d.geom.KH*d.geom.KW:])
	}
	d.x, d.dy = dx, dy
	t.For(d.geom.N, d.body)
	d.x, d.dy = nil, nil
}

// unit computes dx of one image.
func (d *scatteredGradInput[T]) unit(w *Worker, image int) {
	size, x := d.kernel(), d.blank(w)
	for o := range d.geom.OutC {
		at, values := d.list(w, image, o)
		d.loops.spread(d.rows, at, values, d.planes, d.w[o*size:(o+1)*size], x, d.planeNext, d.rowNext)
	}
	d.unlay(w, image, x)
}

// scatteredSquares computes the sums of ConvSampleSquares, over parts of the
// images that are added in order.
type scatteredSquares[T Float] struct {
	*scattered[T]
	parts    int
	common   *Worker // memory that all units share
	squares  []T
	own, put func(w *Worker, unit int)
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
func (d *scatteredSquares[T]) run(t *Team, x, dy, squares []T) bool {
	if d == nil || !d.few(t, dy) {
		return false
	}
	d.compute(t, x, dy, squares)
	return true
}

func (d *scatteredSquares[T]) compute(t *Team, x, dy, squares []T) {
	d.x, d.dy, d.squares = x, dy, squares
	d.common = t.borrow()
	d.sums(0)
	t.For(d.parts, d.own)
	t.For(d.geom.OutC, d.put)
	t.giveBack(d.common)
	d.x, d.dy, d.squares, d.common = nil, nil, nil, nil
}

func (d *scatteredSquares[T]) sums(part int) []T {
	size := d.kernels()
	return scratchOf[T](d.common, slotSums, d.parts*size)[part*size : (part+1)*size]
}

// ownUnit sums a part: the gradient of one image and one channel of y after the
// other, whose square is then added.
func (d *scatteredSquares[T]) ownUnit(w *Worker, part int) {
	sums, size := d.sums(part), d.kernel()
	clear(sums)
	x := d.blank(w)
	memory := scratchOf[T](w, slotC, size+min(size, squareStrip))
	one, strip := memory[:size], memory[size:]
	for n := part * d.geom.N / d.parts; n < (part+1)*d.geom.N/d.parts; n++ {
		d.lay(d.x, n, x)
		for o := range d.geom.OutC {
			at, values := d.list(w, n, o)
			if len(at) == 0 {
				continue
			}
			clear(one)
			d.weigh(at, values, x, one)
			addSquares(sums[o*size:(o+1)*size], one, strip)
		}
	}
}

// putUnit adds up the parts of one channel of y.
func (d *scatteredSquares[T]) putUnit(w *Worker, o int) {
	size := d.kernel()
	total := d.sums(0)[o*size : (o+1)*size]
	for part := 1; part < d.parts; part++ {
		Add(total, total, d.sums(part)[o*size:(o+1)*size])
	}
	d.unfill(w, d.squares[o*d.geom.C*d.geom.KH*d.geom.KW:], total)
}

// squareStrip is how many elements addSquares squares at once.
const squareStrip = 1 << 10

// addSquares adds the squares of g to sums, a strip at a time so that all stays
// near.
func addSquares[T Float](sums, g, strip []T) {
	for at := 0; at < len(g); at += len(strip) {
		part := g[at:min(at+len(strip), len(g))]
		Mul(strip[:len(part)], part, part)
		Add(sums[at:at+len(part)], sums[at:at+len(part)], strip[:len(part)])
	}
}
