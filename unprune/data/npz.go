package data

import (
	"fmt"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// loadNPZ reads inputs and labels from the arrays of those names, "x" and "y"
// by default.
func loadNPZ(file string, arrays []string) (*Dataset, error) {
	if arrays == nil {
		arrays = []string{"x", "y"}
	}
	if len(arrays) != 2 {
		return nil, fmt.Errorf("data: name two arrays, as in file.npz:images,labels")
	}
	a, err := npz.Open(file)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	x, err := a.Read(arrays[0])
	if err != nil {
		return nil, err
	}
	y, err := a.Read(arrays[1])
	if err != nil {
		return nil, err
	}
	inputs, err := toInputs(x)
	if err != nil {
		return nil, err
	}
	labels, err := toLabels(y)
	if err != nil {
		return nil, err
	}
	return newDataset(inputs, labels, 0)
}

// toInputs converts an array to float32; bytes are pixels.
func toInputs(t *onnx.Tensor) (*onnx.Tensor, error) {
	switch v := t.Data.(type) {
	case []float32:
		return t, nil
	case []float64:
		x := make([]float32, len(v))
		for i, f := range v {
			x[i] = float32(f)
		}
		return onnx.FromSlice(x, t.Shape...), nil
	case []uint8:
		return onnx.FromSlice(bytesToUnit(v), t.Shape...), nil
	}
	return nil, fmt.Errorf("data: inputs of type %v are not supported: save them as float32, float64 or uint8 (pixels)", t.DType)
}

// toLabels converts an array [n] or [n,1] of integers.
func toLabels(t *onnx.Tensor) ([]int64, error) {
	if len(t.Shape) != 1 && !(len(t.Shape) == 2 && t.Shape[1] == 1) {
		return nil, fmt.Errorf("data: labels have shape %v: want one class index per sample, [samples]", t.Shape)
	}
	switch v := t.Data.(type) {
	case []int64:
		return v, nil
	case []int32:
		return widen(v), nil
	case []int16:
		return widen(v), nil
	case []int8:
		return widen(v), nil
	case []uint8:
		return widen(v), nil
	case []uint16:
		if t.DType == onnx.Uint16 {
			return widen(v), nil
		}
	case []uint32:
		return widen(v), nil
	}
	return nil, fmt.Errorf("data: labels of type %v are not supported: save them as integers", t.DType)
}

func widen[T int32 | int16 | int8 | uint8 | uint16 | uint32](v []T) []int64 {
	labels := make([]int64, len(v))
	for i, l := range v {
		labels[i] = int64(l)
	}
	return labels
}
