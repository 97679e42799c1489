package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vectorSet is what differs between instruction sets.
type vectorSet interface {
	name() string
	lanes() int
	vector() VecVirtual
	zero(v VecVirtual)
	// mask prepares the mask of the last vector of a row, of which
	// parameter - before lanes exist.
	mask(parameter string, before int)
	// masksCost tells whether masked loads and stores are much slower than plain ones.
	masksCost() bool
	load(m Mem, v VecVirtual, masked bool)
	store(v VecVirtual, m Mem, masked bool)
	// multiplyAdd adds (scalar at a) * b[j] to each acc[j].
	multiplyAdd(a Mem, b, acc []VecVirtual)
	// constants is how many vectors of equal lanes registers are left for beside
	// a transform of tiles.
	constants() int
	// multiply sets each acc[j] to that.
	multiply(a Mem, b, acc []VecVirtual)
	// constant is a vector of equal lanes, in a register or in memory.
	constant(f float32) Op
	leave()
}

// avx512 has vectors of 16 lanes, or of 8 for tiles that are not wider.
type avx512 struct{ half bool }

func (avx512) name() string      { return "avx512" }
func (avx512) zero(v VecVirtual) { VPXORD(v, v, v) }
func (avx512) leave()            { VZEROUPPER() }
func (avx512) masksCost() bool   { return false }

func (s avx512) lanes() int {
	if s.half {
		return 8
	}
	return 16
}

func (s avx512) vector() VecVirtual {
	if s.half {
		return YMM()
	}
	return ZMM()
}

func (avx512) mask(parameter string, before int) {
	count, bits := RCX, GP64()
	Load(Param(parameter), count)
	SUBQ(Imm(uint64(before)), count)
	MOVQ(U32(1), bits)
	SHLQ(CL, bits)
	DECQ(bits)
	KMOVW(bits.As32(), K1)
}

// maskFirst prepares the mask of the first count lanes.
func (avx512) maskFirst(count int) {
	bits := GP32()
	MOVL(U32(1<<count-1), bits)
	KMOVW(bits, K1)
}

func (avx512) load(m Mem, v VecVirtual, masked bool) {
	if masked {
		VMOVUPS_Z(m, K1, v)
		return
	}
	VMOVUPS(m, v)
}

func (avx512) store(v VecVirtual, m Mem, masked bool) {
	if masked {
		VMOVUPS(v, K1, m)
		return
	}
	VMOVUPS(v, m)
}

func (s avx512) multiplyAdd(a Mem, b, acc []VecVirtual) {
	if len(b) == 1 {
		VFMADD231PS_BCST(a, b[0], acc[0])
		return
	}
	t := s.vector()
	VBROADCASTSS(a, t)
	for j := range b {
		VFMADD231PS(b[j], t, acc[j])
	}
}

func (avx512) constants() int { return 16 }
func (s avx512) multiply(a Mem, b, acc []VecVirtual) {
	t := s.vector()
	VBROADCASTSS(a, t)
	for j := range b {
		VMULPS(b[j], t, acc[j])
	}
}

func (s avx512) constant(f float32) Op {
	v := s.vector()
	VMOVUPS(equalLanes(f), v)
	return v
}

type avx2 struct {
	masks Mem // 8 lanes of ones, then 8 of zeros
	last  VecVirtual
}

func (*avx2) name() string       { return "avx2" }
func (*avx2) lanes() int         { return 8 }
func (*avx2) vector() VecVirtual { return YMM() }
func (*avx2) zero(v VecVirtual)  { VXORPS(v, v, v) }
func (*avx2) leave()             { VZEROUPPER() }

// masksCost: a masked store is microcode on Zen, and takes part of the time of
// the sum itself.
func (*avx2) masksCost() bool { return true }

func (s *avx2) mask(parameter string, before int) {
	count, from := Load(Param(parameter), GP64()), GP64()
	LEAQ(s.masks.Offset(4*(8+before)), from)
	SHLQ(Imm(2), count)
	SUBQ(count, from)
	s.last = YMM()
	VMOVDQU(Mem{Base: from}, s.last)
}

func (s *avx2) load(m Mem, v VecVirtual, masked bool) {
	if masked {
		VMASKMOVPS(m, s.last, v)
		return
	}
	VMOVUPS(m, v)
}

func (s *avx2) store(v VecVirtual, m Mem, masked bool) {
	if masked {
		VMASKMOVPS(v, s.last, m)
		return
	}
	VMOVUPS(v, m)
}

func (*avx2) multiplyAdd(a Mem, b, acc []VecVirtual) {
	t := YMM()
	VBROADCASTSS(a, t)
	for j := range b {
		VFMADD231PS(b[j], t, acc[j])
	}
}

func (*avx2) constants() int { return 8 }
func (*avx2) multiply(a Mem, b, acc []VecVirtual) {
	t := YMM()
	VBROADCASTSS(a, t)
	for j := range b {
		VMULPS(b[j], t, acc[j])
	}
}

// constant lies in memory: there are not enough registers.
func (*avx2) constant(f float32) Op {
	return equalLanes(f)
}

var equalLanesOf = map[uint32]Mem{}

// equalLanes is a table of 16 lanes that hold f.
func equalLanes(f float32) Mem {
	b := math.Float32bits(f)
	table, ok := equalLanesOf[b]
	if !ok {
		table = GLOBL(fmt.Sprintf("lanes_%08x", b), RODATA|NOPTR)
		for lane := range 16 {
			DATA(4*lane, U32(b))
		}
		equalLanesOf[b] = table
	}
	return table
}

// laneMasks writes the table that avx2.mask reads: 8 dwords of ones, 8 of zeros.
func laneMasks() Mem {
	table := GLOBL("lane_masks", RODATA|NOPTR)
	for i, ones := range []U32{0xffffffff, 0} {
		for lane := range 8 {
			DATA(32*i+4*lane, ones)
		}
	}
	return table
}
