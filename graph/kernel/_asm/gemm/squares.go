package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// squares writes the loops over gradients of single samples for one instruction
// set: tiles of some rows of channels and up to most vectors.
func squares(set vectorSet, tileRows, productRows, most int) {
	for vectors := 1; vectors <= most; vectors++ {
		squaresTile(set, tileRows, vectors)
	}
	for vectors := 1; vectors <= most; vectors++ {
		squaresProducts(set, productRows, vectors)
	}
	_, sum := gradientMatrices()
	squaresSum(set, "squares_sum", sum.unitRows())
	_, weight, _ := stridedMatrices()
	squaresSum(set, "squares_strided_sum", weight.transposed().unitRows())
}

// squaresProducts writes squares_products_f32_{rows}x{columns}_{set}: sums of
// products of some tiles each, held in registers while pairs and k run.
func squaresProducts(set vectorSet, rows, vectors int) {
	TEXT(fmt.Sprintf("squares_products_f32_%dx%d_%s", rows, vectors*set.lanes(), set.name()), NOSPLIT,
		"func(pairs [][3]int, blocks, k int, x []float32, xNext int, dy []float32, dyNext int, dst []float32, dstArea, dstBlock int)")
	Doc("Sums of products of matrices of k > 0 tiles, in blocks > 0; see squaresProducts.")
	Pragma("noescape")
	pairs, pair, end := Load(Param("pairs").Base(), GP64()), GP64(), GP64()
	const size = 24 // of a pair
	IMUL3Q(Imm(size), Load(Param("pairs").Len(), GP64()), end)
	ADDQ(pairs, end)
	blocks := GP64()
	t := newSquaresTerms(set)
	acc := tileOf(set, rows, vectors)
	dst, to, k := Load(Param("dst").Base(), GP64()), GP64(), GP64()
	xBlock, dstBlock := GP64(), bytes("dstBlock")

	Label("sum")
	MOVQ(t.x, xBlock)
	MOVQ(dst, to)
	Load(Param("blocks"), blocks)
	Label("block")
	MOVQ(pairs, pair)
	load := func() {
		MOVQ(Mem{Base: pair}, t.fromX)
		LEAQ(Mem{Base: xBlock, Index: t.fromX, Scale: 4}, t.fromX)
		MOVQ(Mem{Base: pair, Disp: 8}, t.fromDY)
		LEAQ(Mem{Base: t.dy, Index: t.fromDY, Scale: 4}, t.fromDY)
		Load(Param("k"), k)
	}
	load()
	t.term(acc, true)
	DECQ(k)
	JMP(LabelRef("added"))
	Label("pair")
	load()
	Label("added")
	t.sum(k, acc)
	ADDQ(Imm(size), pair)
	CMPQ(Mem{Base: pair, Disp: 16 - size}, Imm(0))
	JNE(LabelRef("pair"))
	for i, line := range acc {
		for j, v := range line {
			set.store(v, Mem{Base: to, Disp: 4 * set.lanes() * (i*vectors + j)}, false)
		}
	}
	ADDQ(Imm(uint64(4*rows)), xBlock)
	ADDQ(dstBlock, to)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	MOVQ(pair, pairs)
	advance(dst, "dstArea")
	CMPQ(pairs, end)
	JNE(LabelRef("sum"))
	set.leave()
	RET()
}

