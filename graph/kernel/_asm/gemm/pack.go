package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// transpose writes transpose{rows}_f32_{set}: up to 8 rows of blocks*8 columns
// become blocks*8 rows, one 8x8 block at a time in registers. Missing rows are
// not read; they are not written either, or, in whole{rows}_f32_{set}, as zeros.
func transpose(set vectorSet, rows int, whole bool) {
	name, zeros := "transpose", ""
	if whole {
		name, zeros = "whole", fmt.Sprintf(", and zeros for i from %d to 7", rows)
	}
	TEXT(fmt.Sprintf("%s%d_f32_%s", name, rows, set.name()), NOSPLIT,
		"func(blocks int, src []float32, srcRow int, dst []float32, dstRow int)")
	Doc(fmt.Sprintf("Writes dst[j*dstRow+i] = src[i*srcRow+j] for i < %d and j < 8*blocks%s; blocks > 0.", rows, zeros))
	Pragma("noescape")
	blocks := Load(Param("blocks"), GP64())
	src := Load(Param("src").Base(), GP64())
	srcRow := newStride("srcRow", rows)
	dst := Load(Param("dst").Base(), GP64())
	dstRow := newStride("dstRow", 8)
	step := GP64()
	MOVQ(dstRow.one, step)
	SHLQ(Imm(3), step)
	store := func(v VecVirtual, m Mem) { set.store(v, m, false) }
	if masks, ok := set.(avx512); rows < 8 && !whole && ok {
		masks.maskFirst(rows)
		store = func(v VecVirtual, m Mem) { set.store(v, m, true) }
	} else if rows < 8 && !whole {
		store = func(v VecVirtual, m Mem) { storeFirst(rows, v, m) }
	}

	align()
	Label("loop")
	block8(set, rows, func(i int) Mem { return srcRow.at(src, i) }, func(j int, v VecVirtual) { store(v, dstRow.at(dst, j)) })
	ADDQ(Imm(32), src)
	ADDQ(step, dst)
	DECQ(blocks)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// block8 transposes a block of up to 8 rows of 8 columns. After Intel's
// optimization manual: pairs of rows are loaded so that half of the crossing
// between 128-bit lanes happens in the loads.
func block8(set vectorSet, rows int, row func(i int) Mem, store func(j int, v VecVirtual)) {
	var r [8]VecVirtual
	for i := range r {
		from, disp := i%4, i/4*16
		r[i] = YMM()
		if from >= rows {
			set.zero(r[i])
			continue
		}
		VMOVUPS(row(from).Offset(disp), r[i].AsX())
		if from+4 < rows {
			VINSERTF128(Imm(1), row(from+4).Offset(disp), r[i], r[i])
		}
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
			store(4*half+2*i, even)
			store(4*half+2*i+1, odd)
		}
	}
}

// transposeBlocks writes transpose_blocks_f32_avx2: blocks of 8 by 8 elements, in
// lines.
func transposeBlocks(set vectorSet) {
	TEXT("transpose_blocks_f32_"+set.name(), NOSPLIT,
		"func(lines, blocks int, src []float32, srcRow, srcBlock, srcLine int, dst []float32, dstRow, dstBlock, dstLine int)")
	Doc("Transposes lines > 0 of blocks > 0; see transposeLinesAVX2.")
	Pragma("noescape")
	lines, blocks := Load(Param("lines"), GP64()), GP64()
	srcLine, dstLine := Load(Param("src").Base(), GP64()), Load(Param("dst").Base(), GP64())
	srcRow, dstRow := newStride("srcRow", 4), newStride("dstRow", 4)
	src, dst := GP64(), GP64()

	Label("line")
	MOVQ(srcLine, src)
	MOVQ(dstLine, dst)
	Load(Param("blocks"), blocks)
	Label("block")
	srcHalf, dstHalf := GP64(), GP64()
	LEAQ(Mem{Base: src, Index: srcRow.one, Scale: 4}, srcHalf)
	LEAQ(Mem{Base: dst, Index: dstRow.one, Scale: 4}, dstHalf)
	at := func(s stride, base, half Register, i int) Mem {
		if i < 4 {
			return s.at(base, i)
		}
		return s.at(half, i-4)
	}
	block8(set, 8, func(i int) Mem { return at(srcRow, src, srcHalf, i) }, func(j int, v VecVirtual) {
		set.store(v, at(dstRow, dst, dstHalf, j), false)
	})
	advance(src, "srcBlock")
	advance(dst, "dstBlock")
	DECQ(blocks)
	JNZ(LabelRef("block"))
	advance(srcLine, "srcLine")
	advance(dstLine, "dstLine")
	DECQ(lines)
	JNZ(LabelRef("line"))
	set.leave()
	RET()
}

