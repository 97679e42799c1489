package kernel

import "math"

// PoolSpec describes 2-D pooling of Planes images (N*C) of H x W to OH x OW.
// The caller chooses OH and OW, and so whether sizes are rounded down or up.
type PoolSpec struct {
	Planes, H, W, OH, OW                 int
	KernelH, KernelW                     int
	StrideH, StrideW                     int
	DilationH, DilationW                 int
	PadTop, PadLeft, PadBottom, PadRight int

	// CountPadding makes averages divide by the taps that lie in the padded
	// image, not only by those that lie in the image (count_include_pad).
	CountPadding bool
}

// reach is what one output coordinate sees along one axis.
type reach struct {
	start, taps int // first coordinate inside the image, and number of those
	padded      int // number of taps inside the padded image
}

// reaches lists what each of out outputs sees of size inputs.
func reaches(size, out, kernel, stride, dilation, padBefore, padAfter int) []reach {
	all := make([]reach, out)
	for o := range all {
		w := &all[o]
		for k := range kernel {
			at := o*stride + k*dilation - padBefore
			if at < size+padAfter {
				w.padded++
			}
			if at >= 0 && at < size {
				if w.taps == 0 {
					w.start = at
				}
				w.taps++
			}
		}
	}
	return all
}

// span is the outputs lo to hi-1 of a row.
type span struct{ lo, hi int }

// spans tells, for every horizontal tap, which outputs have it in the image.
func spans(s PoolSpec) []span {
	all := make([]span, s.KernelW)
	for j := range all {
		before := s.PadLeft - j*s.DilationW // columns by which output 0 misses it on the left
		all[j].lo = max(0, ceilDiv(before, s.StrideW))
		all[j].hi = min(s.OW, ceilDiv(s.W+before, s.StrideW))
	}
	return all
}

// pool is what both kinds of pooling share.
type pool struct {
	spec       PoolSpec
	rows, cols []reach
	spans      []span
	isGlobal   bool // one window that is the image
	isPlain    bool // windows of 2 by 2 that do not overlap, all within the image
}

func newPool(s PoolSpec) pool {
	p := pool{
		spec: s,
		rows: reaches(s.H, s.OH, s.KernelH, s.StrideH, s.DilationH, s.PadTop, s.PadBottom),
		cols: reaches(s.W, s.OW, s.KernelW, s.StrideW, s.DilationW, s.PadLeft, s.PadRight),
	}
	p.spans = spans(s)
	p.isGlobal = s.OH == 1 && s.OW == 1 && s.DilationH == 1 && s.DilationW == 1 && p.rows[0].padded == s.H &&
		p.rows[0].taps == s.H && p.cols[0].padded == s.W && p.cols[0].taps == s.W
	p.isPlain = s.KernelH == 2 && s.KernelW == 2 && s.StrideH == 2 && s.StrideW == 2 && s.DilationH == 1 && s.DilationW == 1 &&
		s.PadTop == 0 && s.PadLeft == 0 && min(s.OH, s.OW) > 0 && 2*s.OH <= s.H && 2*s.OW <= s.W
	return p
}

func (p *pool) planesPerUnit() int {
	return max(1, unitSize/max(1, p.spec.H*p.spec.W, p.spec.OH*p.spec.OW))
}

func (p *pool) units() int { return ceilDiv(p.spec.Planes, p.planesPerUnit()) }

func (p *pool) planes(unit int) (first, last int) {
	n := p.planesPerUnit()
	return unit * n, min((unit+1)*n, p.spec.Planes)
}

// plane is image i of a tensor of images with size elements; nil of nil.
func plane[E any](x []E, i, size int) []E {
	if x == nil {
		return nil
	}
	return x[i*size : (i+1)*size]
}

// MaxPool takes the largest element of every window; NaN counts as largest,
// and of equal ones the first counts. A window without any gives -Inf.
type MaxPool[T Float] struct {
	pool
	y, x, dx, dy      []T
	index             []int32
	forward, backward func(*Worker, int)
}

// NewMaxPool prepares maximum pooling.
func NewMaxPool[T Float](spec PoolSpec) *MaxPool[T] {
	p := &MaxPool[T]{pool: newPool(spec)}
	p.forward, p.backward = p.forwardUnit, p.backwardUnit
	return p
}