// squaresTile writes squares_tile_f32_{rows}x{columns}_{set}: a tile of the
// gradients of one image after the other. The tile of an image and the sums are
// held in registers, so that nothing but x and dy is read while images last; the
// sums of the next rows of channels are fetched meanwhile. The last terms of a line
// are written out, for each number of them: of short lines, the ends cost more than
// the terms.
func squaresTile(set vectorSet, rows, vectors int) {
	TEXT(fmt.Sprintf("squares_tile_f32_%dx%d_%s", rows, vectors*set.lanes(), set.name()), NOSPLIT,
		"func(images, height, width int, x []float32, xNext, xSkip, xImage int, dy []float32, dyNext, dySkip, dyImage int, sums []float32, sumsRow int)")
	Doc("A tile of the gradients of images > 0; height and width are above zero too. See squaresTile.")
	Pragma("noescape")
	images := Load(Param("images"), GP64())
	t := newSquaresTerms(set)
	acc, squares := tileOf(set, rows, vectors), tileOf(set, rows, vectors)

	size := 4 * set.lanes()
	sums := GP64()
	eachSum := func(do func(m Mem, v VecVirtual)) {
		Load(Param("sums").Base(), sums)
		for i, line := range squares {
			for j, v := range line {
				do(Mem{Base: sums, Disp: size * j}, v)
			}
			if i < rows-1 {
				advance(sums, "sumsRow")
			}
		}
	}
	eachSum(func(m Mem, v VecVirtual) { set.load(m, v, false) })
	for range rows {
		advance(sums, "sumsRow")
		for at := 0; at < vectors*size; at += 64 {
			PREFETCHT0(Mem{Base: sums, Disp: at})
		}
	}

	dyVectors := make([]VecVirtual, vectors)
	for j := range dyVectors {
		dyVectors[j] = set.vector()
	}
	xLast, dyLast := GP64(), GP64()
	terms := func(count int) {
		for p := range count {
			x, dy := Mem{Base: t.fromX}, Mem{Base: t.fromDY}
			switch p {
			case 1, 2:
				x.Index, x.Scale, dy.Index, dy.Scale = t.xNext, uint8(p), t.dyNext, uint8(p)
			case 3:
				LEAQ(Mem{Base: t.fromX, Index: t.xNext, Scale: 1}, xLast)
				LEAQ(Mem{Base: t.fromDY, Index: t.dyNext, Scale: 1}, dyLast)
				x, dy = Mem{Base: xLast, Index: t.xNext, Scale: 2}, Mem{Base: dyLast, Index: t.dyNext, Scale: 2}
			}
			for j := range dyVectors {
				set.load(dy.Offset(size*j), dyVectors[j], false)
			}
			for i, line := range acc {
				set.multiplyAdd(x.Offset(4*i), dyVectors, line)
			}
		}
	}
	last, rounds, left, height := GP64(), GP64(), GP64(), GP64() // a line is rounds and last terms
	Load(Param("width"), last)
	DECQ(last)
	MOVQ(last, rounds)
	SHRQ(Imm(2), rounds)
	ANDQ(Imm(termsPerRound-1), last)
	INCQ(last)
	lineOf := func(next Register, skip string) Register { // from the last terms of a line to the next line
		line := GP64()
		MOVQ(last, line)
		IMULQ(next, line)
		advance(line, skip)
		return line
	}
	xLine, dyLine := lineOf(t.xNext, "xSkip"), lineOf(t.dyNext, "dySkip")
	for count := termsPerRound; count > 0; count-- {
		name := suffix(fmt.Sprintf("_%d", count))
		if count > 1 {
			CMPQ(last, Imm(uint64(count)))
			JNE(LabelRef(name.of("not")))
		}
		Label(name.of("image"))
		clearAll(set, acc)
		t.begin()
		Load(Param("height"), height)
		Label(name.of("line"))
		MOVQ(rounds, left)
		TESTQ(left, left)
		JZ(LabelRef(name.of("last")))
		Label(name.of("round"))
		terms(termsPerRound)
		LEAQ(Mem{Base: t.fromX, Index: t.xNext, Scale: termsPerRound}, t.fromX)
		LEAQ(Mem{Base: t.fromDY, Index: t.dyNext, Scale: termsPerRound}, t.fromDY)
		DECQ(left)
		JNZ(LabelRef(name.of("round")))
		Label(name.of("last"))
		terms(count)
		ADDQ(xLine, t.fromX)
		ADDQ(dyLine, t.fromDY)
		DECQ(height)
		JNZ(LabelRef(name.of("line")))
		for i, line := range acc {
			for j, v := range line {
				VFMADD231PS(v, v, squares[i][j])
			}
		}
		t.next("xImage", "dyImage")
		DECQ(images)
		JNZ(LabelRef(name.of("image")))
		if count > 1 {
			JMP(LabelRef("put"))
			Label(name.of("not"))
		}
	}
	Label("put")
	eachSum(func(m Mem, v VecVirtual) { set.store(v, m, false) })
	set.leave()
	RET()
}

// tileOf are registers for a tile.
func tileOf(set vectorSet, rows, vectors int) [][]VecVirtual {
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		for range vectors {
			acc[i] = append(acc[i], set.vector())
		}
	}
	return acc
}

func clearAll(set vectorSet, acc [][]VecVirtual) {
	for _, line := range acc {
		for _, v := range line {
			set.zero(v)
		}
	}
}

// squaresTerms sums products of neighbouring channels of x with vectors of dy.
type squaresTerms struct {
	set           vectorSet
	x, dy         Register // where the sum begins
	fromX, fromDY Register // where it is
	xNext, dyNext Register
}

