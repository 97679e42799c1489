package kernel

import "math"

// ReduceKind is what a Reduce computes.
type ReduceKind int

// The reductions. Sums are accumulated in float64 between rows; minimum and
// maximum are NaN if an element is.
const (
	ReduceSum ReduceKind = iota
	ReduceMean
	ReduceSumSquare
	ReduceL1
	ReduceL2
	ReduceMax
	ReduceMin
	ReduceProd
	ReduceLogSumExp
)

// Reduce reduces a tensor over any of its axes.
//
// Neighbouring axes of the same fate are merged, so that either the innermost
// axis is reduced (rows: each is reduced at once) or kept (columns: rows are
// folded onto each other). Whatever comes further out is either kept or
// reduced, and walked over.
type Reduce[T Float] struct {
	kind     ReduceKind
	inner    int       // length of the innermost axis
	columns  bool      // the innermost axis is kept
	kept     []walkDim // further out, innermost first
	reduced  []walkDim
	outputs  int // product of kept: output elements, or rows of them
	terms    int // product of reduced
	count    int // elements per output
	part     int // a row is taken in parts of at most so many elements
	segment  int // reduced rows (parts of rows) per unit and output
	segments int
	group    int  // outputs per unit
	short    bool // sums of short rows: foldShort

	tiles *tiling[T] // sums of rows at one distance: sumRows
	one   [1]T

	partials []float64 // [outputs][segments], or [outputs][segments][inner]
	max      *Reduce[T]
	shift    []T // of log-sum-exp: the maxima
	y, x     []T
	body     func(*Worker, int)
}

// walkDim is one axis: its size and the distance of its elements.
type walkDim struct{ size, stride int }

// walk is the offset of element i of the axes.
func walk(dims []walkDim, i int) int {
	at := 0
	for n, d := range dims {
		if n == len(dims)-1 {
			return at + i*d.stride
		}
		at += i % d.size * d.stride
		i /= d.size
	}
	return at
}

// NewReduce prepares the reduction of a tensor of the given shape over axes,
// which count from 0. Without axes every element is an output of its own.
func NewReduce[T Float](kind ReduceKind, shape, axes []int) *Reduce[T] {
	r := &Reduce[T]{kind: kind, inner: 1, outputs: 1, terms: 1}
	r.layOut(mergeAxes(shape, axes))
	if r.columns {
		r.splitColumns()
		r.body = r.columnUnit
	} else {
		r.splitRows()
		r.body = r.rowUnit
	}
	if kind == ReduceLogSumExp {
		r.max = NewReduce[T](ReduceMax, shape, axes)
		r.shift = make([]T, r.outputLen())
	}
	return r
}

// mergedAxis is a run of axes that are all kept or all reduced.
type mergedAxis struct {
	size    int
	reduced bool
}

// mergeAxes returns the axes of a shape, innermost first, without those of size 1.
func mergeAxes(shape, axes []int) []mergedAxis {
	reduced := make([]bool, len(shape))
	for _, a := range axes {
		reduced[a] = true
	}
	var merged []mergedAxis
	for i := len(shape) - 1; i >= 0; i-- {
		n := len(merged) - 1
		switch {
		case shape[i] == 1:
		case n >= 0 && merged[n].reduced == reduced[i]:
			merged[n].size *= shape[i]
		default:
			merged = append(merged, mergedAxis{shape[i], reduced[i]})
		}
	}
	return merged
}

func (r *Reduce[T]) layOut(axes []mergedAxis) {
	r.count = 1
	stride := 1
	for i, a := range axes {
		d := walkDim{a.size, stride}
		stride *= a.size
		if a.reduced {
			r.count *= a.size
		}
		switch {
		case i == 0:
			r.inner, r.columns = a.size, !a.reduced
		case a.reduced:
			r.reduced = append(r.reduced, d)
			r.terms *= a.size
		default:
			r.kept = append(r.kept, d)
			r.outputs *= a.size
		}
	}
}

const (
	// dearRow is up to which length sums of single rows are dear.
	dearRow = 64
	// fewPieces is how many pieces of an output a unit has at least, if there are as
	// many: what is left of each is in memory until all are joined.
	fewPieces = 8
)

// splitRows gives a unit several outputs if they are small, or a segment of the
// parts that outputs are made of. Rows of neighbouring outputs lie side by side and
// are read in that order.
func (r *Reduce[T]) splitRows() {
	r.part = max(1, min(r.inner, unitSize))
	pieces := r.terms * ceilDiv(r.inner, r.part)
	r.group = 1
	if r.terms > 1 {
		r.group = max(1, min(r.outputs, unitSize/(r.part*fewPieces)))
	}
	r.segment = max(1, unitSize/(r.group*r.part))
	r.short = (r.kind == ReduceSum || r.kind == ReduceMean) && r.inner <= dearRow && r.terms > 1 && len(r.kept) == 1 && r.kept[0].stride == r.inner
	if r.short {
		r.segment = min(r.segment, r.columnRows())
	}
	r.segments = max(1, ceilDiv(pieces, r.segment))
	if r.segments == 1 {
		r.group = max(1, unitSize/max(1, pieces*r.part))
	} else {
		r.partials = make([]float64, r.outputs*r.segments)
	}
}

