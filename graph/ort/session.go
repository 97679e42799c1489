package ort

import (
	"errors"
	"fmt"
	"strings"

	"github.com/unprune/unprune/onnx"
)

// ErrNoCgo is what everything that needs the library returns in a build
// without cgo.
var ErrNoCgo = errors.New("ort: built without cgo: ONNX Runtime cannot be loaded; " +
	"build with CGO_ENABLED=1 and a C compiler, or use the native executor")

// Options configure a session. The zero value is ready to use.
type Options struct {
	// Threads is the number of threads one operator may use; 0 leaves the
	// choice to ONNX Runtime, which takes one per core.
	Threads int
}

// Info describes an input or output as the model file declares it.
type Info struct {
	Name  string
	DType onnx.DType // Undefined when the file does not say
	Shape []int      // -1: unknown extent; nil: unknown rank; empty: scalar
}

// String is the declared type, as in "float32 [? 10]".
func (in Info) String() string {
	if in.Shape == nil {
		return in.DType.String() + " of unknown rank"
	}
	return in.DType.String() + " " + shapeString(in.Shape)
}

func shapeString(shape []int) string {
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = fmt.Sprint(d)
		if d < 0 {
			parts[i] = "?"
		}
	}
	return "[" + strings.Join(parts, " ") + "]"
}
