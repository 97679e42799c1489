package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// fetchEvery is how many rows of B lie between those that a tile fetches.
const fetchEvery = 4

// column writes gemm_column_f32_{rows}x{columns}_{set}: whole tiles, one below the
// other, each the sum of some products. A tile fetches where it goes, and one row in
// fetchEvery of the columns of B that come next, so that as many tiles fetch them all.
func column(set vectorSet, rows, vectors int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("gemm_column_f32_%dx%d_%s", rows, vectors*lanes, set.name()), NOSPLIT,
		"func(n, k int, of [][2]int, a []float32, aRow, aCol int, b []float32, bRow, bNext int, c []float32, cRow, flags int)")
	Doc(fmt.Sprintf("n > 0 tiles of %d rows and %d columns; see columnFunc.", rows, vectors*lanes))
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	tile, c := Load(Param("a").Base(), GP64()), Load(Param("c").Base(), GP64())
	aRow, aCol, bRow := newStride("aRow", rows), bytes("aCol"), bytes("bRow")
	acc := tileOf(set, rows, vectors)
	bv := make([]VecVirtual, vectors)
	for j := range bv {
		bv[j] = set.vector()
	}

	Label("tile")
	clearAll(set, acc)
	target := GP64()
	MOVQ(c, target)
	cStep := bytes("cRow")
	for range rows {
		for at := 0; at < vectors*lanes*4; at += 64 {
			PREFETCHT0(Mem{Base: target, Disp: at})
		}
		ADDQ(cStep, target)
	}
	next := GP64() // from a row of B to the one that is fetched
	MOVQ(n, next)
	ANDQ(Imm(fetchEvery-1), next)
	IMULQ(bRow, next)
	advance(next, "bNext")
	of := Load(Param("of").Base(), GP64())

	Label("product")
	a, b := GP64(), Load(Param("b").Base(), GP64())
	offset := GP64()
	MOVQ(Mem{Base: of}, offset)
	LEAQ(Mem{Base: tile, Index: offset, Scale: 4}, a)
	offset = GP64()
	MOVQ(Mem{Base: of, Disp: 8}, offset)
	LEAQ(Mem{Base: b, Index: offset, Scale: 4}, b)
	k := Load(Param("k"), GP64())
	term := func() {
		for j := range bv {
			set.load(Mem{Base: b, Disp: j * lanes * 4}, bv[j], false)
		}
		for i := range acc {
			set.multiplyAdd(aRow.at(a, i), bv, acc[i])
		}
		ADDQ(aCol, a)
		ADDQ(bRow, b)
	}
	SUBQ(Imm(2*fetchEvery), k)
	JL(LabelRef("few"))
	align()
	Label("round")
	for range 2 {
		for at := 0; at < vectors*lanes*4; at += 64 {
			PREFETCHT0(Mem{Base: b, Index: next, Scale: 1, Disp: at})
		}
		for range fetchEvery {
			term()
		}
	}
	SUBQ(Imm(2*fetchEvery), k)
	JGE(LabelRef("round"))
	Label("few")
	ADDQ(Imm(2*fetchEvery), k)
	JZ(LabelRef("done"))
	Label("loop")
	term()
	DECQ(k)
	JNZ(LabelRef("loop"))
	Label("done")
	ADDQ(Imm(16), of)
	end := Load(Param("of").Len(), GP64())
	SHLQ(Imm(4), end)
	ADDQ(NewParamAddr("of_base", 16), end)
	CMPQ(of, end)
	JNE(LabelRef("product"))

	cRow := newStride("cRow", rows)
	element := func(i, j int) Mem {
		m := cRow.at(c, i)
		m.Disp = j * lanes * 4
		return m
	}
	flags := Load(Param("flags"), GP64())
	TESTQ(U32(addC), flags)
	JZ(LabelRef("store"))
	for i := range acc {
		for j, v := range acc[i] {
			VADDPS(element(i, j), v, v)
		}
	}
	Label("store")
	for i := range acc {
		for j, v := range acc[i] {
			set.store(v, element(i, j), false)
		}
	}
	for range rows {
		ADDQ(cRow.one, c)
		ADDQ(aRow.one, tile)
	}
	DECQ(n)
	JNZ(LabelRef("tile"))
	set.leave()
	RET()
}