// splitColumns gives a unit up to columnPart columns of one output row, and a
// segment of the rows that are folded onto it.
func (r *Reduce[T]) splitColumns() {
	const (
		columnPart = 1024
		narrow     = 512 // up to here, rows may be read a few columns at a time
	)
	r.part = max(1, min(r.inner, columnPart))
	r.segment = max(64, 4*unitSize/r.part)
	r.segments = max(1, ceilDiv(r.terms, r.segment))
	r.group = 1
	if r.segments > 1 {
		r.partials = make([]float64, r.outputs*r.segments*r.inner)
	}
	if (r.kind == ReduceSum || r.kind == ReduceMean) && len(r.reduced) == 1 && r.inner <= narrow {
		r.tiles, r.one = tilings[T]()[0], [1]T{1}
	}
}

// outputLen is the number of output elements.
func (r *Reduce[T]) outputLen() int {
	if r.columns {
		return r.outputs * r.inner
	}
	return r.outputs
}

// Run reduces x into y.
func (r *Reduce[T]) Run(t *Team, y, x []T) {
	if r.max != nil {
		r.max.Run(t, r.shift, x)
		for i, m := range r.shift { // subtracting an infinity gives NaN
			if math.IsInf(float64(m), 0) {
				r.shift[i] = 0
			}
		}
	}
	r.y, r.x = y[:r.outputLen()], x
	units := ceilDiv(r.outputs, r.group) * r.segments
	if r.columns {
		units *= ceilDiv(r.inner, r.part)
	}
	t.For(units, r.body)
	if r.segments > 1 {
		r.joinSegments()
	}
	r.y, r.x = nil, nil
}

// rowUnit reduces one segment of a group of outputs.
func (r *Reduce[T]) rowUnit(w *Worker, unit int) {
	first, segment := unit/r.segments*r.group, unit%r.segments
	acc := w.Float64(2, min(r.group, r.outputs-first)) // slot 0 may be row's
	Fill(acc, r.start())
	if r.short {
		r.foldShort(w, acc, first, segment)
	} else {
		r.joinRows(w, acc, first, segment)
	}
	for i, v := range acc {
		if r.segments > 1 {
			r.partials[(first+i)*r.segments+segment] = v
		} else {
			r.y[first+i] = r.finish(v, first+i)
		}
	}
}

// joinRows reduces the rows of neighbouring outputs one by one.
func (r *Reduce[T]) joinRows(w *Worker, acc []float64, first, segment int) {
	parts := ceilDiv(r.inner, r.part)
	for piece := segment * r.segment; piece < min((segment+1)*r.segment, r.terms*parts); piece++ {
		lo := piece % parts * r.part
		n := min(r.part, r.inner-lo)
		at := lo + walk(r.reduced, piece/parts)
		for i := range acc {
			from := at + walk(r.kept, first+i)
			acc[i] = r.join(acc[i], r.row(w, r.x[from:from+n], first+i))
		}
	}
}

// foldShort adds up the rows of neighbouring outputs, all at once, before each is
// summed.
func (r *Reduce[T]) foldShort(w *Worker, acc []float64, first, segment int) {
	block := scratchOf[T](w, 0, len(acc)*r.inner)
	clear(block)
	for piece := segment * r.segment; piece < min((segment+1)*r.segment, r.terms); piece++ {
		at := walk(r.reduced, piece) + first*r.inner
		Add(block, block, r.x[at:at+len(block)])
	}
	for i := range acc {
		acc[i] = float64(Sum(block[i*r.inner : (i+1)*r.inner]))
	}
}

// row reduces neighbouring elements that belong to one output.
func (r *Reduce[T]) row(w *Worker, x []T, out int) float64 {
	switch r.kind {
	case ReduceSum, ReduceMean:
		return float64(Sum(x))
	case ReduceL1:
		return float64(SumAbs(x))
	case ReduceSumSquare, ReduceL2:
		return float64(SumSquares(x, 0))
	case ReduceMax:
		return float64(Max(x))
	case ReduceMin:
		return float64(Min(x))
	case ReduceLogSumExp:
		e := scratchOf[T](w, 0, len(x))
		each(loopExp, e, x, nil, -r.shift[out], 0, 0)
		return float64(Sum(e))
	}
	p := 1.0
	for _, v := range x {
		p *= float64(v)
	}
	return p
}

// columnRows is how many rows are folded in T before the result goes to
// float64. Rounding errors of products grow faster than those of sums.
func (r *Reduce[T]) columnRows() int {
	if r.kind == ReduceProd {
		return 1
	}
	return 64
}

