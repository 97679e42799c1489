package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
)

// broadcast returns the shape that all given shapes are repeated to: aligned
// at the last axis, extents equal or one (ONNX, "Broadcasting").
func broadcast(shapes ...graph.Shape) (graph.Shape, error) {
	out := graph.Shape{}
	for _, s := range shapes {
		if len(s) > len(out) {
			out = append(slices.Repeat(graph.Shape{1}, len(s)-len(out)), out...)
		}
		lead := len(out) - len(s)
		for i, d := range s {
			switch {
			case out[lead+i] == 1:
				out[lead+i] = d
			case d != 1 && d != out[lead+i]:
				return nil, fmt.Errorf("shapes %v do not broadcast", shapes)
			}
		}
	}
	return out, nil
}

// strides returns how far apart neighbours along each axis lie, row-major.
func strides(shape []int) []int {
	out := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = step
		step *= shape[i]
	}
	return out
}

// repeatStrides returns the strides for walking a tensor of the given shape
// along the axes of the shape it is broadcast to: 0 where it is repeated.
func repeatStrides(shape, to []int) []int {
	lead := len(to) - len(shape)
	out := make([]int, len(to))
	for i, s := range strides(shape) {
		if shape[i] != 1 {
			out[lead+i] = s
		}
	}
	return out
}
