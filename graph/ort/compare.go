package ort

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// Difference says how far two computations of one output are apart.
type Difference struct {
	Output string

	// MaxAbs is the largest |a-b|; +Inf when an infinity meets anything else.
	// Booleans count as 0 and 1, different strings as 1 apart.
	MaxAbs float64
	// MaxRel is the largest |a-b| / max(|a|, |b|), in [0, 2]. It is large
	// wherever both are close to 0; MaxAbs/Scale is the milder measure.
	MaxRel float64
	// Scale is the largest finite |b|; for booleans and strings 1 if any differ.
	Scale float64
	// NaN is the number of positions where just one of the two is NaN. They
	// count for nothing else; two NaN are equal.
	NaN int

	// Mismatch says why the two cannot be compared: one is absent, or type or
	// shape differ. Then all numbers are 0.
	Mismatch string
}

// Compare compares a with the reference b, output by output, sorted by name.
func Compare(a, b map[string]*onnx.Tensor) []Difference {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]*onnx.Tensor{}
	}
	maps.Copy(all, b)
	diffs := make([]Difference, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d := Difference{Output: name}
		if d.Mismatch = mismatch(a[name], b[name]); d.Mismatch == "" {
			d.measure(a[name], b[name])
		}
		diffs = append(diffs, d)
	}
	return diffs
}

// mismatch says why two tensors cannot be compared, "" when they can.
func mismatch(a, b *onnx.Tensor) string {
	switch {
	case a == nil:
		return "only the second has it"
	case b == nil:
		return "only the first has it"
	case a.DType != b.DType:
		return fmt.Sprintf("%v against %v", a.DType, b.DType)
	case !slices.Equal(a.Shape, b.Shape):
		return fmt.Sprintf("shape %v against %v", a.Shape, b.Shape)
	}
	return ""
}

// measure fills the numbers for two tensors of one type and shape.
func (d *Difference) measure(a, b *onnx.Tensor) {
	switch x := a.Data.(type) {
	case []float32:
		numbers(d, x, onnx.Of[float32](b))
	case []float64:
		numbers(d, x, onnx.Of[float64](b))
	case []int8:
		numbers(d, x, onnx.Of[int8](b))
	case []int16:
		numbers(d, x, onnx.Of[int16](b))
	case []int32:
		numbers(d, x, onnx.Of[int32](b))
	case []int64:
		numbers(d, x, onnx.Of[int64](b))
	case []uint8:
		numbers(d, x, onnx.Of[uint8](b))
	case []uint16:
		y := onnx.Of[uint16](b)
		if !isHalf(a.DType) {
			numbers(d, x, y)
			return
		}
		for i := range x {
			d.add(float64(widen(x[i], a.DType)), float64(widen(y[i], a.DType)))
		}
	case []uint32:
		numbers(d, x, onnx.Of[uint32](b))
	case []uint64:
		numbers(d, x, onnx.Of[uint64](b))
	case []bool:
		equals(d, x, onnx.Of[bool](b))
	case []string:
		equals(d, x, onnx.Of[string](b))
	default:
		d.Mismatch = fmt.Sprintf("cannot compare %v", a.DType)
	}
}

func numbers[T float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](d *Difference, a, b []T) {
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		if a[i] != b[i] && x == y { // integers that float64 cannot tell apart
			d.MaxAbs = max(d.MaxAbs, 1)
			d.MaxRel = max(d.MaxRel, 1/math.Abs(x))
		}
		d.add(x, y)
	}
}

func equals[T comparable](d *Difference, a, b []T) {
	for i := range a {
		if a[i] != b[i] {
			d.MaxAbs, d.MaxRel, d.Scale = 1, 1, 1
		}
	}
}

func (d *Difference) add(a, b float64) {
	if math.IsNaN(a) || math.IsNaN(b) {
		if math.IsNaN(a) != math.IsNaN(b) {
			d.NaN++
		}
		return
	}
	if !math.IsInf(b, 0) {
		d.Scale = max(d.Scale, math.Abs(b))
	}
	if a == b { // equal infinities, too
		return
	}
	gap := math.Abs(a - b)
	d.MaxAbs = max(d.MaxAbs, gap)
	if math.IsInf(gap, 0) {
		d.MaxRel = 2
		return
	}
	d.MaxRel = max(d.MaxRel, gap/max(math.Abs(a), math.Abs(b)))
}
