package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// nonzero writes nonzero_f32_avx2: which elements of 8 rows are not zero, as bits.
func nonzero() {
	TEXT("nonzero_f32_avx2", NOSPLIT, "func(k int, a []float32, aCol int, bits []uint64, words int)")
	Doc("Of 8 rows and 0 < k <= 64 columns; see nonzeroFunc.")
	Pragma("noescape")
	k, a, aCol := Load(Param("k"), GP64()), Load(Param("a").Base(), GP64()), bytes("aCol")
	rows := AllocLocal(64) // a byte for each column, a bit for each row
	zero, halves := YMM(), []VecVirtual{YMM(), YMM()}
	VXORPS(zero, zero, zero)
	for i := range halves {
		VMOVUPS(zero, rows.Offset(32*i))
	}
	column := GP64()
	LEAQ(rows, column)
	Label("loop")
	differs, bit := YMM(), GP32()
	VCMPPS(Imm(4), Mem{Base: a}, zero, differs) // 4: not equal, or not a number
	VMOVMSKPS(differs, bit)
	MOVB(bit.As8(), Mem{Base: column})
	INCQ(column)
	ADDQ(aCol, a)
	DECQ(k)
	JNZ(LabelRef("loop"))
	for i := range halves {
		VMOVDQU(rows.Offset(32*i), halves[i])
	}
	bits, words := Load(Param("bits").Base(), GP64()), Load(Param("words"), GP64())
	SHLQ(Imm(3), words)
	at := GP64()
	IMUL3Q(Imm(7), words, at)
	ADDQ(at, bits)
	for row := 7; row >= 0; row-- {
		low, high := GP64(), GP64()
		VPMOVMSKB(halves[0], low.As32())
		VPMOVMSKB(halves[1], high.As32())
		SHLQ(Imm(32), high)
		ORQ(low, high)
		MOVQ(high, Mem{Base: bits})
		if row > 0 {
			SUBQ(words, bits)
			VPADDB(halves[0], halves[0], halves[0])
			VPADDB(halves[1], halves[1], halves[1])
		}
	}
	VZEROUPPER()
	RET()
}

