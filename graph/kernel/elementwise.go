package kernel

import "math"

// Unary applies a function of one slice over a team: NewUnary(Relu[float32]).
type Unary[T Float] struct {
	f    func(z, x []T)
	z, x []T
	body func(*Worker, int)
}

// NewUnary prepares f, which sets z[i] from x[i] for slices of equal length.
func NewUnary[T Float](f func(z, x []T)) *Unary[T] {
	u := &Unary[T]{f: f}
	u.body = func(_ *Worker, unit int) {
		lo, hi := unitRange(unit, len(u.z))
		u.f(u.z[lo:hi], u.x[lo:hi])
	}
	return u
}

// Run sets z from x; z may be x.
func (u *Unary[T]) Run(t *Team, z, x []T) {
	u.z, u.x = z, x[:len(z)]
	t.For(unitsOf(len(z)), u.body)
	u.z, u.x = nil, nil
}

// Zip applies a function of two slices of equal shape over a team:
// NewZip(ReluGrad[float32]).
type Zip[T Float] struct {
	f       func(z, x, y []T)
	z, x, y []T
	body    func(*Worker, int)
}

// NewZip prepares f, which sets z[i] from x[i] and y[i] for slices of equal length.
func NewZip[T Float](f func(z, x, y []T)) *Zip[T] {
	p := &Zip[T]{f: f}
	p.body = func(_ *Worker, unit int) {
		lo, hi := unitRange(unit, len(p.z))
		p.f(p.z[lo:hi], p.x[lo:hi], p.y[lo:hi])
	}
	return p
}

// Run sets z from x and y; z may be either.
func (p *Zip[T]) Run(t *Team, z, x, y []T) {
	p.z, p.x, p.y = z, x[:len(z)], y[:len(z)]
	t.For(unitsOf(len(z)), p.body)
	p.z, p.x, p.y = nil, nil, nil
}

// GeluLoop applies Gelu over a team.
type GeluLoop[T Float] struct {
	y, slope, x []T
	body        func(*Worker, int)
}

// NewGelu prepares Gelu.
func NewGelu[T Float]() *GeluLoop[T] {
	g := &GeluLoop[T]{}
	g.body = func(w *Worker, unit int) {
		lo, hi := unitRange(unit, len(g.x))
		y, slope := g.y, g.slope
		if y == nil {
			y = scratchOf[T](w, 0, hi-lo)
		} else {
			y = y[lo:hi]
		}
		if slope == nil {
			slope = scratchOf[T](w, 1, hi-lo)
		} else {
			slope = slope[lo:hi]
		}
		Gelu(y, slope, g.x[lo:hi])
	}
	return g
}

// Run sets y to GELU of x and slope to its derivative; either may be nil, for
// not wanted, or x.
func (g *GeluLoop[T]) Run(t *Team, y, slope, x []T) {
	g.y, g.slope, g.x = y, slope, x
	t.For(unitsOf(len(x)), g.body)
	g.y, g.slope, g.x = nil, nil, nil
}

// BinaryKind is what a Binary computes from x and y.
type BinaryKind int

// The operators of Binary. Minimum and maximum are NaN if an operand is.
const (
	BinaryAdd BinaryKind = iota
	BinarySub
	BinaryMul
	BinaryDiv
	BinaryPow
	BinaryMin
	BinaryMax
)

// binaryLoops is one operator on two vectors, a vector and a scalar, a scalar
// and a vector.
type binaryLoops[T Float] struct {
	both  func(z, x, y []T)
	right func(z, x []T, y T)
	left  func(z []T, x T, y []T)
}

func binaryLoopsOf[T Float](kind BinaryKind) binaryLoops[T] {
	switch kind {
	case BinaryAdd:
		return binaryLoops[T]{Add[T], Shift[T], func(z []T, x T, y []T) { Shift(z, y, x) }}
	case BinarySub:
		return binaryLoops[T]{Sub[T],
			func(z, x []T, y T) { Shift(z, x, -y) },
			func(z []T, x T, y []T) { Affine(z, -1, y, x) }}
	case BinaryMul:
		return binaryLoops[T]{Mul[T], func(z, x []T, y T) { Scale(z, y, x) }, Scale[T]}
	case BinaryDiv:
		return binaryLoops[T]{Div[T],
			func(z, x []T, y T) { each(loopDivBy, z, x, nil, y, 0, 0) },
			func(z []T, x T, y []T) { each(loopDivInto, z, y, nil, x, 0, 0) }}
	case BinaryPow:
		l := scalarLoops(pow[T])
		general := l.right
		l.right = func(z, x []T, y T) {
			if y == 2 {
				Mul(z, x, x)
			} else {
				general(z, x, y)
			}
		}
		return l
	case BinaryMin:
		return scalarLoops(func(x, y T) T { return min(x, y) })
	case BinaryMax:
		return scalarLoops(func(x, y T) T { return max(x, y) })
	}
	panic("kernel: unknown binary operator")
}

func pow[T Float](x, y T) T { return T(math.Pow(float64(x), float64(y))) }