// columnUnit folds a segment of rows onto a part of an output row.
func (r *Reduce[T]) columnUnit(w *Worker, unit int) {
	parts := ceilDiv(r.inner, r.part)
	lo := unit % parts * r.part
	hi := min(lo+r.part, r.inner)
	segment := unit / parts % r.segments
	out := unit / parts / r.segments
	var acc []float64
	if r.segments > 1 {
		at := (out*r.segments + segment) * r.inner
		acc = r.partials[at+lo : at+hi]
	} else {
		acc = w.Float64(2, hi-lo) // slots 0 and 1 are foldRows'
	}
	Fill(acc, r.start())
	r.foldRows(w, acc, out, lo, segment)
	if r.segments == 1 {
		for i, a := range acc {
			at := out*r.inner + lo + i
			r.y[at] = r.finish(a, at)
		}
	}
}

func (r *Reduce[T]) foldRows(w *Worker, acc []float64, out, lo, segment int) {
	block, term := scratchOf[T](w, 0, len(acc)), scratchOf[T](w, 1, len(acc))
	base := walk(r.kept, out) + lo
	end := min((segment+1)*r.segment, r.terms)
	for first := segment * r.segment; first < end; first += r.columnRows() {
		last := min(first+r.columnRows(), end)
		if r.tiles != nil {
			r.sumRows(block, base+first*r.reduced[0].stride, last-first)
		} else {
			Fill(block, T(r.start()))
			for row := first; row < last; row++ {
				at := base + walk(r.reduced, row)
				r.foldRow(block, term, r.x[at:at+len(acc)], out*r.inner+lo)
			}
		}
		r.joinRow(acc, block)
	}
}

// sumRows adds up so many rows from an element of x on, as the product of a row of
// ones with them: the sums stay in registers.
func (r *Reduce[T]) sumRows(acc []T, at, rows int) {
	tl := r.tiles
	for j := 0; j < len(acc); j += tl.cols {
		cols := min(tl.cols, len(acc)-j)
		tl.tile(1, cols)(rows, r.one[:], 0, 0, r.x[at+j:], r.reduced[0].stride, acc[j:], 0, cols, nil, 0)
	}
}

// foldRow folds row x onto acc; out is the index of its first output.
func (r *Reduce[T]) foldRow(acc, term, x []T, out int) {
	switch r.kind {
	case ReduceSum, ReduceMean:
		Add(acc, acc, x)
	case ReduceL1:
		Abs(term, x)
		Add(acc, acc, term)
	case ReduceSumSquare, ReduceL2:
		Mul(term, x, x)
		Add(acc, acc, term)
	case ReduceLogSumExp:
		Sub(term, x, r.shift[out:out+len(x)])
		Exp(term, term)
		Add(acc, acc, term)
	case ReduceMax:
		for i, v := range x {
			acc[i] = max(acc[i], v)
		}
	case ReduceMin:
		for i, v := range x {
			acc[i] = min(acc[i], v)
		}
	case ReduceProd:
		Mul(acc, acc, x)
	}
}

// joinRow joins each element of a row with what was accumulated.
func (r *Reduce[T]) joinRow(acc []float64, row []T) {
	switch acc = acc[:len(row)]; r.kind {
	case ReduceMax, ReduceMin, ReduceProd:
		for i, v := range row {
			acc[i] = r.join(acc[i], float64(v))
		}
	default:
		for i, v := range row {
			acc[i] += float64(v)
		}
	}
}

// joinSegments folds the partial results in their order.
func (r *Reduce[T]) joinSegments() {
	width := 1
	if r.columns {
		width = r.inner
	}
	for i := range r.y {
		acc := r.start()
		at := i/width*r.segments*width + i%width
		for s := range r.segments {
			acc = r.join(acc, r.partials[at+s*width])
		}
		r.y[i] = r.finish(acc, i)
	}
}

// start is the result for no element, before finish.
func (r *Reduce[T]) start() float64 {
	switch r.kind {
	case ReduceMax:
		return math.Inf(-1)
	case ReduceMin:
		return math.Inf(1)
	case ReduceProd:
		return 1
	}
	return 0
}

func (r *Reduce[T]) join(a, b float64) float64 {
	switch r.kind {
	case ReduceMax:
		return max(a, b)
	case ReduceMin:
		return min(a, b)
	case ReduceProd:
		return a * b
	}
	return a + b
}

// finish makes output element out of what was accumulated.
func (r *Reduce[T]) finish(acc float64, out int) T {
	switch r.kind {
	case ReduceMean:
		acc /= float64(r.count)
	case ReduceL2:
		acc = math.Sqrt(acc)
	case ReduceLogSumExp:
		acc = math.Log(acc) + float64(r.shift[out])
	}
	return T(acc)
}
