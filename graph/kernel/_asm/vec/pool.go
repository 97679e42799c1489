package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// poolLanes is the number of outputs that poolTap handles at a time. Images are
// small, so it exists in AVX2 alone.
const poolLanes = 8

// poolTap writes the loop that shows one tap of a maximum pooling window to a
// row of n outputs: where x[stride*i] is larger than y[i] or NaN, or index[i] is
// negative, it becomes y[i], and first + stride*i becomes index[i]. What lies
// between n and the next multiple of poolLanes is written back as it was.
func poolTap(stride int) {
	name := fmt.Sprintf("poolTap%d_f32_avx2", stride)
	TEXT(name, NOSPLIT, "func(y *float32, index *int32, x *float32, n int, first int32)")
	Doc(fmt.Sprintf("%s shows one tap to n outputs; y and index have room for a multiple of %d.", name, poolLanes))
	Pragma("noescape")
	y, index, x := Load(Param("y"), GP64()), Load(Param("index"), GP64()), Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	at, step := YMM(), YMM()
	broadcastInt(Load(Param("first"), GP32()), at)
	VPADDD(laneMultiples(stride), at, at)
	VMOVDQU(bits(uint32(poolLanes*stride)), step)

	Label("full")
	CMPQ(n, Imm(poolLanes))
	JL(LabelRef("rest"))
	v, high := YMM(), YMM()
	VMOVUPS(Mem{Base: x}, v)
	if stride == 2 { // of elements 0 to 14 the even ones; 15 may not exist
		VMOVUPS(Mem{Base: x, Disp: 4 * 7}, high)
		evens(v, high)
	}
	show(v, at, nil, Mem{Base: y}, Mem{Base: index})
	VPADDD(step, at, at)
	ADDQ(Imm(4*poolLanes), y)
	ADDQ(Imm(4*poolLanes), index)
	ADDQ(Imm(uint64(4*poolLanes*stride)), x)
	SUBQ(Imm(poolLanes), n)
	JMP(LabelRef("full"))

	Label("rest")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	left, mask := YMM(), YMM()
	broadcastInt(n.(reg.GPVirtual).As32(), left)
	VPCMPGTD(laneMultiples(1), left, mask)
	v, high = YMM(), YMM()
	if stride == 1 {
		VMASKMOVPS(Mem{Base: x}, mask, v)
	} else { // lane i is read if i < 2*left - 1, and lane i of high, which is element 7+i, likewise
		last, some := YMM(), YMM()
		VPADDD(left, left, last)
		VPSUBD(bits(1), last, last)
		VPCMPGTD(laneMultiples(1), last, some)
		VMASKMOVPS(Mem{Base: x}, some, v)
		VPSUBD(bits(7), last, last)
		VPCMPGTD(laneMultiples(1), last, some)
		VMASKMOVPS(Mem{Base: x, Disp: 4 * 7}, some, high)
		evens(v, high)
	}
	show(v, at, mask, Mem{Base: y}, Mem{Base: index})
	Label("done")
	VZEROUPPER()
	RET()
}

// show offers v, found at, to the outputs in memory, where mask is set or nil.
func show(v, at, mask reg.VecVirtual, y, index Mem) {
	best, where, take, nan := YMM(), YMM(), YMM(), YMM()
	VMOVUPS(y, best)
	VMOVUPS(index, where)
	VCMPPS(Imm(greaterThan), best, v, take)
	VCMPPS(Imm(unordered), v, v, nan)
	VORPS(nan, take, take)
	VORPS(where, take, take) // a blend looks at the sign alone
	if mask != nil {
		VANDPS(mask, take, take)
	}
	VBLENDVPS(take, v, best, best)
	VBLENDVPS(take, at, where, where)
	VMOVUPS(best, y)
	VMOVUPS(where, index)
}

// evens leaves elements 0, 2, ... 14 in low, of which low holds 0 to 7 and
// high 7 to 14.
func evens(low, high reg.VecVirtual) {
	VSHUFPS(Imm(0b11_01_10_00), high, low, low)
	VPERMPD(Imm(0b11_01_10_00), low, low)
}

// broadcastInt sets every lane of to.
func broadcastInt(from reg.Register, to reg.VecVirtual) {
	x := XMM()
	VMOVD(from, x)
	VPBROADCASTD(x, to)
}

