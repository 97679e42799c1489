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
	squaresSum(set)
}

// squaresProducts writes squares_products_f32_{rows}x{columns}_{set}: n products
// of tiles, each held in registers while k runs.
func squaresProducts(set vectorSet, rows, vectors int) {
	TEXT(fmt.Sprintf("squares_products_f32_%dx%d_%s", rows, vectors*set.lanes(), set.name()), NOSPLIT,
		"func(n, k int, x []float32, xNext, xArea int, dy []float32, dyNext, dyArea int, dst []float32, dstArea int)")
	Doc("The products of n > 0 matrices of k > 0 tiles; see squaresProducts.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	t := newSquaresTerms(set)
	acc := zeros(set, rows, vectors)
	dst, k := Load(Param("dst").Base(), GP64()), GP64()

	Label("matrix")
	clearAll(set, acc)
	t.begin()
	Load(Param("k"), k)
	t.sum(k, acc, "")
	for i, line := range acc {
		for j, v := range line {
			set.store(v, Mem{Base: dst, Disp: 4 * set.lanes() * (i*vectors + j)}, false)
		}
	}
	t.next("xArea", "dyArea")
	advance(dst, "dstArea")
	DECQ(n)
	JNZ(LabelRef("matrix"))
	set.leave()
	RET()
}

// squaresTile writes squares_tile_f32_{rows}x{columns}_{set}: a tile of the
// gradients of two images at a time, held in registers until they have been
// added to the sums, because a processor stores only half as many vectors as it
// loads. An image without a partner adds zeros.
func squaresTile(set vectorSet, rows, vectors int) {
	TEXT(fmt.Sprintf("squares_tile_f32_%dx%d_%s", rows, vectors*set.lanes(), set.name()), NOSPLIT,
		"func(images, height, width int, x []float32, xNext, xSkip, xImage int, dy []float32, dyNext, dySkip, dyImage int, sums []float32, sumsRow int)")
	Doc("A tile of the gradients of images > 0; height and width are above zero too. See squaresTile.")
	Pragma("noescape")
	images := Load(Param("images"), GP64())
	t := newSquaresTerms(set)
	one, two := zeros(set, rows, vectors), zeros(set, rows, vectors)
	height, width, sums := GP64(), GP64(), GP64()

	rowsOfSums := func(row func(i int)) {
		Load(Param("sums").Base(), sums)
		for i := range rows {
			row(i)
			if i < rows-1 {
				advance(sums, "sumsRow")
			}
		}
	}
	rowsOfSums(func(int) {
		for at := 0; at < 2*4*set.lanes()*vectors; at += 64 {
			PREFETCHT0(Mem{Base: sums, Disp: at})
		}
	})
	gradient := func(acc [][]VecVirtual, name suffix) {
		t.begin()
		Load(Param("height"), height)
		Label(name.of("line"))
		Load(Param("width"), width)
		t.sum(width, acc, name)
		advance(t.fromX, "xSkip")
		advance(t.fromDY, "dySkip")
		DECQ(height)
		JNZ(LabelRef(name.of("line")))
		t.next("xImage", "dyImage")
	}

	Label("images")
	clearAll(set, one)
	clearAll(set, two)
	gradient(one, "_one")
	DECQ(images)
	JZ(LabelRef("add"))
	gradient(two, "_two")
	Label("add")
	rowsOfSums(func(i int) {
		for j := range vectors {
			addMoments(set, Mem{Base: sums, Disp: 4 * set.lanes() * j}, 4*set.lanes()*vectors, one[i][j], two[i][j])
		}
	})
	SUBQ(Imm(1), images)
	JG(LabelRef("images"))
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
	rounds(k, name, term)
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

// addMoments adds the squares of vectors to the vector at sums, and them to the
// one that lies total bytes behind it.
func addMoments(set vectorSet, sums Mem, total int, vectors ...VecVirtual) {
	t, s := set.vector(), set.vector()
	set.load(sums.Offset(total), t, false)
	set.load(sums, s, false)
	for _, v := range vectors {
		VADDPS(v, t, t)
		VFMADD231PS(v, v, s)
	}
	set.store(t, sums.Offset(total), false)
	set.store(s, sums, false)
}

// squaresSum writes squares_sum_f32_{set}: winograd_sum, whose result is added
// to both sums.
func squaresSum(set vectorSet) {
	_, m := gradientMatrices()
	TEXT("squares_sum_f32_"+set.name(), 0, "func(n int, src []float32, srcNext, srcRow, srcCol int, sums []float32)")
	Doc("Transforms n > 0 tiles of vectors and adds the results; see squaresLoops.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	src, srcCol := Load(Param("src").Base(), GP64()), bytes("srcCol")
	srcRow := newStride("srcRow", len(m[0]))
	sums := Mem{Base: Load(Param("sums").Base(), GP64())}
	c := newCombiner(set, m)
	for _, f := range []float32{near, far, near * near, far * far} {
		v := set.vector()
		VMOVUPS(c.values[f], v)
		c.values[f] = v
	}
	size := set.lanes() * 4
	half := c.alignedHalf()

	Label("tile")
	c.columns(src, srcCol, srcRow, half)
	for i := range m {
		c.line(half, i, func(j int, y VecVirtual) {
			addMoments(set, sums.Offset(2*(i*len(m)+j)*size), size, y)
		})
	}
	advance(src, "srcNext")
	ADDQ(U32(2*len(m)*len(m)*size), sums.Base)
	DECQ(n)
	JNZ(LabelRef("tile"))
	set.leave()
	RET()
}
