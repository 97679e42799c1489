package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rowLoop describes z[i] = f(z[i], x[i], y[i], u[i]), where every input is a
// vector; z is read only if the loop adds to it.
type rowLoop struct {
	name   string
	inputs int // 2: x and y; 3: u too
	adds   bool
	body   func(v isa, z, x, y, u reg.VecVirtual) reg.VecVirtual
}

var rowLoops = []rowLoop{
	{"addSquares", 2, true, func(v isa, z, x, y, _ reg.VecVirtual) reg.VecVirtual {
		d := v.sub(x, y)
		return v.add(z, v.mul(d, d))
	}},
	{"addDots", 3, true, func(v isa, z, x, y, u reg.VecVirtual) reg.VecVirtual {
		return v.add(z, v.mul(v.sub(x, y), u))
	}},
	{"scaleShift", 3, false, func(v isa, _, x, y, u reg.VecVirtual) reg.VecVirtual {
		return v.add(v.mul(x, y), u)
	}},
	{"scaleShiftRelu", 3, false, func(v isa, _, x, y, u reg.VecVirtual) reg.VecVirtual {
		return v.larger(v.zero(), v.add(v.mul(x, y), u))
	}},
}

func row(v isa, l rowLoop) {
	name := v.symbol(l.name)
	TEXT(name, NOSPLIT, "func(z, x, y, u *float32, n int)")
	Doc(fmt.Sprintf("%s runs over n elements, a multiple of %d.", name, block))
	Pragma("noescape")
	params := []string{"z", "x", "y", "u"}[:1+l.inputs]
	pointers := make([]reg.Register, len(params))
	for i, p := range params {
		pointers[i] = Load(Param(p), GP64())
	}
	n := Load(Param("n"), GP64())
	v.loop(l.name, n, 2, pointers, func(e int) {
		var in [4]reg.VecVirtual
		for i, p := range pointers {
			if i > 0 || l.adds {
				in[i] = v.load(Mem{Base: p, Disp: 4 * e})
			}
		}
		VMOVUPS(l.body(v, in[0], in[1], in[2], in[3]), Mem{Base: pointers[0], Disp: 4 * e})
	})
	VZEROUPPER()
	RET()
}
