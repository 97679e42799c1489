// Command sparse writes the assembly loops of package kernel over matrices of
// which only some elements are kept, once for AVX2 and once for AVX-512. A
// matrix is multiplied with 64 samples that lie side by side.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// samples is how many samples a loop handles.
const samples = 64

// set is one instruction set: the same mnemonics on registers of another width.
type set struct {
	name  string
	lanes int
}

func (s set) vec() reg.VecVirtual {
	if s.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

// vectors are fresh registers for all samples.
func (s set) vectors() []reg.VecVirtual {
	list := make([]reg.VecVirtual, samples/s.lanes)
	for i := range list {
		list[i] = s.vec()
	}
	return list
}

// at is vector i of the samples at an address.
func (s set) at(m Mem, i int) Mem {
	m.Disp += i * s.lanes * 4
	return m
}

func main() {
	ConstraintExpr("!purego")
	for _, s := range []set{{"avx2", 8}, {"avx512", 16}} {
		combine(s)
		dots(s)
	}
	Generate()
}

// combine writes y += Σ_i values[i] * x[at[i]:].
func combine(s set) {
	TEXT("combineRows_f32_"+s.name, NOSPLIT, "func(n int, at *int32, values, x, y *float32)")
	Doc("Adds, for i below n, values[i] times the 64 elements at x[at[i]] to the 64 elements at y.")
	n, at, values, x, y := Load(Param("n"), GP64()), Load(Param("at"), GP64()), Load(Param("values"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64())
	sums := s.vectors()
	for i, v := range sums {
		VMOVUPS(s.at(Mem{Base: y}, i), v)
	}
	i, from, w := GP64(), GP64(), s.vec()
	XORQ(i, i)
	loop, done := "loop", "done"
	Label(loop)
	CMPQ(i, n)
	JGE(LabelRef(done))
	MOVLQSX(Mem{Base: at, Index: i, Scale: 4}, from)
	VBROADCASTSS(Mem{Base: values, Index: i, Scale: 4}, w)
	for k, v := range sums {
		VFMADD231PS(s.at(Mem{Base: x, Index: from, Scale: 4}, k), w, v)
	}
	INCQ(i)
	JMP(LabelRef(loop))
	Label(done)
	for i, v := range sums {
		VMOVUPS(v, s.at(Mem{Base: y}, i))
	}
	VZEROUPPER()
	RET()
}

// dots writes out[i] += <y, x[at[i]:]>.
func dots(s set) {
	TEXT("dotRows_f32_"+s.name, NOSPLIT, "func(n int, at *int32, x, y, out *float32)")
	Doc("Adds, for i below n, the product of the 64 elements at y with those at x[at[i]] to out[i].")
	n, at, x, y, out := Load(Param("n"), GP64()), Load(Param("at"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64()), Load(Param("out"), GP64())
	ys := s.vectors()
	for i, v := range ys {
		VMOVUPS(s.at(Mem{Base: y}, i), v)
	}
	i, from := GP64(), GP64()
	XORQ(i, i)
	Label("loop")
	CMPQ(i, n)
	JGE(LabelRef("done"))
	MOVLQSX(Mem{Base: at, Index: i, Scale: 4}, from)
	a, b := s.vec(), s.vec()
	VMULPS(s.at(Mem{Base: x, Index: from, Scale: 4}, 0), ys[0], a)
	VMULPS(s.at(Mem{Base: x, Index: from, Scale: 4}, 1), ys[1], b)
	for k := 2; k < len(ys); k += 2 {
		VFMADD231PS(s.at(Mem{Base: x, Index: from, Scale: 4}, k), ys[k], a)
		VFMADD231PS(s.at(Mem{Base: x, Index: from, Scale: 4}, k+1), ys[k+1], b)
	}
	VADDPS(b, a, a)
	if s.lanes == 16 {
		half := YMM()
		VEXTRACTF64X4(Imm(1), a, half)
		VADDPS(half, a.AsY(), a.AsY())
	}
	high := XMM()
	VEXTRACTF128(Imm(1), a.AsY(), high)
	sum := XMM()
	VADDPS(high, a.AsX(), sum)
	VMOVHLPS(sum, sum, high)
	VADDPS(high, sum, sum)
	VMOVSHDUP(sum, high)
	VADDSS(high, sum, sum)
	VADDSS(Mem{Base: out, Index: i, Scale: 4}, sum, sum)
	VMOVSS(sum, Mem{Base: out, Index: i, Scale: 4})
	INCQ(i)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}
