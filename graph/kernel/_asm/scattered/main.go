// Command scattered writes the assembly loops of package kernel over gradients
// that are zero at most places, for AVX2.
package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lanes of a vector, and the most vectors of a plane of a kernel.
const (
	lanes = 8
	rows  = 7
)

func main() {
	ConstraintExpr("!purego")
	order := ordering()
	collect(order)
	collectPooled("collectPooled", order, "float32")
	collectPooled("collectOpen", order, "int32")
	for n := 1; n <= rows; n++ {
		dot(n)
		spread(n)
		at(n)
	}
	Generate()
}

// collect writes the list of the elements that are not zero.
func collect(order Mem) {
	TEXT("collect_f32_avx2", NOSPLIT, "func(blocks int, plane *float32, places *int32, at *int32, values *float32) int")
	Doc("Lists what is not zero of blocks > 0 times 8 elements; see collectFunc.")
	blocks := Load(Param("blocks"), GP64())
	plane, places := Load(Param("plane"), GP64()), Load(Param("places"), GP64())
	at, values := Load(Param("at"), GP64()), Load(Param("values"), GP64())
	table := GP64()
	LEAQ(order, table)
	n, zero := GP64(), YMM()
	XORQ(n, n)
	VXORPS(zero, zero, zero)
	Label("block")
	v, kept, place, index := YMM(), YMM(), YMM(), YMM()
	mask := GP64()
	VMOVUPS(Mem{Base: plane}, v)
	VCMPPS(Imm(4), zero, v, kept) // not equal, or NaN
	VMOVMSKPS(kept, mask.As32())
	VPMOVZXBD(Mem{Base: table, Index: mask, Scale: 8}, index)
	VPERMPS(v, index, v)
	VPERMD(Mem{Base: places}, index, place)
	VMOVUPS(v, Mem{Base: values, Index: n, Scale: 4})
	VMOVDQU(place, Mem{Base: at, Index: n, Scale: 4})
	POPCNTQ(mask, mask)
	ADDQ(mask, n)
	ADDQ(Imm(4*lanes), plane)
	ADDQ(Imm(4*lanes), places)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	Store(n, ReturnIndex(0))
	RET()
}

// collectPooled writes the list of the elements of a pooled plane that are not
// zero, with their values (float32), or of those above zero, with their numbers.
// Places become offsets in float32, place*line[1] + floor((place+1/2)*line[0])*line[2].
func collectPooled(name string, order Mem, kind string) {
	positive := kind == "int32"
	TEXT(name+"_f32_avx2", NOSPLIT, "func(blocks int, plane *float32, index *int64, first, last int64, line *float32, at *int32, kept *"+kind+") (n, stray int)")
	Doc("Lists some of blocks > 0 times 8 elements; stray is not 0 if an index is not within first to first+last.")
	blocks := Load(Param("blocks"), GP64())
	plane, index, line := Load(Param("plane"), GP64()), Load(Param("index"), GP64()), Load(Param("line"), GP64())
	at, kept := Load(Param("at"), GP64()), Load(Param("kept"), GP64())
	first, last := quads("first"), quads("last")
	reciprocal, column, row := YMM(), YMM(), YMM()
	for i, r := range []reg.VecVirtual{reciprocal, column, row} {
		VBROADCASTSS(Mem{Base: line, Disp: 4 * i}, r)
	}
	table := GP64()
	LEAQ(order, table)
	n, stray, number := GP64(), YMM(), YMM()
	XORQ(n, n)
	VXORPS(stray, stray, stray)
	if positive {
		VMOVDQU(constant("lane_numbers", 0, 1), number)
	}
	Label("block")
	var half [2]reg.VecVirtual
	for i := range half {
		half[i] = YMM()
		over := YMM()
		VMOVDQU(Mem{Base: index, Disp: 32 * i}, half[i])
		VPSUBQ(first, half[i], half[i])
		VPCMPGTQ(last, half[i], over)
		VPOR(over, stray, stray)
		VPOR(half[i], stray, stray)
	}
	place, p, high := YMM(), YMM(), YMM()
	VSHUFPS(Imm(0b10_00_10_00), half[1], half[0], place)
	VPERMQ(Imm(0b11_01_10_00), place, place)
	VCVTDQ2PS(place, p)
	VADDPS(constant("halves", 0x3f000000, 0), p, high)
	VMULPS(reciprocal, high, high)
	VROUNDPS(Imm(1), high, high) // down
	VMULPS(column, p, p)
	VFMADD231PS(row, high, p)
	VCVTPS2DQ(p, place)

	v, zero, some, lanesKept := YMM(), YMM(), YMM(), YMM()
	mask := GP64()
	VMOVUPS(Mem{Base: plane}, v)
	VXORPS(zero, zero, zero)
	if positive {
		VCMPPS(Imm(30), zero, v, some) // greater
	} else {
		VCMPPS(Imm(4), zero, v, some) // not equal, or NaN
	}
	VMOVMSKPS(some, mask.As32())
	VPMOVZXBD(Mem{Base: table, Index: mask, Scale: 8}, lanesKept)
	VPERMD(place, lanesKept, place)
	if positive {
		VPERMD(number, lanesKept, v)
		VPADDD(constant("eights", 8, 0), number, number)
	} else {
		VPERMPS(v, lanesKept, v)
	}
	VMOVDQU(place, Mem{Base: at, Index: n, Scale: 4})
	VMOVUPS(v, Mem{Base: kept, Index: n, Scale: 4})
	POPCNTQ(mask, mask)
	ADDQ(mask, n)
	ADDQ(Imm(4*lanes), plane)
	ADDQ(Imm(8*lanes), index)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VMOVMSKPD(stray, mask.As32())
	VZEROUPPER()
	Store(n, Return("n"))
	Store(mask, Return("stray"))
	RET()
}

