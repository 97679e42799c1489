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
	collect()
	for n := 1; n <= rows; n++ {
		dot(n)
		spread(n)
	}
	Generate()
}

// collect writes the list of the elements that are not zero.
func collect() {
	order := ordering()
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

// dot writes scattered_dot_f32_{rows}_avx2.
func dot(rows int) {
	TEXT(fmt.Sprintf("scattered_dot_f32_%d_avx2", rows), NOSPLIT,
		"func(n int, at *int32, values *float32, planes int, x *float32, xPlane, xRow int, sums *float32)")
	Doc(fmt.Sprintf("Adds n > 0 elements times %d rows of planes > 0 planes of x to sums; see scatteredDot.", rows))
	n := Load(Param("n"), GP64())
	at, values := endOf("at", n), endOf("values", n)
	planes, x, sums := Load(Param("planes"), GP64()), Load(Param("x"), GP64()), Load(Param("sums"), GP64())
	xPlane, xRow := elements("xPlane"), strideOf("xRow", rows)
	NEGQ(n)
	acc := make([]reg.VecVirtual, rows)
	Label("plane")
	for r := range acc {
		acc[r] = YMM()
		VMOVUPS(Mem{Base: sums, Disp: 4 * lanes * r}, acc[r])
	}
	i, from, value := GP64(), GP64(), YMM()
	MOVQ(n, i)
	Label("element")
	MOVLQSX(Mem{Base: at, Index: i, Scale: 4}, from)
	LEAQ(Mem{Base: x, Index: from, Scale: 4}, from)
	VBROADCASTSS(Mem{Base: values, Index: i, Scale: 4}, value)
	for r := range acc {
		VFMADD231PS(xRow.at(from, r), value, acc[r])
	}
	INCQ(i)
	JNZ(LabelRef("element"))
	for r := range acc {
		VMOVUPS(acc[r], Mem{Base: sums, Disp: 4 * lanes * r})
	}
	ADDQ(xPlane, x)
	ADDQ(Imm(uint64(4*lanes*rows)), sums)
	DECQ(planes)
	JNZ(LabelRef("plane"))
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
