package kernel

// MaxStepDepth is the largest K of a GemmStep: deeper products are bound by
// multiplications, not by the memory that their results pass through.
const MaxStepDepth = 256

// GemmStep takes an optimizer step along a gradient that is a matrix product,
// g = Alpha·op(A)·op(B): a few rows of g at a time, which stay in the
// first-level cache.
type GemmStep[T Float] struct {
	gemm        *Gemm[T]
	step        *Step[T]
	direct      bool     // B is read as it lies
	b           []T      // panels of B
	bRow, bNext int      // distance of neighbouring rows, of neighbouring panels
	gaps        *gaps[T] // nil: zeros of A are multiplied like all else

	packing, stepping func(*Worker, int)
}

// NewGemmStep prepares the step of m by n weights for a product over k, at most
// MaxStepDepth; transA, transB and the leading dimensions and Alpha of opt are
// those of NewGemm.
func NewGemmStep[T Float](m, n, k int, transA, transB bool, opt GemmOptions) *GemmStep[T] {
	s := &GemmStep[T]{
		gemm: NewGemm[T](m, n, k, transA, transB, GemmOptions{LDA: opt.LDA, LDB: opt.LDB, Alpha: opt.Alpha, oneThread: true}),
		step: NewStep[T](),
	}
	s.packing, s.stepping = s.pack, s.strip
	g := s.gemm
	s.bRow, s.bNext = g.width, g.width*g.K
	if s.direct = g.bCol == 1 && spread(g.bRow*4, g.K); s.direct {
		s.bRow, s.bNext = g.bRow, g.width
	}
	s.gaps = newGaps(g)
	return s
}

// spread tells whether lines so many bytes apart fall onto so many sets of the
// first-level cache, 64 of 8 lines, that it keeps count of them and as many more.
func spread(bytes, count int) bool {
	const line, all = 64, 64 * 64
	sets := all / min(max(bytes&-bytes, line), all)
	return 2*count <= 8*sets
}

// SGD makes the step of Step.SGD; w, mask and v have m by n elements.
func (s *GemmStep[T]) SGD(t *Team, o SGD, w, a, b, mask, v []T) {
	g := s.gemm
	need(len(a), extent(g.M, g.K, g.aRow, g.aCol), "a")
	need(len(b), extent(g.K, g.N, g.bRow, g.bCol), "b")
	s.step.prepareSGD(o, w, mask, v)
	g.a, g.b = a, b
	if s.step.loop == stepMomentum && s.gaps.sparse(t, a) {
		s.gaps.run(t, b, s.step.w, s.step.s, g.N, &s.step.coef[0])
	} else {
		s.whole(t)
	}
	g.a, g.b = nil, nil
	s.step.release()
}

// whole takes the step along all products, strip by strip.
func (s *GemmStep[T]) whole(t *Team) {
	g := s.gemm
	memory := t.borrow()
	s.b = g.b
	if !s.direct {
		s.b = scratchOf[T](memory, slotB, g.panels()*g.width*g.K)
		t.For(g.panels(), s.packing)
	}
	t.For(g.strips(), s.stepping)
	t.giveBack(memory)
	s.b = nil
}

func (s *GemmStep[T]) pack(_ *Worker, panel int) {
	g, j := s.gemm, panel*s.gemm.width
	g.tiling.pack(min(g.width, g.N-j), g.K, from(g.b, j*g.bCol), g.bCol, g.bRow, from(s.b, j*g.K), g.width, 1)
}

// strip computes a strip of the gradient and steps along it.
func (s *GemmStep[T]) strip(w *Worker, strip int) {
	g, i := s.gemm, strip*s.gemm.rows
	rows := min(g.rows, g.M-i)
	a := scratchOf[T](w, slotA, packedRow*g.K)
	g.tiling.pack(rows, g.K, from(g.a, i*g.aRow), g.aRow, g.aCol, a, packedRow, g.alpha)
	whole := s.tiles(i, a)
	if whole == g.N {
		return
	}
	gradient := scratchOf[T](w, slotC, rows*g.N)
	flags := wholeRows
	if s.direct {
		flags = 0
	}
	for j := whole; j < g.N; j += g.width {
		cols := min(g.width, g.N-j)
		g.tiling.tile(rows, cols)(g.K, a, 1, packedRow, from(s.b, j/g.width*s.bNext), s.bRow, gradient[j:], g.N, cols, nil, flags)
	}
	if whole == 0 {
		s.step.along(i*g.N, gradient)
		return
	}
	for r := range rows {
		s.step.along((i+r)*g.N+whole, gradient[r*g.N+whole:(r+1)*g.N])
	}
}

// tiles takes the step for as many columns of a strip, packed in a, as go without
// a gradient in memory, and returns how many.
func (s *GemmStep[T]) tiles(i int, a []T) int {
	g, tl := s.gemm, s.gemm.tiling
	n := g.N / tl.cols
	if tl.momentum == nil || s.step.loop != stepMomentum || g.rows != tl.rows || g.M-i < g.rows || n == 0 || g.K == 0 {
		return 0
	}
	at := i * g.N
	tl.momentum(n, g.K, a, s.b, s.bRow, s.bNext, s.step.w[at:], s.step.s[at:], g.N, &s.step.coef[0])
	whole := n * tl.cols
	if tl.momentumRest == nil {
		return whole
	}
	for j := whole; j < g.N; j += pickLanes {
		b := s.b[n*s.bNext+j-whole:]
		tl.momentumRest(min(pickLanes, g.N-j), g.K, a, b, s.bRow, s.step.w[at+j:], s.step.s[at+j:], g.N, &s.step.coef[0])
	}
	return g.N
}
