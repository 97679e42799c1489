package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

func momentumAttr(m float32) *onnx.Attr { return onnx.AttrFloat("momentum", m) }
func decayAttr(d float32) *onnx.Attr    { return onnx.AttrFloat("weight_decay", d) }

// moments are Adam's inputs from the gradient on.
func moments() []input {
	return []input{normal(5, 7), normal(5, 7), normal(5, 7), uniform(0, 1, 5, 7)}
}

var _ = addCases(
	Case{Op: "SGD", Domain: ops.Domain, In: []input{scalarOf(0.1), normal(5, 7), normal(5, 7)}},
	Case{Op: "SGD", Domain: ops.Domain, Name: "decay, mask", In: []input{scalarOf(0.1), normal(5, 7), normal(5, 7), omit, coins(5, 7)},
		Attrs: attrs(decayAttr(0.01))},
	Case{Op: "SGD", Domain: ops.Domain, Name: "momentum", NOut: 2, In: []input{scalarOf(0.1), normal(5, 7), normal(5, 7), normal(5, 7)},
		Attrs: attrs(momentumAttr(0.9), decayAttr(0.01))},
	Case{Op: "SGD", Domain: ops.Domain, Name: "nesterov, mask", NOut: 2,
		In:    []input{scalarOf(0.1), normal(5, 7), normal(5, 7), normal(5, 7), coins(5, 7)},
		Attrs: attrs(momentumAttr(0.9), onnx.AttrInt("nesterov", 1))},
	Case{Op: "SGD", Domain: ops.Domain, Name: "large", NOut: 2,
		In:    []input{scalarOf(0.1), normal(300, 70), normal(300, 70), normal(300, 70), coins(300, 70)},
		Attrs: attrs(momentumAttr(0.9), decayAttr(0.01))},
	Case{Op: "GemmSGD", Domain: ops.Domain, In: []input{scalarOf(0.1), normal(5, 7), normal(4, 5), normal(4, 7), omit, coins(5, 7)},
		Attrs: attrs(decayAttr(0.01), onnx.AttrInt("transA", 1))},
	Case{Op: "GemmSGD", Domain: ops.Domain, Name: "momentum", NOut: 2,
		In:    []input{scalarOf(0.1), normal(50, 70), normal(50, 64), normal(70, 64), normal(50, 70)},
		Attrs: attrs(momentumAttr(0.9), decayAttr(0.01), onnx.AttrInt("transB", 1))},
	Case{Op: "GemmSGD", Domain: ops.Domain, Name: "nesterov, mask", NOut: 2,
		In:    []input{scalarOf(0.1), normal(9, 17), normal(9, 256), normal(256, 17), normal(9, 17), coins(9, 17)},
		Attrs: attrs(momentumAttr(0.9), onnx.AttrInt("nesterov", 1), onnx.AttrFloat("alpha", 0.5))},
	Case{Op: "Adam", Domain: ops.Domain, NOut: 3, In: append([]input{scalarOf(0.01), scalarOf(1)}, moments()...)},
	Case{Op: "Adam", Domain: ops.Domain, Name: "decay, mask", NOut: 3,
		In:    append(append([]input{scalarOf(0.01), scalarOf(3)}, moments()...), coins(5, 7)),
		Attrs: attrs(decayAttr(0.05))},
	Case{Op: "Adam", Domain: ops.Domain, Name: "decoupled", NOut: 3,
		In:    append([]input{scalarOf(0.01), scalarOf(20)}, moments()...),
		Attrs: attrs(decayAttr(0.05), onnx.AttrInt("decoupled", 1), onnx.AttrFloat("beta1", 0.8), onnx.AttrFloat("beta2", 0.99), epsilonAttr(1e-6))},
)

var _ = addMistakes([]mistake{
	{Case{Op: "SGD", Domain: ops.Domain, In: []input{normal(), normal(3), normal(3)}, Attrs: attrs(momentumAttr(0.9))}, "a momentum needs the velocity"},
	{Case{Op: "SGD", Domain: ops.Domain, In: []input{normal(), normal(3), normal(2)}}, "want [3]"},
	{Case{Op: "Adam", Domain: ops.Domain, In: []input{normal(), normal(), normal(3), normal(3), normal(3), normal(3)}, Attrs: attrs(onnx.AttrFloat("beta1", 1))}, "must be less than 1"},
}...)
