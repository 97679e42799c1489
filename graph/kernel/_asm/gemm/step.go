package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// momentum writes gemm_momentum_f32_{rows}x{columns}_{set}: tiles of a gradient,
// one beside the other, which take the step of their weights and velocities
// out of the registers that they were summed in. Each tile fetches those while
// it sums: before it begins where a row of it is one line of the cache, or else,
// because as many lines as that would take all the fill buffers, a row with each
// round, by turns of weights and velocities. The step's operations are those of
// momentum_f32_{set}.
func momentum(set vectorSet, rows, vectors int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("gemm_momentum_f32_%dx%d_%s", rows, vectors*lanes, set.name()), NOSPLIT,
		"func(n, k int, a, b []float32, bRow, bNext int, w, v []float32, row int, coef *float32)")
	Doc(fmt.Sprintf("n > 0 tiles of %d rows and %d columns, k > 0; see momentumFunc.", rows, vectors*lanes))
	Pragma("noescape")
	n, tile := Load(Param("n"), GP64()), Load(Param("b").Base(), GP64())
	bRow, bNext := bytes("bRow"), bytes("bNext")
	w, v := Load(Param("w").Base(), GP64()), Load(Param("v").Base(), GP64())
	row := newStride("row", rows)
	a, b, k := GP64(), GP64(), GP64()
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

	Label("tile")
	Load(Param("a").Base(), a)
	Load(Param("k"), k)
	MOVQ(tile, b)
	ADDQ(bNext, tile)
	next := bNext // from a row of B to what the next tile reads
	lines := vectors * lanes * 4 / 64
	var begin func() // of a round
	if lines == 1 {
		next = GP64() // nothing if there is none
		XORQ(next, next)
		CMPQ(n, Imm(1))
		CMOVQNE(bNext, next)
	} else {
		fetch, other := GP64(), GP64()
		MOVQ(w, fetch)
		MOVQ(v, other)
		begin = func() {
			for line := range lines {
				PREFETCHT0(Mem{Base: fetch, Disp: 64 * line})
			}
			ADDQ(row.one, fetch)
			XCHGQ(other, fetch)
		}
	}
	for i := range acc {
		if lines == 1 {
			PREFETCHT0(row.at(w, i))
			PREFETCHT0(row.at(v, i))
		}
		for j := range acc[i] {
			set.zero(acc[i][j])
		}
	}
	term := func() {
		for line := range lines {
			PREFETCHT0(Mem{Base: b, Index: next, Scale: 1, Disp: 64 * line})
		}
		for j := range bv {
			set.load(Mem{Base: b, Disp: j * lanes * 4}, bv[j], false)
		}
		for i := range acc {
			set.multiplyAdd(Mem{Base: a, Disp: 4 * i}, bv, acc[i])
		}
		ADDQ(Imm(4*packedRow), a)
		ADDQ(bRow, b)
	}
	rounds(k, "", begin, term)
	Label("loop")
	term()
	DECQ(k)
	JNZ(LabelRef("loop"))

	Label("epilogue")
	stepAlong(set, acc, w, v, row, false)
	ADDQ(Imm(uint64(4*vectors*lanes)), w)
	ADDQ(Imm(uint64(4*vectors*lanes)), v)
	DECQ(n)
	JNZ(LabelRef("tile"))
	set.leave()
	RET()
}

// momentumRest writes gemm_momentum_rest_f32_{rows}x{lanes}_{set}: one such tile of up
// to lanes columns, of a B that has no more.
func momentumRest(set vectorSet, rows int) {
	lanes := set.lanes()
	TEXT(fmt.Sprintf("gemm_momentum_rest_f32_%dx%d_%s", rows, lanes, set.name()), NOSPLIT,
		"func(cols, k int, a, b []float32, bRow int, w, v []float32, row int, coef *float32)")
	Doc(fmt.Sprintf("A tile of %d rows and cols > 0 up to %d columns, k > 0; see momentumRestFunc.", rows, lanes))
	Pragma("noescape")
	k, a, b, bRow := Load(Param("k"), GP64()), Load(Param("a").Base(), GP64()), Load(Param("b").Base(), GP64()), bytes("bRow")
	w, v := Load(Param("w").Base(), GP64()), Load(Param("v").Base(), GP64())
	row := newStride("row", rows)
	set.mask("cols", 0)
	acc := tileOf(set, rows, 1)
	clearAll(set, acc)
	bv := set.vector()
	Label("loop")
	set.load(Mem{Base: b}, bv, true)
	for i := range acc {
		set.multiplyAdd(Mem{Base: a, Disp: 4 * i}, []VecVirtual{bv}, acc[i])
	}
	ADDQ(Imm(4*packedRow), a)
	ADDQ(bRow, b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	stepAlong(set, acc, w, v, row, true)
	set.leave()
	RET()
}

// stepAlong takes the step along the gradients in registers; masked says that vectors
// are cut short.
func stepAlong(set vectorSet, acc [][]VecVirtual, w, v Register, row stride, masked bool) {
	coef := Load(Param("coef"), GP64())
	decay, mass := set.vector(), set.vector()
	VBROADCASTSS(Mem{Base: coef, Disp: 4}, decay)
	VBROADCASTSS(Mem{Base: coef, Disp: 8}, mass)
	for i := range acc {
		for j, g := range acc[i] {
			weight, velocity := row.at(w, i), row.at(v, i)
			weight.Disp, velocity.Disp = j*set.lanes()*4, j*set.lanes()*4
			x, t := set.vector(), set.vector()
			set.load(weight, x, masked)
			VMULPS(x, decay, t)
			VADDPS(t, g, g)
			if masked {
				set.load(velocity, t, true)
				VMULPS(mass, t, t)
			} else {
				VMULPS(velocity, mass, t)
			}
			VADDPS(t, g, g)
			set.store(g, velocity, masked)
			VBROADCASTSS(Mem{Base: coef}, t)
			VMULPS(t, g, g)
			VSUBPS(g, x, x)
			set.store(x, weight, masked)
		}
	}
}
