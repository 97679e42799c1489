//go:build cgo

package ort

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/x448/float16"
	ort "github.com/yalue/onnxruntime_go"

	"github.com/unprune/unprune/onnx"
)

// newValue wraps t's memory, pinned by pin, as a value of the binding; strings
// are copied.
func newValue(t *onnx.Tensor, pin *runtime.Pinner) (ort.Value, error) {
	switch d := t.Data.(type) {
	case []float32:
		return wrap(t.Shape, d, pin)
	case []float64:
		return wrap(t.Shape, d, pin)
	case []int8:
		return wrap(t.Shape, d, pin)
	case []int16:
		return wrap(t.Shape, d, pin)
	case []int32:
		return wrap(t.Shape, d, pin)
	case []int64:
		return wrap(t.Shape, d, pin)
	case []uint8:
		return wrap(t.Shape, d, pin)
	case []uint16:
		if isHalf(t.DType) {
			return wrapHalf(t, d, pin)
		}
		return wrap(t.Shape, d, pin)
	case []uint32:
		return wrap(t.Shape, d, pin)
	case []uint64:
		return wrap(t.Shape, d, pin)
	case []bool:
		return wrap(t.Shape, d, pin)
	case []string:
		return copyStrings(t.Shape, d)
	}
	return nil, fmt.Errorf("the binding cannot pass %v", t.DType)
}

func wrap[T ort.TensorData](shape []int, data []T, pin *runtime.Pinner) (ort.Value, error) {
	if len(shape) == 0 {
		return asValue(ort.NewScalar(data[0]))
	}
	if len(data) > 0 {
		pin.Pin(&data[0])
	}
	return asValue(ort.NewTensor(dims(shape), data))
}

// wrapHalf passes 16-bit floats, for which the binding has no Go type, as
// bytes of a type that it is told.
func wrapHalf(t *onnx.Tensor, data []uint16, pin *runtime.Pinner) (ort.Value, error) {
	if len(t.Shape) == 0 {
		return nil, fmt.Errorf("the binding cannot pass a scalar of type %v; give the input a shape of one element", t.DType)
	}
	bytes := []byte{0} // the binding refuses an empty slice
	if len(data) > 0 {
		pin.Pin(&data[0])
		bytes = unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), 2*len(data))
	}
	typ := ort.TensorElementDataType(ort.TensorElementDataTypeFloat16)
	if t.DType == onnx.BFloat16 {
		typ = ort.TensorElementDataTypeBFloat16
	}
	return asValue(ort.NewCustomDataTensor(dims(t.Shape), bytes, typ))
}

func copyStrings(shape []int, data []string) (ort.Value, error) {
	if len(shape) == 0 {
		return nil, errors.New("the binding cannot pass a scalar string; give the input a shape of one element")
	}
	if slices.ContainsFunc(data, func(s string) bool { return strings.Contains(s, "\x00") }) {
		return nil, errors.New("the binding cannot pass a string that contains a zero byte")
	}
	v, err := ort.NewStringTensor(dims(shape))
	if err != nil {
		return nil, err
	}
	if err := v.SetContents(data); err != nil {
		v.Destroy()
		return nil, err
	}
	return v, nil
}

