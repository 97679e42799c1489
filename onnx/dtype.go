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

	// Types without a Go representation; their tensors hold Packed bytes.
	Float8E4M3FN   DType = 17
	Float8E4M3FNUZ DType = 18
	Float8E5M2     DType = 19
	Float8E5M2FNUZ DType = 20
	Uint4          DType = 21
	Int4           DType = 22
	Float4E2M1     DType = 23
	Float8E8M0     DType = 24
	Uint2          DType = 25
	Int2           DType = 26
	Float6E2M3     DType = 27
	Float6E3M2     DType = 28
)

// dtypes is the one table of what is known about each element type.
var dtypes = map[DType]struct {
	name string
	bits int // per element; 0: no fixed size
}{
	Undefined: {"undefined", 0},

	Float32: {"float32", 32}, Uint8: {"uint8", 8}, Int8: {"int8", 8},
	Uint16: {"uint16", 16}, Int16: {"int16", 16}, Int32: {"int32", 32},
	Int64: {"int64", 64}, String: {"string", 0}, Bool: {"bool", 8},
	Float16: {"float16", 16}, Float64: {"float64", 64}, Uint32: {"uint32", 32},
	Uint64: {"uint64", 64}, Complex64: {"complex64", 64},
	Complex128: {"complex128", 128}, BFloat16: {"bfloat16", 16},

	Float8E4M3FN: {"float8e4m3fn", 8}, Float8E4M3FNUZ: {"float8e4m3fnuz", 8},
	Float8E5M2: {"float8e5m2", 8}, Float8E5M2FNUZ: {"float8e5m2fnuz", 8},
	Float8E8M0: {"float8e8m0", 8}, Float4E2M1: {"float4e2m1", 4},
	Float6E2M3: {"float6e2m3", 6}, Float6E3M2: {"float6e3m2", 6},
	Uint4: {"uint4", 4}, Int4: {"int4", 4}, Uint2: {"uint2", 2}, Int2: {"int2", 2},
}

// String names the type as NumPy does ("float32"); an unknown one by number.
func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("DType(%d)", int32(d))
}

// Size is the number of bytes of one element; 0 for strings, unknown types and
// types smaller than a byte.
func (d DType) Size() int { return dtypes[d].bits / 8 }

// IsPacked reports whether tensors of type d hold Packed bytes: the types that
// Go has no representation for, and numbers this package does not know.
func (d DType) IsPacked() bool { return d > BFloat16 || d < Undefined }

// IsFloat reports whether d is a real floating-point type of at least 16 bits.
func (d DType) IsFloat() bool {
	return d == Float32 || d == Float64 || d == Float16 || d == BFloat16
}
