package onnx

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// bigEndian: raw_data is little-endian, so such machines must swap bytes.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// view returns the memory of a tensor's Data as bytes, without copying, and the
// width of the numbers in it (complex numbers are two). Strings have no view.
func view(data any) (b []byte, width int) {
	switch s := data.(type) {
	case []float32:
		return viewOf(s), 4
	case []float64:
		return viewOf(s), 8
	case []int8:
		return viewOf(s), 1
	case []int16:
		return viewOf(s), 2
	case []int32:
		return viewOf(s), 4
	case []int64:
		return viewOf(s), 8
	case []uint8:
		return s, 1
	case []uint16:
		return viewOf(s), 2
	case []uint32:
		return viewOf(s), 4
	case []uint64:
		return viewOf(s), 8
	case []bool:
		return viewOf(s), 1
	case []complex64:
		return viewOf(s), 4
	case []complex128:
		return viewOf(s), 8
	case Packed:
		return s, 1
	}
	return nil, 0
}

func viewOf[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// rawBytes returns data as raw_data has it. The result may share data's memory.
func rawBytes(data any) []byte {
	b, width := view(data)
	if bigEndian && width > 1 {
		b = slices.Clone(b)
		swapBytes(b, width)
	}
	return b
}

// rawElements is the inverse of rawBytes. It takes over the memory of raw.
func rawElements(raw []byte, dt DType) any {
	data := elementsOf(raw, dt)
	if b, width := view(data); bigEndian && width > 1 {
		swapBytes(b, width)
	}
	return data
}

func elementsOf(raw []byte, dt DType) any {
	switch dt {
	case Float32:
		return sliceOf[float32](raw)
	case Float64:
		return sliceOf[float64](raw)
	case Int8:
		return sliceOf[int8](raw)
	case Int16:
		return sliceOf[int16](raw)
	case Int32:
		return sliceOf[int32](raw)
	case Int64:
		return sliceOf[int64](raw)
	case Uint8:
		return sliceOf[uint8](raw)
	case Uint16, Float16, BFloat16:
		return sliceOf[uint16](raw)
	case Uint32:
		return sliceOf[uint32](raw)
	case Uint64:
		return sliceOf[uint64](raw)
	case Bool:
		return bools(raw)
	case Complex64:
		return sliceOf[complex64](raw)
	case Complex128:
		return sliceOf[complex128](raw)
	}
	return Packed(raw)
}

// sliceOf is the inverse of viewOf; it copies only what is not aligned for T.
func sliceOf[T any](raw []byte) []T {
	var zero T
	n := len(raw) / int(unsafe.Sizeof(zero))
	if n == 0 {
		return []T{}
	}
	if uintptr(unsafe.Pointer(&raw[0]))%unsafe.Alignof(zero) == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(&raw[0])), n)
	}
	s := make([]T, n)
	copy(viewOf(s), raw)
	return s
}

// swapBytes turns each group of width bytes round.
func swapBytes(b []byte, width int) {
	for ; len(b) > 0; b = b[width:] {
		slices.Reverse(b[:width])
	}
}