// quads has an integer in every lane of 64 bits.
func quads(param string) reg.VecVirtual {
	x, y := XMM(), YMM()
	VMOVQ(Load(Param(param), GP64()), x)
	VPBROADCASTQ(x, y)
	return y
}

var constants = map[string]Mem{}

// constant is a vector in memory that rises from first by step.
func constant(name string, first, step int) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range lanes {
			DATA(4*i, U32(first+i*step))
		}
		constants[name] = m
	}
	return m
}

// ordering is a table of 256 times 8 bytes: the lanes of a mask, in order, and
// then any.
func ordering() Mem {
	table := GLOBL("lanes_of_mask", RODATA|NOPTR)
	for mask := range 256 {
		entry, at := uint64(0), 0
		for m := uint(mask); m != 0; m &= m - 1 {
			entry |= uint64(bits.TrailingZeros(m)) << (8 * at)
			at++
		}
		DATA(8*mask, U64(entry))
	}
	return table
}

// dot writes scattered_dot_f32_{rows}_avx2, which goes through the elements once for
// every two planes.
func dot(rows int) {
	TEXT(fmt.Sprintf("scattered_dot_f32_%d_avx2", rows), NOSPLIT,
		"func(n int, at *int32, values *float32, planes int, x *float32, xPlane, xRow int, sums *float32)")
	Doc(fmt.Sprintf("Adds n > 0 elements times %d rows of planes > 0 planes of x to sums; see scatteredDot.", rows))
	n := Load(Param("n"), GP64())
	at, values := endOf("at", n), endOf("values", n)
	planes, x, sums := Load(Param("planes"), GP64()), Load(Param("x"), GP64()), Load(Param("sums"), GP64())
	xPlane, xRow := elements("xPlane"), strideOf("xRow", rows)
	NEGQ(n)
	some := func(count int) {
		acc := make([]reg.VecVirtual, count*rows)
		for r := range acc {
			acc[r] = YMM()
			VMOVUPS(Mem{Base: sums, Disp: 4 * lanes * r}, acc[r])
		}
		i, value := GP64(), YMM()
		MOVQ(n, i)
		element := fmt.Sprintf("element%d", count)
		Label(element)
		from := []reg.Register{GP64(), GP64()}[:count]
		MOVLQSX(Mem{Base: at, Index: i, Scale: 4}, from[0])
		LEAQ(Mem{Base: x, Index: from[0], Scale: 4}, from[0])
		if count > 1 {
			LEAQ(Mem{Base: from[0], Index: xPlane, Scale: 1}, from[1])
		}
		VBROADCASTSS(Mem{Base: values, Index: i, Scale: 4}, value)
		for r := range acc {
			VFMADD231PS(xRow.at(from[r/rows], r%rows), value, acc[r])
		}
		INCQ(i)
		JNZ(LabelRef(element))
		for r := range acc {
			VMOVUPS(acc[r], Mem{Base: sums, Disp: 4 * lanes * r})
		}
		for range count {
			ADDQ(xPlane, x)
		}
		ADDQ(U32(4*lanes*rows*count), sums)
	}
	Label("pair")
	CMPQ(planes, Imm(2))
	JL(LabelRef("single"))
	some(2)
	SUBQ(Imm(2), planes)
	JMP(LabelRef("pair"))
	Label("single")
	TESTQ(planes, planes)
	JZ(LabelRef("done"))
	some(1)
	DECQ(planes)
	JMP(LabelRef("single"))
	Label("done")
	VZEROUPPER()
	RET()
}