var multiples = map[int]Mem{}

// laneMultiples returns 0, stride, 2*stride, ... in memory.
func laneMultiples(stride int) Mem {
	m, ok := multiples[stride]
	if !ok {
		m = GLOBL(fmt.Sprintf("vec_multiples_%d", stride), 8|16) // RODATA|NOPTR
		for i := range poolLanes {
			DATA(4*i, U32(i*stride))
		}
		multiples[stride] = m
	}
	return m
}

// pool2x2 writes maximum pooling of a plane by windows of 2 by 2 that do not
// overlap, the usual kind, in one pass: rows of cols outputs each, where a row
// of x has width elements.
func pool2x2() {
	TEXT("pool2x2_f32_avx512", NOSPLIT, "func(y *float32, index *int32, x *float32, rows, cols, width int)")
	Doc("pool2x2_f32_avx512 writes the maxima of rows > 0 rows of cols > 0 windows, and where in x they were.")
	Pragma("noescape")
	y, index, x := Load(Param("y"), GP64()), Load(Param("index"), GP64()), Load(Param("x"), GP64())
	rows, width := Load(Param("rows"), GP64()), Load(Param("width"), GP64())
	even, odd, down, one, rowAt := ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	VMOVDQU32(laneTable("vec_evens", 0, 2), even)
	VMOVDQU32(bits(1), one)
	VPADDD(one, even, odd)
	VPBROADCASTD(width.(reg.GPVirtual).As32(), down)
	VMOVDQA32(even, rowAt)

	Label("row")
	left, from, second := GP64(), GP64(), GP64()
	Load(Param("cols"), left)
	MOVQ(x, from)
	LEAQ(Mem{Base: x, Index: width, Scale: 4}, second)
	at := ZMM()
	VMOVDQA32(rowAt, at)

	Label("block")
	write, low, high := K(), K(), K()
	count := GP64()
	MOVQ(left, count)
	CMPQ(count, Imm(16))
	JLE(LabelRef("masks"))
	MOVQ(U32(16), count)
	Label("masks")
	lanes, elements := GP64(), GP64()
	MOVQ(I32(-1), lanes)
	MOVQ(I32(-1), elements)
	SHLXQ(count, lanes, lanes)
	NOTQ(lanes)
	KMOVW(lanes.As32(), write)
	ADDQ(count, count)
	SHLXQ(count, elements, elements)
	NOTQ(elements)
	KMOVW(elements.As32(), low)
	SHRQ(Imm(16), elements)
	KMOVW(elements.As32(), high)

	var taps []reg.VecVirtual
	for _, line := range []reg.Register{from, second} {
		a, b, c := ZMM(), ZMM(), ZMM()
		VMOVUPS_Z(Mem{Base: line}, low, a)
		VMOVUPS_Z(Mem{Base: line, Disp: 64}, high, b)
		VMOVAPS(a, c)
		VPERMT2PS(b, even, a)
		VPERMT2PS(b, odd, c)
		taps = append(taps, a, c)
	}
	best, where := taps[0], ZMM()
	VMOVDQA32(at, where)
	for i, v := range taps[1:] {
		larger, nan, here := K(), K(), ZMM()
		VCMPPS(Imm(greaterThan), best, v, larger)
		VCMPPS(Imm(unordered), v, v, nan)
		KORW(nan, larger, larger)
		switch i {
		case 0:
			VPADDD(one, at, here)
		case 1:
			VPADDD(down, at, here)
		case 2:
			VPADDD(down, at, here)
			VPADDD(one, here, here)
		}
		VMOVAPS(v, larger, best)
		VMOVDQA32(here, larger, where)
	}
	VMOVUPS(best, write, Mem{Base: y})
	VMOVDQU32(where, write, Mem{Base: index})
	SHRQ(Imm(1), count)
	LEAQ(Mem{Base: y, Index: count, Scale: 4}, y)
	LEAQ(Mem{Base: index, Index: count, Scale: 4}, index)
	ADDQ(Imm(128), from)
	ADDQ(Imm(128), second)
	VPADDD(bits(32), at, at)
	SUBQ(count, left)
	JNZ(LabelRef("block"))

	LEAQ(Mem{Base: x, Index: width, Scale: 8}, x)
	VPADDD(down, rowAt, rowAt)
	VPADDD(down, rowAt, rowAt)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// pool2x2Halves writes pool2x2_f32_avx2, which does the same for 8 outputs at a
// time. A vector that is cut short is stored whole where the plane has room: what
// is too much, the next row overwrites.
func pool2x2Halves() {
	TEXT("pool2x2_f32_avx2", NOSPLIT, "func(y *float32, index *int32, x *float32, rows, cols, width int)")
	Doc("pool2x2_f32_avx2 writes the maxima of rows > 0 rows of cols > 0 windows, and where in x they were.")
	Pragma("noescape")
	y, index, x := Load(Param("y"), GP64()), Load(Param("index"), GP64()), Load(Param("x"), GP64())
	rows, width := Load(Param("rows"), GP64()), Load(Param("width"), GP64())
	down, rowAt := YMM(), YMM()
	broadcastInt(width.(reg.GPVirtual).As32(), down)
	VMOVDQU(laneMultiples(2), rowAt)
	room := Load(Param("cols"), GP64()) // outputs left in the plane
	IMULQ(rows, room)

	Label("row")
	left, first, second := GP64(), GP64(), GP64()
	Load(Param("cols"), left)
	MOVQ(x, first)
	LEAQ(Mem{Base: x, Index: width, Scale: 4}, second)
	at := YMM()
	VMOVDQA(rowAt, at)

	Label("block")
	var low, high [2]reg.VecVirtual
	for i := range low {
		low[i], high[i] = YMM(), YMM()
	}
	CMPQ(left, Imm(8))
	JL(LabelRef("short"))
	for i, line := range []reg.Register{first, second} {
		VMOVUPS(Mem{Base: line}, low[i])
		VMOVUPS(Mem{Base: line, Disp: 32}, high[i])
	}
	JMP(LabelRef("loaded"))
	Label("short")
	count, some := YMM(), YMM()
	broadcastInt(left.(reg.GPVirtual).As32(), count)
	VPADDD(count, count, count)
	VPCMPGTD(laneMultiples(1), count, some)
	for i, line := range []reg.Register{first, second} {
		VMASKMOVPS(Mem{Base: line}, some, low[i])
	}
	VPSUBD(bits(8), count, count)
	VPCMPGTD(laneMultiples(1), count, some)
	for i, line := range []reg.Register{first, second} {
		VMASKMOVPS(Mem{Base: line, Disp: 32}, some, high[i])
	}
	Label("loaded")
	best, where := YMM(), YMM()
	for i := range low {
		even, odd := YMM(), YMM()
		VSHUFPS(Imm(0b10_00_10_00), high[i], low[i], even)
		VSHUFPS(Imm(0b11_01_11_01), high[i], low[i], odd)
		VPERMPD(Imm(0b11_01_10_00), even, even)
		VPERMPD(Imm(0b11_01_10_00), odd, odd)
		here := YMM()
		VMOVDQA(at, here)
		if i == 0 {
			VMOVAPS(even, best)
			VMOVDQA(at, where)
		} else {
			VPADDD(down, at, here)
			showInRegisters(even, here, best, where)
		}
		VPADDD(bits(1), here, here)
		showInRegisters(odd, here, best, where)
	}
	CMPQ(room, Imm(8))
	JL(LabelRef("last"))
	VMOVUPS(best, Mem{Base: y})
	VMOVDQU(where, Mem{Base: index})
	done := GP64()
	MOVQ(U32(8), done)
	CMPQ(left, done)
	CMOVQLT(left, done)
	JMP(LabelRef("stored"))
	Label("last")
	MOVQ(left, done)
	mask := YMM()
	broadcastInt(left.(reg.GPVirtual).As32(), mask)
	VPCMPGTD(laneMultiples(1), mask, mask)
	VMASKMOVPS(best, mask, Mem{Base: y})
	VMASKMOVPS(where, mask, Mem{Base: index})
	Label("stored")
	LEAQ(Mem{Base: y, Index: done, Scale: 4}, y)
	LEAQ(Mem{Base: index, Index: done, Scale: 4}, index)
	SUBQ(done, room)
	ADDQ(Imm(64), first)
	ADDQ(Imm(64), second)
	VPADDD(bits(16), at, at)
	SUBQ(done, left)
	JNZ(LabelRef("block"))

	LEAQ(Mem{Base: x, Index: width, Scale: 8}, x)
	VPADDD(down, rowAt, rowAt)
	VPADDD(down, rowAt, rowAt)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// poolBeside writes maximum pooling of two lines of images side by side by windows
// of 2 by 2: cols outputs of images images each, a multiple of 8.
func poolBeside() {
	TEXT("poolBeside_f32_avx2", NOSPLIT, "func(y *float32, index *int32, x *float32, line, images, cols int, first, width int32)")
	Doc("poolBeside_f32_avx2 writes the maxima of cols > 0 windows, and where they were; lines lie line elements apart.")
	Pragma("noescape")
	y, index, x := Load(Param("y"), GP64()), Load(Param("index"), GP64()), Load(Param("x"), GP64())
	line, images, cols := Load(Param("line"), GP64()), Load(Param("images"), GP64()), Load(Param("cols"), GP64())
	at, down := YMM(), YMM()
	broadcastInt(Load(Param("first"), GP32()), at)
	broadcastInt(Load(Param("width"), GP32()), down)
	SHLQ(Imm(2), images)
	second := GP64()
	LEAQ(Mem{Base: x, Index: line, Scale: 4}, second)

	Label("window")
	right, below, corner := YMM(), YMM(), YMM()
	VPADDD(bits(1), at, right)
	VPADDD(down, at, below)
	VPADDD(down, right, corner)
	left := GP64()
	MOVQ(images, left)
	Label("vector")
	best, where, v := YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: x}, best)
	VMOVDQA(at, where)
	VMOVUPS(Mem{Base: x, Index: images, Scale: 1}, v)
	showInRegisters(v, right, best, where)
	v = YMM()
	VMOVUPS(Mem{Base: second}, v)
	showInRegisters(v, below, best, where)
	v = YMM()
	VMOVUPS(Mem{Base: second, Index: images, Scale: 1}, v)
	showInRegisters(v, corner, best, where)
	VMOVUPS(best, Mem{Base: y})
	VMOVDQU(where, Mem{Base: index})
	for _, r := range []reg.Register{x, second, y, index} {
		ADDQ(Imm(32), r)
	}
	SUBQ(Imm(32), left)
	JNZ(LabelRef("vector"))
	ADDQ(images, x)
	ADDQ(images, second)
	VPADDD(bits(2), at, at)
	DECQ(cols)
	JNZ(LabelRef("window"))
	VZEROUPPER()
	RET()
}

