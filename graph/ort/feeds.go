//go:build cgo

package ort

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/unprune/unprune/onnx"
)

// checkFeeds tells whether feeds are exactly the inputs declared.
func checkFeeds(inputs []Info, feeds map[string]*onnx.Tensor) error {
	for _, in := range inputs {
		t, ok := feeds[in.Name]
		if !ok || t == nil {
			return fmt.Errorf("ort: no tensor for input %q (%s)", in.Name, in)
		}
		if err := checkTensor(t); err != nil {
			return fmt.Errorf("ort: input %q: %w", in.Name, err)
		}
		if err := in.accepts(t); err != nil {
			return fmt.Errorf("ort: input %q: %w", in.Name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(feeds)) {
		if !slices.ContainsFunc(inputs, func(in Info) bool { return in.Name == name }) {
			return fmt.Errorf("ort: the model has no input %q; its inputs are %s", name, names(inputs))
		}
	}
	return nil
}

// checkTensor tells whether t's data fit its type and shape.
func checkTensor(t *onnx.Tensor) error {
	size := 1
	for _, d := range t.Shape {
		if d < 0 || (d > 0 && size > math.MaxInt/d) {
			return fmt.Errorf("no tensor has shape %v", t.Shape)
		}
		size *= d
	}
	if !passable(t.DType) {
		return fmt.Errorf("the binding cannot pass %v", t.DType)
	}
	data := reflect.ValueOf(t.Data)
	if want := reflect.TypeOf(onnx.NewTensor(t.DType, 0).Data); !data.IsValid() || data.Type() != want {
		return fmt.Errorf("a tensor of type %v holds its elements as %T, want %v", t.DType, t.Data, want)
	}
	if data.Len() != size {
		return fmt.Errorf("shape %v needs %d elements, have %d", t.Shape, size, data.Len())
	}
	return nil
}

// accepts tells whether t has the type and a shape that in declares.
func (in Info) accepts(t *onnx.Tensor) error {
	if in.DType != onnx.Undefined && t.DType != in.DType {
		return fmt.Errorf("want %v, have %v", in.DType, t.DType)
	}
	if in.Shape == nil {
		return nil
	}
	fits := len(t.Shape) == len(in.Shape)
	for i := 0; fits && i < len(in.Shape); i++ {
		fits = in.Shape[i] < 0 || in.Shape[i] == t.Shape[i]
	}
	if !fits {
		return fmt.Errorf("want shape %s, have %v", shapeString(in.Shape), t.Shape)
	}
	return nil
}

func names(infos []Info) string {
	if len(infos) == 0 {
		return "none"
	}
	quoted := make([]string, len(infos))
	for i, in := range infos {
		quoted[i] = fmt.Sprintf("%q", in.Name)
	}
	return strings.Join(quoted, ", ")
}

// passable reports whether the binding can carry elements of type dt. ONNX
// Runtime itself computes next to nothing in the complex types.
func passable(dt onnx.DType) bool {
	return dt > onnx.Undefined && dt <= onnx.BFloat16 && dt != onnx.Complex64 && dt != onnx.Complex128
}