// nonzeroRow writes nonzero_row_f32_avx2: which elements of a row are not zero, as bits.
func nonzeroRow() {
	TEXT("nonzero_row_f32_avx2", NOSPLIT, "func(vectors int, a []float32, bits []uint64)")
	Doc("Of 0 < vectors <= 8 vectors of 8; see nonzeroRowFunc.")
	Pragma("noescape")
	vectors, a, bits := Load(Param("vectors"), GP64()), Load(Param("a").Base(), GP64()), Load(Param("bits").Base(), GP64())
	zero := YMM()
	VXORPS(zero, zero, zero)
	Label("loop")
	differs, bit := YMM(), GP32()
	VCMPPS(Imm(4), Mem{Base: a}, zero, differs)
	VMOVMSKPS(differs, bit)
	MOVB(bit.As8(), Mem{Base: bits})
	INCQ(bits)
	ADDQ(Imm(32), a)
	DECQ(vectors)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// copyLines writes copy_lines_f32_avx2: rows of whole vectors, brought side by side;
// zero times what is not finite is no number.
func copyLines() {
	TEXT("copy_lines_f32_avx2", NOSPLIT, "func(rows, vectors int, src []float32, srcRow int, dst []float32) (sum float32)")
	Doc("Of rows and vectors > 0; see copyLinesFunc.")
	Pragma("noescape")
	rows, vectors := Load(Param("rows"), GP64()), Load(Param("vectors"), GP64())
	src, srcRow, dst := Load(Param("src").Base(), GP64()), bytes("srcRow"), Load(Param("dst").Base(), GP64())
	SHLQ(Imm(5), vectors)
	zero, sum := YMM(), YMM()
	VXORPS(zero, zero, zero)
	VXORPS(sum, sum, sum)
	Label("row")
	at, v := GP64(), YMM()
	XORQ(at, at)
	Label("vector")
	VMOVUPS(Mem{Base: src, Index: at, Scale: 1}, v)
	VMOVUPS(v, Mem{Base: dst, Index: at, Scale: 1})
	VMULPS(v, zero, v)
	VORPS(v, sum, sum)
	ADDQ(Imm(32), at)
	CMPQ(at, vectors)
	JLT(LabelRef("vector"))
	ADDQ(srcRow, src)
	ADDQ(vectors, dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	half, other := XMM(), XMM()
	VEXTRACTF128(Imm(1), sum, half)
	VORPS(half, sum.AsX(), half)
	VMOVHLPS(half, half, other)
	VORPS(other, half, half)
	VMOVSHDUP(half, other)
	VORPS(other, half, half)
	Store(half, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// gapsRows writes gemm_gaps{_cut}_f32_{columns}_{set}: rows of a product, one below the
// other, each summed in registers from the rows of B whose factors are not zero, and
// stored, or the step out of those registers. What it changes is fetched while it sums.
// cut says that the last vector of a row does not exist as a whole.
func gapsRows(set vectorSet, vectors int, cut bool) {
	lanes := set.lanes()
	name, columns := "gemm_gaps", fmt.Sprint(vectors*lanes)
	if cut {
		name, columns = name+"_cut", fmt.Sprintf("%d to %d", (vectors-1)*lanes+1, vectors*lanes)
	}
	TEXT(fmt.Sprintf("%s_f32_%d_%s", name, vectors*lanes, set.name()), NOSPLIT,
		"func(cols, rows, words int, bits []uint64, a []float32, aRow, aCol int, b, c, v []float32, row int, coef *float32)")
	Doc(fmt.Sprintf("rows > 0 rows of %s columns; see gapsFunc.", columns))
	Pragma("noescape")
	if cut {
		set.mask("cols", (vectors-1)*lanes)
	}
	masked := func(j int) bool { return cut && j == vectors-1 }
	rows, bits := Load(Param("rows"), GP64()), Load(Param("bits").Base(), GP64())
	first := Load(Param("a").Base(), GP64())
	aCol, bRow := bytes("aCol"), uint32(vectors*lanes*4)
	w, v := Load(Param("c").Base(), GP64()), Load(Param("v").Base(), GP64())
	acc := make([]VecVirtual, vectors)
	for j := range acc {
		acc[j] = set.vector()
	}
	a, b, words, left, inA, inB := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()

	Label("row")
	for at := 0; at < vectors*lanes*4; at += 64 {
		PREFETCHT0(Mem{Base: w, Disp: at})
		PREFETCHT0(Mem{Base: v, Disp: at})
	}
	for _, g := range acc {
		set.zero(g)
	}
	MOVQ(first, a)
	Load(Param("b").Base(), b)
	Load(Param("words"), words)
	Label("word")
	MOVQ(Mem{Base: bits}, left)
	ADDQ(Imm(8), bits)
	TESTQ(left, left)
	JZ(LabelRef("empty"))
	align()
	Label("term")
	TZCNTQ(left, inA)
	IMUL3Q(U32(bRow), inA, inB)
	IMULQ(aCol, inA)
	factor := set.vector()
	VBROADCASTSS(Mem{Base: a, Index: inA, Scale: 1}, factor)
	for j, g := range acc {
		VFMADD231PS(Mem{Base: b, Index: inB, Scale: 1, Disp: j * lanes * 4}, factor, g)
	}
	BLSRQ(left, left)
	JNZ(LabelRef("term"))
	Label("empty")
	MOVQ(aCol, inA)
	SHLQ(Imm(6), inA)
	ADDQ(inA, a)
	ADDQ(U32(64*bRow), b)
	DECQ(words)
	JNZ(LabelRef("word"))

	coef := Load(Param("coef"), GP64())
	TESTQ(coef, coef)
	JNZ(LabelRef("step"))
	for j, g := range acc {
		set.store(g, Mem{Base: w, Disp: j * lanes * 4}, masked(j))
	}
	JMP(LabelRef("next"))
	Label("step")
	decay, mass := set.vector(), set.vector()
	VBROADCASTSS(Mem{Base: coef, Disp: 4}, decay)
	VBROADCASTSS(Mem{Base: coef, Disp: 8}, mass)
	for j, g := range acc {
		weight, velocity := Mem{Base: w, Disp: j * lanes * 4}, Mem{Base: v, Disp: j * lanes * 4}
		x, t := set.vector(), set.vector()
		set.load(weight, x, masked(j))
		VMULPS(x, decay, t)
		VADDPS(t, g, g)
		if masked(j) {
			set.load(velocity, t, true)
			VMULPS(mass, t, t)
		} else {
			VMULPS(velocity, mass, t)
		}
		VADDPS(t, g, g)
		set.store(g, velocity, masked(j))
		VBROADCASTSS(Mem{Base: coef}, t)
		VMULPS(t, g, g)
		VSUBPS(g, x, x)
		set.store(x, weight, masked(j))
	}
	Label("next")
	row := bytes("row")
	ADDQ(row, w)
	ADDQ(row, v)
	ADDQ(bytes("aRow"), first)
	DECQ(rows)
	JNZ(LabelRef("row"))
	set.leave()
	RET()
}
