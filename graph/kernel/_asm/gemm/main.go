// Command gemm writes the assembly of package kernel's matrix products, of the
// packing that feeds them, of Winograd's transforms, of gradients of single
// samples and of depthwise convolutions.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!purego")
	for rows := 1; rows <= 8; rows++ {
		tile(avx512{half: true}, rows, 1)
		for vectors := 1; vectors <= 3; vectors++ {
			tile(avx512{}, rows, vectors)
		}
	}
	masks := laneMasks()
	strips(avx512{}, 8, 3)
	strips(&avx2{masks: masks}, 6, 2)
	momentum(avx512{}, 8, 3)
	momentumRest(avx512{}, 8)
	momentum(&avx2{masks: masks}, 6, 2)
	nonzero()
	nonzeroRow()
	copyLines()
	for _, cut := range []bool{false, true} {
		for vectors := 1; vectors <= 8; vectors++ {
			gapsRows(avx512{}, vectors, cut)
		}
		for vectors := 1; vectors <= 11; vectors++ {
			gapsRows(&avx2{masks: masks}, vectors, cut)
		}
	}
	for vectors := 1; vectors <= 3; vectors++ {
		column(avx512{}, 8, vectors)
	}
	column(&avx2{masks: masks}, 6, 2)
	for rows := 1; rows <= 6; rows++ {
		for vectors := 1; vectors <= 2; vectors++ {
			tile(&avx2{masks: masks}, rows, vectors)
		}
	}
	for rows := 1; rows <= 8; rows++ {
		transpose(avx512{half: true}, rows, false)
		transpose(&avx2{masks: masks}, rows, false)
		if rows < 8 {
			transpose(&avx2{masks: masks}, rows, true)
		}
	}
	transposeBlocks(&avx2{})
	window()
	windowGather()
	for vectors := 1; vectors <= 3; vectors++ {
		copyRows(avx512{}, vectors)
	}
	for vectors := 1; vectors <= 2; vectors++ {
		copyRows(&avx2{masks: masks}, vectors)
	}
	winograd(avx512{})
	winograd(&avx2{})
	strided(avx512{})
	strided(&avx2{})
	direct(avx512{}, 8, 8, 3)
	direct(&avx2{}, 6, 4, 3)
	pairs(avx512{}, 8)
	depthwise(avx512{}, []int{64}, 4)
	depthwise(&avx2{}, nil, 1)
	squares(avx512{}, 4, 8, 3)
	squares(&avx2{}, 3, 4, 2)
	peak(avx512{})
	peak(&avx2{})
	Generate()
}

// Flags of a tile function; package kernel has the same constants.
const (
	addC = 1 << iota
	addRowBias
	addColBias
	rectify
	wholeRows
)

// packedRow is the distance of columns in a packed strip of A, as in package
// kernel.
const packedRow = 8

// tile writes gemm_f32_{rows}x{columns}_{set}: a tile of C held in registers
// while k runs. A is read one broadcast scalar at a time, through two strides,
// so that a packed panel, a row-major matrix and a transposed one all serve. B
// is read by rows of vectors; where the last vector of a row of B and C does not
// exist as a whole it is masked: a masked load or store is microcode on Zen with
// AVX2, and with AVX-512 a masked load takes the place of a multiply-add on Intel's
// processors.
func tile(set vectorSet, rows, vectors int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("gemm_f32_%dx%d_%s", rows, vectors*lanes, set.name()), NOSPLIT,
		"func(k int, a []float32, aRow, aCol int, b []float32, bRow int, c []float32, cRow int, cols int, bias []float32, flags int)")
	Doc(fmt.Sprintf("A tile of %d rows and %d to %d columns; see tileFunc.", rows, (vectors-1)*lanes+1, vectors*lanes))
	Pragma("noescape")

	k := Load(Param("k"), GP64())
	a := Load(Param("a").Base(), GP64())
	aRow := newStride("aRow", rows)
	aCol := bytes("aCol")
	b := Load(Param("b").Base(), GP64())
	bRow := bytes("bRow")
	set.mask("cols", (vectors-1)*lanes)

	acc := make([][]VecVirtual, rows)
	for i := range acc {
		for range vectors {
			v := set.vector()
			set.zero(v)
			acc[i] = append(acc[i], v)
		}
	}

	prefetch(rows, vectors*lanes*4)

	// sum writes the loop over k; masked says that the last vector of a row of
	// B is cut short.
	sum := func(masked bool, name suffix) {
		TESTQ(k, k)
		JZ(LabelRef(name.of("epilogue")))
		bv := make([]VecVirtual, vectors)
		for j := range bv {
			bv[j] = set.vector()
		}
		term := func() {
			for j := range bv {
				set.load(Mem{Base: b, Disp: j * lanes * 4}, bv[j], masked && j == vectors-1)
			}
			for i := range acc {
				set.multiplyAdd(aRow.at(a, i), bv, acc[i])
			}
			ADDQ(aCol, a)
			ADDQ(bRow, b)
		}
		if !masked {
			rounds(k, name, nil, term)
		}
		Label(name.of("loop"))
		term()
		DECQ(k)
		JNZ(LabelRef(name.of("loop")))
		Label(name.of("epilogue"))
	}
	flags := Load(Param("flags"), GP64())
	TESTQ(U32(wholeRows), flags)
	JNZ(LabelRef("whole"))
	whole := func(otherwise string) {
		cols := Load(Param("cols"), GP64())
		CMPQ(cols, Imm(uint64(vectors*lanes)))
		JNE(LabelRef(otherwise))
	}
	whole("masked")
	Label("whole")
	sum(false, "_whole")
	whole("epilogue")
	tileEnd(set, rows).epilogue(set, acc, false, "_whole")
	set.leave()
	RET()
	Label("masked")
	sum(true, "")
	tileEnd(set, rows).epilogue(set, acc, true, "")
	set.leave()
	RET()
}

