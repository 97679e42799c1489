package onnx

import (
	"bytes"
	"slices"
	"testing"
)

// Elements come out the same wherever their bytes lie in memory.
func TestRawElementsAtAnyAlignment(t *testing.T) {
	want := []float64{1, -2, 3e-300}
	raw := rawBytes(want)
	for shift := range 9 {
		moved := append(make([]byte, shift, shift+len(raw)), raw...)[shift:]
		got := rawElements(moved, Float64)
		if !slices.Equal(got.([]float64), want) {
			t.Errorf("shifted by %d: %v, want %v", shift, got, want)
		}
	}
}

func TestSwapBytes(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	swapBytes(b, 4)
	if want := []byte{4, 3, 2, 1, 8, 7, 6, 5}; !bytes.Equal(b, want) {
		t.Errorf("%v, want %v", b, want)
	}
}
