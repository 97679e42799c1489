package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

var _ = addCases(
	Case{Op: "Relu", In: []input{distinct(3, 9)}, Diff: []int{0}},
	Case{Op: "LeakyRelu", In: []input{distinct(3, 7)}, Diff: []int{0}},
	Case{Op: "LeakyRelu", Name: "slope", Attrs: attrs(onnx.AttrFloat("alpha", 0.3)), In: []input{distinct(3, 7)}, Diff: []int{0}},
	Case{Op: "Elu", In: []input{distinct(3, 7)}, Diff: []int{0}},
	Case{Op: "Elu", Name: "alpha", Attrs: attrs(onnx.AttrFloat("alpha", 1.7)), In: []input{distinct(3, 7)}, Diff: []int{0}},
	Case{Op: "HardSigmoid", In: []input{distinctBy(0.3, 3, 7)}, Diff: []int{0}},
	Case{Op: "HardSigmoid", Name: "sixth", Attrs: attrs(onnx.AttrFloat("alpha", 1.0/6)), In: []input{distinctBy(0.43, 3, 7)}, Diff: []int{0}},
	Case{Op: "HardSwish", In: []input{distinctBy(0.43, 3, 7)}, Diff: []int{0}},
	Case{Op: "Softplus", In: []input{uniform(-30, 30, 3, 7)}, Diff: []int{0}},
	Case{Op: "Gelu", In: []input{normal(3, 7)}, Diff: []int{0}},
	Case{Op: "Gelu", Name: "tanh", Attrs: attrs(onnx.AttrString("approximate", "tanh")), In: []input{normal(3, 7)}, Diff: []int{0}},
	Case{Domain: ops.Domain, Op: "GeluSlope", In: []input{normal(3, 7)}, NOut: 2, Diff: []int{0}},
	Case{Op: "PRelu", In: []input{distinct(2, 3, 2, 2), uniform(0.1, 0.5, 3, 1, 1)}, Diff: []int{0, 1}},
	Case{Op: "PRelu", Name: "one slope", In: []input{distinct(2, 3), uniform(0.1, 0.5, 1)}, Diff: []int{0, 1}},
	Case{Op: "Clip", In: []input{distinct(4, 7), fixed(scalarOf(-0.3)), fixed(scalarOf(0.4))}, Diff: []int{0}},
	Case{Op: "Clip", Name: "lower bound", In: []input{distinct(4, 7), scalarOf(0)}, Diff: []int{0}},
	Case{Op: "Clip", Name: "upper bound", In: []input{distinct(4, 7), omit, scalarOf(0.4)}, Diff: []int{0}},
	Case{Op: "Clip", Name: "no bounds", In: []input{normal(4)}, Diff: []int{0}},
	Case{Op: "Clip", Name: "opset 6", Opset: 7, Attrs: attrs(onnx.AttrFloat("min", 0), onnx.AttrFloat("max", 6)), In: []input{distinctBy(0.5, 4, 7)}, Diff: []int{0}},
	Case{Op: "Clip", Name: "integers", In: []input{indices(-9, 9, 6), intScalar(-3), intScalar(4)}},
	Case{Domain: ops.Domain, Op: "ReluGrad", In: []input{normal(3, 7), distinct(3, 7)}, Diff: []int{0, 1}},
)