// Forward writes y and, unless index is nil, where in its plane of x each
// maximum was found, -1 if nowhere. Without index a zero may lose its sign.
func (p *MaxPool[T]) Forward(t *Team, y []T, index []int32, x []T) {
	p.y, p.index, p.x = y, index, x
	t.For(p.units(), p.forward)
	p.y, p.index, p.x = nil, nil, nil
}

// Backward writes the gradient dx of x from dy and the index of Forward.
func (p *MaxPool[T]) Backward(t *Team, dx, dy []T, index []int32) {
	p.dx, p.dy, p.index = dx, dy, index
	t.For(p.units(), p.backward)
	p.dx, p.dy, p.index = nil, nil, nil
}

func (p *MaxPool[T]) forwardUnit(w *Worker, unit int) {
	s := &p.spec
	n := s.OH * s.OW
	best, where := scratchOf[T](w, 0, n+poolLanes), w.Int32(0, n+poolLanes)
	for i, last := p.planes(unit); i < last; i++ {
		if p.isPlain && p.forwardPlain(i, where) || p.index == nil && p.forwardDense(w, i) {
			continue
		}
		Fill(best, T(math.Inf(-1)))
		Fill(where, -1)
		x := plane(p.x, i, s.H*s.W)
		for r, reach := range p.rows {
			p.row(best[r*s.OW:], where[r*s.OW:], x, reach)
		}
		copy(plane(p.y, i, n), best)
		copy(plane(p.index, i, n), where)
	}
}

// forwardPlain pools a plane by windows of 2 by 2 in one pass, where that is
// implemented. where is scratch memory.
func (p *MaxPool[T]) forwardPlain(i int, where []int32) bool {
	s := &p.spec
	x, y := asFloat32(p.x), asFloat32(p.y)
	if x == nil || vecInUse.pool2x2 == nil {
		return false
	}
	if p.index != nil {
		where = plane(p.index, i, s.OH*s.OW)
	}
	x, y = plane(x, i, s.H*s.W), plane(y, i, s.OH*s.OW)
	vecInUse.pool2x2(&y[0], &where[0], &x[0], s.OH, s.OW, s.W)
	return true
}

// forwardDense pools a plane, nobody asking where maxima lie, by first taking
// the maximum over the rows of a window. Windows must not be dilated.
func (p *MaxPool[T]) forwardDense(w *Worker, i int) bool {
	s := &p.spec
	if s.DilationH != 1 || s.DilationW != 1 {
		return false
	}
	line := scratchOf[T](w, 0, s.W)
	x, y := plane(p.x, i, s.H*s.W), plane(p.y, i, s.OH*s.OW)
	for r, rows := range p.rows {
		row := y[r*s.OW : (r+1)*s.OW]
		if rows.taps == 0 {
			Fill(row, T(math.Inf(-1)))
			continue
		}
		copy(line, x[rows.start*s.W:])
		for h := rows.start + 1; h < rows.start+rows.taps; h++ {
			for j, v := range x[h*s.W : h*s.W+len(line)] {
				line[j] = max(line[j], v)
			}
		}
		for o, cols := range p.cols {
			best := T(math.Inf(-1))
			for _, v := range line[cols.start : cols.start+cols.taps] {
				best = max(best, v)
			}
			row[o] = best
		}
	}
	return true
}

// row shows every tap to those outputs of a row whose window has it in the image.
func (p *MaxPool[T]) row(best []T, where []int32, x []T, r reach) {
	s := &p.spec
	for i := range r.taps {
		line := (r.start + i*s.DilationH) * s.W
		for j, c := range p.spans {
			if c.lo < c.hi {
				at := line + c.lo*s.StrideW + j*s.DilationW - s.PadLeft
				poolTap(c.hi-c.lo, best[c.lo:], where[c.lo:], x, at, s.StrideW)
			}
		}
	}
}

const (
	poolStrides = 3 // bounds the strides that have assembly
	poolLanes   = 8 // what the assembly wants room for a multiple of
)

