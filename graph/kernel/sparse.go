package kernel

import (
	"cmp"
	"slices"
)

// SparseMatMul is the prepared product of samples with a matrix of which only
// some elements are kept,
//
//	y[n][rows[i]] += x[n][cols[i]] * values[i]  for all i, y from zero,
//
// and the gradient of the values, values[i] = Σ_n x[n][cols[i]]·dy[n][rows[i]].
// Samples are brought side by side, so that each kept element is one number
// times a row of them.
type SparseMatMul[T Float] struct {
	N, In, Out int

	loops    sparseLoops[T]
	tiling   *tiling[T]
	pitch    int     // samples, rounded up
	start    []int32 // of each row in at
	at       []int32 // offset of each kept element's row of x, by rows
	order    []int32 // number of the value of each, nil where they are in order
	side     []T     // x as [In][pitch]
	gradSide []T     // y or dy as [Out][pitch]
	ordered  []T     // values by rows
	zeros    []T     // what a unit's rows begin with

	x, y, values, dst                []T
	spread, spreadGrad, rows, derive func(w *Worker, unit int)
}

// sparseRows is how many rows of side-by-side samples a unit handles.
const sparseRows = 16

// NewSparseMatMul prepares products of n samples of in values with a matrix of
// out rows. Every pair (rows[i], cols[i]) occurs once; in and out bound them, or
// it panics.
func NewSparseMatMul[T Float](n, in, out int, rows, cols []int64) *SparseMatMul[T] {
	return newSparseMatMul(sparseAvailable[T]()[0], n, in, out, rows, cols)
}

func newSparseMatMul[T Float](loops sparseLoops[T], n, in, out int, rows, cols []int64) *SparseMatMul[T] {
	s := &SparseMatMul[T]{N: n, In: in, Out: out, loops: loops, tiling: tilings[T]()[0], pitch: roundUp(n, sparseSamples)}
	order := make([]int32, len(rows))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(rows[a], rows[b]) })
	s.start = make([]int32, out+1)
	for _, i := range order {
		if rows[i] < 0 || rows[i] >= int64(out) || cols[i] < 0 || cols[i] >= int64(in) {
			panic("kernel: a kept element lies outside of its matrix")
		}
		s.at = append(s.at, int32(cols[i])*int32(s.pitch))
		s.start[rows[i]+1]++
	}
	for r := range out {
		s.start[r+1] += s.start[r]
	}
	if !slices.IsSorted(order) {
		s.order, s.ordered = order, alignedSlice[T](len(order))
	}
	s.side, s.gradSide = alignedSlice[T](in*s.pitch), alignedSlice[T](out*s.pitch)
	s.zeros = make([]T, sparseRows)
	s.spread, s.spreadGrad, s.rows, s.derive = s.spreadUnit, s.spreadGradUnit, s.rowsUnit, s.deriveUnit
	return s
}

// Run computes y.
func (s *SparseMatMul[T]) Run(t *Team, x, values, y []T) {
	need(len(x), s.N*s.In, "x")
	need(len(values), len(s.at), "values")
	need(len(y), s.N*s.Out, "y")
	s.x, s.y, s.values = x, y, values
	if s.order != nil {
		for i, from := range s.order {
			s.ordered[i] = values[from]
		}
		s.values = s.ordered
	}
	t.For(ceilDiv(s.In, sparseRows), s.spread)
	t.For(ceilDiv(s.Out, sparseRows), s.rows)
	s.x, s.y, s.values = nil, nil, nil
}

// RunGrad computes the gradient of the values.
func (s *SparseMatMul[T]) RunGrad(t *Team, x, dy, values []T) {
	need(len(x), s.N*s.In, "x")
	need(len(dy), s.N*s.Out, "dy")
	need(len(values), len(s.at), "values")
	s.x, s.y, s.dst = x, dy, values
	if s.order != nil {
		s.dst = s.ordered
	}
	t.For(ceilDiv(s.In, sparseRows), s.spread)
	t.For(ceilDiv(s.Out, sparseRows), s.spreadGrad)
	t.For(ceilDiv(s.Out, sparseRows), s.derive)
	if s.order != nil {
		for i, to := range s.order {
			values[to] = s.ordered[i]
		}
	}
	s.x, s.y, s.dst = nil, nil, nil
}

// spreadUnit brings some values of all samples side by side.
func (s *SparseMatMul[T]) spreadUnit(_ *Worker, unit int) {
	s.beside(unit, s.x, s.In, s.side)
}

func (s *SparseMatMul[T]) spreadGradUnit(_ *Worker, unit int) {
	s.beside(unit, s.y, s.Out, s.gradSide)
}

func (s *SparseMatMul[T]) beside(unit int, src []T, width int, dst []T) {
	first := unit * sparseRows
	s.tiling.transpose(s.N, min(sparseRows, width-first), src[first:], width, dst[first*s.pitch:], s.pitch)
}

// rowsUnit computes some rows of y for all samples.
func (s *SparseMatMul[T]) rowsUnit(_ *Worker, unit int) {
	first := unit * sparseRows
	last := min(first+sparseRows, s.Out)
	for n := 0; n < s.pitch; n += sparseSamples {
		s.loops.combine(s.start[first:last+1], s.at, s.values, s.side[n:], s.gradSide[first*s.pitch+n:], s.pitch, s.zeros)
	}
	s.tiling.transpose(last-first, s.N, s.gradSide[first*s.pitch:], s.pitch, s.y[first:], s.Out)
}

// deriveUnit computes the gradients of the values of some rows.
func (s *SparseMatMul[T]) deriveUnit(_ *Worker, unit int) {
	first := unit * sparseRows
	last := min(first+sparseRows, s.Out)
	clear(s.dst[s.start[first]:s.start[last]])
	for n := 0; n < s.pitch; n += sparseSamples {
		s.loops.dots(s.start[first:last+1], s.at, s.side[n:], s.gradSide[first*s.pitch+n:], s.pitch, s.dst)
	}
}
