package kernel

// Softmax normalises along the middle axis of a tensor of shape (outer, axis,
// inner):
//
//	y = exp(x-m) / sum exp(x-m)            m the largest x along the axis
//	y = x - m - log sum exp(x-m)           logarithmic
type Softmax[T Float] struct {
	outer, axis, inner int
	log                bool
	y, x, dx, dy       []T
	forward, backward  func(*Worker, int)

	turn func(rows, cols int, src []T, srcRow int, dst []T, dstRow int) // of rows shorter than vectors
}

// rowCost is what a row costs beside its elements, in elements.
const rowCost = 500

// softmaxPart is how many positions of the inner axis one unit has.
const softmaxPart = 256

// NewSoftmax prepares softmax, or its logarithm.
func NewSoftmax[T Float](outer, axis, inner int, log bool) *Softmax[T] {
	s := &Softmax[T]{outer: outer, axis: axis, inner: inner, log: log}
	s.forward, s.backward = s.forwardColumns, s.backwardColumns
	if inner == 1 {
		s.forward, s.backward = s.forwardRows, s.backwardRows
	}
	if inner == 1 && axis < vecBlock {
		s.forward, s.turn = s.forwardShort, tilings[T]()[0].transpose
	}
	return s
}

// Forward sets y from x; y may be x.
func (s *Softmax[T]) Forward(t *Team, y, x []T) {
	s.y, s.x = y, x
	t.For(s.units(), s.forward)
	s.y, s.x = nil, nil
}

// Backward sets the gradient dx of the input from that of the output, dy, and
// the output y:
//
//	dx = y (dy - sum dy y)
//	dx = dy - exp(y) sum dy                logarithmic
//
// dx may be dy, but not y.
func (s *Softmax[T]) Backward(t *Team, dx, dy, y []T) {
	s.dx, s.dy, s.y = dx, dy, y
	t.For(s.units(), s.backward)
	s.dx, s.dy, s.y = nil, nil, nil
}

func (s *Softmax[T]) units() int {
	if s.axis == 0 || s.inner == 0 {
		return 0
	}
	if s.inner == 1 {
		return ceilDiv(s.outer, s.rowsPerUnit())
	}
	return s.outer * ceilDiv(s.inner, softmaxPart)
}

func (s *Softmax[T]) rowsPerUnit() int { return max(1, unitSize/(s.axis+rowCost)) }

// rows is the range of elements of a unit whose rows are contiguous.
func (s *Softmax[T]) rows(unit int) (lo, hi int) {
	n := s.rowsPerUnit()
	return unit * n * s.axis, min((unit+1)*n, s.outer) * s.axis
}

func (s *Softmax[T]) forwardRows(w *Worker, unit int) {
	lo, hi := s.rows(unit)
	for at := lo; at < hi; at += s.axis {
		x := s.x[at : at+s.axis]
		Shift(s.y[at:at+s.axis], x, -reduce(loopMax, x, nil, 0))
	}
	e := s.y[lo:hi]
	if s.log {
		e = scratchOf[T](w, 0, hi-lo)
	}
	Exp(e, s.y[lo:hi])
	for at := lo; at < hi; at += s.axis {
		y, row := s.y[at:at+s.axis], e[at-lo:at-lo+s.axis]
		if s.log {
			Shift(y, y, -log(Sum(row)))
		} else {
			each(loopDivBy, y, y, nil, Sum(row), 0, 0)
		}
	}
}

func (s *Softmax[T]) backwardRows(w *Worker, unit int) {
	lo, hi := s.rows(unit)
	var e []T
	if s.log {
		e = scratchOf[T](w, 0, hi-lo)
		Exp(e, s.y[lo:hi])
	}
	for at := lo; at < hi; at += s.axis {
		dx, dy, y := s.dx[at:at+s.axis], s.dy[at:at+s.axis], s.y[at:at+s.axis]
		if s.log {
			Combine(dx, 1, dy, -Sum(dy), e[at-lo:at-lo+s.axis], 0)
		} else {
			Shift(dx, dy, -Dot(y, dy, 0))
			Mul(dx, dx, y)
		}
	}
}

// columns is where the part of a unit begins, and its width.
func (s *Softmax[T]) columns(unit int) (at, width int) {
	parts := ceilDiv(s.inner, softmaxPart)
	lo := unit % parts * softmaxPart
	return unit/parts*s.axis*s.inner + lo, min(softmaxPart, s.inner-lo)
}

func (s *Softmax[T]) forwardColumns(w *Worker, unit int) {
	first, width := s.columns(unit)
	s.normalise(w, s.y[first:], s.x[first:], s.inner, width)
}

// forwardShort lays rows side by side first.
func (s *Softmax[T]) forwardShort(w *Worker, unit int) {
	lo, hi := s.rows(unit)
	rows := (hi - lo) / s.axis
	beside := scratchOf[T](w, 3, hi-lo)
	s.turn(rows, s.axis, s.x[lo:], s.axis, beside, rows)
	s.normalise(w, beside, beside, rows, rows)
	s.turn(s.axis, rows, beside, rows, s.y[lo:], s.axis)
}

// normalise sets y from x, where neighbours along the axis are next elements
// apart, for so many positions beside each other.
func (s *Softmax[T]) normalise(w *Worker, y, x []T, next, width int) {
	top, sum, e := scratchOf[T](w, 0, width), scratchOf[T](w, 1, width), scratchOf[T](w, 2, width)
	copy(top, x[:width])
	for i := 1; i < s.axis; i++ {
		for j, v := range x[i*next : i*next+width] {
			top[j] = max(top[j], v)
		}
	}
	Fill(sum, 0)
	for i := range s.axis {
		row := y[i*next : i*next+width]
		Sub(row, x[i*next:i*next+width], top)
		if s.log {
			Exp(e, row)
			Add(sum, sum, e)
		} else {
			Exp(row, row)
			Add(sum, sum, row)
		}
	}
	if s.log {
		Log(sum, sum)
	}
	for i := range s.axis {
		row := y[i*next : i*next+width]
		if s.log {
			Sub(row, row, sum)
		} else {
			Div(row, row, sum)
		}
	}
}

func (s *Softmax[T]) backwardColumns(w *Worker, unit int) {
	first, width := s.columns(unit)
	sum, term := scratchOf[T](w, 0, width), scratchOf[T](w, 1, width)
	Fill(sum, 0)
	for i := range s.axis {
		at := first + i*s.inner
		dy := s.dy[at : at+width]
		if s.log {
			Add(sum, sum, dy)
		} else {
			Mul(term, dy, s.y[at:at+width])
			Add(sum, sum, term)
		}
	}
	for i := range s.axis {
		at := first + i*s.inner
		dx, dy, y := s.dx[at:at+width], s.dy[at:at+width], s.y[at:at+width]
		if s.log {
			Exp(term, y)
			Mul(term, term, sum)
			Sub(dx, dy, term)
		} else {
			Sub(term, dy, sum)
			Mul(dx, term, y)
		}
	}
}