// storeFirst stores the first count lanes of a vector of 8, in pieces.
func storeFirst(count int, v VecVirtual, m Mem) {
	x := v.AsX()
	if count >= 4 {
		VMOVUPS(x, m)
		m = m.Offset(16)
		if count -= 4; count > 0 {
			upper := XMM()
			VEXTRACTF128(Imm(1), v, upper)
			x = upper
		}
	}
	if count >= 2 {
		VMOVLPS(x, m)
		m = m.Offset(8)
	}
	switch count {
	case 1:
		VMOVSS(x, m)
	case 3:
		VEXTRACTPS(Imm(2), x, m)
	}
}

// pickTaps is how many rows a pick can have, as in package kernel.
const pickTaps = 5

// window writes window_f32_avx512, which carries out picks: two masked loads,
// and for each row of the pick a permutation of both and a store. What a pick
// says is kept in registers while it is done for all planes.
func window() {
	TEXT("window_f32_avx512", NOSPLIT,
		"func(picks [][4]uint64, src []float32, base, planes, srcPlane int, dst []float32, dstRow, dstPlane int)")
	Doc("Carries out picks for planes > 0 planes; see window.")
	Pragma("noescape")
	w := windowState{pick: Load(Param("picks").Base(), GP64())}
	end := Load(Param("picks").Len(), GP64())
	SHLQ(Imm(5), end)
	ADDQ(w.pick, end)
	w.src = Load(Param("src").Base(), GP64())
	ADDQ(bytes("base"), w.src)
	w.srcPlane = bytes("srcPlane")
	w.dst = Load(Param("dst").Base(), GP64())
	w.dstRow = newStride("dstRow", pickTaps)

	Label("pick")
	CMPQ(w.pick, end)
	JGE(LabelRef("done"))
	rows := GP32()
	MOVL(Mem{Base: w.pick, Disp: 12}, rows)
	for n := 1; n < pickTaps; n++ {
		CMPL(rows, Imm(uint64(n)))
		JEQ(LabelRef(fmt.Sprintf("rows%d", n)))
	}
	for n := pickTaps; n > 0; n-- {
		Label(fmt.Sprintf("rows%d", n))
		w.rows(n)
		JMP(LabelRef("pick"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// windowState is what the parts of window share.
type windowState struct {
	pick, src, srcPlane, dst Register
	dstRow                   stride
}

// rows writes the code for a pick of n rows.
func (w *windowState) rows(n int) {
	first, second, to, planes := GP64(), GP64(), GP64(), GP64()
	MOVLQSX(Mem{Base: w.pick}, first)
	LEAQ(Mem{Base: w.src, Index: first, Scale: 4}, first)
	MOVLQSX(Mem{Base: w.pick, Disp: 4}, second)
	LEAQ(Mem{Base: w.src, Index: second, Scale: 4}, second)
	KMOVW(Mem{Base: w.pick, Disp: 8}, K1)
	KMOVW(Mem{Base: w.pick, Disp: 10}, K2)
	MOVQ(Mem{Base: w.pick, Disp: 16}, to)
	IMULQ(w.dstRow.one, to)
	ADDQ(w.dst, to)
	keep := []Register{K3, K4, K5, K6, K7}
	lanes := make([]VecVirtual, n)
	for i := range lanes {
		row := 32 * (i + 1)
		KMOVW(Mem{Base: w.pick, Disp: row}, keep[i])
		lanes[i] = ZMM()
		VPMOVZXBD(Mem{Base: w.pick, Disp: row + 16}, lanes[i])
	}
	write := K4 // free when there is one row
	if n == 1 {
		KMOVW(Mem{Base: w.pick, Disp: 32 + 2}, write)
	}
	ADDQ(Imm(uint64(32*(n+1))), w.pick)
	dstPlane := bytes("dstPlane")
	Load(Param("planes"), planes)

	loop := fmt.Sprintf("plane%d", n)
	Label(loop)
	low, high := ZMM(), ZMM()
	VMOVUPS_Z(Mem{Base: first}, K1, low)
	VMOVUPS_Z(Mem{Base: second}, K2, high)
	for i := range lanes {
		v := ZMM()
		VMOVAPS(lanes[i], v)
		VPERMI2PS_Z(high, low, keep[i], v)
		if n == 1 {
			VMOVUPS(v, write, w.dstRow.at(to, i))
		} else {
			VMOVUPS(v, w.dstRow.at(to, i))
		}
	}
	ADDQ(w.srcPlane, first)
	ADDQ(w.srcPlane, second)
	ADDQ(dstPlane, to)
	DECQ(planes)
	JNZ(LabelRef(loop))
}

// windowGather writes window_f32_avx2, which carries out picks row by row: by
// loads of four elements where lanes read runs, or else with gathers, half of the
// lanes at a time.
func windowGather() {
	TEXT("window_f32_avx2", NOSPLIT,
		"func(picks [][4]uint64, src []float32, base, planes, srcPlane int, dst []float32, dstRow, dstPlane int)")
	Doc("Carries out picks for planes > 0 planes; see window.")
	Pragma("noescape")
	head := Load(Param("picks").Base(), GP64())
	src := Load(Param("src").Base(), GP64())
	ADDQ(bytes("base"), src)
	srcPlane := bytes("srcPlane")
	first, to, row, rows := GP64(), GP64(), GP64(), GP64()
	gap, lane15 := YMM(), YMM() // what an element of the second window lies further on; 15
	VPBROADCASTD(ConstData("fifteen", U32(15)), lane15)
	bit := lanePowers()

	Label("pick")
	end := Load(Param("picks").Len(), GP64())
	SHLQ(Imm(5), end)
	ADDQ(Load(Param("picks").Base(), GP64()), end)
	CMPQ(head, end)
	JGE(LabelRef("done"))
	low, distance := GP64(), GP32()
	MOVLQSX(Mem{Base: head}, low)
	MOVL(Mem{Base: head, Disp: 4}, distance)
	SUBL(low.As32(), distance)
	SUBL(Imm(16), distance)
	VMOVD(distance, gap.AsX())
	VPBROADCASTD(gap.AsX(), gap)
	LEAQ(Mem{Base: src, Index: low, Scale: 4}, first)
	MOVQ(Mem{Base: head, Disp: 16}, to)
	IMULQ(bytes("dstRow"), to)
	ADDQ(Load(Param("dst").Base(), GP64()), to)
	MOVL(Mem{Base: head, Disp: 12}, rows.As32())
	LEAQ(Mem{Base: head, Disp: 32}, row)

	Label("row")
	CMPQ(Mem{Base: row, Disp: 8}, I8(-1)) // noRuns
	JNE(LabelRef("runs"))
	for half := range 2 {
		index, second, keep, write := YMM(), YMM(), YMM(), YMM()
		VPMOVZXBD(Mem{Base: row, Disp: 16 + 8*half}, index)
		VPCMPGTD(lane15, index, second)
		VPAND(gap, second, second)
		VPADDD(second, index, index)
		laneMask := func(disp int, mask VecVirtual) {
			VPBROADCASTW(Mem{Base: row, Disp: disp}, mask.AsX())
			VPMOVZXWD(mask.AsX(), mask)
			VPAND(bit.Offset(32*half), mask, mask)
			VPCMPEQD(bit.Offset(32*half), mask, mask)
		}
		laneMask(0, keep)
		laneMask(2, write)
		from, at, planes, dstPlane := GP64(), GP64(), Load(Param("planes"), GP64()), bytes("dstPlane")
		MOVQ(first, from)
		LEAQ(Mem{Base: to, Disp: 32 * half}, at)
		loop := fmt.Sprintf("plane%d", half)
		Label(loop)
		v, left := YMM(), YMM()
		VPXOR(v, v, v)
		VMOVDQA(keep, left) // a gather uses up its mask
		VGATHERDPS(left, Mem{Base: from, Index: index, Scale: 4}, v)
		VMASKMOVPS(v, write, Mem{Base: at})
		ADDQ(srcPlane, from)
		ADDQ(dstPlane, at)
		DECQ(planes)
		JNZ(LabelRef(loop))
	}
	Label("next")
	ADDQ(bytes("dstRow"), to)
	ADDQ(Imm(32), row)
	DECQ(rows)
	JNZ(LabelRef("row"))
	MOVQ(row, head)
	JMP(LabelRef("pick"))
	Label("done")
	VZEROUPPER()
	RET()

	Label("runs")
	var from [4]Register
	var keep [4]VecVirtual
	for q := range from {
		from[q], keep[q] = GP64(), XMM()
		window, number := GP64(), GP64()
		MOVBQZX(Mem{Base: row, Disp: 8 + 2*q + 1}, window)
		MOVLQSX(Mem{Base: head, Index: window, Scale: 4}, window)
		MOVBQSX(Mem{Base: row, Disp: 8 + 2*q}, number)
		ADDQ(number, window)
		LEAQ(Mem{Base: src, Index: window, Scale: 4}, from[q])
		VPBROADCASTW(Mem{Base: row}, keep[q])
		VPMOVZXWD(keep[q], keep[q])
		VPAND(bit.Offset(16*q), keep[q], keep[q])
		VPCMPEQD(bit.Offset(16*q), keep[q], keep[q])
	}
	at, planes, dstPlane := GP64(), Load(Param("planes"), GP64()), bytes("dstPlane")
	MOVQ(to, at)
	Label("plane")
	for q := range from {
		v := XMM()
		VMASKMOVPS(Mem{Base: from[q]}, keep[q], v)
		VMOVUPS(v, Mem{Base: at, Disp: 16 * q})
		ADDQ(srcPlane, from[q])
	}
	ADDQ(dstPlane, at)
	DECQ(planes)
	JNZ(LabelRef("plane"))
	JMP(LabelRef("next"))
}

// lanePowers writes a table of 16 dwords, 1 << lane.
func lanePowers() Mem {
	table := GLOBL("lane_powers", RODATA|NOPTR)
	for lane := range 16 {
		DATA(4*lane, U32(1<<lane))
	}
	return table
}

// copyRows writes copy_rows{columns}_f32_{set}: rows of so many elements,
// strided in both matrices. Where masks cost nothing, the last vector may be cut
// short.
func copyRows(set vectorSet, vectors int) {
	lanes := set.lanes()
	before, masked := (vectors-1)*lanes, !set.masksCost()
	TEXT(fmt.Sprintf("copy_rows%d_f32_%s", vectors*lanes, set.name()), NOSPLIT,
		"func(rows int, src []float32, srcRow int, dst []float32, dstRow, cols int)")
	if masked {
		Doc(fmt.Sprintf("Copies rows > 0 rows of cols elements, %d < cols <= %d.", before, before+lanes))
	} else {
		Doc(fmt.Sprintf("Copies rows > 0 rows of %d elements, whatever cols is.", vectors*lanes))
	}
	Pragma("noescape")
	rows := Load(Param("rows"), GP64())
	src := Load(Param("src").Base(), GP64())
	srcRow := bytes("srcRow")
	dst := Load(Param("dst").Base(), GP64())
	dstRow := bytes("dstRow")
	if masked {
		set.mask("cols", before)
	}
	line := 4*vectors*lanes == 64 && !masked // rows of a line each are fetched 16 rows before
	ahead := GP64()
	if line {
		MOVQ(srcRow, ahead)
		SHLQ(Imm(4), ahead)
	}
	Label("loop")
	if line {
		PREFETCHT0(Mem{Base: src, Index: ahead, Scale: 1})
	}
	for j := range vectors {
		v := set.vector()
		set.load(Mem{Base: src, Disp: 4 * lanes * j}, v, masked && j == vectors-1)
		set.store(v, Mem{Base: dst, Disp: 4 * lanes * j}, masked && j == vectors-1)
	}
	ADDQ(srcRow, src)
	ADDQ(dstRow, dst)
	DECQ(rows)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