// termsPerRound is how many terms a round sums: with rounds as few as these,
// the processor foresees the end of a sum of some hundred terms, and begins the
// next tile while it finishes one.
const termsPerRound = 4

// rounds sums as many rounds as there are in k terms, and leaves k with the
// rest. If there is none, it goes on behind the loop over single terms. begin,
// unless it is nil, begins a round.
func rounds(k Register, name suffix, begin, term func()) {
	SUBQ(Imm(termsPerRound), k)
	JL(LabelRef(name.of("few")))
	align()
	Label(name.of("round"))
	if begin != nil {
		begin()
	}
	for range termsPerRound {
		term()
	}
	SUBQ(Imm(termsPerRound), k)
	JGE(LabelRef(name.of("round")))
	Label(name.of("few"))
	ADDQ(Imm(termsPerRound), k)
	JZ(LabelRef(name.of("epilogue")))
}

// prefetch fetches the rows of C that will be added to, while the sum runs.
func prefetch(rows, width int) {
	flags := Load(Param("flags"), GP64())
	TESTQ(U32(addC), flags)
	JZ(LabelRef("fetched"))
	c := Load(Param("c").Base(), GP64())
	cRow := bytes("cRow")
	for range rows {
		for at := 0; at < width; at += 64 {
			PREFETCHT0(Mem{Base: c, Disp: at})
		}
		ADDQ(cRow, c)
	}
	Label("fetched")
}

// suffix tells labels of parts apart that are written twice.
type suffix string

func (s suffix) of(label string) string { return label + string(s) }

// target is where a tile goes.
type target struct {
	c     Register
	cRow  stride
	flags Register
	bias  Register
	at    func(i, j int) Mem // of a vector; nil: those of a row lie one beside the other
}

// tileEnd loads the target of a tile function.
func tileEnd(set vectorSet, rows int) *target {
	return &target{c: Load(Param("c").Base(), GP64()), cRow: newStride("cRow", rows), flags: Load(Param("flags"), GP64()), bias: Load(Param("bias").Base(), GP64())}
}