func newSquaresTerms(set vectorSet) *squaresTerms {
	return &squaresTerms{
		set: set, x: Load(Param("x").Base(), GP64()), dy: Load(Param("dy").Base(), GP64()),
		fromX: GP64(), fromDY: GP64(), xNext: bytes("xNext"), dyNext: bytes("dyNext"),
	}
}

// begin goes to where the sum begins, and next goes on to another sum.
func (t *squaresTerms) begin() {
	MOVQ(t.x, t.fromX)
	MOVQ(t.dy, t.fromDY)
}

func (t *squaresTerms) next(x, dy string) {
	advance(t.x, x)
	advance(t.dy, dy)
}

// term adds a term to acc, or sets acc to the first one.
func (t *squaresTerms) term(acc [][]VecVirtual, first bool) {
	dy := make([]VecVirtual, len(acc[0]))
	for j := range dy {
		dy[j] = t.set.vector()
		t.set.load(Mem{Base: t.fromDY, Disp: 4 * t.set.lanes() * j}, dy[j], false)
	}
	for i, line := range acc {
		if x := (Mem{Base: t.fromX, Disp: 4 * i}); first {
			t.set.multiply(x, dy, line)
		} else {
			t.set.multiplyAdd(x, dy, line)
		}
	}
	ADDQ(t.xNext, t.fromX)
	ADDQ(t.dyNext, t.fromDY)
}

// sum adds k terms to acc, the last ones without a loop.
func (t *squaresTerms) sum(k Register, acc [][]VecVirtual) {
	SUBQ(Imm(termsPerRound), k)
	JL(LabelRef("last"))
	Label("round")
	for range termsPerRound {
		t.term(acc, false)
	}
	SUBQ(Imm(termsPerRound), k)
	JGE(LabelRef("round"))
	Label("last")
	for left := termsPerRound - 1; left > 0; left-- {
		// k is left - termsPerRound
		CMPQ(k, I8(int8(left-termsPerRound)))
		JL(LabelRef(fmt.Sprintf("last%d", left)))
		t.term(acc, false)
		Label(fmt.Sprintf("last%d", left))
	}
}

// advance moves a pointer by a parameter that counts elements.
func advance(pointer Register, param string) {
	LEAQ(Mem{Base: pointer, Index: Load(Param(param), GP64()), Scale: 4}, pointer)
}

// unitRows divides each row by its first element that is not zero.
func (m matrix) unitRows() matrix {
	r := make(matrix, len(m))
	for i, row := range m {
		unit := 0.0
		for _, v := range row {
			if unit == 0 {
				unit = v
			}
			if v != 0 {
				v /= unit
			}
			r[i] = append(r[i], v)
		}
	}
	return r
}

