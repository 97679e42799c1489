package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// operands are what a loop body may read: one vector of x and y (y only when
// the loop has two inputs) and the broadcast scalars.
type operands struct{ x, y, a, b, c reg.VecVirtual }

// elementwiseLoop describes z[i] = f(x[i], y[i], a, b, c).
type elementwiseLoop struct {
	name    string
	inputs  int // 1: x; 2: x and y
	scalars int // how many of a, b, c are used
	unroll  int // blocks per pass
	body    func(v isa, o operands) reg.VecVirtual
}

var elementwiseLoops = []elementwiseLoop{
	{"add", 2, 0, 4, func(v isa, o operands) reg.VecVirtual { return v.add(o.x, o.y) }},
	{"sub", 2, 0, 4, func(v isa, o operands) reg.VecVirtual { return v.sub(o.x, o.y) }},
	{"mul", 2, 0, 4, func(v isa, o operands) reg.VecVirtual { return v.mul(o.x, o.y) }},
	{"div", 2, 0, 4, func(v isa, o operands) reg.VecVirtual { return v.div(o.x, o.y) }},
	{"reluGrad", 2, 0, 4, func(v isa, o operands) reg.VecVirtual { return v.keep(o.y, greaterThan, v.zero(), o.x) }},
	{"axpy", 2, 1, 4, func(v isa, o operands) reg.VecVirtual { return v.add(v.mul(o.a, o.x), o.y) }},
	{"combine", 2, 3, 4, func(v isa, o operands) reg.VecVirtual {
		return v.add(v.add(v.mul(o.a, o.x), v.mul(o.b, o.y)), o.c)
	}},
	{"scale", 1, 1, 4, func(v isa, o operands) reg.VecVirtual { return v.mul(o.a, o.x) }},
	{"shift", 1, 1, 4, func(v isa, o operands) reg.VecVirtual { return v.add(o.x, o.a) }},
	{"divBy", 1, 1, 4, func(v isa, o operands) reg.VecVirtual { return v.div(o.x, o.a) }},
	{"divInto", 1, 1, 4, func(v isa, o operands) reg.VecVirtual { return v.div(o.a, o.x) }},
	{"affine", 1, 2, 4, func(v isa, o operands) reg.VecVirtual { return v.add(v.mul(o.a, o.x), o.b) }},
	{"affineRelu", 1, 2, 4, func(v isa, o operands) reg.VecVirtual {
		return v.larger(v.zero(), v.add(v.mul(o.a, o.x), o.b))
	}},
	{"atLeast", 1, 1, 4, func(v isa, o operands) reg.VecVirtual { return v.larger(o.a, o.x) }},
	{"atMost", 1, 1, 4, func(v isa, o operands) reg.VecVirtual { return v.smaller(o.a, o.x) }},
	{"abs", 1, 0, 4, func(v isa, o operands) reg.VecVirtual { return v.and(o.x, bits(0x7fffffff)) }},
	{"sqrt", 1, 0, 4, func(v isa, o operands) reg.VecVirtual { return v.sqrt(o.x) }},
	{"exp", 1, 1, 1, func(v isa, o operands) reg.VecVirtual { return v.exp(v.add(o.x, o.a)) }},
	{"log", 1, 0, 1, func(v isa, o operands) reg.VecVirtual { return v.log(o.x) }},
	{"sigmoid", 1, 0, 1, func(v isa, o operands) reg.VecVirtual { return v.sigmoid(o.x) }},
	{"tanh", 1, 0, 1, func(v isa, o operands) reg.VecVirtual { return v.tanh(o.x) }},
	{"erf", 1, 0, 1, func(v isa, o operands) reg.VecVirtual { return v.erf(o.x) }},
}

func elementwise(v isa, l elementwiseLoop) {
	name := v.symbol(l.name)
	TEXT(name, NOSPLIT, "func(z, x, y *float32, n int, a, b, c float32)")
	Doc(fmt.Sprintf("%s runs over n elements, a multiple of %d.", name, block))
	Pragma("noescape")
	z, x := Load(Param("z"), GP64()), Load(Param("x"), GP64())
	pointers := []reg.Register{z, x}
	var y reg.Register
	if l.inputs == 2 {
		y = Load(Param("y"), GP64())
		pointers = append(pointers, y)
	}
	n := Load(Param("n"), GP64())
	var o operands
	for i, s := range []*reg.VecVirtual{&o.a, &o.b, &o.c}[:l.scalars] {
		*s = v.param(string(rune('a' + i)))
	}
	v.loop(l.name, n, l.unroll, pointers, func(e int) {
		at := func(p reg.Register) Mem { return Mem{Base: p, Disp: 4 * e} }
		o.x = v.vec()
		VMOVUPS(at(x), o.x)
		if y != nil {
			o.y = v.vec()
			VMOVUPS(at(y), o.y)
		}
		VMOVUPS(l.body(v, o), at(z))
	})
	VZEROUPPER()
	RET()
}

// twoResults writes a loop of the same signature that sets z[i] and y[i] from x[i].
func twoResults(v isa, loop string, body func(x reg.VecVirtual) (z, y reg.VecVirtual)) {
	name := v.symbol(loop)
	TEXT(name, NOSPLIT, "func(z, x, y *float32, n int, a, b, c float32)")
	Doc(fmt.Sprintf("%s runs over n elements, a multiple of %d, and writes z and y.", name, block))
	Pragma("noescape")
	z, x, y := Load(Param("z"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64())
	n := Load(Param("n"), GP64())
	v.loop(loop, n, 1, []reg.Register{z, x, y}, func(e int) {
		first, second := body(v.load(Mem{Base: x, Disp: 4 * e}))
		VMOVUPS(first, Mem{Base: z, Disp: 4 * e})
		VMOVUPS(second, Mem{Base: y, Disp: 4 * e})
	})
	VZEROUPPER()
	RET()
}
