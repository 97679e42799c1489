package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

func axisAttr(a int64) *onnx.Attr      { return onnx.AttrInt("axis", a) }
func epsilonAttr(e float32) *onnx.Attr { return onnx.AttrFloat("epsilon", e) }

// statistics are the inputs of a batch normalisation over the given channels.
func statistics(channels int) []input {
	return []input{normal(channels), normal(channels), normal(channels), uniform(0.5, 2, channels)}
}

var _ = addCases(
	Case{Op: "BatchNormalization", In: append([]input{normal(3, 4, 3, 2)}, statistics(4)...), Diff: []int{0, 1, 2, 3, 4}},
	Case{Op: "BatchNormalization", Name: "opset 7", Opset: 7, In: append([]input{normal(3, 4, 5)}, statistics(4)...), Diff: []int{0, 1, 2},
		Attrs: attrs(epsilonAttr(1e-3))},
	Case{Op: "BatchNormalization", Name: "opset 9, two axes", Opset: 9, In: append([]input{normal(5, 4)}, statistics(4)...), Diff: []int{0, 1, 2}},
	Case{Op: "BatchNormalization", Name: "opset 14", Opset: 14, In: append([]input{normal(2, 17, 5, 7)}, statistics(17)...), Diff: []int{0, 1, 2},
		Attrs: attrs(onnx.AttrInt("training_mode", 0), onnx.AttrFloat("momentum", 0.9))},

	Case{Op: "BatchNormalizationTraining", Domain: ops.Domain, In: append([]input{normal(3, 4, 3, 2)}, statistics(4)...), NOut: 5, Diff: []int{0, 1, 2, 3, 4}},
	Case{Op: "BatchNormalizationTraining", Domain: ops.Domain, Name: "two axes", In: append([]input{normal(5, 3)}, statistics(3)...), NOut: 5, Diff: []int{0, 1, 2},
		Attrs: attrs(epsilonAttr(1e-3), onnx.AttrFloat("momentum", 0.7))},
	Case{Op: "BatchNormalizationTraining", Domain: ops.Domain, Name: "wide", In: append([]input{normal(4, 17, 9)}, statistics(17)...), NOut: 5, Diff: []int{0, 1, 2}},
	Case{Op: "BatchNormalizationInferenceGrad", Domain: ops.Domain, NOut: 3, Diff: []int{0, 1, 2, 3, 4},
		In: append([]input{normal(3, 4, 3, 2)}, append([]input{normal(3, 4, 3, 2)}, statistics(4)[1:]...)...)},
	Case{Op: "BatchNormalizationSampleSquares", Domain: ops.Domain, NOut: 2, Diff: []int{0, 1, 2, 3},
		In: []input{normal(3, 4, 3, 2), normal(3, 4, 3, 2), normal(4), uniform(0.5, 2, 4)}},
	Case{Op: "BatchNormalizationSampleSquares", Domain: ops.Domain, Name: "two axes", NOut: 2, Diff: []int{0, 1, 2, 3},
		In: []input{normal(6, 17), normal(6, 17), normal(17), uniform(0.5, 2, 17)}, Attrs: attrs(epsilonAttr(1e-3))},
	Case{Op: "BatchNormalizationGrad", Domain: ops.Domain, NOut: 3, Diff: []int{0, 1, 2, 3, 4},
		In: []input{normal(3, 4, 3, 2), normal(3, 4, 3, 2), normal(4), normal(4), uniform(0.5, 2, 4)}},
	Case{Op: "BatchNormalizationGrad", Domain: ops.Domain, Name: "two axes", NOut: 3, Diff: []int{0, 1, 2, 3, 4},
		In: []input{normal(6, 17), normal(6, 17), normal(17), normal(17), uniform(0.5, 2, 17)}},

	Case{Op: "LayerNormalization", In: []input{normal(3, 4, 7), normal(7), normal(7)}, Diff: []int{0, 1, 2}},
	Case{Op: "LayerNormalization", Name: "two axes, no bias", Opset: 17, In: []input{normal(3, 4, 5), normal(4, 5)}, Diff: []int{0, 1},
		Attrs: attrs(axisAttr(1), epsilonAttr(1e-3))},
	Case{Op: "LayerNormalization", Name: "statistics", In: []input{normal(3, 4, 20), normal(20), normal(20)}, NOut: 3, Diff: []int{0, 1, 2}},
	Case{Op: "LayerNormalization", Name: "everything", In: []input{normal(2, 3), normal(2, 3), normal(2, 3)}, Diff: []int{0, 1, 2},
		Attrs: attrs(axisAttr(0))},
	Case{Op: "LayerNormalizationGrad", Domain: ops.Domain, NOut: 3, Diff: []int{0, 1, 2, 3, 4},
		In: []input{normal(3, 4, 7), normal(3, 4, 7), normal(7), normal(3, 4, 1), uniform(0.5, 2, 3, 4, 1)}},
	Case{Op: "LayerNormalizationGrad", Domain: ops.Domain, Name: "two axes", NOut: 3, Diff: []int{0, 1, 2, 3, 4},
		In:    []input{normal(3, 4, 5), normal(3, 4, 5), normal(4, 5), normal(3, 1, 1), uniform(0.5, 2, 3, 1, 1)},
		Attrs: attrs(axisAttr(1))},
	Case{Op: "LayerNormalizationGrad", Domain: ops.Domain, Name: "everything", NOut: 3, Diff: []int{0, 1, 2, 3, 4},
		In:    []input{normal(2, 3), normal(2, 3), normal(2, 3), normal(1, 1), uniform(0.5, 2, 1, 1)},
		Attrs: attrs(axisAttr(0))},

	Case{Op: "RMSNormalization", Opset: 23, In: []input{normal(3, 4, 7), normal(7)}, Diff: []int{0, 1}},
	Case{Op: "RMSNormalization", Name: "two axes", Opset: 23, In: []input{normal(3, 4, 5), normal(4, 5)}, Diff: []int{0, 1},
		Attrs: attrs(axisAttr(-2), epsilonAttr(1e-3))},
	Case{Op: "GroupNormalization", Name: "per group", Opset: 18, In: []input{normal(2, 6, 3, 2), normal(3), normal(3)}, Diff: []int{0, 1, 2},
		Attrs: attrs(onnx.AttrInt("num_groups", 3))},
	Case{Op: "GroupNormalization", Opset: 21, In: []input{normal(2, 6, 3, 2), normal(6), normal(6)}, Diff: []int{0, 1, 2},
		Attrs: attrs(onnx.AttrInt("num_groups", 3), epsilonAttr(1e-3))},
	Case{Op: "InstanceNormalization", In: []input{normal(2, 3, 4, 5), normal(3), normal(3)}, Diff: []int{0, 1, 2}},
	Case{Op: "InstanceNormalization", Name: "opset 7, one axis", Opset: 7, In: []input{normal(2, 3, 6), normal(3), normal(3)}, Diff: []int{0, 1, 2}},
	Case{Op: "LpNormalization", In: []input{normal(3, 4, 5)}, Diff: []int{0}, Attrs: attrs(axisAttr(1))},
	Case{Op: "LpNormalization", Name: "1-norm", In: []input{distinct(3, 5)}, Diff: []int{0}, Attrs: attrs(onnx.AttrInt("p", 1))},
	Case{Op: "LRN", In: []input{normal(2, 7, 3, 4)}, Diff: []int{0}, Attrs: attrs(onnx.AttrInt("size", 3), onnx.AttrFloat("alpha", 0.1))},
	Case{Op: "LRN", Name: "even size", Opset: 7, NoORT: "takes odd sizes only", In: []input{normal(2, 5, 3, 3)}, Diff: []int{0},
		Attrs: attrs(onnx.AttrInt("size", 4), onnx.AttrFloat("alpha", 0.2), onnx.AttrFloat("beta", 0.5), onnx.AttrFloat("bias", 2))},
)

var _ = addMistakes([]mistake{
	{Case{Op: "BatchNormalization", In: []input{normal(1, 3, 8, 8), normal(3), normal(3), normal(4), normal(3)}}, "want [3]"},
	{Case{Op: "BatchNormalization", Opset: 7, In: []input{normal(1, 3, 8, 8), normal(3), normal(3), normal(3), normal(3)}, Attrs: attrs(onnx.AttrInt("spatial", 0))}, "spatial=0"},
	{Case{Op: "BatchNormalizationTraining", Domain: ops.Domain, In: []input{normal(1, 3), normal(3), normal(3), normal(3), normal(3)}}, "use a larger batch"},
	{Case{Op: "LayerNormalization", In: []input{normal(2, 3), normal(2)}}, "want the normalised extents [3]"},
	{Case{Op: "LayerNormalization", In: []input{normal(2, 3), normal(3)}, Attrs: attrs(axisAttr(2))}, "axis 2 is out of range"},
	{Case{Op: "GroupNormalization", Opset: 21, In: []input{normal(2, 6, 4), normal(6), normal(6)}, Attrs: attrs(onnx.AttrInt("num_groups", 4))}, "do not divide into num_groups 4"},
}...)
