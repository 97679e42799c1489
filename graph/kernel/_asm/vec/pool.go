package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// poolLanes is the number of outputs a pooling loop handles at a time. Images
// are small, so it exists in AVX2 alone.
const poolLanes = 8

// poolTap writes the loop that shows one tap of a maximum pooling window to a
// row of outputs: where x[stride*i] is larger than y[i] or NaN, or index[i] is
// negative, it becomes y[i], and first + stride*i becomes index[i].
func poolTap(stride int) {
	name := fmt.Sprintf("poolTap%d_f32_avx2", stride)
	TEXT(name, NOSPLIT, "func(y *float32, index *int32, x *float32, n int, first int32)")
	Doc(fmt.Sprintf("%s shows one tap to n outputs, a multiple of %d.", name, poolLanes))
	Pragma("noescape")
	y, index, x := Load(Param("y"), GP64()), Load(Param("index"), GP64()), Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	first := XMM()
	VMOVD(Load(Param("first"), GP32()), first)
	at, step := YMM(), YMM()
	VPBROADCASTD(first, at)
	lanes := GLOBL(fmt.Sprintf("pool_lanes_%d", stride), 8|16)
	for i := range poolLanes {
		DATA(4*i, U32(i*stride))
	}
	VPADDD(lanes, at, at)
	VMOVDQU(bits(uint32(poolLanes*stride)), step)

	Label("loop")
	CMPQ(n, Imm(poolLanes))
	JL(LabelRef("done"))
	v, best, where, take, nan := YMM(), YMM(), YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: x}, v)
	if stride == 2 { // of elements 0 to 14 the even ones; 15 may not exist
		VMOVUPS(Mem{Base: x, Disp: 4 * 7}, take)
		VSHUFPS(Imm(0b11_01_10_00), take, v, v)
		VPERMPD(Imm(0b11_01_10_00), v, v)
	}
	VMOVUPS(Mem{Base: y}, best)
	VMOVUPS(Mem{Base: index}, where)
	VCMPPS(Imm(greaterThan), best, v, take)
	VCMPPS(Imm(unordered), v, v, nan)
	VORPS(nan, take, take)
	VORPS(where, take, take) // a blend looks at the sign alone
	VBLENDVPS(take, v, best, best)
	VBLENDVPS(take, at, where, where)
	VMOVUPS(best, Mem{Base: y})
	VMOVUPS(where, Mem{Base: index})
	VPADDD(step, at, at)
	ADDQ(Imm(4*poolLanes), y)
	ADDQ(Imm(4*poolLanes), index)
	ADDQ(Imm(uint64(4*poolLanes*stride)), x)
	SUBQ(Imm(poolLanes), n)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}
