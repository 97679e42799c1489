package ops_test

import "github.com/unprune/unprune/onnx"

// tuplesOf is an int64 tensor of coordinates.
func tuplesOf(list []int64, shape ...int) input { return tensorOf(onnx.FromSlice(list, shape...)) }

var _ = addCases(
	Case{Op: "Gather", Name: "embedding", In: []input{normal(5, 3), indices(-5, 5, 2, 4)}, Diff: []int{0}},
	Case{Op: "Gather", Name: "axis 1", Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{normal(2, 5, 3), indices(0, 5, 4)}, Diff: []int{0}},
	Case{Op: "Gather", Name: "axis -1, indices of rank 2", Attrs: attrs(onnx.AttrInt("axis", -1)), In: []input{normal(2, 3, 5), indices(0, 5, 2, 2)}, Diff: []int{0}},
	Case{Op: "Gather", Name: "constant scalar", In: []input{normal(3, 4), intScalar(-2)}, Diff: []int{0}},
	Case{Op: "Gather", Name: "scalar fed", In: []input{normal(3, 4), tensorOf(onnx.FromSlice([]int64{1}))}, Diff: []int{0}},
	Case{Op: "Gather", Name: "int32 of integers", In: []input{indices(0, 9, 4), tensorOf(onnx.FromSlice([]int32{3, 0}, 2))}},
	Case{Op: "GatherElements", Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{normal(3, 5), indices(-5, 5, 3, 2)}, Diff: []int{0}},
	Case{Op: "GatherElements", Name: "one axis", In: []input{normal(7), indices(-7, 7, 5)}, Diff: []int{0}},
	Case{Op: "GatherElements", Name: "axis 0, smaller", In: []input{normal(4, 3, 2), indices(0, 4, 2, 2, 2)}, Diff: []int{0}},
	Case{Op: "GatherND", In: []input{normal(3, 4), tuplesOf([]int64{0, 1, -1, 2, 0, 1}, 3, 2)}, Diff: []int{0}},
	Case{Op: "GatherND", Name: "blocks", In: []input{normal(3, 4, 2), indices(0, 3, 2, 2, 1)}, Diff: []int{0}},
	Case{Op: "GatherND", Name: "batch axes", Attrs: attrs(onnx.AttrInt("batch_dims", 1)), In: []input{normal(2, 4, 3), indices(0, 4, 2, 1)}},
	Case{Op: "ScatterElements", Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{normal(2, 5), tuplesOf([]int64{1, -1, 0, 3}, 2, 2), normal(2, 2)}, Diff: []int{0, 2}},
	Case{Op: "ScatterElements", Name: "add", Attrs: attrs(onnx.AttrString("reduction", "add")), In: []input{normal(3, 2), indices(0, 3, 4, 2), normal(4, 2)}, Diff: []int{0, 2}},
	Case{Op: "ScatterElements", Name: "max", Opset: 18, Attrs: attrs(onnx.AttrString("reduction", "max")), In: []input{normal(3, 2), indices(0, 3, 4, 2), normal(4, 2)}},
	Case{Op: "Scatter", Opset: 10, Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{normal(2, 5), tuplesOf([]int64{1, 0, 0, 3}, 2, 2), normal(2, 2)}, Diff: []int{0, 2}},
	Case{Op: "ScatterElements", Name: "opset 11", Opset: 11, In: []input{normal(3, 2), tuplesOf([]int64{2, 0}, 1, 2), normal(1, 2)}, Diff: []int{0, 2}},
	Case{Op: "ScatterND", In: []input{normal(4, 3), tuplesOf([]int64{2, 0}, 2, 1), normal(2, 3)}, Diff: []int{0, 2}},
	Case{Op: "ScatterND", Name: "elements", In: []input{normal(4, 3), tuplesOf([]int64{2, 0, -1, 1}, 2, 2), normal(2)}, Diff: []int{0, 2}},
	Case{Op: "ScatterND", Name: "add", Attrs: attrs(onnx.AttrString("reduction", "add")), In: []input{normal(4, 3), indices(0, 4, 6, 1), normal(6, 3)}, Diff: []int{0, 2}},
	Case{Op: "ScatterND", Name: "mul", Attrs: attrs(onnx.AttrString("reduction", "mul")), In: []input{normal(4), indices(0, 4, 6, 1), normal(6)}},
)
