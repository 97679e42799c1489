package main

import (
	"math"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The points of F(4x4, 3x3) beside zero and infinity, and those for stride 2
// beside infinity, as in package kernel.
const (
	near        = 0.75
	far         = 1.5
	stridedNear = 0.5
	stridedFar  = 1.5
)

// matrix is one side of a transform of tiles, dst = m src m^T. Neighbouring rows
// can belong to a point and its negative; in a transposed matrix it is the columns.
type matrix [][]float64

// winogradMatrices are the matrices that package kernel derives in the same way.
func winogradMatrices() (input, weight, result matrix) {
	points := []float64{0, near, -near, far, -far}
	for i, p := range points {
		input = append(input, append(polynomial(points, i), 0))
		n := 1.0
		for j, q := range points {
			if j != i {
				n *= p - q
			}
		}
		weight = append(weight, []float64{1 / n, p / n, p * p / n})
		result = append(result, []float64{1, p, p * p, p * p * p})
	}
	input = append(input, polynomial(points, -1))
	weight = append(weight, []float64{0, 0, 1})
	result = append(result, []float64{0, 0, 0, 1})
	return input, weight, result
}

// gradientMatrices are those of the gradient by the weights.
func gradientMatrices() (gradient, sum matrix) {
	_, weight, result := winogradMatrices()
	last := len(result) - 1
	var powers matrix
	for i, row := range result[:last] {
		var scaled []float64
		for _, v := range row {
			scaled = append(scaled, weight[i][0]*v)
		}
		gradient, powers = append(gradient, scaled), append(powers, row[:3])
	}
	return append(gradient, result[last]), append(powers, weight[last]).transposed()
}

// stridedMatrices are the transforms for stride 2, of one parity where there are
// two.
func stridedMatrices() (phase, weight, result matrix) {
	points := []float64{stridedNear, -stridedNear, stridedFar, -stridedFar}
	for i, p := range points {
		n := 1.0
		for j, q := range points {
			if j != i {
				n *= p - q
			}
		}
		var row []float64
		for _, v := range append(polynomial(points, i), 0) {
			row = append(row, v/n)
		}
		phase = append(phase, row)
		weight = append(weight, []float64{1, 0, p})
		result = append(result, []float64{1, p, p * p, p * p * p})
	}
	phase = append(phase, polynomial(points, -1))
	weight = append(weight, []float64{0, 0, 1}, []float64{0, 1, 0})
	result = append(result, []float64{0, 0, 0, 1})
	return phase, weight, result
}

// bothParities lets m transform cols elements of two lines that take turns: of the
// first one all, and with all rows, of the other one without the last row. The
// first element is the first line's if offset is 0.
func (m matrix) bothParities(cols, offset int) matrix {
	var both matrix
	for e := range 2*len(m) - 1 {
		line := e / len(m)
		row := make([]float64, cols)
		for i, v := range m[e%len(m)] {
			if at := 2*i + (line+offset)%2; at < cols {
				row[at] = v
			}
		}
		both = append(both, row)
	}
	return both
}

// polynomial is the product of (x - p) over all points but one.
func polynomial(points []float64, but int) []float64 {
	c := []float64{1}
	for i, p := range points {
		if i == but {
			continue
		}
		next := append([]float64{0}, c...)
		for j, v := range c {
			next[j] -= p * v
		}
		c = next
	}
	return c
}

func (m matrix) transposed() matrix {
	t := make(matrix, len(m[0]))
	for i := range t {
		for j := range m {
			t[i] = append(t[i], m[j][i])
		}
	}
	return t
}

// mirrored is m for tiles whose rows and columns are read backwards.
func (m matrix) mirrored() matrix {
	r := make(matrix, len(m))
	for i := range m {
		for j := range m[i] {
			r[i] = append(r[i], m[i][len(m[i])-1-j])
		}
	}
	return r
}

// winograd writes the transforms of tiles for one instruction set.
func winograd(set vectorSet) {
	input, weight, result := winogradMatrices()
	gradient, sum := gradientMatrices()
	tileTransform(set, "winograd_input", input, false)
	tileTransform(set, "winograd_weight", weight, false)
	tileTransform(set, "winograd_mirror", weight.mirrored(), false)
	tileTransform(set, "winograd_gradient", gradient, false)
	tileTransform(set, "winograd_sum", sum, false)
	tileTransform(set, "winograd_output", result.transposed(), true)
}

// strided writes those for stride 2.
func strided(set vectorSet) {
	phase, weight, result := stridedMatrices()
	tileTransform(set, "strided_input", phase.bothParities(9, 0), false)
	tileTransform(set, "strided_weight", weight, false)
	tileTransform(set, "strided_output", result.transposed(), true)
	tileTransform(set, "strided_input_back", phase, false)
	tileTransform(set, "strided_mirror", weight.mirrored(), false)
	tileTransform(set, "strided_output_back", result.bothParities(8, 1).transposed(), true)
	tileTransform(set, "strided_gradient", result, false)
	tileTransform(set, "strided_sum", weight.transposed(), false)
}

// tileTransform writes {name}_f32_{set}: dst = m src m^T for n tiles, a vector
// of channels at a time. With finish, a bias is added and a floor applied.
func tileTransform(set vectorSet, name string, m matrix, finish bool) {
	rows, cols := len(m), len(m[0])
	arguments := "n int, src []float32, srcNext, srcRow, srcCol int, dst []float32, dstNext, dstRow, dstCol int"
	if finish {
		arguments += ", bias []float32, floor float32"
	}
	TEXT(name+"_f32_"+set.name(), 0, "func("+arguments+")")
	Doc("Transforms n > 0 tiles of vectors; see tileTransform.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	src := Load(Param("src").Base(), GP64())
	srcRow, srcCol := newStride("srcRow", cols), bytes("srcCol")
	dst := Load(Param("dst").Base(), GP64())
	dstCol := newStride("dstCol", rows)
	var bias, floor VecVirtual
	beside := 0
	if finish {
		beside = 2
		bias, floor = set.vector(), set.vector()
		set.load(Mem{Base: Load(Param("bias").Base(), GP64())}, bias, false)
		broadcastParam("floor", floor)
	}
	c := newCombiner(set, m, beside)
	held := c.holdsLines()
	var half Mem
	if !held {
		half = c.alignedHalf()
	}

	Label("tile")
	if !held {
		c.columns(src, srcCol, srcRow, half)
	}
	to := GP64()
	MOVQ(dst, to)
	dstRow := bytes("dstRow")
	take := func(j int, y VecVirtual) {
		if finish {
			VADDPS(bias, y, y)
			VMAXPS(y, floor, y) // this order keeps a NaN
		}
		set.store(y, dstCol.at(to, j), false)
	}
	for i := 0; i < rows; {
		if held {
			for _, line := range c.lines(src, srcCol, srcRow, i) {
				c.apply(func(j int) VecVirtual { return line[j] }, take)
				if i++; i < rows {
					ADDQ(dstRow, to)
				}
			}
			continue
		}
		c.line(half, i, take)
		if i++; i < rows {
			ADDQ(dstRow, to)
		}
	}
	advance(src, "srcNext")
	advance(dst, "dstNext")
	DECQ(n)
	JNZ(LabelRef("tile"))
	set.leave()
	RET()
}

// combiner multiplies a matrix with vectors. What a point and its negative
// share is computed once.
type combiner struct {
	set    vectorSet
	m      matrix
	blocks []block
	values map[float32]Op
}

// block is a part of a matrix outside of which its rows and columns are zero, but
// for those of other blocks.
type block struct {
	rows, cols []int
	m          matrix
}

// newCombiner makes one for code that holds some vectors beside it.
func newCombiner(set vectorSet, m matrix, beside int) *combiner {
	c := &combiner{set: set, m: m, blocks: m.blocks(), values: map[float32]Op{}}
	for i, f := range c.factors() {
		table := equalLanes(f)
		c.values[f] = table
		if i < set.constants()-beside {
			v := set.vector()
			VMOVUPS(table, v)
			c.values[f] = v
		}
	}
	return c
}

// blocks finds the smallest ones.
func (m matrix) blocks() []block {
	var list []block
	seen := make([]bool, len(m))
	for first := range m {
		if seen[first] {
			continue
		}
		inRows, inCols := make([]bool, len(m)), make([]bool, len(m[0]))
		inRows[first] = true
		for changed := true; changed; {
			changed = false
			for i, row := range m {
				for j, v := range row {
					if v != 0 && inRows[i] != inCols[j] {
						inRows[i], inCols[j], changed = true, true, true
					}
				}
			}
		}
		var b block
		for j, in := range inCols {
			if in {
				b.cols = append(b.cols, j)
			}
		}
		for i, in := range inRows {
			if !in {
				continue
			}
			seen[i] = true
			var row []float64
			for _, j := range b.cols {
				row = append(row, m[i][j])
			}
			b.rows, b.m = append(b.rows, i), append(b.m, row)
		}
		list = append(list, b)
	}
	return list
}

// opposite tells whether two lines of a matrix are the same up to signs, as those
// of a point and its negative are.
func opposite(a, b []float64) bool {
	same := true
	for i := range a {
		if math.Abs(a[i]) != math.Abs(b[i]) {
			return false
		}
		same = same && a[i] == b[i]
	}
	return !same
}

// alignedHalf is memory for the columns of a tile that are transformed.
func (c *combiner) alignedHalf() Mem {
	half := Mem{Base: GP64()}
	LEAQ(AllocLocal(len(c.m)*len(c.m[0])*c.set.lanes()*4+64), half.Base)
	ADDQ(Imm(63), half.Base)
	ANDQ(I8(-64), half.Base)
	return half
}

// columns transforms the columns of the tile at src.
func (c *combiner) columns(src, srcCol Register, srcRow stride, half Mem) {
	cols, size := len(c.m[0]), c.set.lanes()*4
	from := GP64()
	MOVQ(src, from)
	for j := range cols {
		c.apply(func(i int) VecVirtual { return c.load(srcRow.at(from, i)) }, func(i int, y VecVirtual) {
			c.set.store(y, half.Offset((i*cols+j)*size), false)
		})
		if j < cols-1 {
			ADDQ(srcCol, from)
		}
	}
}

// line transforms line i of what columns made.
func (c *combiner) line(half Mem, i int, take func(j int, y VecVirtual)) {
	cols, size := len(c.m[0]), c.set.lanes()*4
	c.apply(func(j int) VecVirtual { return c.load(half.Offset((i*cols + j) * size)) }, take)
}

func (c *combiner) load(m Mem) VecVirtual {
	v := c.set.vector()
	c.set.load(m, v, false)
	return v
}

// holdsLines tells whether there are enough registers for two lines of what
// columns would make, so that nothing goes through memory: Zen 4 takes two cycles
// to store 512 bits.
func (c *combiner) holdsLines() bool {
	for _, b := range c.blocks {
		if b.wide() {
			return false
		}
	}
	return c.set.lanes() == 16 && len(c.m[0]) <= 6
}

// lines are line i of what columns would make of the tile at src, and with it the
// next one if the two share what they read.
func (c *combiner) lines(src, srcCol Register, srcRow stride, i int) [][]VecVirtual {
	count, cols := 1, len(c.m[0])
	if i+1 < len(c.m) && opposite(c.m[i], c.m[i+1]) {
		count = 2
	}
	lines, m := make([][]VecVirtual, count), make(matrix, count)
	var used []int
	for k, v := range c.m[i] {
		if v == 0 {
			continue
		}
		used = append(used, k)
		for l := range m {
			m[l] = append(m[l], c.m[i+l][k])
		}
	}
	from := GP64()
	MOVQ(src, from)
	for j := range cols {
		var x []VecVirtual
		for _, k := range used {
			x = append(x, c.load(srcRow.at(from, k)))
		}
		for l, y := range c.pairedRows(m, x) {
			lines[l] = append(lines[l], y)
		}
		if j < cols-1 {
			ADDQ(srcCol, from)
		}
	}
	return lines
}

// factors lists what vectors are multiplied with, the most frequent first.
func (c *combiner) factors() []float32 {
	uses := map[float32]int{}
	var list []float32
	count := func(row []float64) {
		for _, v := range row {
			f := float32(v)
			if f == 0 || f == 1 || f == -1 {
				continue
			}
			if uses[f] == 0 {
				list = append(list, f)
			}
			uses[f]++
		}
	}
	for _, b := range c.blocks {
		m := b.m
		if b.wide() {
			m = m.transposed()
		}
		for i, row := range m {
			if i == 0 || !opposite(m[i-1], row) {
				count(row)
			}
		}
	}
	slices.SortStableFunc(list, func(f, g float32) int { return uses[g] - uses[f] })
	return list
}

// wide tells whether pairs are of columns.
func (b block) wide() bool { return len(b.m) < len(b.m[0]) }

// apply multiplies the matrix with a vector whose elements are given, which it may
// overwrite.
func (c *combiner) apply(element func(j int) VecVirtual, take func(i int, y VecVirtual)) {
	for _, b := range c.blocks {
		var x []VecVirtual
		for _, j := range b.cols {
			x = append(x, element(j))
		}
		combine := c.pairedRows
		if b.wide() {
			combine = c.pairedColumns
		}
		for i, y := range combine(b.m, x) {
			take(b.rows[i], y)
		}
	}
}

func (c *combiner) pairedRows(m matrix, x []VecVirtual) []VecVirtual {
	var sums []sum
	var pairs []bool // the sum and the next one are parts of two rows
	for i := 0; i < len(m); i++ {
		if i == len(m)-1 || !opposite(m[i], m[i+1]) {
			sums, pairs = append(sums, newSum(m[i], x)), append(pairs, false)
			continue
		}
		even, odd := make([]float64, len(x)), make([]float64, len(x))
		for j, v := range m[i] {
			if m[i+1][j] == v {
				even[j] = v
			} else {
				odd[j] = v
			}
		}
		sums, pairs = append(sums, newSum(even, x), newSum(odd, x)), append(pairs, true, false)
		i++
	}
	y := c.sums(sums)
	for i, pair := range pairs {
		if pair {
			plus, minus := c.set.vector(), c.set.vector()
			VADDPS(y[i+1], y[i], plus)
			VSUBPS(y[i+1], y[i], minus)
			y[i], y[i+1] = plus, minus
		}
	}
	return y
}

// pairedColumns is pairedRows for a transposed matrix.
func (c *combiner) pairedColumns(m matrix, x []VecVirtual) []VecVirtual {
	columns := m.transposed()
	var plus, minus []VecVirtual // nil: a column by itself
	for j := 0; j < len(x); j++ {
		if j == len(x)-1 || !opposite(columns[j], columns[j+1]) {
			plus, minus = append(plus, x[j]), append(minus, nil)
			continue
		}
		p, q := c.set.vector(), c.set.vector()
		VADDPS(x[j+1], x[j], p)
		VSUBPS(x[j+1], x[j], q)
		plus, minus = append(plus, p, nil), append(minus, q, nil)
		j++
	}
	var sums []sum
	for _, row := range m {
		var factors []float64
		var terms []VecVirtual
		for j, v := range row {
			switch {
			case plus[j] == nil: // the second of a pair
				continue
			case minus[j] != nil && row[j+1] == -v:
				terms = append(terms, minus[j])
			default:
				terms = append(terms, plus[j])
			}
			factors = append(factors, v)
		}
		sums = append(sums, newSum(factors, terms))
	}
	return c.sums(sums)
}

// sum is a sum of vectors times factors that are not zero.
type sum []term

type term struct {
	factor float32
	x      VecVirtual
}

// newSum begins with factors of one and minus one, so that other terms can be added
// in one step each.
func newSum(factors []float64, x []VecVirtual) sum {
	var s sum
	for _, unit := range []bool{true, false} {
		for j, v := range factors {
			if v != 0 && (math.Abs(v) == 1) == unit {
				s = append(s, term{float32(v), x[j]})
			}
		}
	}
	return s
}

// sums computes sums one after the other. They overwrite vectors that no later one
// reads.
func (c *combiner) sums(list []sum) []VecVirtual {
	uses := map[VecVirtual]int{}
	for _, s := range list {
		for _, t := range s {
			uses[t.x]++
		}
	}
	var out []VecVirtual
	for _, s := range list {
		for _, t := range s {
			uses[t.x]--
		}
		out = append(out, c.sum(s, func(t term) bool { return uses[t.x] == 0 }))
	}
	return out
}

// sum computes one; free tells whose vectors may be overwritten.
func (c *combiner) sum(s sum, free func(t term) bool) VecVirtual {
	first, rest := s[0], slices.Clone(s[1:])
	y := first.x
	product := slices.IndexFunc(rest, func(t term) bool { return c.values[t.factor] != nil && free(t) })
	switch {
	case first.factor == 1 && free(first):
	case first.factor == 1 && product >= 0:
		y = rest[product].x
		VFMADD132PS(c.values[rest[product].factor], first.x, y)
		rest = slices.Delete(rest, product, product+1)
	case first.factor == 1:
		y = c.set.vector()
		VMOVUPS(first.x, y)
	case first.factor == -1:
		y = c.set.vector()
		c.set.zero(y)
		VSUBPS(first.x, y, y)
	default:
		y = c.set.vector()
		VMULPS(c.values[first.factor], first.x, y)
	}
	for _, t := range rest {
		switch t.factor {
		case 1:
			VADDPS(t.x, y, y)
		case -1:
			VSUBPS(t.x, y, y)
		default:
			VFMADD231PS(c.values[t.factor], t.x, y)
		}
	}
	return y
}
