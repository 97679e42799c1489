package pass

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// rewrite carries the decision over to the model's graph.
func (s *shrinker) rewrite() (*Compaction, error) {
	g := s.model.Graph
	c := &Compaction{Kept: map[string]map[int][]int{}, Shapes: map[string][]int{}}
	for _, v := range g.Inits {
		if small := s.one.Value(v.Name); small != nil && small.Const != nil && v.DType.IsFloat() {
			s.shrink(v, small, c)
		}
	}
	for _, n := range g.Nodes {
		out := n.Output(0)
		if out == nil {
			continue
		}
		small := s.one.Value(out.Name)
		if small == nil || small.Producer() == nil || !s.touches(small.Producer()) {
			continue
		}
		if err := s.fix(n, small.Producer()); err != nil {
			return nil, &ops.NodeError{Node: n, Err: err}
		}
	}
	s.forget()
	return c, nil
}

// shrink cuts a parameter down to what stays.
func (s *shrinker) shrink(v, small *graph.Value, c *Compaction) {
	t := v.Const
	if changed := s.tensors[v.Name]; changed != nil {
		t = changed
	}
	for axis, d := range small.Shape {
		list := s.kept(ops.Axis{Value: small, Index: axis})
		if len(list) == d {
			continue
		}
		t = take(t, axis, list)
		if c.Kept[v.Name] == nil {
			c.Kept[v.Name] = map[int][]int{}
			c.Shapes[v.Name] = slices.Clone(small.Shape)
		}
		c.Kept[v.Name][axis] = list
	}
	t.Name = v.Const.Name
	v.Const, v.Shape = t, append(graph.Shape{}, t.Shape...)
}

// take returns the listed positions of t along an axis.
func take(t *onnx.Tensor, axis int, list []int) *onnx.Tensor {
	shape := slices.Clone(t.Shape)
	shape[axis] = len(list)
	out := onnx.NewTensor(t.DType, shape...)
	inner := onnx.Size(t.Shape[axis+1:])
	outer := onnx.Size(t.Shape[:axis])
	for o := range outer {
		for k, p := range list {
			copyRange(out, (o*len(list)+k)*inner, t, (o*t.Shape[axis]+p)*inner, inner)
		}
	}
	return out
}

// copyRange copies count elements between tensors of one floating-point type.
func copyRange(dst *onnx.Tensor, to int, src *onnx.Tensor, from, count int) {
	switch s := src.Data.(type) {
	case []float32:
		copy(onnx.Of[float32](dst)[to:to+count], s[from:])
	case []float64:
		copy(onnx.Of[float64](dst)[to:to+count], s[from:])
	case []uint16:
		copy(onnx.Of[uint16](dst)[to:to+count], s[from:])
	}
}

// touches reports whether an axis of the node's values loses a position.
func (s *shrinker) touches(n *graph.Node) bool {
	for _, v := range slices.Concat(n.Inputs, n.Outputs) {
		if v != nil && s.shrinks(v) {
			return true
		}
	}
	return false
}

func (s *shrinker) shrinks(v *graph.Value) bool {
	for axis, d := range v.Shape {
		if len(s.kept(ops.Axis{Value: v, Index: axis})) < d {
			return true
		}
	}
	return false
}

// fix rewrites what a node says about extents in attributes and constants; n
// is the node in the graph, small its counterpart with known shapes.
func (s *shrinker) fix(n, small *graph.Node) error {
	if n.Domain != "" {
		return nil
	}
	switch n.Op {
	case "Conv":
		x, w := small.Inputs[0], small.Inputs[1]
		group := len(s.kept(ops.Axis{Value: x, Index: 1})) / len(s.kept(ops.Axis{Value: w, Index: 1}))
		n.SetAttr(onnx.AttrInt("group", int64(group)))
	case "Reshape", "Expand":
		return s.fixTarget(n, small.Outputs[0])
	case "Split":
		return s.fixSplit(n, small)
	case "Slice":
		return s.fixSlice(n, small)
	case "Gather":
		return s.fixGather(n, small)
	case "Pad":
		return s.fixPad(n, small)
	}
	return nil
}

// extents are the extents of a value after the cut; -1 where the batch is.
func (s *shrinker) extents(v *graph.Value) ([]int, error) {
	out := make([]int, len(v.Shape))
	twin := s.two.Value(v.Name)
	free := 0
	for axis := range v.Shape {
		out[axis] = len(s.kept(ops.Axis{Value: v, Index: axis}))
		if twin != nil && len(twin.Shape) == len(v.Shape) && twin.Shape[axis] != v.Shape[axis] {
			out[axis] = -1
			free++
		}
	}
	if free > 1 {
		return nil, fmt.Errorf("%d extents of %q depend on the batch", free, v.Name)
	}
	return out, nil
}

// fixTarget writes the target of Reshape or Expand out.
func (s *shrinker) fixTarget(n *graph.Node, out *graph.Value) error {
	target, err := s.extents(out)
	if err != nil {
		return err
	}
	if n.Op == "Expand" {
		if i := slices.Index(target, -1); i >= 0 {
			return fmt.Errorf("a target that depends on the batch cannot be written out")
		}
	}
	s.setInts(n, 1, target)
	if n.Int("allowzero", 0) != 0 {
		n.SetAttr(onnx.AttrInt("allowzero", 0))
	}
	return nil
}

