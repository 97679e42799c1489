package ops_test

import (
	"github.com/unprune/unprune/onnx"
)

const newerThanORT = "ONNX Runtime does not have it"

var _ = addCases(
	Case{Op: "Softsign", In: []input{distinct(3, 4)}, Diff: []int{0}},
	Case{Op: "Selu", In: []input{distinct(3, 4)}, Diff: []int{0}},
	Case{Op: "Selu", Name: "given numbers", Opset: 7, In: []input{distinct(3, 4)}, Diff: []int{0},
		Attrs: attrs(onnx.AttrFloat("alpha", 2), onnx.AttrFloat("gamma", 3))},
	Case{Op: "Celu", In: []input{distinct(3, 4)}, Diff: []int{0}, Attrs: attrs(onnx.AttrFloat("alpha", 2))},
	Case{Op: "ThresholdedRelu", In: []input{distinct(5, 8)}, Diff: []int{0}, Attrs: attrs(onnx.AttrFloat("alpha", 0.5))},
	Case{Op: "Mish", In: []input{normal(3, 4)}, Diff: []int{0}},
	Case{Op: "Swish", Opset: 24, In: []input{normal(3, 4)}, Diff: []int{0}, Attrs: attrs(onnx.AttrFloat("alpha", 0.5))},
	Case{Op: "SwiGLU", Opset: 28, In: []input{normal(3, 4), normal(3, 4)}, Diff: []int{0, 1}, Attrs: attrs(onnx.AttrFloat("alpha", 0.5)), NoORT: newerThanORT},
	Case{Op: "Shrink", In: []input{distinct(5, 8)}, Diff: []int{0}, Attrs: attrs(onnx.AttrFloat("lambd", 0.3), onnx.AttrFloat("bias", 0.1))},
	Case{Op: "Hardmax", In: []input{distinct(3, 4, 5)}, Attrs: attrs(axisAttr(1))},
	Case{Op: "Hardmax", Name: "opset 11", Opset: 11, In: []input{distinct(3, 4, 5)}},
	Case{Op: "MeanVarianceNormalization", In: []input{normal(2, 3, 4, 5)}, Diff: []int{0}},
	Case{Op: "LpPool", In: []input{distinct(2, 3, 6, 7)}, Diff: []int{0}, Attrs: attrs(onnx.AttrInts("kernel_shape", 2, 3), onnx.AttrInts("strides", 2, 1))},
	Case{Op: "LpPool", Name: "3-norm", In: []input{distinct(2, 3, 6, 7)}, Diff: []int{0}, Attrs: attrs(onnx.AttrInt("p", 3), onnx.AttrInts("kernel_shape", 3, 3))},
	Case{Op: "GlobalLpPool", Opset: 20, In: []input{distinct(2, 3, 4, 5)}, Diff: []int{0}, Attrs: attrs(onnx.AttrInt("p", 2))},
	Case{Op: "HannWindow", In: []input{intScalar(10)}},
	Case{Op: "HammingWindow", In: []input{intScalar(9)}, Attrs: attrs(onnx.AttrInt("periodic", 0))},
	Case{Op: "BlackmanWindow", In: []input{intScalar(10)}},

	Case{Op: "Tan", In: []input{uniform(-1, 1, 3, 4)}, Diff: []int{0}},
	Case{Op: "Asin", In: []input{uniform(-0.9, 0.9, 3, 4)}, Diff: []int{0}},
	Case{Op: "Acos", In: []input{uniform(-0.9, 0.9, 3, 4)}, Diff: []int{0}},
	Case{Op: "Atan", In: []input{normal(3, 4)}, Diff: []int{0}},
	Case{Op: "Sinh", In: []input{normal(3, 4)}, Diff: []int{0}},
	Case{Op: "Cosh", In: []input{normal(3, 4)}, Diff: []int{0}},
	Case{Op: "Asinh", In: []input{normal(3, 4)}, Diff: []int{0}},
	Case{Op: "Acosh", In: []input{uniform(1.2, 3, 3, 4)}, Diff: []int{0}},
	Case{Op: "Atanh", In: []input{uniform(-0.8, 0.8, 3, 4)}, Diff: []int{0}},

	Case{Op: "BitwiseAnd", In: []input{indices(0, 99, 3, 4), indices(0, 99, 4)}},
	Case{Op: "BitwiseOr", In: []input{indices(0, 99, 3, 4), indices(0, 99, 4)}},
	Case{Op: "BitwiseXor", In: []input{indices(0, 99, 3, 4), indices(0, 99, 4)}},
	Case{Op: "BitwiseNot", In: []input{indices(0, 99, 3, 4)}},
	Case{Op: "BitShift", In: []input{tensorOf(onnx.FromSlice([]uint8{1, 2, 200}, 3)), tensorOf(onnx.FromSlice([]uint8{1, 3, 2}, 3))},
		Attrs: attrs(onnx.AttrString("direction", "RIGHT"))},
	Case{Op: "BitShift", Name: "left", In: []input{tensorOf(onnx.FromSlice([]uint8{1, 2, 200}, 3)), tensorOf(onnx.FromSlice([]uint8{1, 3, 2}, 3))},
		Attrs: attrs(onnx.AttrString("direction", "LEFT"))},

	Case{Op: "Einsum", In: []input{normal(2, 3, 4), normal(2, 4, 5)}, Diff: []int{0, 1}, Attrs: equation("bij,bjk->bik")},
	Case{Op: "Einsum", Name: "attention", In: []input{normal(2, 3, 4, 5), normal(2, 6, 4, 5)}, Diff: []int{0, 1}, Attrs: equation("bqhd,bkhd->bhqk")},
	Case{Op: "Einsum", Name: "three terms, sums", In: []input{normal(2, 3), normal(3, 4), normal(4, 5)}, Diff: []int{0, 1, 2}, Attrs: equation("ab,bc,cd->a")},
	Case{Op: "Einsum", Name: "diagonal", In: []input{normal(4, 2, 4)}, Diff: []int{0}, Attrs: equation("iji->ij")},
	Case{Op: "Einsum", Name: "ellipsis, implicit", In: []input{normal(2, 3, 4), normal(4, 3)}, Diff: []int{0, 1}, Attrs: equation("...ij,ji")},
)

func equation(s string) []*onnx.Attr { return attrs(onnx.AttrString("equation", s)) }