// spread writes scattered_spread_f32_{rows}_avx2. An element goes to all planes
// before the next one comes, so that no store is read back at once.
func spread(rows int) {
	TEXT(fmt.Sprintf("scattered_spread_f32_%d_avx2", rows), NOSPLIT,
		"func(n int, at *int32, values *float32, planes int, w, x *float32, xPlane, xRow int)")
	Doc(fmt.Sprintf("Adds n > 0 elements times %d rows of planes > 0 planes of w to x; see scatteredSpread.", rows))
	n := Load(Param("n"), GP64())
	at, values := endOf("at", n), endOf("values", n)
	w, x := Load(Param("w"), GP64()), Load(Param("x"), GP64())
	xPlane, xRow := elements("xPlane"), strideOf("xRow", rows)
	NEGQ(n)
	Label("element")
	to, from, planes, value := GP64(), GP64(), GP64(), YMM()
	MOVLQSX(Mem{Base: at, Index: n, Scale: 4}, to)
	LEAQ(Mem{Base: x, Index: to, Scale: 4}, to)
	VBROADCASTSS(Mem{Base: values, Index: n, Scale: 4}, value)
	MOVQ(w, from)
	Load(Param("planes"), planes)
	Label("plane")
	for r := range rows {
		t := YMM()
		VMOVUPS(xRow.at(to, r), t)
		VFMADD231PS(Mem{Base: from, Disp: 4 * lanes * r}, value, t)
		VMOVUPS(t, xRow.at(to, r))
	}
	ADDQ(xPlane, to)
	ADDQ(Imm(uint64(4*lanes*rows)), from)
	DECQ(planes)
	JNZ(LabelRef("plane"))
	INCQ(n)
	JNZ(LabelRef("element"))
	VZEROUPPER()
	RET()
}

// at writes scattered_at_f32_{rows}_avx2: four elements at a time, each with an
// accumulator of its own, so that a vector of w is loaded once for them.
func at(rows int) {
	TEXT(fmt.Sprintf("scattered_at_f32_%d_avx2", rows), NOSPLIT,
		"func(fours int, at *int32, planes int, w, x *float32, xPlane, xRow int, y *float32)")
	Doc(fmt.Sprintf("Adds to fours > 0 times 4 elements of y the sums over %d rows of planes > 0 planes; see scatteredAt.", rows))
	fours, at, y := Load(Param("fours"), GP64()), Load(Param("at"), GP64()), Load(Param("y"), GP64())
	w, x := Load(Param("w"), GP64()), Load(Param("x"), GP64())
	xPlane, xRow := elements("xPlane"), strideOf("xRow", rows)
	Label("four")
	var from [4]reg.Register
	var acc [4]reg.VecVirtual
	for i := range from {
		p := GP64()
		MOVLQSX(Mem{Base: at, Disp: 4 * i}, p)
		LEAQ(Mem{Base: x, Index: p, Scale: 4}, p)
		from[i], acc[i] = p, YMM()
		VXORPS(acc[i], acc[i], acc[i])
	}
	weights, planes := GP64(), GP64()
	MOVQ(w, weights)
	Load(Param("planes"), planes)
	Label("plane")
	for r := range rows {
		v := YMM()
		VMOVUPS(Mem{Base: weights, Disp: 4 * lanes * r}, v)
		for i := range acc {
			VFMADD231PS(xRow.at(from[i], r), v, acc[i])
		}
	}
	for _, p := range from {
		ADDQ(xPlane, p)
	}
	ADDQ(Imm(uint64(4*lanes*rows)), weights)
	DECQ(planes)
	JNZ(LabelRef("plane"))
	low, high := YMM(), YMM()
	VHADDPS(acc[1], acc[0], low)
	VHADDPS(acc[3], acc[2], high)
	VHADDPS(high, low, low)
	upper := XMM()
	VEXTRACTF128(Imm(1), low, upper)
	VADDPS(upper, low.AsX(), upper)
	VADDPS(Mem{Base: y}, upper, upper)
	VMOVUPS(upper, Mem{Base: y})
	ADDQ(Imm(16), at)
	ADDQ(Imm(16), y)
	DECQ(fours)
	JNZ(LabelRef("four"))
	VZEROUPPER()
	RET()
}

// endOf is the address behind the n elements of a parameter.
func endOf(param string, n reg.Register) reg.Register {
	r := Load(Param(param), GP64())
	LEAQ(Mem{Base: r, Index: n, Scale: 4}, r)
	return r
}

// elements loads a number of elements as bytes.
func elements(param string) reg.Register {
	r := Load(Param(param), GP64())
	SHLQ(Imm(2), r)
	return r
}

// stride addresses rows 0 to 6 at a fixed distance without moving the base.
type stride struct{ one, three, five reg.Register }

func strideOf(param string, rows int) stride {
	s := stride{one: elements(param), three: GP64(), five: GP64()}
	if rows > 3 {
		LEAQ(Mem{Base: s.one, Index: s.one, Scale: 2}, s.three)
	}
	if rows > 5 {
		LEAQ(Mem{Base: s.three, Index: s.one, Scale: 2}, s.five)
	}
	return s
}

func (s stride) at(base reg.Register, row int) Mem {
	switch row {
	case 0:
		return Mem{Base: base}
	case 3:
		return Mem{Base: base, Index: s.three, Scale: 1}
	case 5:
		return Mem{Base: base, Index: s.five, Scale: 1}
	case 6:
		return Mem{Base: base, Index: s.three, Scale: 2}
	}
	return Mem{Base: base, Index: s.one, Scale: uint8(row)} // 1, 2, 4
}
