package onnx

import "fmt"

// DType is the element type of a tensor. The numbers are those of ONNX's
// TensorProto.DataType, so they can be written to a file as they are.
type DType int32

// The element types of ONNX (onnx.proto, TensorProto.DataType).
const (
	Undefined  DType = 0
	Float32    DType = 1
	Uint8      DType = 2
	Int8       DType = 3
	Uint16     DType = 4
	Int16      DType = 5
	Int32      DType = 6
	Int64      DType = 7
	String     DType = 8
	Bool       DType = 9
	Float16    DType = 10
	Float64    DType = 11
	Uint32     DType = 12
	Uint64     DType = 13
	Complex64  DType = 14
	Complex128 DType = 15
	BFloat16   DType = 16
)

// dtypes is the one table of what is known about each element type.
var dtypes = map[DType]struct {
	name string
	size int // bytes per element; 0: no fixed size
}{
	Float32: {"float32", 4}, Uint8: {"uint8", 1}, Int8: {"int8", 1},
	Uint16: {"uint16", 2}, Int16: {"int16", 2}, Int32: {"int32", 4},
	Int64: {"int64", 8}, String: {"string", 0}, Bool: {"bool", 1},
	Float16: {"float16", 2}, Float64: {"float64", 8}, Uint32: {"uint32", 4},
	Uint64: {"uint64", 8}, Complex64: {"complex64", 8},
	Complex128: {"complex128", 16}, BFloat16: {"bfloat16", 2},
}

// String names the type as NumPy does ("float32"); an unknown one by number.
func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("DType(%d)", int32(d))
}

// Size is the number of bytes of one element, 0 for strings and unknown types.
func (d DType) Size() int { return dtypes[d].size }

// IsFloat reports whether d is a real floating-point type.
func (d DType) IsFloat() bool {
	return d == Float32 || d == Float64 || d == Float16 || d == BFloat16
}
