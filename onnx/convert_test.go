package onnx

import (
	"math"
	"testing"
)

func TestConvertKnownValues(t *testing.T) {
	inf := math.Inf(1)
	tests := []struct {
		value   float64
		f16     uint16 // IEEE 754 binary16
		bf16    uint16 // upper half of binary32
		comment string
	}{
		{0, 0, 0, ""},
		{math.Copysign(0, -1), 0x8000, 0x8000, ""},
		{1, 0x3c00, 0x3f80, ""},
		{-2, 0xc000, 0xc000, ""},
		{65504, 0x7bff, 0x4780, "largest of float16"},
		{65520, 0x7c00, 0x4780, "rounds up to infinity"},
		{1e300, 0x7c00, 0x7f80, "too large"},
		{inf, 0x7c00, 0x7f80, ""},
		{-inf, 0xfc00, 0xff80, ""},
		{0x1p-24, 0x0001, 0x3380, "smallest of float16"},
		{0x1p-25, 0x0000, 0x3300, "tie to even"},
		{1 + 0x1p-11, 0x3c00, 0x3f80, "tie to even"},
		{1 + 0x1p-11 + 0x1p-40, 0x3c01, 0x3f80, "just above the tie: float32 alone would lose it"},
		{1 + 0x1p-8 + 0x1p-40, 0x3c04, 0x3f81, "just above the tie"},
		{1 + 0x1p-8 - 0x1p-40, 0x3c04, 0x3f80, "just below the tie"},
	}
	for _, test := range tests {
		x := FromSlice([]float64{test.value}, 1)
		for dt, want := range map[DType]uint16{Float16: test.f16, BFloat16: test.bf16} {
			y, err := Convert(x, dt)
			if err != nil {
				t.Fatal(err)
			}
			if got := Of[uint16](y)[0]; got != want || y.DType != dt {
				t.Errorf("%v as %v is %#04x, want %#04x (%s)", test.value, dt, got, want, test.comment)
			}
		}
	}
}

// Every number of the 16-bit types comes back from float32 and float64.
func TestConvertIsExactUpwards(t *testing.T) {
	bits := make([]uint16, 1<<16)
	for i := range bits {
		bits[i] = uint16(i)
	}
	for _, half := range []DType{Float16, BFloat16} {
		x := &Tensor{Name: "w", DType: half, Shape: []int{1 << 16}, Data: bits}
		for _, wide := range []DType{Float32, Float64} {
			up, err := Convert(x, wide)
			if err != nil {
				t.Fatal(err)
			}
			down, err := Convert(up, half)
			if err != nil {
				t.Fatal(err)
			}
			for i, got := range Of[uint16](down) {
				if got != bits[i] && !isNaN16(half, bits[i]) {
					t.Fatalf("%v %#04x became %#04x by way of %v", half, bits[i], got, wide)
				}
				if isNaN16(half, got) != isNaN16(half, bits[i]) {
					t.Fatalf("%v %#04x became %#04x", half, bits[i], got)
				}
			}
		}
	}
}

func isNaN16(dt DType, bits uint16) bool {
	if dt == Float16 {
		return bits&0x7fff > 0x7c00
	}
	return bits&0x7fff > 0x7f80
}

func TestConvertRefuses(t *testing.T) {
	for _, x := range []*Tensor{FromSlice([]int64{1}, 1), {DType: Int4, Shape: []int{1}, Data: Packed{1}}} {
		_, err := ToFloat32(x)
		requireTyped(t, err)
	}
	_, err := ToFloat32(&Tensor{Name: "w", DType: Float16, Shape: []int{2}, Data: []uint16{1}})
	if want := `onnx: tensor "w": data have 1 elements, shape [2] needs 2`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
