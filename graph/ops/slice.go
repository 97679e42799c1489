package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators that cut parts out of a tensor or put a border around it.
func init() {
	register(
		Op{Name: "Slice", Since: []int{1, 10, 11, 13}, Axes: axesSlice, Infer: inferSlice, Grad: gradSlice, Forward: forwardSlice},
		Op{Name: "Pad", Since: []int{2, 11, 13, 18, 19, 21, 23, 24}, Axes: axesPad, Infer: inferPad, Grad: gradPad, Forward: forwardPad},
	)
}

// A cut is what Slice takes along each axis: extent elements from start on,
// step apart.
type cut struct{ start, step, extent []int }

// sliceCut reads the bounds of n, attributes before version 10 and inputs from
// then on, and clamps them as numpy does.
func sliceCut(n *graph.Node) (c cut, err error) {
	shape := n.Inputs[0].Shape
	lists := make([][]int, 4) // starts, ends, axes, steps
	given := make([]bool, 4)
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		if lists[i], given[i], err = intsAt(n, name, i+1, 10); err != nil {
			return c, err
		}
	}
	starts, ends, axes, steps := lists[0], lists[1], lists[2], lists[3]
	if !given[2] {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if !given[3] {
		steps = slices.Repeat([]int{1}, len(starts))
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) != len(starts) {
		return c, fmt.Errorf("starts, ends, axes and steps have lengths %d, %d, %d and %d", len(starts), len(ends), len(axes), len(steps))
	}
	if _, err := normAxes(axes, len(shape)); err != nil {
		return c, err
	}
	c = cut{make([]int, len(shape)), slices.Repeat([]int{1}, len(shape)), slices.Clone(shape)}
	for i, a := range axes {
		if a < 0 {
			a += len(shape)
		}
		if steps[i] == 0 {
			return c, fmt.Errorf("step 0 on axis %d", a)
		}
		c.start[a], c.step[a], c.extent[a] = clampSlice(starts[i], ends[i], steps[i], shape[a])
	}
	return c, nil
}

// clampSlice turns one axis' bounds into the first element, the step, and the
// number of elements.
func clampSlice(start, end, step, extent int) (first, by, count int) {
	step = min(max(step, -maxElements), maxElements)
	at := func(i, low, high int) int {
		if i < 0 {
			i += extent
		}
		return min(max(i, low), high)
	}
	if step > 0 {
		start, end = at(start, 0, extent), at(end, 0, extent)
		count = (end - start + step - 1) / step
	} else {
		start, end = at(start, -1, extent-1), at(end, -1, extent-1)
		count = (start - end - step - 1) / -step
	}
	if count <= 0 {
		return 0, 1, 0
	}
	return start, step, count
}

func inferSlice(n *graph.Node) error {
	if err := arity(n, 1, 5, 1); err != nil {
		return err
	}
	if n.Version >= 10 && (n.Input(1) == nil || n.Input(2) == nil) {
		return fmt.Errorf("starts or ends are missing")
	}
	c, err := sliceCut(n)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.extent)
}

func forwardSlice(c *Call) (func() error, error) {
	k, err := sliceCut(c.Node)
	if err != nil {
		return nil, err
	}
	from, offset := strides(c.In[0].Shape), 0
	moved := make([]int, len(from))
	for i, s := range from {
		offset += k.start[i] * s
		moved[i] = k.step[i] * s
	}
	return copyWalk(c.Out[0], c.In[0], newWalk(k.extent, []int{0, offset}, strides(k.extent), moved))
}

// gradSlice puts dy back among zeros: axes that ran backwards are turned
// round, elements that were step apart are spread, and the border is padded.
func gradSlice(b *Builder, n *graph.Node, dy values) (values, error) {
	k, err := sliceCut(n)
	if err != nil {
		return nil, err
	}
	shape := n.Inputs[0].Shape
	grads := make(values, len(n.Inputs))
	if slices.Contains(k.extent, 0) {
		grads[0] = b.Zeros(n.Inputs[0])
		return grads, nil
	}
	dx := dy[0]
	before, after := make([]int, len(shape)), make([]int, len(shape))
	for a := range shape {
		start, step, count := k.start[a], k.step[a], k.extent[a]
		if step < 0 {
			dx = b.reverse(dx, a)
			start, step = start+(count-1)*step, -step
		}
		if count == 1 {
			step = 1
		}
		dx = b.spread(dx, a, step)
		before[a], after[a] = start, shape[a]-start-count*step
	}
	grads[0] = b.Pad(dx, before, after)
	return grads, nil
}

// reverse turns x round along an axis.
func (b *Builder) reverse(x *graph.Value, axis int) *graph.Value {
	const end = -1 << 62 // before the first element
	return b.Op("Slice", x, b.Ints(-1), b.Ints(end), b.Ints(axis), b.Ints(-1))
}

// spread puts step-1 zeros behind every element along an axis.
func (b *Builder) spread(x *graph.Value, axis, step int) *graph.Value {
	if b.Err != nil || step == 1 {
		return x
	}
	wide := x.Shape.Clone()
	wide[axis] *= step
	split := slices.Insert(x.Shape.Clone(), axis+1, 1)
	after := make([]int, len(split))
	after[axis+1] = step - 1
	return b.Reshape(b.Pad(b.Reshape(x, split...), make([]int, len(split)), after), wide...)
}

// Pad puts zeros around x; negative numbers cut off. x itself when there is
// nothing to do.
func (b *Builder) Pad(x *graph.Value, before, after []int) *graph.Value {
	pads := slices.Concat(before, after)
	if b.Err != nil || !slices.ContainsFunc(pads, func(p int) bool { return p != 0 }) {
		return x
	}
	if b.G.Opsets[""] < 11 {
		return b.OpA("Pad", []*onnx.Attr{onnx.AttrInts("pads", toInt64(pads)...)}, x)
	}
	return b.Op("Pad", x, b.Ints(pads...))
}

