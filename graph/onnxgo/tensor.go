package onnxgo

import (
	"fmt"
	"reflect"
	"slices"

	"gorgonia.org/tensor"

	"github.com/unprune/unprune/onnx"
)

// dtypes are the types of elements that both sides have.
var dtypes = map[reflect.Type]onnx.DType{
	reflect.TypeFor[float32](): onnx.Float32, reflect.TypeFor[float64](): onnx.Float64,
	reflect.TypeFor[int8](): onnx.Int8, reflect.TypeFor[int16](): onnx.Int16,
	reflect.TypeFor[int32](): onnx.Int32, reflect.TypeFor[int64](): onnx.Int64,
	reflect.TypeFor[uint8](): onnx.Uint8, reflect.TypeFor[uint16](): onnx.Uint16,
	reflect.TypeFor[uint32](): onnx.Uint32, reflect.TypeFor[uint64](): onnx.Uint64,
	reflect.TypeFor[bool](): onnx.Bool,
}

// fromTensor makes a tensor of ours that shares t's memory, scalars and views
// apart, which are copied.
func fromTensor(t tensor.Tensor) (*onnx.Tensor, error) {
	if d, ok := t.(*tensor.Dense); ok && (d.RequiresIterator() || d.DataOrder().IsColMajor()) {
		if d.DataOrder().IsColMajor() {
			return nil, fmt.Errorf("the tensor is column-major; want row-major")
		}
		t = d.Materialize()
	}
	data := reflect.ValueOf(t.Data())
	if data.Kind() != reflect.Slice { // a scalar
		one := reflect.MakeSlice(reflect.SliceOf(data.Type()), 1, 1)
		one.Index(0).Set(data)
		data = one
	}
	dt, ok := dtypes[data.Type().Elem()]
	if !ok {
		return nil, fmt.Errorf("elements of type %v are not supported", t.Dtype())
	}
	n := 1
	for _, d := range t.Shape() {
		n *= d
	}
	if n != data.Len() {
		return nil, fmt.Errorf("the tensor has %d elements in memory, its shape %v says %d", data.Len(), t.Shape(), n)
	}
	return &onnx.Tensor{DType: dt, Shape: slices.Clone([]int(t.Shape())), Data: data.Interface()}, nil
}

// toTensor copies a tensor of ours; nil if its elements have no type there.
func toTensor(t *onnx.Tensor) tensor.Tensor {
	if t.DType == onnx.Float16 || t.DType == onnx.BFloat16 {
		return nil
	}
	data := reflect.ValueOf(t.Data)
	if len(t.Shape) == 0 {
		return tensor.New(tensor.FromScalar(data.Index(0).Interface()))
	}
	return tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(clone(t.Data)))
}

// clone copies a slice of any type of elements.
func clone(slice any) any {
	v := reflect.ValueOf(slice)
	return reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v).Interface()
}
