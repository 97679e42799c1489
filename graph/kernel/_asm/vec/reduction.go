package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// reductionBlocks is the number of blocks of a reduction's main loop. Element i
// of a pass goes to lane i of reductionBlocks*block accumulator lanes.
const reductionBlocks = 4

// reductionLoop describes acc = fold(acc, term(x[i], y[i], a)).
type reductionLoop struct {
	name   string
	inputs int
	scalar bool // uses a
	start  uint32
	term   func(v isa, o operands) reg.VecVirtual
	fold   func(v isa, acc, t reg.VecVirtual) reg.VecVirtual
	fold1  func(t, acc, dst Op) // fold on 256 and 128 bits
}

var (
	plus     = func(v isa, acc, t reg.VecVirtual) reg.VecVirtual { return v.add(acc, t) }
	largest  = func(v isa, acc, t reg.VecVirtual) reg.VecVirtual { return v.larger(acc, t) }
	smallest = func(v isa, acc, t reg.VecVirtual) reg.VecVirtual { return v.smaller(acc, t) }
	longest  = func(v isa, acc, t reg.VecVirtual) reg.VecVirtual {
		r := v.vec()
		VPMAXUD(t, acc, r)
		return r
	}

	plus1     = func(t, acc, dst Op) { VADDPS(t, acc, dst) }
	largest1  = func(t, acc, dst Op) { VMAXPS(t, acc, dst) }
	smallest1 = func(t, acc, dst Op) { VMINPS(t, acc, dst) }
	longest1  = func(t, acc, dst Op) { VPMAXUD(t, acc, dst) }
)

const (
	plusInf  = 0x7f800000
	minusInf = 0xff800000
)

var reductionLoops = []reductionLoop{
	{"sum", 1, false, 0, func(v isa, o operands) reg.VecVirtual { return o.x }, plus, plus1},
	{"sumAbs", 1, false, 0, func(v isa, o operands) reg.VecVirtual { return v.and(o.x, bits(0x7fffffff)) }, plus, plus1},
	{"sumSquares", 1, true, 0, func(v isa, o operands) reg.VecVirtual { d := v.sub(o.x, o.a); return v.mul(d, d) }, plus, plus1},
	{"dot", 2, true, 0, func(v isa, o operands) reg.VecVirtual { return v.mul(v.sub(o.x, o.a), o.y) }, plus, plus1},
	{"max", 1, false, minusInf, func(v isa, o operands) reg.VecVirtual { return o.x }, largest, largest1},
	{"min", 1, false, plusInf, func(v isa, o operands) reg.VecVirtual { return o.x }, smallest, smallest1},
	{"maxAbs", 1, false, 0, func(v isa, o operands) reg.VecVirtual { return v.and(o.x, bits(0x7fffffff)) }, longest, longest1},
}

func reduction(v isa, l reductionLoop) {
	name := v.symbol(l.name)
	TEXT(name, NOSPLIT, "func(x, y *float32, n int, a float32) float32")
	Doc(fmt.Sprintf("%s reduces n elements, a multiple of %d.", name, block))
	Pragma("noescape")
	x := Load(Param("x"), GP64())
	pointers := []reg.Register{x}
	var y reg.Register
	if l.inputs == 2 {
		y = Load(Param("y"), GP64())
		pointers = append(pointers, y)
	}
	n := Load(Param("n"), GP64())
	var o operands
	if l.scalar {
		o.a = v.param("a")
	}
	acc := make([]reg.VecVirtual, reductionBlocks*block/v.lanes)
	for i := range acc {
		acc[i] = v.vec()
		VMOVUPS(bits(l.start), acc[i])
	}
	v.loop(l.name, n, reductionBlocks, pointers, func(e int) {
		o.x = v.load(Mem{Base: x, Disp: 4 * e})
		if y != nil {
			o.y = v.load(Mem{Base: y, Disp: 4 * e})
		}
		i := e / v.lanes
		VMOVAPS(l.fold(v, acc[i], l.term(v, o)), acc[i])
	})
	Store(l.foldLanes(v, acc), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// foldLanes folds the upper half of the lanes onto the lower half until one is
// left: 64 to 32, 32 to 16, and so on, whatever the width of a register.
func (l reductionLoop) foldLanes(v isa, acc []reg.VecVirtual) reg.Register {
	for len(acc)*v.lanes > block {
		half := len(acc) / 2
		for i := range half {
			acc[i] = l.fold(v, acc[i], acc[half+i])
		}
		acc = acc[:half]
	}
	low, high := YMM(), YMM()
	if v.lanes == 16 {
		VEXTRACTF64X4(Imm(1), acc[0], high)
		low = acc[0].AsY().(reg.VecVirtual)
	} else {
		low, high = acc[0], acc[1]
	}
	y := YMM()
	l.fold1(high, low, y)
	upper, r := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, upper)
	l.fold1(upper, y.AsX(), r)
	VPERMILPS(Imm(0b01_00_11_10), r, upper) // lanes 2, 3 to 0, 1
	l.fold1(upper, r, r)
	VPERMILPS(Imm(0b00_00_00_01), r, upper) // lane 1 to 0
	l.fold1(upper, r, r)
	return r
}
