package ops_test

import "github.com/unprune/unprune/onnx"

var _ = addCases(
	Case{Op: "MatMul", In: []input{normal(3, 4), normal(4, 5)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "linear layer", In: []input{normal(2, 3, 4), normal(4, 5)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "batch", In: []input{normal(2, 3, 4, 5), normal(2, 3, 5, 2)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "repeated batches", In: []input{normal(2, 1, 3, 4), normal(5, 4, 2)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "matrix by batch", In: []input{normal(3, 4), normal(5, 4, 2)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "vectors", In: []input{normal(4), normal(4)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "vector by matrix", In: []input{normal(4), normal(4, 3)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "matrix by vector", In: []input{normal(2, 3, 4), normal(4)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "vector by batch", In: []input{normal(4), normal(2, 4, 3)}, Diff: []int{0, 1}},
	Case{Op: "MatMul", Name: "no inner extent", In: []input{normal(2, 0), normal(0, 3)}, NoORT: "differs between versions"},
	Case{Op: "Gemm", In: []input{normal(3, 4), normal(4, 5)}, Diff: []int{0, 1}},
	Case{Op: "Gemm", Name: "linear layer", Attrs: attrs(onnx.AttrInt("transB", 1)), In: []input{normal(3, 4), normal(5, 4), normal(5)}, Diff: []int{0, 1, 2}},
	Case{Op: "Gemm", Name: "all attributes", Attrs: attrs(onnx.AttrInt("transA", 1), onnx.AttrInt("transB", 1), onnx.AttrFloat("alpha", 0.5), onnx.AttrFloat("beta", 2)),
		In: []input{normal(4, 3), normal(5, 4), normal(3, 5)}, Diff: []int{0, 1, 2}},
	Case{Op: "Gemm", Name: "transA", Attrs: attrs(onnx.AttrInt("transA", 1)), In: []input{normal(4, 3), normal(4, 5), normal(3, 1)}, Diff: []int{0, 1, 2}},
	Case{Op: "Gemm", Name: "bias row scaled", Attrs: attrs(onnx.AttrFloat("beta", 0.5)), In: []input{normal(3, 4), normal(4, 5), normal(1, 5)}, Diff: []int{0, 1, 2}},
	Case{Op: "Gemm", Name: "scalar bias, opset 7", Opset: 7, In: []input{normal(3, 4), normal(4, 5), normal(1)}, Diff: []int{0, 1, 2}},
	Case{Op: "Gemm", Name: "scalar bias, one column", In: []input{normal(3, 4), normal(4, 1), scalarOf(2)}, Diff: []int{0, 1, 2}},
	Case{Op: "Gemm", Name: "beta 0", Attrs: attrs(onnx.AttrFloat("beta", 0)), In: []input{normal(3, 4), normal(4, 5), normal(5)}, Diff: []int{0, 1}},
	Case{Op: "Gemm", Name: "alpha 0", Attrs: attrs(onnx.AttrFloat("alpha", 0), onnx.AttrInt("transB", 1)), In: []input{normal(3, 4), normal(5, 4), normal(5)}, Diff: []int{0, 1, 2}},
)
