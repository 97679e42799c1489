package ort_test

import (
	"math"
	"testing"

	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/onnx"
)

func TestCompare(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	f64 := func(x ...float64) *onnx.Tensor { return onnx.FromSlice(x, len(x)) }
	f16 := func(x ...uint16) *onnx.Tensor {
		return &onnx.Tensor{DType: onnx.Float16, Shape: []int{len(x)}, Data: x}
	}
	tests := []struct {
		name string
		a, b *onnx.Tensor
		want ort.Difference
	}{
		{"equal", f64(1, -2, 0), f64(1, -2, 0), ort.Difference{Scale: 2}},
		{"apart", f64(1, 10), f64(1.5, 8), ort.Difference{MaxAbs: 2, MaxRel: 0.5 / 1.5, Scale: 8}},
		{"near zero", f64(1e-9, 4), f64(-1e-9, 4), ort.Difference{MaxAbs: 2e-9, MaxRel: 2, Scale: 4}},
		{"signs of zero", f64(0), f64(math.Copysign(0, -1)), ort.Difference{}},
		{"NaN on one side", f64(nan, 1, nan), f64(1, nan, nan), ort.Difference{NaN: 2}},
		{"equal infinities", f64(inf, -inf, 3), f64(inf, -inf, 3), ort.Difference{Scale: 3}},
		{"infinity and a number", f64(inf), f64(3), ort.Difference{MaxAbs: inf, MaxRel: 2, Scale: 3}},
		{"opposite infinities", f64(inf), f64(-inf), ort.Difference{MaxAbs: inf, MaxRel: 2}},
		{"empty", f64(), f64(), ort.Difference{}},
		{"integers beyond float64", onnx.FromSlice([]int64{1 << 60}, 1), onnx.FromSlice([]int64{1<<60 + 1}, 1),
			ort.Difference{MaxAbs: 1, MaxRel: math.Ldexp(1, -60), Scale: 1 << 60}},
		{"unsigned", onnx.FromSlice([]uint8{0}, 1), onnx.FromSlice([]uint8{255}, 1), ort.Difference{MaxAbs: 255, MaxRel: 1, Scale: 255}},
		{"16 bits as number", onnx.FromSlice([]uint16{0x3c00}, 1), onnx.FromSlice([]uint16{0x4000}, 1),
			ort.Difference{MaxAbs: 0x400, MaxRel: 0x400 / float64(0x4000), Scale: 0x4000}},
		{"16 bits as float", f16(0x3c00), f16(0x4000), ort.Difference{MaxAbs: 1, MaxRel: 0.5, Scale: 2}},
		{"booleans", onnx.FromSlice([]bool{true, false}, 2), onnx.FromSlice([]bool{true, true}, 2), ort.Difference{MaxAbs: 1, MaxRel: 1, Scale: 1}},
		{"strings", onnx.FromSlice([]string{"a"}, 1), onnx.FromSlice([]string{"b"}, 1), ort.Difference{MaxAbs: 1, MaxRel: 1, Scale: 1}},
		{"equal strings", onnx.FromSlice([]string{"a"}, 1), onnx.FromSlice([]string{"a"}, 1), ort.Difference{}},
		{"types", f64(1), onnx.FromSlice([]float32{1}, 1), ort.Difference{Mismatch: "float64 against float32"}},
		{"shapes", f64(1, 2), onnx.FromSlice([]float64{1, 2}, 2, 1), ort.Difference{Mismatch: "shape [2] against [2 1]"}},
		{"first only", f64(1), nil, ort.Difference{Mismatch: "only the first has it"}},
		{"second only", nil, f64(1), ort.Difference{Mismatch: "only the second has it"}},
		{"complex", onnx.NewTensor(onnx.Complex64, 1), onnx.NewTensor(onnx.Complex64, 1), ort.Difference{Mismatch: "cannot compare complex64"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := map[string]*onnx.Tensor{}, map[string]*onnx.Tensor{}
			if tt.a != nil {
				a["y"] = tt.a
			}
			if tt.b != nil {
				b["y"] = tt.b
			}
			tt.want.Output = "y"
			have := ort.Compare(a, b)
			if len(have) != 1 || have[0] != tt.want {
				t.Errorf("have %+v, want %+v", have, tt.want)
			}
		})
	}
}

func TestCompareOrder(t *testing.T) {
	x := onnx.NewTensor(onnx.Float32, 1)
	have := ort.Compare(map[string]*onnx.Tensor{"b": x, "a": x}, map[string]*onnx.Tensor{"c": x, "b": x})
	var order string
	for _, d := range have {
		order += d.Output
	}
	if order != "abc" {
		t.Errorf("order %q, want abc", order)
	}
	if have := ort.Compare(nil, nil); len(have) != 0 {
		t.Errorf("nothing with nothing: %+v", have)
	}
}
