package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// block is the number of elements that one pass of a loop's tail handles.
const block = 16

// isa is one instruction set: the same mnemonics serve both, on registers of
// different width. Methods cover the places where they differ.
type isa struct {
	name  string
	lanes int
}

var (
	avx2   = isa{"avx2", 8}
	avx512 = isa{"avx512", 16}
)

// symbol names the float32 loop of this instruction set, as kernel/doc.go explains.
func (v isa) symbol(loop string) string { return loop + "_f32_" + v.name }

// vec returns a fresh virtual vector register.
func (v isa) vec() reg.VecVirtual {
	if v.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

// zero returns a register of zeros.
func (v isa) zero() reg.VecVirtual {
	r := v.vec()
	if v.lanes == 16 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
	return r
}

// param broadcasts the float32 parameter called name.
func (v isa) param(name string) reg.VecVirtual {
	x, r := XMM(), v.vec()
	Load(Param(name), x)
	VBROADCASTSS(x, r)
	return r
}

// and returns x & y, bit by bit.
func (v isa) and(x reg.VecVirtual, y Op) reg.VecVirtual {
	r := v.vec()
	if v.lanes == 16 {
		VPANDD(y, x, r)
	} else {
		VPAND(y, x, r)
	}
	return r
}

// or returns x | y, bit by bit.
func (v isa) or(x reg.VecVirtual, y Op) reg.VecVirtual {
	r := v.vec()
	if v.lanes == 16 {
		VPORD(y, x, r)
	} else {
		VPOR(y, x, r)
	}
	return r
}

// Predicates of VCMPPS: ordered and quiet, so false when an operand is NaN.
const (
	lessThan    = 0x11
	greaterThan = 0x1e
	equal       = 0x00
	unordered   = 0x03 // true when one is NaN
)

// choose returns t where x pred y holds and f elsewhere.
func (v isa) choose(x reg.VecVirtual, pred int, y Op, t, f reg.VecVirtual) reg.VecVirtual {
	r := v.vec()
	if v.lanes == 16 {
		k := K()
		VCMPPS(Imm(uint64(pred)), y, x, k)
		VBLENDMPS(t, f, k, r)
	} else {
		m := v.vec()
		VCMPPS(Imm(uint64(pred)), y, x, m)
		VBLENDVPS(m, t, f, r)
	}
	return r
}

// keep returns t where x pred y holds and 0 elsewhere.
func (v isa) keep(x reg.VecVirtual, pred int, y Op, t reg.VecVirtual) reg.VecVirtual {
	r := v.vec()
	if v.lanes == 16 {
		k := K()
		VCMPPS(Imm(uint64(pred)), y, x, k)
		VMOVAPS_Z(t, k, r)
	} else {
		m := v.vec()
		VCMPPS(Imm(uint64(pred)), y, x, m)
		VANDPS(m, t, r)
	}
	return r
}

// Arithmetic in reading order: sub(x, y) is x - y.
func (v isa) add(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VADDPS(y, x, r); return r }
func (v isa) sub(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VSUBPS(y, x, r); return r }
func (v isa) mul(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VMULPS(y, x, r); return r }
func (v isa) div(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VDIVPS(y, x, r); return r }

// larger returns x where x > y and y elsewhere, so y when either is NaN.
func (v isa) larger(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VMAXPS(y, x, r); return r }

// smaller returns x where x < y and y elsewhere, so y when either is NaN.
func (v isa) smaller(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VMINPS(y, x, r); return r }

func (v isa) sqrt(x Op) reg.VecVirtual                     { r := v.vec(); VSQRTPS(x, r); return r }
func (v isa) addInt(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VPADDD(y, x, r); return r }
func (v isa) subInt(x reg.VecVirtual, y Op) reg.VecVirtual { r := v.vec(); VPSUBD(y, x, r); return r }

func (v isa) shiftLeft(x reg.VecVirtual, n uint64) reg.VecVirtual {
	r := v.vec()
	VPSLLD(Imm(n), x, r)
	return r
}

// fromInt converts int32 lanes to float32.
func (v isa) fromInt(x Op) reg.VecVirtual { r := v.vec(); VCVTDQ2PS(x, r); return r }

// shiftRight is arithmetic: it copies the sign.
func (v isa) shiftRight(x reg.VecVirtual, n uint64) reg.VecVirtual {
	r := v.vec()
	VPSRAD(Imm(n), x, r)
	return r
}

var constants = map[uint32]Mem{}

// bits returns a memory operand that holds the 32-bit pattern b in every lane.
func bits(b uint32) Mem {
	m, ok := constants[b]
	if !ok {
		m = GLOBL(fmt.Sprintf("vec_%08x", b), 8|16) // RODATA|NOPTR
		for i := range 16 {
			DATA(4*i, U32(b))
		}
		constants[b] = m
	}
	return m
}

// num returns a memory operand that holds the float32 nearest to x in every lane.
func num(x float64) Mem { return bits(math.Float32bits(float32(x))) }

// load reads a vector from memory.
func (v isa) load(m Mem) reg.VecVirtual { r := v.vec(); VMOVUPS(m, r); return r }

// num loads the constant x into a register.
func (v isa) num(x float64) reg.VecVirtual { return v.load(num(x)) }

// horner evaluates c[0] + c[1]*x + c[2]*x^2 + ...
func (v isa) horner(x reg.VecVirtual, c []float64) reg.VecVirtual {
	p := v.num(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		p = v.add(v.mul(p, x), num(c[i]))
	}
	return p
}

// loop emits passes over n elements: passes of unroll blocks while they fit,
// then passes of one block. body handles the vector at element e of a pass; the
// pointers advance by four bytes per element between passes.
func (v isa) loop(name string, n reg.Register, unroll int, pointers []reg.Register, body func(e int)) {
	pass := func(label string, blocks int) {
		Label(label)
		CMPQ(n, U32(blocks*block))
		JL(LabelRef(label + "_done"))
		for e := 0; e < blocks*block; e += v.lanes {
			body(e)
		}
		for _, p := range pointers {
			ADDQ(U32(4*blocks*block), p)
		}
		SUBQ(U32(blocks*block), n)
		JMP(LabelRef(label))
		Label(label + "_done")
	}
	if unroll > 1 {
		pass(name+"_unrolled", unroll)
	}
	pass(name+"_block", 1)
}
