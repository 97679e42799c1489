package onnx

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestDense(t *testing.T) {
	g := mustRead(t, "testdata/sparse.onnx").Graph
	want := map[string][]float32{
		"linear":      {1, 0, -2, 0, 0, 3},
		"coordinates": {0, 1, 0, -2, 0, 3},
	}
	for _, s := range g.SparseInitializers {
		dense, err := s.Dense()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(dense.Data, want[dense.Name]) || !reflect.DeepEqual(dense.Shape, []int{2, 3}) {
			t.Errorf("%s: %v %v", dense.Name, dense.Shape, dense.Data)
		}
	}
}

// Sparsify keeps what is not zero, of either sign, and Dense undoes it.
func TestSparsify(t *testing.T) {
	negZero, nan := float32(math.Copysign(0, -1)), float32(math.NaN())
	tests := []struct {
		name   string
		tensor *Tensor
		kept   []int64
	}{
		{"float32", FromSlice([]float32{0, 1, negZero, nan, -2, 0}, 2, 3), []int64{1, 3, 4}},
		{"float64", FromSlice([]float64{0, math.Copysign(0, -1), 5e-324}, 3), []int64{2}},
		{"float16", &Tensor{DType: Float16, Shape: []int{3}, Data: []uint16{0x8000, 1, 0}}, []int64{1}},
		{"bfloat16", &Tensor{DType: BFloat16, Shape: []int{3}, Data: []uint16{0x8000, 0x8001, 0}}, []int64{1}},
		{"uint16", FromSlice([]uint16{0x8000, 0}, 2), []int64{0}},
		{"int64", FromSlice([]int64{0, -7}, 1, 2), []int64{1}},
		{"bool", FromSlice([]bool{true, false}, 2), []int64{0}},
		{"complex64", FromSlice([]complex64{0, 1i}, 2), []int64{1}},
		{"all zero", FromSlice([]int8{0, 0}, 2), []int64{}},
		{"no elements", FromSlice([]float32{}, 0, 3), []int64{}},
		{"scalar", FromSlice([]float32{3}), []int64{0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.tensor.Name = "w"
			s := Sparsify(test.tensor)
			if got := Of[int64](s.Indices); !reflect.DeepEqual(got, test.kept) || s.name() != "w" {
				t.Fatalf("%q keeps %v, want %v", s.name(), got, test.kept)
			}
			m := &Model{IRVersion: 8, Graph: &Graph{SparseInitializers: []*SparseTensor{s}}}
			m, err := Decode(mustEncode(t, m), nil)
			if err != nil {
				t.Fatal(err)
			}
			dense, err := m.Graph.SparseInitializers[0].Dense()
			if err != nil {
				t.Fatal(err)
			}
			again := Sparsify(dense)
			if !reflect.DeepEqual(again.Indices.Data, s.Indices.Data) || Text(modelWith(again)) != Text(modelWith(s)) {
				t.Errorf("became %v", dense)
			}
		})
	}
}

func modelWith(s *SparseTensor) *Model {
	return &Model{Graph: &Graph{SparseInitializers: []*SparseTensor{s}}}
}

func TestDenseRefuses(t *testing.T) {
	tensor := func(indices *Tensor, values *Tensor, dims ...int64) *SparseTensor {
		return &SparseTensor{Values: values, Indices: indices, Dims: dims}
	}
	two := FromSlice([]float32{1, 2}, 2)
	tests := []struct {
		name   string
		tensor *SparseTensor
		want   string
	}{
		{"not sorted", tensor(FromSlice([]int64{2, 1}, 2), two, 3), "indices[1] is position 1 after 2: not sorted or not unique"},
		{"not unique", tensor(FromSlice([]int64{1, 1}, 2), two, 3), "indices[1] is position 1 after 1: not sorted or not unique"},
		{"past the end", tensor(FromSlice([]int64{1, 3}, 2), two, 3), "indices[1] is position 3, outside [0, 3)"},
		{"negative", tensor(FromSlice([]int64{-1, 1}, 2), two, 3), "indices[0] is position -1, outside [0, 3)"},
		{"coordinate", tensor(FromSlice([]int64{0, 3, 1, 0}, 2, 2), two, 2, 3), "indices[0] has coordinate 3 on axis 1, outside [0, 3)"},
		{"coordinates not sorted", tensor(FromSlice([]int64{1, 0, 0, 2}, 2, 2), two, 2, 3), "indices[1] is position 2 after 3"},
		{"rank", tensor(FromSlice([]int64{1, 0, 0, 2}, 2, 2), two, 6), "indices have shape [2 2], want [2] or [2 1]"},
		{"count", tensor(FromSlice([]int64{1}, 1), two, 6), "indices have shape [1], want [2] or [2 1]"},
		{"index type", tensor(FromSlice([]int32{0, 1}, 2), two, 6), "indices are int32, want int64"},
		{"values", tensor(FromSlice([]int64{0}, 1), FromSlice([]float32{1, 2}, 1, 2), 6), "values have shape [1 2], want one axis"},
		{"coordinates of a scalar", tensor(FromSlice([]int64{}, 1, 0), FromSlice([]float32{1}, 1)), "a scalar has no coordinates"},
		{"negative extent", tensor(FromSlice([]int64{0, 1}, 2), two, -6), "extent 0 is negative"},
		{"bomb", tensor(FromSlice([]int64{0, 1}, 2), two, 1<<40), "the dense form of shape [1099511627776] of float32 is larger than"},
		{"strings", tensor(FromSlice([]int64{0}, 1), FromSlice([]string{"a"}, 1), 2), "a sparse tensor of string"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.tensor.Dense()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			requireTyped(t, err)
		})
	}
}
