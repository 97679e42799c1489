package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators that change how a tensor's elements are counted, not where they
// lie, and operators that return shapes.
func init() {
	view := func(name string, since []int, infer func(*graph.Node) error) Op {
		return Op{Name: name, Since: since, View: true, Axes: axesReshape, Infer: infer, Grad: gradView, Forward: forwardView}
	}
	register(
		view("Identity", []int{1, 13, 14, 16, 19, 21, 23, 24}, inferSame(anyType...)),
		view("Reshape", []int{5, 13, 14, 19, 21, 23, 24}, inferReshape),
		view("Flatten", []int{1, 9, 11, 13, 21, 23, 24}, inferFlatten),
		view("Squeeze", []int{1, 11, 13, 21, 23, 24}, inferSqueeze),
		view("Unsqueeze", []int{1, 11, 13, 21, 23, 24}, inferUnsqueeze),
		Op{
			Name: "Shape", Since: []int{1, 13, 15, 19, 21, 23, 24}, NoGrad: "a shape does not depend on the values",
			Infer: inferShape, Forward: forwardShape,
		},
		Op{
			Name: "Size", Since: []int{1, 13, 19, 21, 23, 24}, NoGrad: "a size does not depend on the values",
			Infer: inferSize, Forward: forwardSize,
		},
	)
}

// anyType lists every type that tensors can have.
var anyType = func() (all []onnx.DType) {
	for dt := range elements {
		all = append(all, dt)
	}
	slices.Sort(all)
	return all
}()

// gradView: y holds x's elements in order, so dx is dy in x's shape.
func gradView(b *Builder, n *graph.Node, dy values) (values, error) {
	return values{b.Reshape(dy[0], n.Inputs[0].Shape...)}, nil
}

// forwardView copies; executors that gave both tensors one memory skip it.
func forwardView(c *Call) (func() error, error) { return copyAll(c.Out[0], c.In[0]) }

// inferReshape resolves 0 (copy the extent, unless allowzero) and one -1
// (whatever is left).
func inferReshape(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	want, _, err := constInts(n, 1)
	if err != nil {
		return err
	}
	shape, free, size := make(graph.Shape, len(want)), -1, 1
	for i, d := range want {
		switch {
		case d == -1 && free >= 0:
			return fmt.Errorf("shape %v has more than one -1", want)
		case d == -1:
			free = i
			continue
		case d == 0 && n.Int("allowzero", 0) == 0:
			if i >= len(x.Shape) {
				return fmt.Errorf("shape %v copies extent %d, which the input does not have", want, i)
			}
			d = x.Shape[i]
		case d < 0:
			return fmt.Errorf("shape %v has a negative extent", want)
		}
		shape[i] = d
		if err := CheckSize(shape[:i]); err != nil || d > maxElements {
			return fmt.Errorf("shape %v is too large", want)
		}
		size *= d
	}
	have := x.Shape.Size()
	if free >= 0 {
		if size == 0 || have%size != 0 {
			return fmt.Errorf("%d elements do not divide into shape %v", have, want)
		}
		shape[free] = have / size
		size = have
	}
	if size != have {
		return fmt.Errorf("shape %v needs %d elements, the input has %d", want, size, have)
	}
	return setOutput(n, 0, x.DType, shape)
}

func inferFlatten(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	x, axis := n.Inputs[0], n.Int("axis", 1)
	rank := len(x.Shape)
	if axis < -rank || axis > rank {
		return fmt.Errorf("axis %d is out of range for rank %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return setOutput(n, 0, x.DType, graph.Shape{product(x.Shape[:axis]), product(x.Shape[axis:])})
}

func inferSqueeze(n *graph.Node) error {
	if err := arity(n, 1, 2, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	axes, given, err := intsAt(n, "axes", 1, 13)
	if err != nil {
		return err
	}
	if axes, err = normAxes(axes, len(x.Shape)); err != nil {
		return err
	}
	shape := graph.Shape{}
	for i, d := range x.Shape {
		drop := slices.Contains(axes, i)
		if drop && d != 1 {
			return fmt.Errorf("axis %d of shape %v has extent %d, want 1", i, []int(x.Shape), d)
		}
		if !drop && (given || d != 1) {
			shape = append(shape, d)
		}
	}
	return setOutput(n, 0, x.DType, shape)
}

func inferUnsqueeze(n *graph.Node) error {
	if err := arity(n, 1, 2, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	axes, given, err := intsAt(n, "axes", 1, 13)
	if err != nil {
		return err
	}
	if !given {
		return fmt.Errorf("axes are missing")
	}
	if axes, err = normAxes(axes, len(x.Shape)+len(axes)); err != nil {
		return err
	}
	shape := x.Shape.Clone()
	for _, a := range axes { // ascending
		shape = slices.Insert(shape, a, 1)
	}
	return setOutput(n, 0, x.DType, shape)
}

// shapeRange is the part of the shape that the Shape operator returns.
func shapeRange(n *graph.Node, rank int) (start, end int) {
	clamp := func(i int) int {
		if i < 0 {
			i += rank
		}
		return min(max(i, 0), rank)
	}
	start, end = clamp(n.Int("start", 0)), clamp(n.Int("end", rank))
	return start, max(start, end)
}

func inferShape(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	start, end := shapeRange(n, len(n.Inputs[0].Shape))
	return setOutput(n, 0, onnx.Int64, graph.Shape{end - start})
}

func forwardShape(c *Call) (func() error, error) {
	start, end := shapeRange(c.Node, len(c.In[0].Shape))
	out, part := onnx.Of[int64](c.Out[0]), c.In[0].Shape[start:end]
	return func() error {
		for i, d := range part {
			out[i] = int64(d)
		}
		return nil
	}, nil
}

func inferSize(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	return setOutput(n, 0, onnx.Int64, graph.Shape{})
}

func forwardSize(c *Call) (func() error, error) {
	out, size := onnx.Of[int64](c.Out[0]), int64(c.In[0].Len())
	return func() error {
		out[0] = size
		return nil
	}, nil
}
