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

// swapBytes turns each group of width bytes round.
func swapBytes(b []byte, width int) {
	for ; len(b) > 0; b = b[width:] {
		slices.Reverse(b[:width])
	}
}
