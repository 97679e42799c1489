package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The points of F(4x4, 3x3) beside zero and infinity, as in package kernel.
const (
	near = 0.75
	far  = 1.5
)

// matrix is one side of a transform of tiles, dst = m src m^T. Rows 1 and 2,
// and rows 3 and 4, belong to a point and its negative; in a transposed matrix
// it is the columns.
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
	src, srcNext := Load(Param("src").Base(), GP64()), bytes("srcNext")
	srcRow, srcCol := newStride("srcRow", cols), bytes("srcCol")
	dst := Load(Param("dst").Base(), GP64())
	dstCol := newStride("dstCol", rows)
	c := combiner{set: set, m: m}
	c.constants()
	var bias, floor VecVirtual
	if finish {
		bias, floor = set.vector(), set.vector()
		set.load(Mem{Base: Load(Param("bias").Base(), GP64())}, bias, false)
		broadcastParam("floor", floor)
	}
	half := c.alignedHalf()

	Label("tile")
	c.columns(src, srcCol, srcRow, half)
	to := GP64()
	MOVQ(dst, to)
	dstRow := bytes("dstRow")
	for i := range rows {
		for j, y := range c.apply(c.line(half, i)) {
			if finish {
				VADDPS(bias, y, y)
				VMAXPS(y, floor, y) // this order keeps a NaN
			}
			set.store(y, dstCol.at(to, j), false)
		}
		if i < rows-1 {
			ADDQ(dstRow, to)
		}
	}
	ADDQ(srcNext, src)
	ADDQ(bytes("dstNext"), dst)
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
	values map[float32]Op
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
		var x []VecVirtual
		for i := range cols {
			v := c.set.vector()
			c.set.load(srcRow.at(from, i), v, false)
			x = append(x, v)
		}
		for i, y := range c.apply(x) {
			c.set.store(y, half.Offset((i*cols+j)*size), false)
		}
		if j < cols-1 {
			ADDQ(srcCol, from)
		}
	}
}

// line loads line i of what columns made.
func (c *combiner) line(half Mem, i int) []VecVirtual {
	cols, size := len(c.m[0]), c.set.lanes()*4
	var x []VecVirtual
	for j := range cols {
		v := c.set.vector()
		c.set.load(half.Offset((i*cols+j)*size), v, false)
		x = append(x, v)
	}
	return x
}

// constants makes the matrix's elements ready: in registers where there are
// enough of them, else in memory.
func (c *combiner) constants() {
	c.values = map[float32]Op{}
	for i, row := range c.m {
		for j, v := range row {
			f := float32(v)
			if c.pairedLater(i, j) || f == 0 || f == 1 || f == -1 || c.values[f] != nil {
				continue
			}
			c.values[f] = c.set.constant(f)
		}
	}
}

// wide tells whether pairs are of columns.
func (c *combiner) wide() bool { return len(c.m) < len(c.m[0]) }

// pairedLater tells whether an element belongs to the negative of a point.
func (c *combiner) pairedLater(i, j int) bool {
	if c.wide() {
		i = j
	}
	return i == 2 || i == 4
}

func (c *combiner) apply(x []VecVirtual) []VecVirtual {
	if c.wide() {
		return c.applyPairedColumns(x)
	}
	var out []VecVirtual
	last := len(c.m) - 1
	for i := 0; i <= last; i++ {
		if i == 0 || i == last {
			out = append(out, c.sum(c.m[i], x))
			continue
		}
		even, odd := make([]float64, len(x)), make([]float64, len(x))
		for j, v := range c.m[i] {
			if c.m[i+1][j] == v {
				even[j] = v
			} else {
				odd[j] = v
			}
		}
		e, o := c.sum(even, x), c.sum(odd, x)
		plus, minus := c.set.vector(), c.set.vector()
		VADDPS(o, e, plus)
		VSUBPS(o, e, minus)
		out = append(out, plus, minus)
		i++
	}
	return out
}

// applyPairedColumns is apply for a transposed matrix.
func (c *combiner) applyPairedColumns(x []VecVirtual) []VecVirtual {
	last := len(x) - 1
	plus, minus := []VecVirtual{x[0]}, []VecVirtual{x[0]}
	for j := 1; j < last; j += 2 {
		p, q := c.set.vector(), c.set.vector()
		VADDPS(x[j+1], x[j], p)
		VSUBPS(x[j+1], x[j], q)
		plus, minus = append(plus, p), append(minus, q)
	}
	plus, minus = append(plus, x[last]), append(minus, x[last])
	var out []VecVirtual
	for _, row := range c.m {
		terms := plus
		if row[2] == -row[1] {
			terms = minus
		}
		var short []float64
		for j := 0; j <= last; j++ {
			if j == 0 || j == last || j%2 == 1 {
				short = append(short, row[j])
			}
		}
		out = append(out, c.sum(short, terms))
	}
	return out
}

// sum is the sum of factors times x.
func (c *combiner) sum(factors []float64, x []VecVirtual) VecVirtual {
	s := c.set.vector()
	empty := true
	// A factor of one begins, so that the others can be added in one step each.
	for _, unit := range []bool{true, false} {
		for j, v := range factors {
			f := float32(v)
			if f == 0 || (math.Abs(v) == 1) != unit {
				continue
			}
			switch {
			case empty && f == 1:
				VMOVUPS(x[j], s)
			case empty && f == -1:
				c.set.zero(s)
				VSUBPS(x[j], s, s)
			case empty:
				VMULPS(c.values[f], x[j], s)
			case f == 1:
				VADDPS(x[j], s, s)
			case f == -1:
				VSUBPS(x[j], s, s)
			default:
				VFMADD231PS(c.values[f], x[j], s)
			}
			empty = false
		}
	}
	return s
}
