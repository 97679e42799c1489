package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Concat and Split: joining along an axis and its inverse.
func init() {
	register(
		Op{
			Name: "Concat", Since: []int{4, 11, 13},
			Axes:  axesConcat,
			Infer: inferConcat, Grad: gradConcat, Forward: forwardConcat, Beside: besideConcat,
		},
		Op{
			Name: "Split", Since: []int{2, 11, 13, 18},
			Axes:  axesSplit,
			Infer: inferSplit, Grad: gradSplit, Forward: forwardSplit,
		},
	)
}

// Concat joins parts along an axis; a single one is returned as it is.
func (b *Builder) Concat(axis int, parts ...*graph.Value) *graph.Value {
	if len(parts) == 1 {
		return parts[0]
	}
	return b.OpA("Concat", []*onnx.Attr{onnx.AttrInt("axis", int64(axis))}, parts...)
}

// Split cuts x along an axis into parts of the given extents.
func (b *Builder) Split(x *graph.Value, axis int, extents ...int) values {
	if len(extents) == 1 {
		return values{x}
	}
	attrs := []*onnx.Attr{onnx.AttrInt("axis", int64(axis))}
	if b.G.Opsets[""] < 13 {
		return b.Node("Split", len(extents), values{x}, append(attrs, onnx.AttrInts("split", toInt64(extents)...))...)
	}
	return b.Node("Split", len(extents), values{x, b.Ints(extents...)}, attrs...)
}

func inferConcat(n *graph.Node) error {
	if err := arity(n, len(n.Inputs), anyNumber, 1); err != nil {
		return err
	}
	if len(n.Inputs) == 0 || n.Attr("axis") == nil {
		return fmt.Errorf("needs at least one input and the attribute axis")
	}
	first := n.Inputs[0]
	axis, err := normAxis(n.Int("axis", 0), len(first.Shape))
	if err != nil {
		return err
	}
	shape := first.Shape.Clone()
	for i, v := range n.Inputs[1:] {
		if err := wantType(n, i+1, first.DType); err != nil {
			return err
		}
		if len(v.Shape) != len(shape) {
			return fmt.Errorf("input %d has rank %d, input 0 has %d", i+1, len(v.Shape), len(shape))
		}
		for a, d := range v.Shape {
			if a != axis && d != shape[a] {
				return fmt.Errorf("input %d has extent %d on axis %d, input 0 has %d", i+1, d, a, shape[a])
			}
		}
		if shape[axis] += v.Shape[axis]; shape[axis] > maxElements {
			return fmt.Errorf("axis %d grows beyond %d", axis, maxElements)
		}
	}
	return setOutput(n, 0, first.DType, shape)
}

// gradConcat cuts dy where x was joined.
func gradConcat(b *Builder, n *graph.Node, dy values) (values, error) {
	axis, err := normAxis(n.Int("axis", 0), len(n.Outputs[0].Shape))
	if err != nil {
		return nil, err
	}
	sizes := make([]int, len(n.Inputs))
	for i, v := range n.Inputs {
		sizes[i] = v.Shape[axis]
	}
	return b.Split(dy[0], axis, sizes...), nil
}

func forwardConcat(c *Call) (func() error, error) {
	axis, err := normAxis(c.Node.Int("axis", 0), len(c.Out[0].Shape))
	if err != nil {
		return nil, err
	}
	e, err := elementFor(c.Out[0])
	if err != nil {
		return nil, err
	}
	return e.concat(c.Team, c.Out[0], c.In, axis), nil
}

// splitSizes returns the axis of a Split and the extents of its parts.
func splitSizes(n *graph.Node) (axis int, sizes []int, err error) {
	x := n.Inputs[0]
	if axis, err = normAxis(n.Int("axis", 0), len(x.Shape)); err != nil {
		return 0, nil, err
	}
	sizes, given, err := intsAt(n, "split", 1, 13)
	if err != nil {
		return 0, nil, err
	}
	parts, extent := len(n.Outputs), x.Shape[axis]
	if !given {
		if n.Version >= 18 && n.Attr("num_outputs") != nil && n.Int("num_outputs", 0) != parts {
			return 0, nil, fmt.Errorf("num_outputs is %d, the node has %d outputs", n.Int("num_outputs", 0), parts)
		}
		if n.Version < 18 && extent%parts != 0 {
			return 0, nil, fmt.Errorf("extent %d does not divide into %d equal parts", extent, parts)
		}
		chunk := (extent + parts - 1) / parts // the last part may be smaller
		for i := range parts {
			sizes = append(sizes, min(chunk, max(extent-i*chunk, 0)))
		}
		return axis, sizes, nil
	}
	sum := 0
	for _, s := range sizes {
		if s < 0 || s > extent {
			return 0, nil, fmt.Errorf("part of extent %d of an axis of extent %d", s, extent)
		}
		sum += s
	}
	if sum != extent || len(sizes) != parts {
		return 0, nil, fmt.Errorf("parts %v do not make up extent %d in %d outputs", sizes, extent, parts)
	}
	return axis, sizes, nil
}

func inferSplit(n *graph.Node) error {
	if len(n.Outputs) == 0 {
		return fmt.Errorf("has no outputs")
	}
	if n.Outputs[0] == nil {
		return fmt.Errorf("output 0 is missing")
	}
	if err := arity(n, 1, 2, anyNumber); err != nil {
		return err
	}
	axis, sizes, err := splitSizes(n)
	if err != nil {
		return err
	}
	for i, s := range sizes {
		shape := n.Inputs[0].Shape.Clone()
		shape[axis] = s
		if err := setOutput(n, i, n.Inputs[0].DType, shape); err != nil {
			return err
		}
	}
	return nil
}

// gradSplit joins the parts' gradients.
func gradSplit(b *Builder, n *graph.Node, dy values) (values, error) {
	axis, sizes, err := splitSizes(n)
	if err != nil {
		return nil, err
	}
	parts := make(values, len(sizes))
	for i, s := range sizes {
		if parts[i] = dy[i]; dy[i] == nil {
			shape := n.Inputs[0].Shape.Clone()
			shape[axis] = s
			parts[i] = b.Fill(0, n.Inputs[0], shape...)
		}
	}
	return values{b.Concat(axis, parts...), nil}[:len(n.Inputs)], nil
}

func forwardSplit(c *Call) (func() error, error) {
	axis, sizes, err := splitSizes(c.Node)
	if err != nil {
		return nil, err
	}
	var steps []func() error
	from, at := strides(c.In[0].Shape), 0
	for i, s := range sizes {
		if out := c.Out[i]; out != nil {
			w := newWalk(out.Shape, []int{0, at * from[axis]}, strides(out.Shape), from)
			step, err := copyWalk(out, c.In[0], w)
			if err != nil {
				return nil, err
			}
			steps = append(steps, step)
		}
		at += s
	}
	return inOrder(steps), nil
}