// padding reads how much is added before and after each axis.
func padding(n *graph.Node) (before, after []int, err error) {
	rank := len(n.Inputs[0].Shape)
	pads, _, err := intsAt(n, "pads", 1, 11)
	if err != nil {
		return nil, nil, err
	}
	axes, given := make([]int, rank), false
	for i := range axes {
		axes[i] = i
	}
	if n.Version >= 18 {
		var list []int
		if list, given, err = constInts(n, 3); err != nil {
			return nil, nil, err
		}
		if given {
			if _, err := normAxes(list, rank); err != nil {
				return nil, nil, err
			}
			axes = list
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, nil, fmt.Errorf("%d pads for %d axes, want two for each", len(pads), len(axes))
	}
	before, after = make([]int, rank), make([]int, rank)
	for i, a := range axes {
		if a < 0 {
			a += rank
		}
		before[a], after[a] = pads[i], pads[i+len(axes)]
		if max(before[a], -before[a], after[a], -after[a]) > maxElements {
			return nil, nil, fmt.Errorf("pads %v are out of range", pads)
		}
	}
	return before, after, nil
}

func inferPad(n *graph.Node) error {
	if err := arity(n, 1, 4, 1); err != nil {
		return err
	}
	before, after, err := padding(n)
	if err != nil {
		return err
	}
	mode := n.Str("mode", "constant")
	x := n.Inputs[0]
	if err := sameType(n, 0, 2); err != nil {
		return err
	}
	if v := n.Input(2); v != nil && v.Shape.Size() != 1 {
		return fmt.Errorf("the value to pad with has shape %v, want a scalar", []int(v.Shape))
	}
	shape := x.Shape.Clone()
	for i, d := range shape {
		if shape[i] = d + before[i] + after[i]; shape[i] < 0 {
			return fmt.Errorf("pads %d and %d cut more than extent %d of axis %d", before[i], after[i], d, i)
		}
		far := max(before[i], after[i])
		switch {
		case mode == "constant":
		case mode != "edge" && mode != "reflect" && mode != "wrap":
			return fmt.Errorf("mode is %q, want constant, edge, reflect or wrap", mode)
		case far > 0 && d == 0, mode == "reflect" && far >= max(d, 1), mode == "wrap" && far > d:
			return fmt.Errorf("mode %s cannot pad extent %d of axis %d by %d", mode, d, i, far)
		}
	}
	return setOutput(n, 0, x.DType, shape)
}

// gradPad cuts off the border: padding by the negative of everything.
func gradPad(b *Builder, n *graph.Node, dy values) (values, error) {
	if mode := n.Str("mode", "constant"); mode != "constant" {
		return nil, fmt.Errorf("the gradient of Pad with mode %q is not implemented", mode)
	}
	before, after, err := padding(n)
	if err != nil {
		return nil, err
	}
	for i := range before {
		before[i], after[i] = -before[i], -after[i]
	}
	grads := make(values, len(n.Inputs))
	grads[0] = b.Pad(dy[0], before, after)
	return grads, nil
}

func forwardPad(c *Call) (func() error, error) {
	before, _, err := padding(c.Node)
	if err != nil {
		return nil, err
	}
	e, err := elementFor(c.In[0])
	if err != nil {
		return nil, err
	}
	if mode := c.Node.Str("mode", "constant"); mode != "constant" {
		return padFromInside(c, e, mode, before), nil
	}
	var value *onnx.Tensor
	if c.Node.Version >= 11 && len(c.In) > 2 {
		value = c.In[2]
	} else if c.Node.Version < 11 {
		value = onnx.NewTensor(c.In[0].DType)
		attr := onnx.FromSlice([]float64{c.Node.Float("value", 0)})
		set, err := castTensor(value, attr)
		if err != nil {
			return nil, err
		}
		if err := set(); err != nil {
			return nil, err
		}
	}
	from, to := strides(c.In[0].Shape), strides(c.Out[0].Shape)
	inside := make([]int, len(from))
	offsets := []int{0, 0}
	for i, d := range c.In[0].Shape {
		first := max(0, -before[i]) // element of the input that comes first
		inside[i] = max(0, min(d-first, c.Out[0].Shape[i]-max(0, before[i])))
		offsets[0] += max(0, before[i]) * to[i]
		offsets[1] += first * from[i]
	}
	fill, copyInside := e.fill(c.Out[0], value), e.copyRows(c.Out[0], c.In[0], newWalk(inside, offsets, to, from))
	return inOrder([]func() error{fill, copyInside}), nil
}

// padFromInside repeats the input's elements: the nearest one (edge), those
// behind the mirror (reflect), or those of the other end (wrap).
func padFromInside(c *Call, e element, mode string, before []int) func() error {
	in, out := c.In[0].Shape, c.Out[0].Shape
	source := func(i, extent int) int {
		switch {
		case mode == "edge":
			return min(max(i, 0), extent-1)
		case mode == "wrap":
			return (i + extent) % extent
		case i < 0:
			return -i
		case i >= extent:
			return 2*(extent-1) - i
		}
		return i
	}
	from := make([]int, c.Out[0].Len())
	inStep, outStep := strides(in), strides(out)
	for i := range from {
		for a, s := range outStep {
			from[i] += source(i/s%out[a]-before[a], in[a]) * inStep[a]
		}
	}
	move := e.gather(c.Out[0], c.In[0], 1, from)
	return func() error {
		move()
		return nil
	}
}