// setInts makes input slot a constant of its own.
func (s *shrinker) setInts(n *graph.Node, slot int, list []int) {
	data := make([]int64, len(list))
	for i, x := range list {
		data[i] = int64(x)
	}
	name := n.Output(0).Name + "_ints"
	s.model.Graph.SetInput(n, slot, s.model.Graph.AddInit(name, onnx.FromSlice(data, len(data))))
}

func (s *shrinker) fixSplit(n, small *graph.Node) error {
	axis, rank := n.Int("axis", 0), len(small.Inputs[0].Shape)
	if axis < 0 {
		axis += rank
	}
	var parts []int
	for _, y := range small.Outputs {
		parts = append(parts, len(s.kept(ops.Axis{Value: y, Index: axis})))
	}
	n.DropAttrs("split", "num_outputs")
	if n.Version >= 13 {
		s.setInts(n, 1, parts)
		return nil
	}
	n.SetAttr(onnx.AttrInts("split", int64s(parts)...))
	return nil
}

func int64s(list []int) []int64 {
	out := make([]int64, len(list))
	for i, x := range list {
		out[i] = int64(x)
	}
	return out
}

// fixSlice writes starts and ends of the axes that lose positions anew. The
// rule ties slices of step 1 alone, so the positions that stay follow each
// other.
func (s *shrinker) fixSlice(n, small *graph.Node) error {
	x, y := small.Inputs[0], small.Outputs[0]
	var starts, ends, axes, steps []int
	for axis := range x.Shape {
		a := ops.Axis{Value: x, Index: axis}
		begin := 0
		tied := false
		for _, t := range s.classes.Rules[small].Ties {
			if t.A == a {
				begin, tied = t.I, true
			}
		}
		if !tied || x.Shape[axis] == y.Shape[axis] {
			if !tied && x.Shape[axis] != y.Shape[axis] {
				return fmt.Errorf("axis %d is sliced by steps while another loses positions", axis)
			}
			continue
		}
		before := 0
		for p := range begin {
			if !s.gone[s.classes.Class(a, p)] {
				before++
			}
		}
		starts, axes, steps = append(starts, before), append(axes, axis), append(steps, 1)
		ends = append(ends, before+len(s.kept(ops.Axis{Value: y, Index: axis})))
	}
	if n.Version < 10 {
		n.SetAttr(onnx.AttrInts("starts", int64s(starts)...))
		n.SetAttr(onnx.AttrInts("ends", int64s(ends)...))
		n.SetAttr(onnx.AttrInts("axes", int64s(axes)...))
		return nil
	}
	for slot, list := range [][]int{starts, ends, axes, steps} {
		s.setInts(n, slot+1, list)
	}
	return nil
}

// fixGather renumbers constant indices.
func (s *shrinker) fixGather(n, small *graph.Node) error {
	x, index := small.Inputs[0], small.Inputs[1]
	axis := n.Int("axis", 0)
	if axis < 0 {
		axis += len(x.Shape)
	}
	a := ops.Axis{Value: x, Index: axis}
	kept := s.kept(a)
	if len(kept) == a.Extent() {
		return nil
	}
	list, ok := index.Const.Data.([]int64)
	if !ok {
		return fmt.Errorf("indices of type %v into an axis that loses positions", index.DType)
	}
	var renumbered []int
	for _, p := range list {
		if p < 0 {
			p += int64(a.Extent())
		}
		if at, found := slices.BinarySearch(kept, int(p)); found {
			renumbered = append(renumbered, at)
		}
	}
	if len(index.Shape) == 0 {
		g := s.model.Graph
		g.SetInput(n, 1, g.AddInit(n.Output(0).Name+"_index", onnx.FromSlice(int64s(renumbered))))
		return nil
	}
	s.setInts(n, 1, renumbered)
	return nil
}

// fixPad counts the padding that stays.
func (s *shrinker) fixPad(n, small *graph.Node) error {
	x, y := small.Inputs[0], small.Outputs[0]
	before, after := make([]int, len(x.Shape)), make([]int, len(x.Shape))
	for axis := range x.Shape {
		a := ops.Axis{Value: y, Index: axis}
		start := 0
		for _, t := range s.classes.Rules[small].Ties {
			if t.B == a {
				start = t.J
			}
		}
		kept := s.kept(a)
		for _, p := range kept {
			if p < start {
				before[axis]++
			}
		}
		after[axis] = len(kept) - before[axis] - len(s.kept(ops.Axis{Value: x, Index: axis}))
	}
	pads := slices.Concat(before, after)
	if n.Version < 11 {
		n.SetAttr(onnx.AttrInts("pads", int64s(pads)...))
		return nil
	}
	s.setInts(n, 1, pads)
	if n.Input(3) != nil {
		s.model.Graph.SetInput(n, 3, nil)
		n.Inputs = n.Inputs[:3]
	}
	return nil
}

// forget drops what the file declared about inner values: their extents have
// changed.
func (s *shrinker) forget() {
	for _, n := range s.model.Graph.Nodes {
		for _, v := range n.Outputs {
			if v != nil && !slices.Contains(s.model.Graph.Outputs, v) {
				v.Info, v.Shape = nil, nil
			}
		}
	}
	if src := s.model.Graph.Source; src != nil {
		model, g := *src, *src.Graph
		g.ValueInfo = nil
		model.Graph = &g
		s.model.Graph.Source = &model
	}
	s.model.Graph.Prune()
}
