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
	squaresSum(set, "squares_sum", sum)
	_, weight, _ := stridedMatrices()
	squaresSum(set, "squares_strided_sum", weight.transposed())
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
	acc := zeros(set, rows, vectors)
	dst, to, k := Load(Param("dst").Base(), GP64()), GP64(), GP64()
	xBlock, dstBlock := GP64(), bytes("dstBlock")

	Label("sum")
	MOVQ(t.x, xBlock)
	MOVQ(dst, to)
	Load(Param("blocks"), blocks)
	Label("block")
	clearAll(set, acc)
	MOVQ(pairs, pair)
	Label("pair")
	MOVQ(Mem{Base: pair}, t.fromX)
	LEAQ(Mem{Base: xBlock, Index: t.fromX, Scale: 4}, t.fromX)
	MOVQ(Mem{Base: pair, Disp: 8}, t.fromDY)
	LEAQ(Mem{Base: t.dy, Index: t.fromDY, Scale: 4}, t.fromDY)
	Load(Param("k"), k)
	t.sum(k, acc, "")
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
// held in registers, so that nothing but x and dy is read while images last. The
// last terms of a line are written out, for each number of them: of short lines,
// the ends cost more than the terms.
func squaresTile(set vectorSet, rows, vectors int) {
	TEXT(fmt.Sprintf("squares_tile_f32_%dx%d_%s", rows, vectors*set.lanes(), set.name()), NOSPLIT,
		"func(images, height, width int, x []float32, xNext, xSkip, xImage int, dy []float32, dyNext, dySkip, dyImage int, sums []float32, sumsRow int)")
	Doc("A tile of the gradients of images > 0; height and width are above zero too. See squaresTile.")
	Pragma("noescape")
	images := Load(Param("images"), GP64())
	t := newSquaresTerms(set)
	acc, squares := zeros(set, rows, vectors), zeros(set, rows, vectors)

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

// zeros are registers for a tile.
func zeros(set vectorSet, rows, vectors int) [][]VecVirtual {
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

// sum adds k terms to acc.
func (t *squaresTerms) sum(k Register, acc [][]VecVirtual, name suffix) {
	dy := make([]VecVirtual, len(acc[0]))
	for j := range dy {
		dy[j] = t.set.vector()
	}
	term := func() {
		for j := range dy {
			t.set.load(Mem{Base: t.fromDY, Disp: 4 * t.set.lanes() * j}, dy[j], false)
		}
		for i, line := range acc {
			t.set.multiplyAdd(Mem{Base: t.fromX, Disp: 4 * i}, dy, line)
		}
		ADDQ(t.xNext, t.fromX)
		ADDQ(t.dyNext, t.fromDY)
	}
	rounds(k, name, nil, term)
	Label(name.of("loop"))
	term()
	DECQ(k)
	JNZ(LabelRef(name.of("loop")))
	Label(name.of("epilogue"))
}

// advance moves a pointer by a parameter that counts elements.
func advance(pointer Register, param string) {
	LEAQ(Mem{Base: pointer, Index: Load(Param(param), GP64()), Scale: 4}, pointer)
}

// squaresSum writes {name}_f32_{set}: a transform with matrix m, the square of
// whose result is added to the sums.
func squaresSum(set vectorSet, name string, m matrix) {
	TEXT(name+"_f32_"+set.name(), 0, "func(n int, src []float32, srcNext, srcRow, srcCol int, sums []float32)")
	Doc("Transforms n > 0 tiles of vectors and adds the squares of the results; see squaresSum.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	src, srcCol := Load(Param("src").Base(), GP64()), bytes("srcCol")
	srcRow := newStride("srcRow", len(m[0]))
	sums := Mem{Base: Load(Param("sums").Base(), GP64())}
	c := newCombiner(set, m, 0)
	size := set.lanes() * 4
	half := c.alignedHalf()

	Label("tile")
	c.columns(src, srcCol, srcRow, half)
	for i := range m {
		c.line(half, i, func(j int, y VecVirtual) {
			at, s := sums.Offset((i*len(m)+j)*size), set.vector()
			set.load(at, s, false)
			VFMADD231PS(y, y, s)
			set.store(s, at, false)
		})
	}
	advance(src, "srcNext")
	ADDQ(U32(len(m)*len(m)*size), sums.Base)
	DECQ(n)
	JNZ(LabelRef("tile"))
	set.leave()
	RET()
}
