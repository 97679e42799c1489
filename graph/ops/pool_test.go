package ops_test

import (
	"math/rand/v2"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

func ceilMode() *onnx.Attr        { return onnx.AttrInt("ceil_mode", 1) }
func countIncludePad() *onnx.Attr { return onnx.AttrInt("count_include_pad", 1) }
func dilated(d ...int64) *onnx.Attr {
	return onnx.AttrInts("dilations", d...)
}

// placesIn has, for each of images images of size elements, count places in it;
// some of them come twice.
func placesIn(images, size, count int, shape ...int) input {
	return input{make: func(rng *rand.Rand, _ onnx.DType) *onnx.Tensor {
		var list []int64
		for image := range images {
			for range count {
				list = append(list, int64(image*size+rng.IntN(size)))
			}
		}
		return onnx.FromSlice(list, shape...)
	}}
}

var _ = addCases(
	Case{Op: "MaxPool", In: []input{distinct(2, 3, 6, 6)}, Diff: []int{0}, NOut: 2,
		Attrs: attrs(kernelOf(2, 2), strided(2, 2))},
	Case{Op: "MaxPool", Name: "opset 7", Opset: 7, In: []input{distinct(1, 2, 5, 5)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 3), strided(2, 2), padded(1, 1, 1, 1))},
	Case{Op: "MaxPool", Name: "overlapping, padded", In: []input{distinct(2, 2, 7, 6)}, Diff: []int{0}, NOut: 2,
		Attrs: attrs(kernelOf(3, 3), strided(2, 2), padded(1, 1, 1, 1))},
	Case{Op: "MaxPool", Name: "ceil", In: []input{distinct(2, 2, 8, 7)}, Diff: []int{0}, NOut: 2,
		Attrs: attrs(kernelOf(3, 2), strided(3, 3), padded(0, 0, 0, 0), ceilMode())},
	Case{Op: "MaxPool", Name: "ceil drops what starts in the padding", In: []input{distinct(1, 1, 6, 6)}, Diff: []int{0},
		Attrs: attrs(kernelOf(2, 2), strided(3, 3), padded(1, 1, 1, 1), ceilMode())},
	Case{Op: "MaxPool", Name: "dilated", In: []input{distinct(1, 2, 9, 8)}, Diff: []int{0}, NOut: 2,
		Attrs: attrs(kernelOf(3, 2), dilated(2, 3), padded(1, 0, 0, 1))},
	Case{Op: "MaxPool", Name: "column order", In: []input{distinct(2, 2, 6, 5)}, NOut: 2,
		Attrs: attrs(kernelOf(2, 2), onnx.AttrInt("storage_order", 1))},
	Case{Op: "MaxPool", Name: "same lower", In: []input{distinct(1, 2, 6, 5)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 3), strided(2, 2), autoPad("SAME_LOWER"))},
	Case{Op: "MaxPool", Name: "one axis", In: []input{distinct(2, 3, 9)}, Diff: []int{0}, NOut: 2,
		Attrs: attrs(kernelOf(3), strided(2), padded(1, 1))},
	Case{Op: "MaxPool", Name: "ties", In: []input{coins(2, 2, 8, 8)}, NOut: 2,
		Attrs: attrs(kernelOf(3, 3), strided(2, 2))},

	Case{Op: "MaxPool", Name: "three axes", In: []input{distinct(2, 2, 5, 6, 4)}, Diff: []int{0}, NOut: 2,
		Attrs: attrs(kernelOf(3, 2, 2), strided(2, 1, 2), padded(1, 0, 1, 0, 1, 0))},
	Case{Op: "MaxPool", Name: "three axes, dilated, ceil", In: []input{distinct(1, 2, 6, 6, 7)}, Diff: []int{0}, NOut: 2,
		Attrs: attrs(kernelOf(2, 2, 2), strided(2, 2, 2), dilated(2, 3, 1), ceilMode())},
	Case{Op: "MaxPool", Name: "three axes, ties", In: []input{coins(2, 2, 5, 4, 6)}, NOut: 2,
		Attrs: attrs(kernelOf(3, 2, 3))},

	Case{Op: "MaxPoolPick", Domain: ops.Domain, In: []input{normal(2, 3, 3, 3), placesIn(6, 9, 4, 2, 3, 2, 2)}, Diff: []int{0}},
	Case{Op: "MaxPoolGrad", Domain: ops.Domain, In: []input{normal(2, 3, 2, 2), placesIn(6, 9, 4, 2, 3, 2, 2)}, Diff: []int{0},
		Attrs: attrs(inputShape(2, 3, 3, 3))},
	Case{Op: "MaxPoolGrad", Domain: ops.Domain, Name: "one axis", In: []input{normal(2, 2, 5), placesIn(4, 7, 5, 2, 2, 5)}, Diff: []int{0},
		Attrs: attrs(inputShape(2, 2, 7))},

	Case{Op: "AveragePool", In: []input{normal(2, 3, 6, 6)}, Diff: []int{0},
		Attrs: attrs(kernelOf(2, 2), strided(2, 2))},
	Case{Op: "AveragePool", Name: "three axes", In: []input{normal(2, 2, 5, 6, 4)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 2, 2), strided(2, 1, 2), padded(1, 0, 1, 0, 1, 0))},
	Case{Op: "AveragePool", Name: "three axes, padding counts", In: []input{normal(1, 2, 5, 5, 6)}, Diff: []int{0},
		Attrs: attrs(kernelOf(2, 3, 2), strided(2, 2, 2), padded(1, 1, 0, 0, 1, 1), countIncludePad(), ceilMode())},
	Case{Op: "AveragePoolGrad", Domain: ops.Domain, Name: "three axes", In: []input{normal(2, 2, 2, 6, 2)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 2, 2), strided(2, 1, 2), padded(1, 0, 1, 0, 1, 0), inputShape(2, 2, 5, 6, 4))},
	Case{Op: "AveragePool", Name: "padded, opset 7", Opset: 7, In: []input{normal(2, 2, 5, 6)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 3), strided(2, 2), padded(1, 1, 1, 1))},
	Case{Op: "AveragePool", Name: "padding counts", In: []input{normal(2, 2, 5, 6)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 3), strided(2, 2), padded(1, 1, 1, 1), countIncludePad())},
	Case{Op: "AveragePool", Name: "ceil", In: []input{normal(1, 2, 6, 7)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 2), strided(2, 2), padded(0, 1, 0, 0), ceilMode())},
	Case{Op: "AveragePool", Name: "ceil, padding counts", In: []input{normal(1, 2, 6, 7)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 2), strided(2, 2), padded(1, 1, 0, 0), ceilMode(), countIncludePad())},
	Case{Op: "AveragePool", Name: "dilated", In: []input{normal(1, 2, 7, 7)}, Diff: []int{0},
		Attrs: attrs(kernelOf(2, 3), dilated(3, 2), padded(1, 1, 1, 1))},
	Case{Op: "AveragePool", Name: "one axis", In: []input{normal(2, 2, 7)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3), padded(1, 1))},

	Case{Op: "AveragePoolGrad", Domain: ops.Domain, In: []input{normal(2, 3, 3, 3)}, Diff: []int{0},
		Attrs: attrs(kernelOf(2, 2), strided(2, 2), inputShape(2, 3, 6, 7))},
	Case{Op: "AveragePoolGrad", Domain: ops.Domain, Name: "ceil", In: []input{normal(1, 2, 3, 4)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3, 2), strided(2, 2), padded(0, 1, 0, 0), ceilMode(), inputShape(1, 2, 6, 7))},
	Case{Op: "AveragePoolGrad", Domain: ops.Domain, Name: "one axis, padding counts", In: []input{normal(2, 2, 7)}, Diff: []int{0},
		Attrs: attrs(kernelOf(3), padded(1, 1), countIncludePad(), inputShape(2, 2, 7))},

	Case{Op: "GlobalAveragePool", In: []input{normal(2, 3, 4, 5)}, Diff: []int{0}},
	Case{Op: "GlobalAveragePool", Name: "opset 7, one axis", Opset: 7, In: []input{normal(2, 3, 4)}, Diff: []int{0}},
	Case{Op: "GlobalMaxPool", In: []input{distinct(2, 3, 4, 5)}, Diff: []int{0}},
	Case{Op: "GlobalMaxPool", Name: "opset 11", Opset: 11, In: []input{distinct(2, 3, 4, 5)}, Diff: []int{0}},
)

var _ = addMistakes([]mistake{
	{Case{Op: "MaxPool", In: []input{normal(1, 3, 8, 8)}}, "kernel_shape is missing"},
	{Case{Op: "MaxPool", In: []input{normal(1, 3, 8, 8)}, Attrs: attrs(kernelOf(2, 2), padded(2, 0, 0, 0))}, "lies in the padding"},
}...)