// squaresSum writes {name}_f32_{set}: a transform with matrix m, the square of
// whose result is added to the sums. Each column is transformed and at once added
// to the results, which are in registers.
func squaresSum(set vectorSet, name string, m matrix) {
	TEXT(name+"_f32_"+set.name(), NOSPLIT, "func(n int, src []float32, srcNext, srcRow, srcCol int, sums []float32)")
	Doc("Transforms n > 0 tiles of vectors and adds the squares of the results; see squaresSum.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	src, from := Load(Param("src").Base(), GP64()), GP64()
	srcRow, srcCol := newStride("srcRow", len(m[0])), newStride("srcCol", len(m[0]))
	sums := Mem{Base: Load(Param("sums").Base(), GP64())}
	size := set.lanes() * 4
	a := newAdder(set, m)

	Label("tile")
	last := a.pairs[len(a.pairs)-1]
	column := func(j int) []VecVirtual {
		LEAQ(srcCol.at(src, j), from)
		return a.column(func(i int) Mem { return srcRow.at(from, i) }, j != last+1)
	}
	results := make([][]VecVirtual, len(m))
	for k := range results {
		results[k] = make([]VecVirtual, len(m))
	}
	for _, j := range a.singles {
		for k, u := range column(j) {
			a.add(results[k], j, u, u)
		}
	}
	for _, j := range a.pairs {
		one, other := column(j), column(j+1)
		for k := range results {
			plus, minus := a.plusMinus(one[k], other[k])
			a.add(results[k], j, plus, minus)
			if j != last {
				continue
			}
			for l, v := range results[k] {
				to := sums.Offset((k*len(m) + l) * size)
				VFMADD213PS(to, v, v)
				set.store(v, to, false)
			}
		}
	}
	advance(src, "srcNext")
	ADDQ(U32(len(m)*len(m)*size), sums.Base)
	DECQ(n)
	JNZ(LabelRef("tile"))
	set.leave()
	RET()
}

// adder adds to a matrix's rows what its columns meet: those of a point and its
// negative as a sum and a difference, the others one by one.
type adder struct {
	set            vectorSet
	m              matrix
	pairs, singles []int // the first columns, the columns
	values         map[float64]Op
}

func newAdder(set vectorSet, m matrix) *adder {
	a := &adder{set: set, m: m, values: map[float64]Op{}}
	columns := m.transposed()
	for j := 0; j < len(columns); j++ {
		if j+1 < len(columns) && opposite(columns[j], columns[j+1]) {
			a.pairs = append(a.pairs, j)
			j++
		} else {
			a.singles = append(a.singles, j)
		}
	}
	for _, row := range m {
		for _, v := range row {
			if v > 0 && v != 1 && a.values[v] == nil {
				a.values[v] = set.constant(float32(v))
			}
		}
	}
	return a
}

// plusMinus returns the sum of one and other, and their difference, in the place
// of one.
func (a *adder) plusMinus(one VecVirtual, other Op) (plus, minus VecVirtual) {
	plus = a.set.vector()
	VADDPS(other, one, plus)
	VSUBPS(other, one, one)
	return plus, one
}

// add adds column j, or the pair that begins there, to the rows of dst, of which
// those that are nil begin with it; at most one does with each of plus and minus.
func (a *adder) add(dst []VecVirtual, j int, plus, minus VecVirtual) {
	for _, begin := range []bool{false, true} { // what begins takes its register
		for k, row := range a.m {
			v := plus
			if j+1 < len(row) && row[j+1] == -row[j] {
				v = minus
			}
			if row[j] != 0 && (dst[k] == nil) == begin {
				a.accumulate(&dst[k], row[j], v)
			}
		}
	}
}

// column multiplies the matrix with a column whose elements are in memory. Rows of
// differences come first, and a row that begins with a register that no other one
// needs takes it, so that no more than four are in use; others begin with an
// element that is added as it is. If there is room for a fifth, no element is read
// twice.
func (a *adder) column(element func(i int) Mem, room bool) []VecVirtual {
	sums, uses := map[int]VecVirtual{}, map[int]int{}
	var differences, others []int
	for k, row := range a.m {
		if j := a.pairs[0]; row[j] != 0 && row[j+1] == -row[j] {
			differences = append(differences, k)
		} else {
			others = append(others, k)
		}
	}
	minus := map[int]VecVirtual{}
	for _, i := range a.pairs {
		one := a.set.vector()
		a.set.load(element(i), one, false)
		other := Op(element(i + 1))
		if room {
			v := a.set.vector()
			a.set.load(element(i+1), v, false)
			other = v
		}
		sums[i], minus[i] = a.plusMinus(one, other)
		for _, k := range others {
			if a.m[k][i] != 0 {
				uses[i]++
			}
		}
	}
	dst := make([]VecVirtual, len(a.m))
	for _, k := range append(differences, others...) {
		row, begun := a.m[k], -1
		for _, i := range a.pairs {
			switch v := sums[i]; {
			case row[i] == 0:
			case row[i+1] == -row[i]:
				a.accumulate(&dst[k], row[i], minus[i])
			case dst[k] == nil && uses[i] > 1:
				for _, j := range a.singles {
					if row[j] == 1 {
						begun = j
					}
				}
				dst[k] = a.set.vector()
				VADDPS(element(begun), v, dst[k])
				uses[i]--
			default:
				a.accumulate(&dst[k], row[i], v)
			}
		}
		for _, j := range a.singles {
			if row[j] == 0 || j == begun {
				continue
			}
			v := a.set.vector()
			a.set.load(element(j), v, false)
			a.accumulate(&dst[k], row[j], v)
		}
	}
	return dst
}

// accumulate adds factor times v to dst, or makes v, which is not needed any more,
// dst.
func (a *adder) accumulate(dst *VecVirtual, factor float64, v VecVirtual) {
	switch {
	case *dst == nil:
		if *dst = v; factor != 1 {
			VMULPS(a.values[factor], v, v)
		}
	case factor == 1:
		VADDPS(v, *dst, *dst)
	default:
		VFMADD231PS(a.values[factor], v, *dst)
	}
}