// poolTap shows elements x[at], x[at+stride], ... to n outputs: one becomes the
// best if it is larger than that or NaN, or if there is none yet.
func poolTap[T Float](n int, best []T, where []int32, x []T, at, stride int) {
	x32 := asFloat32(x)
	if x32 == nil || stride >= poolStrides || vecInUse.poolTap[stride] == nil {
		poolTapTwin(best[:n], where, x, at, stride)
		return
	}
	room := ceilDiv(n, poolLanes)*poolLanes - 1
	_, _, _ = best[room], where[room], x[at+(n-1)*stride]
	vecInUse.poolTap[stride](&asFloat32(best)[0], &where[0], &x32[at], n, int32(at))
}

func poolTapTwin[T Float](best []T, where []int32, x []T, at, stride int) {
	where = where[:len(best)]
	for i, b := range best {
		if v := x[at]; v > b || v != v || where[i] < 0 {
			best[i], where[i] = v, int32(at)
		}
		at += stride
	}
}

func (p *MaxPool[T]) backwardUnit(_ *Worker, unit int) {
	s := &p.spec
	for i, last := p.planes(unit); i < last; i++ {
		dx, dy, index := plane(p.dx, i, s.H*s.W), plane(p.dy, i, s.OH*s.OW), plane(p.index, i, s.OH*s.OW)
		clear(dx)
		for j, at := range index {
			if at >= 0 {
				dx[at] += dy[j]
			}
		}
	}
}

// AveragePool takes the mean of every window. A window without any element
// gives 0.
type AveragePool[T Float] struct {
	pool
	y, x              []T // or dy, dx
	forward, backward func(*Worker, int)
}

// NewAveragePool prepares average pooling.
func NewAveragePool[T Float](spec PoolSpec) *AveragePool[T] {
	p := &AveragePool[T]{pool: newPool(spec)}
	p.forward, p.backward = p.forwardUnit, p.backwardUnit
	return p
}

// Forward writes y.
func (p *AveragePool[T]) Forward(t *Team, y, x []T) {
	p.y, p.x = y, x
	t.For(p.units(), p.forward)
	p.y, p.x = nil, nil
}

// Backward writes the gradient dx of x from dy.
func (p *AveragePool[T]) Backward(t *Team, dx, dy []T) {
	p.x, p.y = dx, dy
	t.For(p.units(), p.backward)
	p.x, p.y = nil, nil
}

func (p *AveragePool[T]) forwardUnit(_ *Worker, unit int) {
	s := &p.spec
	for i, last := p.planes(unit); i < last; i++ {
		y, x := plane(p.y, i, s.OH*s.OW), plane(p.x, i, s.H*s.W)
		if p.isGlobal {
			y[0] = Sum(x) / T(len(x))
			continue
		}
		out := 0
		for _, r := range p.rows {
			for _, c := range p.cols {
				y[out] = p.sum(x, r, c) * p.share(r, c)
				out++
			}
		}
	}
}

func (p *AveragePool[T]) sum(x []T, r, c reach) T {
	var sum T
	for i := range r.taps {
		at := (r.start+i*p.spec.DilationH)*p.spec.W + c.start
		for range c.taps {
			sum += x[at]
			at += p.spec.DilationW
		}
	}
	return sum
}

// share is the weight of one element in the mean of a window.
func (p *AveragePool[T]) share(r, c reach) T {
	n := r.taps * c.taps
	if n > 0 && p.spec.CountPadding {
		n = r.padded * c.padded
	}
	return 1 / T(max(1, n))
}

func (p *AveragePool[T]) backwardUnit(_ *Worker, unit int) {
	s := &p.spec
	for i, last := p.planes(unit); i < last; i++ {
		dy, dx := plane(p.y, i, s.OH*s.OW), plane(p.x, i, s.H*s.W)
		if p.isGlobal {
			Fill(dx, dy[0]/T(len(dx)))
			continue
		}
		clear(dx)
		out := 0
		for _, r := range p.rows {
			for _, c := range p.cols {
				p.spread(dx, dy[out]*p.share(r, c), r, c)
				out++
			}
		}
	}
}

// spread adds g to every element of a window.
func (p *AveragePool[T]) spread(dx []T, g T, r, c reach) {
	for i := range r.taps {
		at := (r.start+i*p.spec.DilationH)*p.spec.W + c.start
		for range c.taps {
			dx[at] += g
			at += p.spec.DilationW
		}
	}
}