// epilogue adds to the tile what the flags ask for and stores it; masked says
// that the last vector of a row is cut short.
func (t *target) epilogue(set vectorSet, acc [][]VecVirtual, masked bool, name suffix) {
	vectors, lanes := len(acc[0]), set.lanes()
	c, cRow, flags, bias := t.c, t.cRow, t.flags, t.bias
	last := vectors - 1
	if !masked {
		last = vectors
	}
	when := func(flag int, label string, body func()) {
		TESTQ(U32(flag), flags)
		JZ(LabelRef(name.of(label)))
		body()
		Label(name.of(label))
	}
	element := t.at
	if element == nil {
		element = func(i, j int) Mem {
			m := cRow.at(c, i)
			m.Disp = j * lanes * 4
			return m
		}
	}

	when(addC, "rowBias", func() {
		for i := range acc {
			for j := range acc[i] {
				t := set.vector()
				set.load(element(i, j), t, j == last)
				VADDPS(t, acc[i][j], acc[i][j])
			}
		}
	})
	when(addRowBias, "columnBias", func() {
		for i := range acc {
			t := set.vector()
			VBROADCASTSS(Mem{Base: bias, Disp: 4 * i}, t)
			for j := range acc[i] {
				VADDPS(t, acc[i][j], acc[i][j])
			}
		}
	})
	when(addColBias, "relu", func() {
		for j := range vectors {
			t := set.vector()
			set.load(Mem{Base: bias, Disp: j * lanes * 4}, t, j == last)
			for i := range acc {
				VADDPS(t, acc[i][j], acc[i][j])
			}
		}
	})
	when(rectify, "store", func() {
		zero := set.vector()
		set.zero(zero)
		for i := range acc {
			for j := range acc[i] {
				VMAXPS(acc[i][j], zero, acc[i][j]) // this order keeps a NaN
			}
		}
	})
	for i := range acc {
		for j := range acc[i] {
			set.store(acc[i][j], element(i, j), j == last)
		}
	}
}

// strips writes gemm_strips_f32_{rows}x{columns}_{set}: whole tiles, one below
// the other, of packed strips of A and one packed panel of B. Each strip fetches
// its share of the panel that comes next: at once where a row of B is one line of
// the cache, or else, because as many lines as that would take all the fill buffers,
// a little with each term.
func strips(set vectorSet, rows, vectors int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("gemm_strips_f32_%dx%d_%s", rows, vectors*lanes, set.name()), NOSPLIT,
		"func(n, k int, a, b, next, c []float32, cRow int, bias []float32, flags int)")
	Doc(fmt.Sprintf("n > 0 tiles of %d rows and %d columns, k > 0; see stripsFunc.", rows, vectors*lanes))
	Pragma("noescape")
	n, a := Load(Param("n"), GP64()), Load(Param("a").Base(), GP64())
	t := tileEnd(set, rows)
	step := GP64() // from a tile to the next one
	IMUL3Q(Imm(uint64(rows)), t.cRow.one, step)
	next, rowBytes := Load(Param("next").Base(), GP64()), vectors*lanes*4
	atOnce := rowBytes == 64
	if atOnce {
		Load(Param("k"), RAX)
	} else {
		MOVQ(U32(rowBytes), RAX)
	}
	share := divideRAX(n) // lines of a strip or bytes of a term
	b, k := GP64(), GP64()
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		for range vectors {
			acc[i] = append(acc[i], set.vector())
		}
	}
	bv := make([]VecVirtual, vectors)
	for j := range bv {
		bv[j] = set.vector()
	}

	Label("strip")
	Load(Param("b").Base(), b)
	for i := range acc {
		for j := range acc[i] {
			set.zero(acc[i][j])
		}
	}
	for i := range rows {
		m := t.cRow.at(t.c, i)
		for at := 0; at < vectors*lanes*4; at += 64 {
			m.Disp = at
			PREFETCHT0(m)
		}
	}
	if atOnce {
		MOVQ(share, k)
		Label("line")
		PREFETCHT1(Mem{Base: next})
		ADDQ(Imm(64), next)
		DECQ(k)
		JNZ(LabelRef("line"))
	}
	Load(Param("k"), k)
	align()
	Label("loop")
	if !atOnce {
		PREFETCHT1(Mem{Base: next})
		ADDQ(share, next)
	}
	for j := range bv {
		set.load(Mem{Base: b, Disp: j * lanes * 4}, bv[j], false)
	}
	for i := range acc {
		set.multiplyAdd(Mem{Base: a, Disp: 4 * i}, bv, acc[i])
	}
	ADDQ(Imm(4*packedRow), a)
	ADDQ(Imm(uint64(4*vectors*lanes)), b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	t.epilogue(set, acc, false, "")
	ADDQ(step, t.c)
	DECQ(n)
	JNZ(LabelRef("strip"))
	set.leave()
	RET()
}

