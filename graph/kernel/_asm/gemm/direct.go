package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// besideVectors is how many vectors of images lie side by side in the direct
// convolutions.
const besideVectors = 2

// direct writes the loops of direct convolutions.
func direct(set vectorSet, rows, taps, outs int) {
	for r := 1; r <= rows; r++ {
		directTile(set, r)
	}
	for r := 1; r <= taps; r++ {
		for o := 1; o <= outs; o++ {
			directDot(set, r, o)
		}
	}
}

// directTile writes direct_f32_{rows}_{set}: rows of results for places side by
// side, each two vectors of images. The registers of the epilogue are loaded
// for each place, because there are not enough.
func directTile(set vectorSet, rows int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("direct_f32_%d_%s", rows, set.name()), NOSPLIT,
		"func(places int, offsets []int32, a, b []float32, bNext int, c []float32, cRow int, bias []float32, flags int)")
	Doc(fmt.Sprintf("Rows 1 to %d of places > 0 places; see directTile.", rows))
	Pragma("noescape")
	places := Load(Param("places"), GP64())
	offsets := Load(Param("offsets").Base(), GP64())
	end := Load(Param("offsets").Len(), GP64())
	LEAQ(Mem{Base: offsets, Index: end, Scale: 4}, end)
	a, b := Load(Param("a").Base(), GP64()), Load(Param("b").Base(), GP64())
	c := Load(Param("c").Base(), GP64())
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		for range besideVectors {
			acc[i] = append(acc[i], set.vector())
		}
	}

	Label("place")
	for i := range acc {
		for _, v := range acc[i] {
			set.zero(v)
		}
	}
	at, weight := GP64(), GP64()
	MOVQ(offsets, at)
	MOVQ(a, weight)
	align()
	Label("term")
	offset := GP64()
	MOVLQSX(Mem{Base: at}, offset)
	bv := make([]VecVirtual, besideVectors)
	for j := range bv {
		bv[j] = set.vector()
		VMOVUPS(Mem{Base: b, Index: offset, Scale: 4, Disp: 4 * lanes * j}, bv[j])
	}
	for i := range acc {
		set.multiplyAdd(Mem{Base: weight, Disp: 4 * i}, bv, acc[i])
	}
	ADDQ(Imm(4), at)
	ADDQ(Imm(4*packedRow), weight)
	CMPQ(at, end)
	JNE(LabelRef("term"))

	directEpilogue(set, acc, c)
	ADDQ(bytes("bNext"), b)
	ADDQ(Imm(uint64(4*lanes*besideVectors)), c)
	DECQ(places)
	JNZ(LabelRef("place"))
	set.leave()
	RET()
}

// directEpilogue adds biases, rectifies and stores.
func directEpilogue(set vectorSet, acc [][]VecVirtual, c Register) {
	flags := Load(Param("flags"), GP64())
	TESTQ(U32(addRowBias), flags)
	JZ(LabelRef("relu"))
	bias := Load(Param("bias").Base(), GP64())
	for i := range acc {
		t := set.vector()
		VBROADCASTSS(Mem{Base: bias, Disp: 4 * i}, t)
		for _, v := range acc[i] {
			VADDPS(t, v, v)
		}
	}
	Label("relu")
	TESTQ(U32(rectify), flags)
	JZ(LabelRef("store"))
	zero := set.vector()
	set.zero(zero)
	for i := range acc {
		for _, v := range acc[i] {
			VMAXPS(v, zero, v) // this order keeps a NaN
		}
	}
	Label("store")
	row := GP64()
	MOVQ(c, row)
	cRow := bytes("cRow")
	for i := range acc {
		if i > 0 {
			ADDQ(cRow, row)
		}
		for j, v := range acc[i] {
			VMOVUPS(v, Mem{Base: row, Disp: 4 * set.lanes() * j})
		}
	}
}

// directDot writes direct_dot_f32_{taps}x{outs}_{set}: sums of products of some
// taps of x with some channels of dy, a vector for each pair.
func directDot(set vectorSet, taps, outs int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("direct_dot_f32_%dx%d_%s", taps, outs, set.name()), NOSPLIT,
		"func(rows, cols int, offsets []int32, x []float32, xNext, xSkip int, dy []float32, dyPlane int, sums []float32)")
	Doc(fmt.Sprintf("Adds the products of %d taps and %d channels; rows, cols > 0; see directDot.", taps, outs))
	Pragma("noescape")
	rows := Load(Param("rows"), GP64())
	table := Load(Param("offsets").Base(), GP64())
	offsets := make([]Register, taps)
	for i := range offsets {
		offsets[i] = GP64()
		MOVLQSX(Mem{Base: table, Disp: 4 * i}, offsets[i].(GPVirtual))
	}
	x, dy := Load(Param("x").Base(), GP64()), Load(Param("dy").Base(), GP64())
	xNext, dyPlane := bytes("xNext"), bytes("dyPlane")
	acc := make([][]VecVirtual, taps)
	for i := range acc {
		for range outs {
			v := set.vector()
			set.zero(v)
			acc[i] = append(acc[i], v)
		}
	}

	Label("row")
	cols := Load(Param("cols"), GP64())
	Label("place")
	for part := range besideVectors {
		disp := 4 * lanes * part
		dv := make([]VecVirtual, outs)
		for j := range dv {
			dv[j] = set.vector()
			m := Mem{Base: dy, Disp: disp}
			if j == 3 {
				panic("a fourth channel has no address")
			}
			if j > 0 {
				m.Index, m.Scale = dyPlane, uint8(j)
			}
			VMOVUPS(m, dv[j])
		}
		for i := range acc {
			t := set.vector()
			VMOVUPS(Mem{Base: x, Index: offsets[i], Scale: 4, Disp: disp}, t)
			for j := range dv {
				VFMADD231PS(dv[j], t, acc[i][j])
			}
		}
	}
	ADDQ(xNext, x)
	ADDQ(Imm(uint64(4*lanes*besideVectors)), dy)
	DECQ(cols)
	JNZ(LabelRef("place"))
	ADDQ(bytes("xSkip"), x)
	DECQ(rows)
	JNZ(LabelRef("row"))

	sums := Load(Param("sums").Base(), GP64())
	for i := range acc {
		for j, v := range acc[i] {
			m := Mem{Base: sums, Disp: 4 * lanes * (i*outs + j)}
			VADDPS(m, v, v)
			VMOVUPS(v, m)
		}
	}
	set.leave()
	RET()
}
