package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stepLoop is one optimizer update over weights w, gradients g, mask m and the
// optimizer's state s, t. coef points to its float32 coefficients.
type stepLoop struct {
	name   string
	state  int // how many of s and t there are
	coefs  int
	masked bool
	body   func(v isa, o *stepOperands)
}

type stepOperands struct {
	w, g, s, t reg.VecVirtual
	c          []reg.VecVirtual
}

// stepLoops lists every update with and without a mask. The formulas are those
// of kernel/optim.go.
func stepLoops() []stepLoop {
	var all []stepLoop
	for _, masked := range []bool{false, true} {
		all = append(all,
			stepLoop{"sgd", 0, 2, masked, func(v isa, o *stepOperands) {
				o.w = v.sub(o.w, v.mul(o.c[0], v.add(o.g, v.mul(o.c[1], o.w))))
			}},
			stepLoop{"momentum", 1, 3, masked, func(v isa, o *stepOperands) {
				g := v.add(o.g, v.mul(o.c[1], o.w))
				o.s = v.add(v.mul(o.c[2], o.s), g)
				o.w = v.sub(o.w, v.mul(o.c[0], o.s))
			}},
			stepLoop{"nesterov", 1, 3, masked, func(v isa, o *stepOperands) {
				g := v.add(o.g, v.mul(o.c[1], o.w))
				o.s = v.add(v.mul(o.c[2], o.s), g)
				o.w = v.sub(o.w, v.mul(o.c[0], v.add(g, v.mul(o.c[2], o.s))))
			}},
			stepLoop{"adam", 2, 9, masked, adam})
	}
	return all
}

func adam(v isa, o *stepOperands) {
	rate, l2, decay, beta1, rest1, beta2, rest2, root2, eps := o.c[0], o.c[1], o.c[2], o.c[3], o.c[4], o.c[5], o.c[6], o.c[7], o.c[8]
	g := v.add(o.g, v.mul(l2, o.w))
	o.s = v.add(v.mul(beta1, o.s), v.mul(rest1, g))
	o.t = v.add(v.mul(beta2, o.t), v.mul(rest2, v.mul(g, g)))
	denom := v.add(v.div(v.sqrt(o.t), root2), eps)
	o.w = v.sub(v.mul(decay, o.w), v.div(v.mul(rate, o.s), denom))
}

func step(v isa, l stepLoop) {
	name := v.symbol(l.name)
	if l.masked {
		name = v.symbol(l.name + "Masked")
	}
	TEXT(name, NOSPLIT, "func(w, dw, m, s, t *float32, n int, coef *float32)")
	Doc(fmt.Sprintf("%s updates n weights, a multiple of %d.", name, block))
	Pragma("noescape")
	w, g := Load(Param("w"), GP64()), Load(Param("dw"), GP64())
	pointers := []reg.Register{w, g}
	var mask reg.Register
	if l.masked {
		mask = Load(Param("m"), GP64())
		pointers = append(pointers, mask)
	}
	var states []reg.Register
	for _, p := range []string{"s", "t"}[:l.state] {
		states = append(states, Load(Param(p), GP64()))
	}
	pointers = append(pointers, states...)
	n, coef := Load(Param("n"), GP64()), Load(Param("coef"), GP64())
	o := stepOperands{c: make([]reg.VecVirtual, l.coefs)}
	for i := range o.c {
		o.c[i] = v.vec()
		VBROADCASTSS(Mem{Base: coef, Disp: 4 * i}, o.c[i])
	}
	v.loop(l.name, n, 1, pointers, func(e int) {
		at := func(p reg.Register) Mem { return Mem{Base: p, Disp: 4 * e} }
		values := []*reg.VecVirtual{&o.s, &o.t}[:l.state]
		for i, p := range states {
			*values[i] = v.load(at(p))
		}
		o.w, o.g = v.load(at(w)), v.load(at(g))
		l.body(v, &o)
		results := append([]*reg.VecVirtual{&o.w}, values...)
		for i, p := range append([]reg.Register{w}, states...) {
			if l.masked {
				*results[i] = v.mul(*results[i], at(mask))
			}
			VMOVUPS(*results[i], at(p))
		}
	})
	VZEROUPPER()
	RET()
}