// asValue turns the binding's constructor results into an interface that is
// nil when there was an error.
func asValue[V ort.Value](v V, err error) (ort.Value, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func dims(shape []int) ort.Shape {
	s := make(ort.Shape, len(shape))
	for i, d := range shape {
		s[i] = int64(d)
	}
	return s
}

// read returns the model's output f, from the outputs of its session, as a
// tensor with memory of its own.
func (f fetch) read(outputs []ort.Value) (*onnx.Tensor, error) {
	t, err := readValue(outputs[f.value])
	if err != nil {
		return nil, err
	}
	t.Name = f.info.Name
	if f.shape < 0 {
		return t, nil
	}
	shape, err := readValue(outputs[f.shape])
	if err != nil {
		return nil, err
	}
	t.Shape = make([]int, 0, 4)
	for _, d := range onnx.Of[int64](shape) {
		t.Shape = append(t.Shape, int(d))
	}
	if isHalf(f.info.DType) {
		t.Data = narrow(onnx.Of[float32](t), f.info.DType)
		t.DType = f.info.DType
	}
	return t, nil
}

// readValue takes over the memory of a value that Run allocated, which the
// binding has copied out of ONNX Runtime.
func readValue(v ort.Value) (*onnx.Tensor, error) {
	switch v := v.(type) {
	case *ort.Tensor[float32]:
		return unwrap(v), nil
	case *ort.Tensor[float64]:
		return unwrap(v), nil
	case *ort.Tensor[int8]:
		return unwrap(v), nil
	case *ort.Tensor[int16]:
		return unwrap(v), nil
	case *ort.Tensor[int32]:
		return unwrap(v), nil
	case *ort.Tensor[int64]:
		return unwrap(v), nil
	case *ort.Tensor[uint8]:
		return unwrap(v), nil
	case *ort.Tensor[uint16]:
		return unwrap(v), nil
	case *ort.Tensor[uint32]:
		return unwrap(v), nil
	case *ort.Tensor[uint64]:
		return unwrap(v), nil
	case *ort.Tensor[bool]:
		return unwrap(v), nil
	case *ort.StringTensor:
		return readStrings(v)
	}
	return nil, fmt.Errorf("the binding cannot return a %T", v)
}

func unwrap[T interface {
	ort.TensorData
	onnx.Element
}](v *ort.Tensor[T]) *onnx.Tensor {
	return onnx.FromSlice(v.GetData(), ints(v.GetShape())...)
}

func readStrings(v *ort.StringTensor) (*onnx.Tensor, error) {
	shape := ints(v.GetShape())
	if onnx.Size(shape) == 0 {
		return onnx.NewTensor(onnx.String, shape...), nil
	}
	s, err := v.GetContents()
	if err != nil {
		return nil, err
	}
	return onnx.FromSlice(s, shape...), nil
}

func ints(shape ort.Shape) []int {
	s := make([]int, len(shape))
	for i, d := range shape {
		s[i] = int(d)
	}
	return s
}

// narrow converts float32 to the bits of a 16-bit type, to nearest even. It
// is exact for what was widened from that type.
func narrow(wide []float32, dt onnx.DType) []uint16 {
	bits := make([]uint16, len(wide))
	for i, x := range wide {
		if dt == onnx.Float16 {
			bits[i] = float16.Fromfloat32(x).Bits()
		} else {
			bits[i] = bfloat16Bits(x)
		}
	}
	return bits
}

// bfloat16Bits keeps the upper half of x's bits, rounded to nearest even.
func bfloat16Bits(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40 // quiet, lest the payload be all in the lower half
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// copyTensor copies t's elements into the tensor into.
func copyTensor(into, t *onnx.Tensor) error {
	if into.DType != t.DType || !slices.Equal(into.Shape, t.Shape) {
		return fmt.Errorf("the result is %v %v, the tensor to write to %v %v", t.DType, t.Shape, into.DType, into.Shape)
	}
	reflect.Copy(reflect.ValueOf(into.Data), reflect.ValueOf(t.Data))
	return nil
}

// overlapsAny reports whether t shares memory with one of the feeds.
func overlapsAny(t *onnx.Tensor, feeds map[string]*onnx.Tensor) bool {
	lo, hi := span(t)
	for _, f := range feeds {
		if flo, fhi := span(f); lo < fhi && flo < hi {
			return true
		}
	}
	return false
}

// span returns the addresses of the first byte of t's elements and of the one
// after the last.
func span(t *onnx.Tensor) (lo, hi uintptr) {
	v := reflect.ValueOf(t.Data)
	lo = v.Pointer()
	return lo, lo + uintptr(v.Len())*v.Type().Elem().Size()
}
