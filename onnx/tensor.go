package onnx

import (
	"fmt"
	"slices"
)

// Element lists the Go types that hold tensor elements. Float16 and BFloat16
// are held as their bit patterns in uint16.
type Element interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint8 | ~uint16 | ~uint32 | ~uint64 | ~bool | ~string |
		~complex64 | ~complex128
}

// Tensor is a dense tensor in memory, row-major. It is both what a file's
// initializer decodes to and what executors read and write.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // empty: a scalar

	// Data is a slice of the Go type that belongs to DType ([]float32 for
	// Float32, []bool for Bool, []uint16 for Float16 and BFloat16, ...) with
	// exactly Len elements. Types without a Go representation hold Packed.
	// Data may be edited or replaced; files are written from it.
	Data any

	// External names the file beside the model that the elements were read
	// from; empty if they stood in the model. Writing does not look at it.
	External string

	Doc      string
	Metadata []StringPair

	kept    kept
	storage storage
}

// Packed holds the elements of a type without a Go representation (DType.IsPacked)
// as the bytes that the file stores.
type Packed []byte

// NewTensor returns a tensor of zeros. It panics on a negative extent or an
// element type without a Go representation.
func NewTensor(dt DType, shape ...int) *Tensor {
	n := Size(shape)
	t := &Tensor{DType: dt, Shape: slices.Clone(shape)}
	switch dt {
	case Float32:
		t.Data = make([]float32, n)
	case Float64:
		t.Data = make([]float64, n)
	case Int8:
		t.Data = make([]int8, n)
	case Int16:
		t.Data = make([]int16, n)
	case Int32:
		t.Data = make([]int32, n)
	case Int64:
		t.Data = make([]int64, n)
	case Uint8:
		t.Data = make([]uint8, n)
	case Uint16, Float16, BFloat16:
		t.Data = make([]uint16, n)
	case Uint32:
		t.Data = make([]uint32, n)
	case Uint64:
		t.Data = make([]uint64, n)
	case Bool:
		t.Data = make([]bool, n)
	case String:
		t.Data = make([]string, n)
	case Complex64:
		t.Data = make([]complex64, n)
	case Complex128:
		t.Data = make([]complex128, n)
	default:
		panic(fmt.Sprintf("onnx: NewTensor of %v", dt))
	}
	return t
}

// FromSlice wraps data, without copying, as a tensor of the given shape.
// It panics when the sizes differ.
func FromSlice[T Element](data []T, shape ...int) *Tensor {
	if Size(shape) != len(data) {
		panic(fmt.Sprintf("onnx: %d elements for shape %v", len(data), shape))
	}
	dt := dtypeOf(data)
	if dt == Undefined {
		panic(fmt.Sprintf("onnx: no element type for %T", data))
	}
	return &Tensor{DType: dt, Shape: slices.Clone(shape), Data: data}
}

// Of returns t's elements as a slice that shares its memory. It panics when T
// is not the Go type of t's elements.
func Of[T Element](t *Tensor) []T {
	s, ok := t.Data.([]T)
	if !ok {
		panic(fmt.Sprintf("onnx: tensor %q holds %T, not %T", t.Name, t.Data, s))
	}
	return s
}

// Len is the number of elements.
func (t *Tensor) Len() int { return Size(t.Shape) }

// Size is the number of elements of a shape; the empty shape has one.
func Size(shape []int) int {
	n := 1
	for _, d := range shape {
		if d < 0 {
			panic(fmt.Sprintf("onnx: negative extent in shape %v", shape))
		}
		n *= d
	}
	return n
}

// dtypeOf is the element type that data, a slice, holds by itself; Undefined if
// it is no slice of elements.
func dtypeOf(data any) DType {
	switch data.(type) {
	case []float32:
		return Float32
	case []float64:
		return Float64
	case []int8:
		return Int8
	case []int16:
		return Int16
	case []int32:
		return Int32
	case []int64:
		return Int64
	case []uint8:
		return Uint8
	case []uint16:
		return Uint16
	case []uint32:
		return Uint32
	case []uint64:
		return Uint64
	case []bool:
		return Bool
	case []string:
		return String
	case []complex64:
		return Complex64
	case []complex128:
		return Complex128
	}
	return Undefined
}
