package onnx

import (
	"math"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// storage is the field of the file that a tensor's elements stood in, and will
// stand in again.
type storage uint8

const (
	storageAuto  storage = iota // raw_data, or string_data for strings
	storageEmpty                // no field at all, as long as there are no elements
	storageRaw
	storageFloat
	storageInt32
	storageInt64
	storageDouble
	storageUint64
	storageString
)

var storageNames = [...]string{
	"auto", "empty", "raw_data", "float_data", "int32_data", "int64_data",
	"double_data", "uint64_data", "string_data",
}

func (s storage) String() string { return storageNames[s] }

// storageOf is the typed field for elements of type dt (onnx.proto, TensorProto).
func storageOf(dt DType) storage {
	switch dt {
	case Float32, Complex64:
		return storageFloat
	case Float64, Complex128:
		return storageDouble
	case Int64:
		return storageInt64
	case Uint32, Uint64:
		return storageUint64
	case String:
		return storageString
	case Undefined:
		return storageEmpty
	}
	return storageInt32
}

func (d *decoder) tensor(p *pb.TensorProto) (*Tensor, error) {
	t := &Tensor{Metadata: pairs(p.MetadataProps)}
	k := &t.kept
	k.keepUnknown(p)
	t.Name = take(k, tensorName, p.Name)
	t.Doc = take(k, tensorDoc, p.DocString)
	t.DType = DType(take(k, tensorDType, p.DataType))
	var n int
	var err error
	if t.Shape, n, err = shape(p.Dims); err != nil {
		return nil, err
	}
	if p.Segment != nil {
		return nil, unsupportedf("is cut into segments")
	}
	stored, err := storedIn(p)
	if err != nil {
		return nil, err
	}
	location := take(k, tensorLocation, p.DataLocation)
	switch {
	case location == pb.TensorProto_EXTERNAL && stored != storageEmpty:
		return nil, formatErrorf("has both external data and %v", stored)
	case location == pb.TensorProto_EXTERNAL:
		t.storage = storageRaw
		t.Data, err = d.external.read(p.ExternalData, t, n)
		return t, at(err, "external_data")
	case location != pb.TensorProto_DEFAULT:
		return nil, unsupportedf("data_location %d is unknown", location)
	}
	t.storage = stored
	if stored != storageRaw && p.RawData != nil {
		k.setZero(tensorRaw)
	}
	t.Data, err = elements(p, stored, t, n)
	return t, err
}

// shape checks the extents of a tensor and counts its elements.
func shape(dims []int64) ([]int, int, error) {
	s := make([]int, len(dims))
	n, empty := 1, false
	for i, d := range dims {
		if d < 0 {
			return nil, 0, formatErrorf("dims %v: extent %d is negative", head(dims), i)
		}
		if d > math.MaxInt {
			return nil, 0, formatErrorf("dims %v: extent %d is too large", head(dims), i)
		}
		s[i] = int(d)
		empty = empty || d == 0
	}
	if empty {
		return s, 0, nil
	}
	const most = math.MaxInt / 128 // so that the number of bits fits an int
	for _, d := range s {
		if n > most/d {
			return nil, 0, formatErrorf("dims %v: too many elements", head(dims))
		}
		n *= d
	}
	return s, n, nil
}

// head is the beginning of a list that goes into an error message.
func head[T any](s []T) []T { return s[:min(len(s), 8)] }

// storedIn finds the one field that has the elements.
func storedIn(p *pb.TensorProto) (storage, error) {
	found := storageEmpty
	for _, f := range []struct {
		storage storage
		n       int
	}{
		{storageRaw, len(p.RawData)}, {storageFloat, len(p.FloatData)},
		{storageInt32, len(p.Int32Data)}, {storageInt64, len(p.Int64Data)},
		{storageDouble, len(p.DoubleData)}, {storageUint64, len(p.Uint64Data)},
		{storageString, len(p.StringData)},
	} {
		if f.n == 0 {
			continue
		}
		if found != storageEmpty {
			return 0, formatErrorf("has both %v and %v", found, f.storage)
		}
		found = f.storage
	}
	if found == storageEmpty && p.RawData != nil {
		found = storageRaw
	}
	return found, nil
}

// elements returns the Data of t, which has n elements that p has in field from.
func elements(p *pb.TensorProto, from storage, t *Tensor, n int) (any, error) {
	switch {
	case from == storageEmpty && t.DType == Undefined:
		return nil, nil
	case from == storageEmpty && n > 0:
		return nil, formatErrorf("has no data, shape %v of %v needs some", head(t.Shape), t.DType)
	case from == storageEmpty:
		return emptyData(t.DType), nil
	case t.DType == Undefined:
		return nil, formatErrorf("has %v but no data_type", from)
	case from == storageRaw:
		if err := checkRawSize(int64(len(p.RawData)), t, n); err != nil {
			return nil, err
		}
		return rawElements(p.RawData, t.DType), nil
	case isUnknown(t.DType):
		return nil, unsupportedf("%v in %v", t.DType, from)
	case from != storageOf(t.DType):
		return nil, formatErrorf("%v cannot hold %v, which belongs in %v", from, t.DType, storageOf(t.DType))
	}
	return typedElements(p, t, n)
}

func isUnknown(dt DType) bool {
	_, known := dtypes[dt]
	return !known
}

// emptyData is the Data of a tensor without elements.
func emptyData(dt DType) any {
	if dt.IsPacked() {
		return Packed{}
	}
	return NewTensor(dt, 0).Data
}

// packedSize is the number of bytes of n elements in raw_data: elements smaller
// than a byte stand close together and the last byte is filled up.
func packedSize(dt DType, n int) int { return (n*dtypes[dt].bits + 7) / 8 }

// checkRawSize compares the number of bytes that there are in the form of
// raw_data with what the n elements of t need.
func checkRawSize(size int64, t *Tensor, n int) error {
	if t.DType == String || t.DType == Undefined {
		return formatErrorf("raw_data cannot hold elements of type %v", t.DType)
	}
	if need := int64(packedSize(t.DType, n)); size != need && !isUnknown(t.DType) {
		return formatErrorf("raw_data has %d bytes, shape %v of %v needs %d", size, head(t.Shape), t.DType, need)
	}
	return nil
}

// bools takes any value but zero as true.
func bools[T byte | int32](s []T) []bool {
	b := make([]bool, len(s))
	for i, v := range s {
		b[i] = v != 0
	}
	return b
}

// typedElements returns the n elements of t from the typed field of p that
// belongs to its type.
func typedElements(p *pb.TensorProto, t *Tensor, n int) (any, error) {
	switch t.DType {
	case Float32:
		return counted(p.FloatData, n, t)
	case Complex64:
		s, err := counted(p.FloatData, 2*n, t)
		return complexes[complex64](s, err, func(re, im float32) complex64 { return complex(re, im) })
	case Float64:
		return counted(p.DoubleData, n, t)
	case Complex128:
		s, err := counted(p.DoubleData, 2*n, t)
		return complexes[complex128](s, err, func(re, im float64) complex128 { return complex(re, im) })
	case Int64:
		return counted(p.Int64Data, n, t)
	case Uint64:
		return counted(p.Uint64Data, n, t)
	case Uint32:
		return narrowed[uint32](p.Uint64Data, n, t)
	case String:
		return stringElements(p.StringData, n, t)
	case Int32:
		return counted(p.Int32Data, n, t)
	case Int16:
		return narrowed[int16](p.Int32Data, n, t)
	case Int8:
		return narrowed[int8](p.Int32Data, n, t)
	case Uint16, Float16, BFloat16:
		return narrowed[uint16](p.Int32Data, n, t)
	case Uint8:
		return narrowed[uint8](p.Int32Data, n, t)
	case Bool:
		s, err := counted(p.Int32Data, n, t)
		return bools(s), err
	}
	return packedElements(p.Int32Data, n, t)
}

// packedElements takes entries that hold what a byte of raw_data would, except
// that 6-bit numbers stand one in each.
func packedElements(s []int32, n int, t *Tensor) (Packed, error) {
	if dtypes[t.DType].bits != 6 {
		return narrowed[uint8](s, packedSize(t.DType, n), t)
	}
	b, err := narrowed[uint8](s, n, t)
	for i, v := range b {
		if v > 63 {
			return nil, formatErrorf("int32_data[%d] is %d, which is no %v", i, v, t.DType)
		}
	}
	return pack6(b), err
}

// counted checks that there are as many values as t needs.
func counted[T any](s []T, need int, t *Tensor) ([]T, error) {
	if len(s) != need {
		return nil, formatErrorf("%v has %d values, shape %v of %v needs %d",
			storageOf(t.DType), len(s), head(t.Shape), t.DType, need)
	}
	return s, nil
}

// narrowed converts values to the type that t has; they must fit.
func narrowed[T int8 | int16 | uint8 | uint16 | uint32, S int32 | uint64](s []S, need int, t *Tensor) ([]T, error) {
	if _, err := counted(s, need, t); err != nil {
		return nil, err
	}
	out := make([]T, len(s))
	for i, v := range s {
		out[i] = T(v)
		if S(out[i]) != v {
			return nil, formatErrorf("%v[%d] is %d, which is no %v", storageOf(t.DType), i, v, t.DType)
		}
	}
	return out, nil
}

// complexes joins pairs of real and imaginary parts.
func complexes[C complex64 | complex128, F float32 | float64](s []F, err error, join func(re, im F) C) ([]C, error) {
	if err != nil {
		return nil, err
	}
	c := make([]C, len(s)/2)
	for i := range c {
		c[i] = join(s[2*i], s[2*i+1])
	}
	return c, nil
}

func stringElements(s [][]byte, n int, t *Tensor) ([]string, error) {
	if _, err := counted(s, n, t); err != nil {
		return nil, err
	}
	return values(s, func(b []byte, v *string) { *v = string(b) }), nil
}
