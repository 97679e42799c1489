package onnx

// Type is the type of a value. At most one of the pointers is set.
type Type struct {
	Tensor       *TensorType
	SparseTensor *TensorType
	Sequence     *SequenceType
	Optional     *OptionalType
	Map          *MapType
	Opaque       *OpaqueType
	Denotation   string

	kept kept
}

// TensorType is the type of a dense or sparse tensor.
type TensorType struct {
	Elem  DType
	Shape []Dim // nil: rank unknown; empty but not nil: a scalar

	kept, keptShape kept
}

// SequenceType is a list of values of one type.
type SequenceType struct {
	Elem *Type

	kept kept
}

// OptionalType is a value that may be missing.
type OptionalType struct {
	Elem *Type

	kept kept
}

// MapType is a map from keys (strings or integers) to values of one type.
type MapType struct {
	Key   DType
	Value *Type

	kept kept
}

// OpaqueType is a type that only its owner knows.
type OpaqueType struct {
	Domain, Name string

	kept kept
}

// Dim is one extent of a shape: a number, or a name that stands for one. The
// zero Dim is an unknown extent; FixedDim(0) is the extent zero.
type Dim struct {
	Value      int64
	Param      string
	Denotation string

	kept kept
}

// FixedDim is the extent n.
func FixedDim(n int64) Dim {
	d := Dim{Value: n}
	if n == 0 {
		d.kept.setZero(dimValue)
	}
	return d
}

// ParamDim is an extent known by name only, such as "batch".
func ParamDim(name string) Dim { return Dim{Param: name} }

// Known returns the extent and whether it is a number.
func (d Dim) Known() (int64, bool) {
	return d.Value, d.Value != 0 || d.Param == "" && d.kept.isZero(dimValue)
}

// NewTensorType returns the type of a tensor with element type elem. Without
// dims it is a scalar.
func NewTensorType(elem DType, dims ...Dim) *Type {
	return &Type{Tensor: &TensorType{Elem: elem, Shape: append([]Dim{}, dims...)}}
}

// NewValueInfo returns a tensor value's name and type.
func NewValueInfo(name string, elem DType, dims ...Dim) *ValueInfo {
	return &ValueInfo{Name: name, Type: NewTensorType(elem, dims...)}
}

// SparseTensor is a tensor given by its elements that are not zero, in
// row-major order.
type SparseTensor struct {
	Values  *Tensor // [nnz]; its name is the initializer's name
	Indices *Tensor // int64: [nnz] positions in the row-major dense tensor, or [nnz, rank] coordinates
	Dims    []int64 // shape of the dense tensor

	kept kept
}