// pairs writes gemm_pairs_f32_{rows}x{lanes}_{set}: tiles of one vector of columns,
// two at a time, of a packed strip of A and one B after the other, whose rows
// follow each other like those of C: two vectors share what is read of A.
func pairs(set vectorSet, rows int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("gemm_pairs_f32_%dx%d_%s", rows, lanes, set.name()), NOSPLIT,
		"func(n, k int, a, b []float32, bNext int, c []float32, cNext int, bias []float32, flags int)")
	Doc(fmt.Sprintf("n > 0 pairs of tiles of %d rows and %d columns, k > 0; see pairsFunc.", rows, lanes))
	Pragma("noescape")
	n, tile, bNext := Load(Param("n"), GP64()), Load(Param("b").Base(), GP64()), bytes("bNext")
	c, cNext := Load(Param("c").Base(), GP64()), bytes("cNext")
	acc := tileOf(set, rows, 2)
	end := target{
		flags: Load(Param("flags"), GP64()), bias: Load(Param("bias").Base(), GP64()),
		at: func(i, j int) Mem {
			m := Mem{Base: c, Disp: i * lanes * 4}
			if j > 0 {
				m.Index, m.Scale = cNext, 1
			}
			return m
		},
	}
	bv := []VecVirtual{set.vector(), set.vector()}

	Label("pair")
	clearAll(set, acc)
	a, b, k := Load(Param("a").Base(), GP64()), GP64(), Load(Param("k"), GP64())
	MOVQ(tile, b)
	term := func() {
		set.load(Mem{Base: b}, bv[0], false)
		set.load(Mem{Base: b, Index: bNext, Scale: 1}, bv[1], false)
		for i := range acc {
			set.multiplyAdd(Mem{Base: a, Disp: 4 * i}, bv, acc[i])
		}
		ADDQ(Imm(4*packedRow), a)
		ADDQ(Imm(uint64(4*lanes)), b)
	}
	rounds(k, "", nil, term)
	Label("loop")
	term()
	DECQ(k)
	JNZ(LabelRef("loop"))
	Label("epilogue")
	end.epilogue(set, acc, false, "")
	LEAQ(Mem{Base: tile, Index: bNext, Scale: 2}, tile)
	LEAQ(Mem{Base: c, Index: cNext, Scale: 2}, c)
	DECQ(n)
	JNZ(LabelRef("pair"))
	set.leave()
	RET()
}

// divideRAX divides what is in RAX by n, rounded up.
func divideRAX(n Register) Register {
	ADDQ(n, RAX)
	DECQ(RAX)
	XORL(EDX, EDX)
	DIVQ(n)
	quotient := GP64()
	MOVQ(RAX, quotient)
	return quotient
}

// align makes the code that follows begin at a line of the cache, so that the
// speed of a loop does not depend on what is linked before it.
func align() {
	Instruction(&ir.Instruction{Opcode: "PCALIGN", Operands: []Op{Imm(64)}})
}

// bytes loads a parameter that counts elements and turns it into bytes.
func bytes(param string) Register {
	r := Load(Param(param), GP64())
	SHLQ(Imm(2), r)
	return r
}

// stride addresses rows 0 to 8 at a fixed distance without moving the base.
type stride struct{ one, three, five, seven Register }

func newStride(param string, rows int) stride {
	s := stride{one: bytes(param)}
	odd := func(r *Register, row int, from Register) {
		if rows > row {
			*r = GP64()
			LEAQ(Mem{Base: from, Index: s.one, Scale: 2}, *r)
		}
	}
	odd(&s.three, 3, s.one)
	odd(&s.five, 5, s.three)
	odd(&s.seven, 7, s.five)
	return s
}

// at is the address of the given row.
func (s stride) at(base Register, row int) Mem {
	switch row {
	case 0:
		return Mem{Base: base}
	case 3:
		return Mem{Base: base, Index: s.three, Scale: 1}
	case 5:
		return Mem{Base: base, Index: s.five, Scale: 1}
	case 6:
		return Mem{Base: base, Index: s.three, Scale: 2}
	case 7:
		return Mem{Base: base, Index: s.seven, Scale: 1}
	}
	return Mem{Base: base, Index: s.one, Scale: uint8(row)} // 1, 2, 4, 8
}

// peak writes peak_f32_{set}: n rounds of 12 independent multiply-adds and
// nothing else, the yardstick of the benchmarks.
func peak(set vectorSet) {
	TEXT("peak_f32_"+set.name(), NOSPLIT, "func(n int)")
	Doc("Runs n rounds of 12 independent vector multiply-adds.")
	n := Load(Param("n"), GP64())
	x := set.vector()
	set.zero(x)
	acc := make([]VecVirtual, 12)
	for i := range acc {
		acc[i] = set.vector()
		set.zero(acc[i])
	}
	Label("loop")
	for i := range acc {
		VFMADD231PS(x, x, acc[i])
	}
	DECQ(n)
	JNZ(LabelRef("loop"))
	set.leave()
	RET()
}