// number writes sums of integers with one, 8 at a time.
func number() {
	TEXT("number_avx2", NOSPLIT, "func(y *int64, x *int32, n int, first int64)")
	Doc("number_avx2 writes first + x of n elements, a multiple of 8.")
	Pragma("noescape")
	y, x, n := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	first, low := YMM(), XMM()
	VMOVQ(Load(Param("first"), GP64()), low)
	VPBROADCASTQ(low, first)
	Label("block")
	a, b := YMM(), YMM()
	VPMOVSXDQ(Mem{Base: x}, a)
	VPMOVSXDQ(Mem{Base: x, Disp: 16}, b)
	VPADDQ(first, a, a)
	VPADDQ(first, b, b)
	VMOVDQU(a, Mem{Base: y})
	VMOVDQU(b, Mem{Base: y, Disp: 32})
	ADDQ(Imm(32), x)
	ADDQ(Imm(64), y)
	SUBQ(Imm(8), n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// showInRegisters offers v, found at here, to the outputs in registers.
func showInRegisters(v, here, best, where reg.VecVirtual) {
	take, nan := YMM(), YMM()
	VCMPPS(Imm(greaterThan), best, v, take)
	VCMPPS(Imm(unordered), v, v, nan)
	VORPS(nan, take, take)
	VBLENDVPS(take, v, best, best)
	VBLENDVPS(take, here, where, where)
}

// laneTable is 16 lanes that rise from first by step, in memory.
func laneTable(name string, first, step int) Mem {
	m := GLOBL(name, 8|16) // RODATA|NOPTR
	for i := range 16 {
		DATA(4*i, U32(first+i*step))
	}
	return m
}
