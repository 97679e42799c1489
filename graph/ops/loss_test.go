package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

var _ = addCases(
	Case{Op: "Softmax", In: []input{normal(3, 5)}, Diff: []int{0}},
	Case{Op: "Softmax", Name: "axis 1", Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{normal(2, 5, 3)}, Diff: []int{0}},
	Case{Op: "Softmax", Name: "opset 11", Opset: 11, In: []input{normal(2, 3, 4)}, Diff: []int{0}},
	Case{Op: "Softmax", Name: "large scores", In: []input{uniform(-500, 500, 3, 5)}},
	Case{Op: "LogSoftmax", In: []input{normal(3, 5)}, Diff: []int{0}},
	Case{Op: "LogSoftmax", Name: "axis 0", Attrs: attrs(onnx.AttrInt("axis", 0)), In: []input{normal(4, 3)}, Diff: []int{0}},
	Case{Op: "LogSoftmax", Name: "opset 11", Opset: 11, Attrs: attrs(onnx.AttrInt("axis", 2)), In: []input{normal(2, 3, 4)}, Diff: []int{0}},
)

var _ = addCases(lossCases()...)

func lossCases() (list []Case) {
	ignore := onnx.AttrInt("ignore_index", 2)
	far := onnx.AttrInt("ignore_index", -100)
	positive := func(shape ...int) input { return uniform(0.5, 2, shape...) }
	for _, reduction := range []string{"mean", "sum", "none"} {
		r := onnx.AttrString("reduction", reduction)
		loss := func(name string, scores, labels, weights input, at ...*onnx.Attr) {
			at = append(at, r)
			in := []input{scores, labels, weights}
			list = append(list,
				Case{Op: "SoftmaxCrossEntropyLoss", Name: reduction + name, In: in, NOut: 2, Attrs: at, Diff: []int{0}},
				Case{Op: "NegativeLogLikelihoodLoss", Name: reduction + name, In: in, Attrs: at, Diff: []int{0}})
		}
		loss("", normal(4, 3), indices(0, 3, 4), omit)
		loss(", weights", normal(4, 3), indices(0, 3, 4), positive(3))
		loss(", ignore", normal(6, 3), tuplesOf([]int64{0, 1, 2, 1, 2, 0}, 6), omit, ignore)
		loss(", ignore no class, weights", normal(4, 3), tuplesOf([]int64{0, -100, 2, 1}, 4), positive(3), far)
		loss(", images", normal(2, 3, 2, 2), indices(0, 3, 2, 2, 2), positive(3), ignore)
		loss(", int32", normal(4, 3), tensorOf(onnx.FromSlice([]int32{0, 2, 2, 1}, 4)), omit)

		grad := func(name string, labels, weights input, at ...*onnx.Attr) {
			dLoss := normal()
			if reduction == "none" {
				dLoss = normal(4)
			}
			list = append(list, Case{
				Domain: ops.Domain, Op: "SoftmaxCrossEntropyLossGrad", Name: reduction + name,
				In: []input{dLoss, normal(4, 3), labels, weights}, Attrs: append(at, r), Diff: []int{0, 1},
			})
		}
		grad("", indices(0, 3, 4), omit)
		grad(", weights, ignore", tuplesOf([]int64{0, -100, 2, 1}, 4), positive(3), far)
		grad(", ignore a class", tuplesOf([]int64{0, 1, 2, 1}, 4), omit, ignore)
	}
	return append(list, Case{
		Op: "SoftmaxCrossEntropyLoss", Name: "loss alone", In: []input{normal(4, 3), indices(0, 3, 4)}, Diff: []int{0},
	})
}
