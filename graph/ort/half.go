package ort

import (
	"math"

	"github.com/x448/float16"

	"github.com/unprune/unprune/onnx"
)

// isHalf reports whether dt is a 16-bit floating-point type.
func isHalf(dt onnx.DType) bool { return dt == onnx.Float16 || dt == onnx.BFloat16 }

// widen returns the value of the 16-bit float of type dt with these bits.
func widen(bits uint16, dt onnx.DType) float32 {
	if dt == onnx.Float16 {
		return float16.Frombits(bits).Float32()
	}
	return math.Float32frombits(uint32(bits) << 16)
}
