package onnx

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// maxDense bounds the bytes of a dense tensor made from a sparse one, whose
// file may be tiny: a file of this size is the largest that could hold it.
const maxDense = math.MaxInt32

func (d *decoder) sparse(p *pb.SparseTensorProto) (*SparseTensor, error) {
	s := &SparseTensor{Dims: p.Dims}
	s.kept.keepUnknown(p)
	if p.Values == nil || p.Indices == nil {
		return nil, formatErrorf("needs both values and indices")
	}
	var err error
	if s.Values, err = optional(p.Values, "values", d.tensor); err != nil {
		return nil, err
	}
	if s.Indices, err = optional(p.Indices, "indices", d.tensor); err != nil {
		return nil, err
	}
	_, _, err = s.positions()
	return s, err
}

// name is the name that s has as an initializer.
func (s *SparseTensor) name() string {
	if s.Values == nil {
		return ""
	}
	return s.Values.Name
}

// positions checks s and returns where in the row-major dense tensor its values
// stand, and the dense tensor's shape.
func (s *SparseTensor) positions() (at []int64, dense []int, err error) {
	dense, n, err := shape(s.Dims)
	if err != nil {
		return nil, nil, err
	}
	if len(s.Values.Shape) != 1 {
		return nil, nil, formatErrorf("values have shape %v, want one axis", head(s.Values.Shape))
	}
	index, ok := s.Indices.Data.([]int64)
	if !ok {
		return nil, nil, formatErrorf("indices are %v, want int64", s.Indices.DType)
	}
	nnz, rank := s.Values.Shape[0], len(dense)
	switch is := s.Indices.Shape; {
	case len(is) == 1 && is[0] == nnz && len(index) == nnz:
		at = index
	case len(is) == 2 && is[0] == nnz && is[1] == rank && len(index) == nnz*rank:
		if at, err = linear(index, dense); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, formatErrorf("indices have shape %v, want [%d] or [%d %d]", head(is), nnz, nnz, rank)
	}
	return at, dense, checkPositions(at, int64(n))
}

// linear turns coordinates [nnz, rank] into row-major positions [nnz].
func linear(coords []int64, shape []int) ([]int64, error) {
	rank := len(shape)
	if rank == 0 {
		return nil, formatErrorf("a scalar has no coordinates")
	}
	at := make([]int64, len(coords)/rank)
	for i := range at {
		for axis, c := range coords[i*rank:][:rank] {
			if c < 0 || c >= int64(shape[axis]) {
				return nil, formatErrorf("indices[%d] has coordinate %d on axis %d, outside [0, %d)", i, c, axis, shape[axis])
			}
			at[i] = at[i]*int64(shape[axis]) + c
		}
	}
	return at, nil
}

func checkPositions(at []int64, n int64) error {
	for i, p := range at {
		if p < 0 || p >= n {
			return formatErrorf("indices[%d] is position %d, outside [0, %d)", i, p, n)
		}
		if i > 0 && p <= at[i-1] {
			return formatErrorf("indices[%d] is position %d after %d: not sorted or not unique", i, p, at[i-1])
		}
	}
	return nil
}

// Dense returns the tensor that s stands for. It checks s first.
func (s *SparseTensor) Dense() (*Tensor, error) {
	at, shape, err := s.positions()
	if err != nil {
		return nil, err
	}
	v := s.Values
	size := v.DType.Size()
	if size == 0 || v.DType.IsPacked() {
		return nil, unsupportedf("a sparse tensor of %v", v.DType)
	}
	if n := Size(shape); n > maxDense/size {
		return nil, unsupportedf("the dense form of shape %v of %v is larger than %d bytes", head(shape), v.DType, maxDense)
	}
	t := NewTensor(v.DType, shape...)
	t.Name, t.Doc, t.Metadata = v.Name, v.Doc, v.Metadata
	from, _ := view(v.Data)
	to, _ := view(t.Data)
	if len(from) != size*len(at) {
		return nil, formatErrorf("values have %d bytes, shape %v of %v needs %d", len(from), v.Shape, v.DType, size*len(at))
	}
	for i, p := range at {
		copy(to[int(p)*size:][:size], from[i*size:])
	}
	return t, nil
}

// Sparsify returns the sparse form of t with linear indices. It keeps the
// elements that are not zero; -0 counts as zero. It panics when t's elements
// are strings or Packed.
func Sparsify(t *Tensor) *SparseTensor {
	at := nonZeros(t)
	values := NewTensor(t.DType, len(at))
	values.Name, values.Doc, values.Metadata = t.Name, t.Doc, t.Metadata
	size := t.DType.Size()
	from, _ := view(t.Data)
	to, _ := view(values.Data)
	for i, p := range at {
		copy(to[i*size:][:size], from[int(p)*size:])
	}
	s := &SparseTensor{Values: values, Indices: FromSlice(at, len(at))}
	for _, d := range t.Shape {
		s.Dims = append(s.Dims, int64(d))
	}
	return s
}

// nonZeros is the positions of t's elements that are not zero.
func nonZeros(t *Tensor) []int64 {
	switch s := t.Data.(type) {
	case []float32:
		return positionsNot0(s)
	case []float64:
		return positionsNot0(s)
	case []int8:
		return positionsNot0(s)
	case []int16:
		return positionsNot0(s)
	case []int32:
		return positionsNot0(s)
	case []int64:
		return positionsNot0(s)
	case []uint8:
		return positionsNot0(s)
	case []uint16:
		if t.DType == Uint16 {
			return positionsNot0(s)
		}
		return positions(s, func(v uint16) bool { return v&^signBit16 != 0 })
	case []uint32:
		return positionsNot0(s)
	case []uint64:
		return positionsNot0(s)
	case []bool:
		return positionsNot0(s)
	case []complex64:
		return positionsNot0(s)
	case []complex128:
		return positionsNot0(s)
	}
	panic(fmt.Sprintf("onnx: Sparsify of %v", t.DType))
}

// signBit16 is the sign of a Float16 and of a BFloat16.
const signBit16 = 0x8000

func positionsNot0[T comparable](s []T) []int64 {
	var zero T
	return positions(s, func(v T) bool { return v != zero })
}

func positions[T any](s []T, keep func(T) bool) []int64 {
	at := []int64{}
	for i, v := range s {
		if keep(v) {
			at = append(at, int64(i))
		}
	}
	return at
}
