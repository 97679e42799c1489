package kernel

// WeightedSum is the prepared sum of tensors [N Channels Spatial], each times a factor
// for each channel, in one pass over memory:
//
//	z[n][c][i] = Offset[c] + sum over the terms of Factor[c] * X[n][c][i]
//
// then max(0, z) if Relu, and 0 where Mask is not above 0.
type WeightedSum[T Float] struct {
	N, Channels, Spatial int
	Terms                []SumTerm[T]
	Offset               []T // nil: none
	Mask                 []T // nil: none
	Relu                 bool

	z    []T
	body func(w *Worker, unit int)
}

// SumTerm is a term of a WeightedSum; without Factor, X counts as it is.
type SumTerm[T Float] struct{ X, Factor []T }

// Run computes z, which may be the X of one of the first two terms and nothing else.
func (s *WeightedSum[T]) Run(t *Team, z []T) {
	if s.body == nil {
		s.body = s.rowsUnit
		if s.isFlat() {
			s.body = s.flatUnit
		}
	}
	size := s.N * s.Channels * s.Spatial
	need(len(z), size, "z")
	for _, term := range s.Terms {
		need(len(term.X), size, "X")
	}
	s.z = z
	if s.isFlat() {
		t.For(unitsOf(size), s.body)
	} else {
		t.For(ceilDiv(s.N*s.Channels, s.rowsOfUnit()), s.body)
	}
	s.z = nil
}

// isFlat tells whether channels do not matter.
func (s *WeightedSum[T]) isFlat() bool {
	for _, t := range s.Terms {
		if t.Factor != nil {
			return false
		}
	}
	return s.Offset == nil
}

func (s *WeightedSum[T]) rowsOfUnit() int { return max(unitSize/max(s.Spatial, 1), 1) }

func (s *WeightedSum[T]) flatUnit(_ *Worker, unit int) {
	lo, hi := unitRange(unit, s.N*s.Channels*s.Spatial)
	const step = 1 << 10 // what stays in the first-level cache with the other terms
	for ; lo < hi; lo += step {
		s.row(lo, min(lo+step, hi), 0)
	}
}

func (s *WeightedSum[T]) rowsUnit(_ *Worker, unit int) {
	first := unit * s.rowsOfUnit()
	for r := first; r < min(first+s.rowsOfUnit(), s.N*s.Channels); r++ {
		s.row(r*s.Spatial, (r+1)*s.Spatial, r%s.Channels)
	}
}

// row computes some elements of a channel.
func (s *WeightedSum[T]) row(lo, hi, channel int) {
	z := s.z[lo:hi]
	var offset T
	if s.Offset != nil {
		offset = s.Offset[channel]
	}
	terms := s.Terms[1:]
	a, x := s.Terms[0].factor(channel), s.Terms[0].X[lo:hi]
	if len(terms) > 0 {
		Combine(z, a, x, terms[0].factor(channel), terms[0].X[lo:hi], offset)
		terms = terms[1:]
	} else {
		Affine(z, a, x, offset)
	}
	for i := range terms {
		Axpy(z, terms[i].factor(channel), terms[i].X[lo:hi])
	}
	if s.Relu {
		Relu(z, z)
	}
	if s.Mask != nil {
		ReluGrad(z, z, s.Mask[lo:hi])
	}
}

func (t *SumTerm[T]) factor(channel int) T {
	if t.Factor == nil {
		return 1
	}
	return t.Factor[channel]
}
