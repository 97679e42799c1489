package onnx

import (
	"math"
	"slices"

	"github.com/x448/float16"
)

// Convert returns a copy of t with elements of type dt. Both types must be
// floating-point ones (DType.IsFloat). Numbers are rounded once, to nearest and
// ties to even; what is too large becomes infinite, NaN stays NaN.
func Convert(t *Tensor, dt DType) (*Tensor, error) {
	if !t.DType.IsFloat() || !dt.IsFloat() {
		return nil, at(unsupportedf("no conversion from %v to %v", t.DType, dt), namedTensor(t))
	}
	if err := t.check(); err != nil {
		return nil, at(err, namedTensor(t))
	}
	c := *t
	c.DType = dt
	c.Shape = slices.Clone(t.Shape)
	c.Data = converted(t, dt)
	return &c, nil
}

// ToFloat32 returns a copy of t with elements of type Float32.
func ToFloat32(t *Tensor) (*Tensor, error) { return Convert(t, Float32) }

func namedTensor(t *Tensor) string { return "tensor " + quoted([]string{shorten(t.Name)}) }

// converted returns the elements of t as elements of dt. All four types fit
// into float64 exactly, so going through it rounds only once.
func converted(t *Tensor, dt DType) any {
	switch s := t.Data.(type) {
	case []float32:
		return floatsFrom(s, dt, func(v float32) float64 { return float64(v) })
	case []float64:
		return floatsFrom(s, dt, func(v float64) float64 { return v })
	}
	if t.DType == Float16 {
		return floatsFrom(Of[uint16](t), dt, func(v uint16) float64 { return float64(float16.Frombits(v).Float32()) })
	}
	return floatsFrom(Of[uint16](t), dt, func(v uint16) float64 { return float64(math.Float32frombits(uint32(v) << 16)) })
}

func floatsFrom[T any](s []T, dt DType, value func(T) float64) any {
	switch dt {
	case Float64:
		return messages(s, value)
	case Float32:
		return messages(s, func(v T) float32 { return float32(value(v)) })
	case Float16:
		return messages(s, func(v T) uint16 { return float16.Fromfloat32(roundToOdd(value(v))).Bits() })
	}
	return messages(s, func(v T) uint16 { return bfloat16Bits(roundToOdd(value(v))) })
}

// roundToOdd converts v such that rounding the result to half as many bits is
// rounding v itself: what is inexact gets an odd last bit (Boldo and Melquiond,
// Emulation of FMA and correctly rounded sums, 2008).
func roundToOdd(v float64) float32 {
	f := float32(v)
	if float64(f) == v || math.IsNaN(v) {
		return f
	}
	if math.Abs(float64(f)) > math.Abs(v) {
		f = math.Float32frombits(math.Float32bits(f) - 1) // towards zero
	}
	return math.Float32frombits(math.Float32bits(f) | 1)
}

// bfloat16Bits is the upper half of v's bits, rounded to nearest, ties to even.
func bfloat16Bits(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40 // quiet, and not infinite
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
