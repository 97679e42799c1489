package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// transpose8 writes transpose8_f32_avx2: 8 rows of blocks*8 columns become
// blocks*8 rows of 8, one 8x8 block at a time in registers.
func transpose8() {
	TEXT("transpose8_f32_avx2", NOSPLIT, "func(blocks int, src []float32, srcRow int, dst []float32, dstRow int)")
	Doc("Writes dst[j*dstRow+i] = src[i*srcRow+j] for i < 8 and j < 8*blocks; blocks > 0.")
	Pragma("noescape")
	blocks := Load(Param("blocks"), GP64())
	src := Load(Param("src").Base(), GP64())
	srcRow := newStride("srcRow", 8)
	dst := Load(Param("dst").Base(), GP64())
	dstRow := newStride("dstRow", 8)
	step := GP64()
	MOVQ(dstRow.one, step)
	SHLQ(Imm(3), step)

	Label("loop")
	// After Intel's optimization manual: pairs of rows are loaded so that
	// half of the crossing between 128-bit lanes happens in the loads.
	var r [8]VecVirtual
	for i := range 4 {
		lo, hi := srcRow.at(src, i), srcRow.at(src, i+4)
		r[i], r[i+4] = YMM(), YMM()
		VMOVUPS(lo, r[i].AsX())
		VINSERTF128(Imm(1), hi, r[i], r[i])
		lo.Disp, hi.Disp = 16, 16
		VMOVUPS(lo, r[i+4].AsX())
		VINSERTF128(Imm(1), hi, r[i+4], r[i+4])
	}
	for half := range 2 {
		q := r[4*half : 4*half+4]
		var t [4]VecVirtual
		for i := range t {
			t[i] = YMM()
		}
		VUNPCKLPS(q[1], q[0], t[0])
		VUNPCKHPS(q[1], q[0], t[1])
		VUNPCKLPS(q[3], q[2], t[2])
		VUNPCKHPS(q[3], q[2], t[3])
		for i := range 2 {
			even, odd := YMM(), YMM()
			VSHUFPS(Imm(0x44), t[i+2], t[i], even)
			VSHUFPS(Imm(0xee), t[i+2], t[i], odd)
			VMOVUPS(even, dstRow.at(dst, 4*half+2*i))
			VMOVUPS(odd, dstRow.at(dst, 4*half+2*i+1))
		}
	}
	ADDQ(Imm(32), src)
	ADDQ(step, dst)
	DECQ(blocks)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// window writes window_f32_avx512, which lays out image elements for a matrix
// product. A pick moves 16 elements per plane: a masked load of up to 16
// consecutive elements, a permutation, a masked store.
func window() {
	TEXT("window_f32_avx512", NOSPLIT,
		"func(picks [][4]uint64, src []float32, base, planes, srcPlane int, dst []float32, dstRow, dstPlane int)")
	Doc("Carries out picks (see pick) for each of planes > 0 planes; see windowTwin.")
	Pragma("noescape")
	pick := Load(Param("picks").Base(), GP64())
	count := Load(Param("picks").Len(), GP64())
	src := Load(Param("src").Base(), GP64())
	base := bytes("base")
	ADDQ(base, src)
	planes := Load(Param("planes"), GP64())
	srcPlane := bytes("srcPlane")
	dst := Load(Param("dst").Base(), GP64())
	dstRow := bytes("dstRow")
	dstPlane := bytes("dstPlane")
	lane := ZMM()

	TESTQ(count, count)
	JZ(LabelRef("done"))
	Label("pick")
	from, to, left := GP64(), GP64(), GP64()
	MOVLQSX(Mem{Base: pick}, from)
	LEAQ(Mem{Base: src, Index: from, Scale: 4}, from)
	MOVL(Mem{Base: pick, Disp: 4}, to.As32())
	IMULQ(dstRow, to)
	ADDQ(dst, to)
	KMOVW(Mem{Base: pick, Disp: 8}, K1)  // elements to load
	KMOVW(Mem{Base: pick, Disp: 10}, K2) // lanes that receive one, others get 0
	KMOVW(Mem{Base: pick, Disp: 12}, K3) // lanes to write
	VPMOVZXBD(Mem{Base: pick, Disp: 16}, lane)
	MOVQ(planes, left)
	Label("plane")
	v := ZMM()
	VMOVUPS_Z(Mem{Base: from}, K1, v)
	VPERMPS_Z(v, lane, K2, v)
	VMOVUPS(v, K3, Mem{Base: to})
	ADDQ(srcPlane, from)
	ADDQ(dstPlane, to)
	DECQ(left)
	JNZ(LabelRef("plane"))
	ADDQ(Imm(32), pick)
	DECQ(count)
	JNZ(LabelRef("pick"))
	Label("done")
	VZEROUPPER()
	RET()
}

// copyRows writes copy_rows{columns}_f32_avx512: rows of so many elements or
// up to 15 fewer, strided in both matrices.
func copyRows(vectors int) {
	set := avx512{}
	before := (vectors - 1) * set.lanes()
	TEXT(fmt.Sprintf("copy_rows%d_f32_avx512", vectors*set.lanes()), NOSPLIT,
		"func(rows int, src []float32, srcRow int, dst []float32, dstRow, cols int)")
	Doc(fmt.Sprintf("Copies rows > 0 rows of cols elements, %d < cols <= %d.", before, before+set.lanes()))
	Pragma("noescape")
	rows := Load(Param("rows"), GP64())
	src := Load(Param("src").Base(), GP64())
	srcRow := bytes("srcRow")
	dst := Load(Param("dst").Base(), GP64())
	dstRow := bytes("dstRow")
	set.mask("cols", before)
	Label("loop")
	for j := range vectors {
		v := ZMM()
		set.load(Mem{Base: src, Disp: 64 * j}, v, j == vectors-1)
		set.store(v, Mem{Base: dst, Disp: 64 * j}, j == vectors-1)
	}
	ADDQ(srcRow, src)
	ADDQ(dstRow, dst)
	DECQ(rows)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
