package ops_test

import (
	"math/rand/v2"

	"github.com/unprune/unprune/onnx"
)

// bytesOf is a uint8 tensor of the given shape.
func bytesOf(shape ...int) input {
	return input{make: func(rng *rand.Rand, _ onnx.DType) *onnx.Tensor {
		data := make([]uint8, onnx.Size(shape))
		for i := range data {
			data[i] = uint8(rng.IntN(256))
		}
		return onnx.FromSlice(data, shape...)
	}}
}

func zeroPoint(z uint8) input { return tensorOf(onnx.FromSlice([]uint8{z})) }

// single is a scalar of single precision whatever the case runs in.
func single(x float32) input { return tensorOf(onnx.FromSlice([]float32{x})) }

// scale3 has a scale for each of three channels.
var scale3 = tensorOf(onnx.FromSlice([]float32{0.02, 0.05, 0.1}, 3))

var _ = addCases(
	Case{Op: "QuantizeLinear", In: []input{normal(3, 4), scalarOf(0.02), zeroPoint(128)}},
	Case{Op: "QuantizeLinear", Name: "per channel", Opset: 13, Attrs: attrs(axisAttr(1)),
		In: []input{tensorOf(onnx.FromSlice([]float32{-1, 0.31, 2, 1, -0.22, 5}, 2, 3)), scale3, tensorOf(onnx.FromSlice([]uint8{1, 100, 200}, 3))}},
	Case{Op: "DequantizeLinear", In: []input{bytesOf(3, 4), scalarOf(0.02), zeroPoint(128)}},
	Case{Op: "DequantizeLinear", Name: "per channel", Opset: 13, In: []input{bytesOf(2, 3, 4), scale3}},
	Case{Op: "DequantizeLinear", Name: "blocks", Opset: 21, In: []input{bytesOf(2, 5), normal(2, 3)}, Attrs: attrs(axisAttr(1), onnx.AttrInt("block_size", 2))},
	Case{Op: "DynamicQuantizeLinear", NOut: 3, In: []input{tensorOf(onnx.FromSlice([]float32{-1, 0.3, 2.4, 1, -0.2, 5}, 2, 3))}},
	Case{Op: "MatMulInteger", In: []input{bytesOf(3, 4), bytesOf(4, 5), zeroPoint(12), zeroPoint(7)}},
	Case{Op: "ConvInteger", In: []input{bytesOf(1, 2, 5, 5), bytesOf(3, 2, 3, 3), zeroPoint(12)}, Attrs: attrs(onnx.AttrInts("pads", 1, 1, 1, 1))},
	Case{Op: "QLinearMatMul", In: []input{bytesOf(3, 4), single(0.02), zeroPoint(128), bytesOf(4, 5), single(0.03), zeroPoint(100), single(0.5), zeroPoint(120)}},
	Case{Op: "QLinearConv", In: []input{bytesOf(1, 2, 5, 5), single(0.02), zeroPoint(128), bytesOf(3, 2, 3, 3), single(0.03), zeroPoint(100), single(0.1), zeroPoint(120),
		tensorOf(onnx.FromSlice([]int32{100, -50, 7}, 3))}},
)
