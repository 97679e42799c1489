package kernel

// Where planes are small, a batch normalisation takes several channels at once:
// their planes lie side by side in an image, so that one row is as long as
// loops over vectors like. What is one number per channel becomes a row, the
// number repeated for each element of the plane.

const (
	// shortRow is the size of planes from which on channels go one by one; they
	// also do where all of them together do not make a wide row.
	shortRow = 256
	// tinyRow is the size of planes up to which many channels are taken together
	// though all of them do not make a wide row.
	tinyRow, manyChannels = 16, 16
	// wideRow is about how many elements several channels have together.
	wideRow = 1024
)

// short is a unit's channels, first to last-1, and rows of scratch memory.
type short[T Float] struct {
	b           *BatchNorm[T]
	first, last int
	width       int // of a row: the elements of all planes
	scratch     []T
}

func (b *BatchNorm[T]) short(w *Worker, unit int) short[T] {
	first := unit * b.together
	last := min(first+b.together, b.spec.Channels)
	width := (last - first) * b.spec.Spatial
	return short[T]{b, first, last, width, scratchOf[T](w, 0, shortRows*width)}
}

// Rows of scratch memory.
const (
	rowSum = iota
	rowMoment
	rowMean
	rowFactor
	rowSlope
	rowOffset
	rowRest
	shortRows
)

func (s *short[T]) row(i int) []T { return s.scratch[i*s.width : (i+1)*s.width] }

// of is image i of x.
func (s *short[T]) of(x []T, i int) []T {
	at := (i*s.b.spec.Channels + s.first) * s.b.spec.Spatial
	return x[at : at+s.width]
}

// total adds up a channel's part of a row.
func (s *short[T]) total(row []T, c int) float64 {
	var sum float64
	at := (c - s.first) * s.b.spec.Spatial
	for _, v := range row[at : at+s.b.spec.Spatial] {
		sum += float64(v)
	}
	return sum
}

// repeat puts a channel's number into its part of a row.
func (s *short[T]) repeat(row []T, c int, v float64) {
	at := (c - s.first) * s.b.spec.Spatial
	Fill(row[at:at+s.b.spec.Spatial], T(v))
}

func (b *BatchNorm[T]) trainShort(w *Worker, unit int) {
	s := b.short(w, unit)
	m := float64(b.spec.N * b.spec.Spatial)
	sum, squares, mean := s.row(rowSum), s.row(rowMoment), s.row(rowMean)
	clear(sum)
	for i := range b.spec.N {
		Add(sum, sum, s.of(b.x, i))
	}
	for c := s.first; c < s.last; c++ {
		s.repeat(mean, c, s.total(sum, c)/m)
	}
	clear(squares)
	for i := range b.spec.N {
		eachRow(loopAddSquares, squares, s.of(b.x, i), mean, nil)
	}
	for c := s.first; c < s.last; c++ {
		exact := s.total(sum, c) / m
		rest := exact - float64(T(exact)) // squares are about the rounded mean
		invStd := b.keepMoments(c, exact, max(0, s.total(squares, c)/m-rest*rest))
		s.setAffine(c, exact, invStd)
	}
	s.normalise()
}

func (b *BatchNorm[T]) inferShort(w *Worker, unit int) {
	s := b.short(w, unit)
	for c := s.first; c < s.last; c++ {
		s.setAffine(c, float64(b.mean[c]), b.inverse(c))
	}
	s.normalise()
}

func (s *short[T]) setAffine(c int, mean, invStd float64) {
	factor, offset := s.b.affine(c, mean, invStd)
	s.repeat(s.row(rowFactor), c, factor)
	s.repeat(s.row(rowOffset), c, offset)
}

func (s *short[T]) normalise() {
	factor, offset := s.row(rowFactor), s.row(rowOffset)
	loop := loopScaleShift
	if s.b.spec.Relu {
		loop = loopScaleShiftRelu
	}
	for i := range s.b.spec.N {
		eachRow(loop, s.of(s.b.y, i), s.of(s.b.x, i), factor, offset)
	}
}

func (b *BatchNorm[T]) trainGradShort(w *Worker, unit int) {
	s := b.short(w, unit)
	s.gradSums(func(c int) float64 { return float64(b.invStd[c]) })
	factor, slope, offset := s.row(rowFactor), s.row(rowSlope), s.row(rowOffset)
	for c := s.first; c < s.last; c++ {
		a, sl, off := b.gradFactors(c, s.total(s.row(rowSum), c), s.total(s.row(rowMoment), c)*float64(b.invStd[c]))
		s.repeat(factor, c, a)
		s.repeat(slope, c, sl)
		s.repeat(offset, c, off)
	}
	rest := s.row(rowRest)
	for i := range b.spec.N {
		eachRow(loopScaleShift, rest, s.of(b.x, i), slope, offset)
		eachRow(loopScaleShift, s.of(b.dx, i), s.of(b.dy, i), factor, rest)
	}
}

func (b *BatchNorm[T]) inferGradShort(w *Worker, unit int) {
	s := b.short(w, unit)
	if b.dScale != nil {
		s.gradSums(b.inverse)
	}
	factor := s.row(rowFactor)
	for c := s.first; c < s.last; c++ {
		s.repeat(factor, c, float64(b.params.Scale[c])*b.inverse(c))
	}
	for i := range b.spec.N {
		Mul(s.of(b.dx, i), s.of(b.dy, i), factor)
	}
}

// gradSums writes the gradients of bias and scale and leaves in rows the sums
// of dy and dy (x - mean) that they come from.
func (s *short[T]) gradSums(invStd func(c int) float64) {
	b := s.b
	sum, moment, mean := s.row(rowSum), s.row(rowMoment), s.row(rowMean)
	for c := s.first; c < s.last; c++ {
		s.repeat(mean, c, float64(b.mean[c]))
	}
	clear(sum)
	clear(moment)
	for i := range b.spec.N {
		dy := s.of(b.dy, i)
		Add(sum, sum, dy)
		eachRow(loopAddDots, moment, s.of(b.x, i), mean, dy)
	}
	for c := s.first; c < s.last; c++ {
		b.dBias[c], b.dScale[c] = T(s.total(sum, c)), T(s.total(moment, c)*invStd(c))
	}
}