// scalarLoops makes loops of an operator without a fast path.
func scalarLoops[T Float](f func(x, y T) T) binaryLoops[T] {
	return binaryLoops[T]{
		func(z, x, y []T) {
			for i, v := range x {
				z[i] = f(v, y[i])
			}
		},
		func(z, x []T, y T) {
			for i, v := range x {
				z[i] = f(v, y)
			}
		},
		func(z []T, x T, y []T) {
			for i, v := range y {
				z[i] = f(x, v)
			}
		},
	}
}

// Binary computes z = x op y with the broadcasting of ONNX and numpy.
type Binary[T Float] struct {
	loops   binaryLoops[T]
	shape   broadcast
	z, x, y []T
	body    func(*Worker, int)
}

// NewBinary prepares the operator for operands of shapes x and y. It panics if
// they do not broadcast to shape z.
func NewBinary[T Float](kind BinaryKind, x, y, z []int) *Binary[T] {
	b := &Binary[T]{loops: binaryLoopsOf[T](kind), shape: newBroadcast(x, y, z)}
	b.body = b.unit
	return b
}

// Run sets z = x op y. z may be an operand that has z's shape.
func (b *Binary[T]) Run(t *Team, z, x, y []T) {
	b.z, b.x, b.y = z, x, y
	t.For(b.shape.units(), b.body)
	b.z, b.x, b.y = nil, nil, nil
}

func (b *Binary[T]) unit(_ *Worker, unit int) {
	s := &b.shape
	first, last, lo, hi := s.part(unit)
	for row := first; row < last; row++ {
		at := row * s.inner
		x, y := s.offsets(row)
		z := b.z[at+lo : at+hi]
		switch {
		case s.innerX == 0 && s.innerY == 0:
			b.loops.right(z[:1], b.x[x:x+1], b.y[y])
			Fill(z, z[0])
		case s.innerY == 0:
			b.loops.right(z, b.x[x+lo:x+hi], b.y[y])
		case s.innerX == 0:
			b.loops.left(z, b.x[x], b.y[y+lo:y+hi])
		default:
			b.loops.both(z, b.x[x+lo:x+hi], b.y[y+lo:y+hi])
		}
	}
}

// broadcast walks over the rows of an output: the longest runs of elements
// over which each operand either advances by one or stands still.
type broadcast struct {
	rows, inner    int // number and length of rows
	innerX, innerY int // 1 if the operand advances along a row, else 0
	outer          []broadcastDim
}

// broadcastDim is one dimension of rows: its size, and how many elements each
// operand advances along it.
type broadcastDim struct{ size, x, y int }

// newBroadcast merges neighbouring dimensions along which both operands behave alike.
func newBroadcast(x, y, z []int) broadcast {
	var dims []broadcastDim // innermost first
	strideX, strideY := 1, 1
	for i := 1; i <= len(z); i++ {
		d := broadcastDim{size: z[len(z)-i]}
		dx, dy := sizeFromEnd(x, i), sizeFromEnd(y, i)
		if dx != d.size && dx != 1 || dy != d.size && dy != 1 || len(x) > len(z) || len(y) > len(z) {
			panic("kernel: operands do not broadcast to the output's shape")
		}
		if d.size == 1 {
			continue
		}
		if dx > 1 {
			d.x = strideX
		}
		if dy > 1 {
			d.y = strideY
		}
		strideX, strideY = strideX*dx, strideY*dy
		if n := len(dims) - 1; n >= 0 && (dims[n].x == 0) == (d.x == 0) && (dims[n].y == 0) == (d.y == 0) {
			dims[n].size *= d.size
		} else {
			dims = append(dims, d)
		}
	}
	if len(dims) == 0 {
		dims = []broadcastDim{{size: 1, x: 1, y: 1}}
	}
	b := broadcast{rows: 1, inner: dims[0].size, innerX: dims[0].x, innerY: dims[0].y, outer: dims[1:]}
	for _, d := range b.outer {
		b.rows *= d.size
	}
	return b
}

// sizeFromEnd is the i-th size from the end, counted from 1; 1 if there is none.
func sizeFromEnd(shape []int, i int) int {
	if i > len(shape) {
		return 1
	}
	return shape[len(shape)-i]
}

// units counts units of about unitSize elements: several short rows, or a part
// of a long one.
func (b *broadcast) units() int {
	if b.inner > unitSize {
		return b.rows * unitsOf(b.inner)
	}
	return ceilDiv(b.rows, b.rowsPerUnit())
}

func (b *broadcast) rowsPerUnit() int { return max(1, unitSize/max(1, b.inner)) }

// part is what belongs to a unit: elements lo to hi of rows first to last.
func (b *broadcast) part(unit int) (first, last, lo, hi int) {
	if b.inner > unitSize {
		parts := unitsOf(b.inner)
		lo, hi = unitRange(unit%parts, b.inner)
		return unit / parts, unit/parts + 1, lo, hi
	}
	first = unit * b.rowsPerUnit()
	return first, min(first+b.rowsPerUnit(), b.rows), 0, b.inner
}

// offsets is where a row begins in the operands.
func (b *broadcast) offsets(row int) (x, y int) {
	for _, d := range b.outer {
		i := row % d.size
		row /= d.size
		x += i * d.x
		y += i * d.y
	}
	return x, y
}
