package kernel

// HeadLayout says where the vectors of attention lie in a tensor: that of batch
// entry b, head h and position t begins at
//
//	Offset + b*Batch + h*Head + t*Position
//
// and its elements are neighbours. So queries, keys and values are read where a
// joint projection wrote them, and results written where the next one reads.
type HeadLayout struct{ Offset, Batch, Head, Position int }

// At is where the vector of position 0 begins.
func (l HeadLayout) At(b, h int) int { return l.Offset + b*l.Batch + h*l.Head }

// AttentionSpec are the sizes of an attention: Queries vectors of Dim elements
// that are compared with Keys vectors, and as many values of Width elements.
type AttentionSpec struct {
	Batch, Heads, Queries, Keys, Dim, Width int
	Scale                                   float64 // of the products of queries and keys
	Q, K, V, Y                              HeadLayout
}

// Attention is scaled dot product attention (Vaswani et al. 2017),
//
//	p = softmax(Scale q k')       y = p v
//
// for every head of every batch entry. A unit is one head.
type Attention[T Float] struct {
	spec              AttentionSpec
	scores, sum       *Gemm[T] // q k', p v
	slope, dQ, dK, dV *Gemm[T] // dy v', the gradients
	forward, backward func(*Worker, int)

	q, k, v, y, p      []T
	dq, dk, dv, dy, dp []T
}

// slotScores is attention's scratch slot; products have those before it.
const slotScores = slotC + 1

// NewAttention prepares the attention. Every Position must be at least the
// length of its vectors.
func NewAttention[T Float](s AttentionSpec) *Attention[T] {
	product := func(m, n, k int, transA, transB bool, alpha float64, a, b, c int) *Gemm[T] {
		return NewGemm[T](m, n, k, transA, transB, GemmOptions{Alpha: alpha, LDA: a, LDB: b, LDC: c, oneThread: true})
	}
	a := &Attention[T]{spec: s}
	a.scores = product(s.Queries, s.Keys, s.Dim, false, true, s.Scale, s.Q.Position, s.K.Position, s.Keys)
	a.sum = product(s.Queries, s.Width, s.Keys, false, false, 1, s.Keys, s.V.Position, s.Y.Position)
	a.slope = product(s.Queries, s.Keys, s.Width, false, true, 1, s.Y.Position, s.V.Position, s.Keys)
	a.dQ = product(s.Queries, s.Dim, s.Keys, false, false, s.Scale, s.Keys, s.K.Position, s.Q.Position)
	a.dK = product(s.Keys, s.Dim, s.Queries, true, false, s.Scale, s.Keys, s.Q.Position, s.K.Position)
	a.dV = product(s.Keys, s.Width, s.Queries, true, false, 1, s.Keys, s.Y.Position, s.V.Position)
	a.forward, a.backward = a.forwardUnit, a.backwardUnit
	return a
}

// Forward computes y and p, of shape (Batch, Heads, Queries, Keys); p may be
// nil.
func (a *Attention[T]) Forward(t *Team, y, p, q, k, v []T) {
	a.y, a.p, a.q, a.k, a.v = y, p, q, k, v
	t.For(a.spec.Batch*a.spec.Heads, a.forward)
	a.release()
}

// Backward computes the gradients of q, k and v, laid out as these, from those
// of y and of p (nil: zero), with p as Forward left it:
//
//	dv = p' dy      ds = p (dy v' + dp - sum p (dy v' + dp))      dq = Scale ds k      dk = Scale ds' q
//
// What the layouts do not reach is not written.
func (a *Attention[T]) Backward(t *Team, dq, dk, dv, dy, dp, q, k, v, p []T) {
	a.dq, a.dk, a.dv, a.dy, a.dp, a.q, a.k, a.v, a.p = dq, dk, dv, dy, dp, q, k, v, p
	t.For(a.spec.Batch*a.spec.Heads, a.backward)
	a.release()
}

func (a *Attention[T]) release() {
	a.q, a.k, a.v, a.y, a.p = nil, nil, nil, nil, nil
	a.dq, a.dk, a.dv, a.dy, a.dp = nil, nil, nil, nil, nil
}

// head cuts off what lies before a head's first vector.
func (a *Attention[T]) head(x []T, l HeadLayout, unit int) []T {
	return x[l.At(unit/a.spec.Heads, unit%a.spec.Heads):]
}

func (a *Attention[T]) forwardUnit(w *Worker, unit int) {
	s := &a.spec
	size := s.Queries * s.Keys
	p := scratchOf[T](w, slotScores, size)
	if a.p != nil {
		p = a.p[unit*size : (unit+1)*size]
	}
	a.scores.within(w, a.head(a.q, s.Q, unit), a.head(a.k, s.K, unit), p)
	for at := 0; at < size; at += s.Keys {
		row := p[at : at+s.Keys]
		each(loopExp, row, row, nil, -reduce(loopMax, row, nil, 0), 0, 0)
		Scale(row, 1/Sum(row), row)
	}
	a.sum.within(w, p, a.head(a.v, s.V, unit), a.head(a.y, s.Y, unit))
}

func (a *Attention[T]) backwardUnit(w *Worker, unit int) {
	s := &a.spec
	size := s.Queries * s.Keys
	p, ds := a.p[unit*size:(unit+1)*size], scratchOf[T](w, slotScores, size)
	dy, q, k, v := a.head(a.dy, s.Y, unit), a.head(a.q, s.Q, unit), a.head(a.k, s.K, unit), a.head(a.v, s.V, unit)
	a.dV.within(w, p, dy, a.head(a.dv, s.V, unit))
	a.slope.within(w, dy, v, ds)
	if a.dp != nil {
		Add(ds, ds, a.dp[unit*size:(unit+1)*size])
	}
	for at := 0; at < size; at += s.Keys {
		d, row := ds[at:at+s.Keys], p[at:at+s.Keys]
		Shift(d, d, -Dot(d, row, 0))
		Mul(d, d, row)
	}
	a.dQ.within(w, ds, k, a.head(a.dq, s.Q, unit))
	a.dK.within(w, ds, q, a.head(a.dk, s.K, unit))
}
