package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// maxElements bounds the size of one tensor. What a model file asks for
// beyond it is an error, not an attempt to take the memory.
const maxElements = 1 << 31

// CheckSize reports extents that are negative or whose product is out of
// bounds. Zero extents count as one, so that no part of the product can
// overflow either.
func CheckSize(shape graph.Shape) error {
	size := 1
	for _, d := range shape {
		if d < 0 {
			return fmt.Errorf("negative extent in shape %v", []int(shape))
		}
		if size *= max(d, 1); d > maxElements || size > maxElements {
			return fmt.Errorf("shape %v has more than %d elements", []int(shape), maxElements)
		}
	}
	return nil
}

// CheckType reports an element type that no value can have while it is computed
// with: unknown ones, and those that Go has no representation for.
func CheckType(dt onnx.DType) error {
	if dt == onnx.Undefined || dt.IsPacked() {
		return fmt.Errorf("values of type %v are not computed with", dt)
	}
	return nil
}

// arity checks that the node has at most maxIn inputs, the first minIn of them
// given, and an output 0 among at most maxOut; and that every given input has
// a known type and shape of bounded size. Inference rules begin with it, so
// they can index shapes and multiply extents freely.
func arity(n *graph.Node, minIn, maxIn, maxOut int) error {
	if len(n.Inputs) > maxIn {
		return fmt.Errorf("has %d inputs, want at most %d", len(n.Inputs), maxIn)
	}
	for i := range minIn {
		if n.Input(i) == nil {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	if len(n.Outputs) > maxOut || n.Output(0) == nil {
		return fmt.Errorf("has %d outputs, want the first and at most %d", len(n.Outputs), maxOut)
	}
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if v.DType == onnx.Undefined || !v.Shape.Known() {
			return fmt.Errorf("type or shape of input %d, %q, is not known: %v%v; bind free extents first",
				i, v.Name, v.DType, []int(v.Shape))
		}
		if err := CheckSize(v.Shape); err != nil {
			return fmt.Errorf("input %d, %q: %w", i, v.Name, err)
		}
	}
	return nil
}

// anyNumber stands for "no limit" on the number of inputs or outputs.
const anyNumber = 1 << 20

// setOutput gives output i, if the node has it, its type and shape.
func setOutput(n *graph.Node, i int, dt onnx.DType, shape graph.Shape) error {
	if err := CheckSize(shape); err != nil {
		return fmt.Errorf("output %d: %w", i, err)
	}
	if out := n.Output(i); out != nil {
		out.DType, out.Shape = dt, append(graph.Shape{}, shape...)
	}
	return nil
}

// wantType checks the type of input i, when it is given.
func wantType(n *graph.Node, i int, want ...onnx.DType) error {
	v := n.Input(i)
	if v == nil || slices.Contains(want, v.DType) {
		return nil
	}
	if len(want) == 1 {
		return fmt.Errorf("input %d, %q, is %v, want %v", i, v.Name, v.DType, want[0])
	}
	return fmt.Errorf("input %d, %q, is %v, want one of %v", i, v.Name, v.DType, want)
}

// sameType checks that the given inputs from the first on all have the type of
// the first of them.
func sameType(n *graph.Node, inputs ...int) error {
	for _, i := range inputs[1:] {
		if err := wantType(n, i, n.Inputs[inputs[0]].DType); err != nil {
			return err
		}
	}
	return nil
}

// floats are the types that are computed with; half precision is converted
// at import.
var floats = []onnx.DType{onnx.Float32, onnx.Float64}

// numbers are the types that arithmetic is implemented for.
var numbers = []onnx.DType{
	onnx.Float32, onnx.Float64, onnx.Int64, onnx.Int32, onnx.Int16, onnx.Int8,
	onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64,
}

// indexes are the types that indices may have.
var indexes = []onnx.DType{onnx.Int64, onnx.Int32}

// normAxis turns an axis that may count from the end into one that does not.
func normAxis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is out of range for rank %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// normAxes normalises a list of axes, sorts it, and refuses duplicates.
func normAxes(axes []int, rank int) ([]int, error) {
	out := make([]int, len(axes))
	for i, a := range axes {
		var err error
		if out[i], err = normAxis(a, rank); err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	if len(slices.Compact(slices.Clone(out))) < len(out) {
		return nil, fmt.Errorf("axes %v name one twice", axes)
	}
	return out, nil
}

// constInts reads input i as a list of integers. It must be a constant scalar
// or vector of int64 or int32. ok is false when the input is left out.
func constInts(n *graph.Node, i int) (list []int, ok bool, err error) {
	v := n.Input(i)
	if v == nil {
		return nil, false, nil
	}
	if v.Const == nil {
		return nil, false, &ConstError{Input: i, Value: v}
	}
	if len(v.Shape) > 1 {
		return nil, false, fmt.Errorf("input %d, %q, has shape %v, want a vector", i, v.Name, []int(v.Shape))
	}
	switch data := v.Const.Data.(type) {
	case []int64:
		for _, x := range data {
			list = append(list, int(x))
		}
	case []int32:
		for _, x := range data {
			list = append(list, int(x))
		}
	default:
		return nil, false, fmt.Errorf("input %d, %q, is %v, want int64", i, v.Name, v.DType)
	}
	return list, true, nil
}

// constFloats reads input i as a list of numbers. It must be a constant.
func constFloats(n *graph.Node, i int) ([]float64, error) {
	v := n.Input(i)
	if v == nil {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	if v.Const == nil {
		return nil, &ConstError{Input: i, Value: v}
	}
	wide := onnx.NewTensor(onnx.Float64, v.Const.Shape...)
	run, err := castTensor(wide, v.Const)
	if err != nil {
		return nil, err
	}
	return onnx.Of[float64](wide), run()
}

// intsAt reads a list that older versions of an operator have as an attribute
// and newer ones, from since on, as constant input i. A list in the wrong place
// is an error: overlooked, it would change the result.
func intsAt(n *graph.Node, attr string, i, since int) (list []int, ok bool, err error) {
	if n.Version >= since {
		if n.Attr(attr) != nil {
			return nil, false, fmt.Errorf("has an attribute %s, which is input %d from version %d on", attr, i, since)
		}
		return constInts(n, i)
	}
	if n.Input(i) != nil {
		return nil, false, fmt.Errorf("has an input %d, which is the attribute %s before version %d", i, attr, since)
	}
	list = n.Ints(attr)
	return list, list != nil, nil
}

// product multiplies extents.
func product(extents []int) int {
	p := 1
	for _, d := range extents {
		p *= d
	}
	return p
}

// inferSame: output 0 has the type and shape of input 0.
func inferSame(types ...onnx.DType) func(n *graph.Node) error {
	return func(n *graph.Node) error {
		if err := arity(n, 1, 1, 1); err != nil {
			return err
		}
		if err := wantType(n, 0, types...); err != nil {
			return err
		}
		return setOutput(n, 0, n.Inputs[0].DType, n.Inputs[0].Shape)
	}
}

// floatInputs checks arity and that inputs have one floating type.
func floatInputs(n *graph.Node, minIn, maxIn, maxOut int) error {
	if err := arity(n, minIn, maxIn, maxOut); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	for i := range n.Inputs {
		if err := sameType(n, 0, i); err != nil {
			return err
		}
	}
	return nil
}

// wantShape checks the shape of input i, when it is given.
func wantShape(n *graph.Node, i int, want ...int) error {
	if v := n.Input(i); v != nil && !slices.Equal(v.Shape, want) {
		return fmt.Errorf("input %d, %q, has shape %v, want %v", i, v.Name, []int(v.Shape), want)
	}
	return nil
}
