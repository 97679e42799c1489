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

// lists loops over the rows of lists: body sees the row's number, and i, from
// which on it handles what lies below end. y moves on by pitch elements.
func lists(y, pitch reg.Register, body func(row, i, end reg.Register)) {
	rows, start := Load(Param("rows"), GP64()), Load(Param("start"), GP64())
	row, i, end := GP64(), GP64(), GP64()
	XORQ(row, row)
	SHLQ(Imm(2), pitch)
	MOVLQSX(Mem{Base: start}, i)
	Label("row")
	CMPQ(row, rows)
	JGE(LabelRef("end"))
	MOVLQSX(Mem{Base: start, Index: row, Scale: 4, Disp: 4}, end)
	body(row, i, end)
	ADDQ(pitch, y)
	INCQ(row)
	JMP(LabelRef("row"))
	Label("end")
	VZEROUPPER()
	RET()
}

// combine writes y[r*pitch:] += Σ values[i] * x[at[i]:] over the list of row r.
func combine(s set) {
	TEXT("combineRows_f32_"+s.name, NOSPLIT, "func(rows int, start, at *int32, values, x, y *float32, pitch int, bias *float32)")
	Doc("Adds, for r below rows and i from start[r] to start[r+1], values[i] times the 64 elements at x[at[i]] to the 64 elements at y[r*pitch], which are bias[r] before if bias is not nil.")
	at, values, x, y := Load(Param("at"), GP64()), Load(Param("values"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64())
	pitch, bias := Load(Param("pitch"), GP64()), Load(Param("bias"), GP64())
	sums, w, from := s.vectors(), s.vec(), GP64()
	element := func(i reg.Register, number int, sums []reg.VecVirtual) {
		MOVLQSX(Mem{Base: at, Index: i, Scale: 4, Disp: 4 * number}, from)
		VBROADCASTSS(Mem{Base: values, Index: i, Scale: 4, Disp: 4 * number}, w)
		for k, v := range sums {
			VFMADD231PS(s.at(Mem{Base: x, Index: from, Scale: 4}, k), w, v)
		}
	}
	lists(y, pitch, func(row, i, end reg.Register) {
		TESTQ(bias, bias)
		JZ(LabelRef("add"))
		for _, v := range sums {
			VBROADCASTSS(Mem{Base: bias, Index: row, Scale: 4}, v)
		}
		JMP(LabelRef("loop"))
		Label("add")
		for k, v := range sums {
			VMOVUPS(s.at(Mem{Base: y}, k), v)
		}
		Label("loop")
		if s.lanes == 16 {
			// Four chains of additions would wait for each other: eight of them.
			others, next := s.vectors(), GP64()
			for _, v := range others {
				VPXORD(v, v, v)
			}
			Label("pair")
			LEAQ(Mem{Base: i, Disp: 2}, next)
			CMPQ(next, end)
			JGT(LabelRef("single"))
			element(i, 0, sums)
			element(i, 1, others)
			MOVQ(next, i)
			JMP(LabelRef("pair"))
			Label("single")
			for k, v := range others {
				VADDPS(v, sums[k], sums[k])
			}
		}
		CMPQ(i, end)
		JGE(LabelRef("done"))
		element(i, 0, sums)
		INCQ(i)
		if s.lanes == 8 {
			JMP(LabelRef("loop"))
		}
		Label("done")
		for k, v := range sums {
			VMOVUPS(v, s.at(Mem{Base: y}, k))
		}
	})
}

// dots writes out[i] += <y[r*pitch:], x[at[i]:]> over the list of row r.
func dots(s set) {
	TEXT("dotRows_f32_"+s.name, NOSPLIT, "func(rows int, start, at *int32, x, y *float32, pitch int, out *float32)")
	Doc("Adds, for r below rows and i from start[r] to start[r+1], the product of the 64 elements at y[r*pitch] with those at x[at[i]] to out[i].")
	at, x, y := Load(Param("at"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64())
	pitch, out := Load(Param("pitch"), GP64()), Load(Param("out"), GP64())
	ys, from := s.vectors(), GP64()
	lists(y, pitch, func(_, i, end reg.Register) {
		CMPQ(i, end)
		JGE(LabelRef("done"))
		for k, v := range ys {
			VMOVUPS(s.at(Mem{Base: y}, k), v)
		}
		if s.lanes == 16 {
			next := GP64()
			Label("four")
			LEAQ(Mem{Base: i, Disp: 4}, next)
			CMPQ(next, end)
			JGT(LabelRef("rest"))
			fourDots(at, x, i, out, ys)
			MOVQ(next, i)
			JMP(LabelRef("four"))
			Label("rest")
			CMPQ(i, end)
			JGE(LabelRef("done"))
		}
		Label("loop")
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
		CMPQ(i, end)
		JLT(LabelRef("loop"))
		Label("done")
	})
}

// fourDots adds four products at once with AVX-512: their lanes are added up
// together, which takes 9 instructions less for each than one by one.
func fourDots(at, x, i, out reg.Register, ys []reg.VecVirtual) {
	var sums [4]reg.VecVirtual
	for n := range sums {
		from, sum, half := GP64(), ZMM(), YMM()
		element := func(k int) Mem { return Mem{Base: x, Index: from, Scale: 4, Disp: 64 * k} }
		MOVLQSX(Mem{Base: at, Index: i, Scale: 4, Disp: 4 * n}, from)
		VMULPS(element(0), ys[0], sum)
		for k := 1; k < len(ys); k++ {
			VFMADD231PS(element(k), ys[k], sum)
		}
		VEXTRACTF64X4(Imm(1), sum, half)
		sums[n] = YMM()
		VADDPS(half, sum.AsY(), sums[n])
	}
	var pairs [2]reg.VecVirtual // of lanes 0 and 2, 1 and 3 of two sums by turns
	for p := range pairs {
		even, odd := YMM(), YMM()
		VUNPCKLPS(sums[2*p+1], sums[2*p], even)
		VUNPCKHPS(sums[2*p+1], sums[2*p], odd)
		pairs[p] = YMM()
		VADDPS(odd, even, pairs[p])
	}
	low, high, upper := YMM(), YMM(), XMM()
	VSHUFPS(Imm(0x44), pairs[1], pairs[0], low)
	VSHUFPS(Imm(0xee), pairs[1], pairs[0], high)
	VADDPS(high, low, low)
	VEXTRACTF128(Imm(1), low, upper)
	VADDPS(upper, low.AsX(), upper)
	VADDPS(Mem{Base: out, Index: i, Scale: 4}, upper, upper)
	VMOVUPS(upper, Mem{Base: out, Index: i, Scale: 4})
}
