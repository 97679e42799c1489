package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators that copy elements to other places: each is one or a few strided
// walks.
func init() {
	register(
		Op{
			Name: "Transpose", Since: []int{1, 13, 21, 23, 24},
			Infer: inferTranspose, Grad: gradTranspose, Forward: forwardTranspose,
		},
		Op{
			Name: "Expand", Since: []int{8, 13},
			Infer: inferExpand, Grad: gradExpand, Forward: forwardExpand,
		},
		Op{
			Name: "Concat", Since: []int{4, 11, 13},
			Infer: inferConcat, Grad: gradConcat, Forward: forwardConcat,
		},
		Op{
			Name: "Split", Since: []int{2, 11, 13, 18},
			Infer: inferSplit, Grad: gradSplit, Forward: forwardSplit,
		},
		Op{
			Name: "Tile", Since: []int{6, 13},
			Infer: inferTile, Grad: gradTile, Forward: forwardTile,
		},
		Op{
			Name: "Trilu", Since: []int{14},
			Infer: inferTrilu, Grad: gradTrilu, Forward: forwardTrilu,
		},
		Op{
			Name: "DepthToSpace", Since: []int{1, 11, 13},
			Infer: inferDepthToSpace, Grad: gradDepthToSpace, Forward: forwardDepthToSpace, Body: bodyDepthToSpace,
		},
		Op{
			Name: "SpaceToDepth", Since: []int{1, 13},
			Infer: inferSpaceToDepth, Grad: gradSpaceToDepth, Forward: forwardSpaceToDepth, Body: bodySpaceToDepth,
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

// copyWalk copies in to out on a walk over (out, in).
func copyWalk(out, in *onnx.Tensor, w *walk) (func() error, error) {
	e, err := elementFor(in)
	if err != nil {
		return nil, err
	}
	return e.copyRows(out, in, w), nil
}

// inOrder runs steps one after the other.
func inOrder(steps []func() error) func() error {
	if len(steps) == 1 {
		return steps[0]
	}
	return func() error {
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}
}

// permutation returns the perm attribute; by default axes are reversed.
func permutation(n *graph.Node) ([]int, error) {
	rank := len(n.Inputs[0].Shape)
	perm := n.Ints("perm")
	if n.Attr("perm") == nil {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
		return perm, nil
	}
	seen := slices.Clone(perm)
	slices.Sort(seen)
	for i := range seen {
		if seen[i] != i {
			return nil, fmt.Errorf("perm %v is not a permutation", perm)
		}
	}
	if len(perm) != rank {
		return nil, fmt.Errorf("perm %v does not fit rank %d", perm, rank)
	}
	return perm, nil
}

func inferTranspose(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	perm, err := permutation(n)
	if err != nil {
		return err
	}
	shape := make(graph.Shape, len(perm))
	for i, p := range perm {
		shape[i] = n.Inputs[0].Shape[p]
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

// gradTranspose: dx = dy under the inverse permutation.
func gradTranspose(b *Builder, n *graph.Node, dy values) (values, error) {
	perm, err := permutation(n)
	if err != nil {
		return nil, err
	}
	inverse := make([]int, len(perm))
	for i, p := range perm {
		inverse[p] = i
	}
	return values{b.Transpose(dy[0], inverse...)}, nil
}

func forwardTranspose(c *Call) (func() error, error) {
	perm, err := permutation(c.Node)
	if err != nil {
		return nil, err
	}
	e, err := elementFor(c.In[0])
	if err != nil {
		return nil, err
	}
	return e.transpose(c.Team, c.Out[0], c.In[0], perm), nil
}

func inferExpand(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	to, _, err := constInts(n, 1)
	if err != nil {
		return err
	}
	if err := checkSize(to); err != nil {
		return err
	}
	shape, err := broadcast(n.Inputs[0].Shape, to)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

func gradExpand(b *Builder, n *graph.Node, dy values) (values, error) {
	return values{b.Unbroadcast(dy[0], n.Inputs[0].Shape), nil}, nil
}

func forwardExpand(c *Call) (func() error, error) {
	shape := c.Out[0].Shape
	return copyWalk(c.Out[0], c.In[0], newWalk(shape, nil, strides(shape), repeatStrides(c.In[0].Shape, shape)))
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
	var steps []func() error
	to, at := strides(c.Out[0].Shape), 0
	for _, part := range c.In {
		w := newWalk(part.Shape, []int{at * to[axis], 0}, to, strides(part.Shape))
		step, err := copyWalk(c.Out[0], part, w)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
		at += part.Shape[axis]
	}
	return inOrder(steps), nil
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

func inferTile(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	shape := n.Inputs[0].Shape.Clone()
	repeats, _, err := constInts(n, 1)
	if err != nil {
		return err
	}
	if len(repeats) != len(shape) {
		return fmt.Errorf("repeats %v do not fit rank %d", repeats, len(shape))
	}
	if err := checkSize(repeats); err != nil {
		return fmt.Errorf("repeats: %w", err)
	}
	for i, r := range repeats {
		shape[i] *= r // both at most maxElements
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

// tiled returns extents (r0, d0, r1, d1, ...) of a Tile with repeats r.
func tiled(n *graph.Node) ([]int, error) {
	repeats, _, err := constInts(n, 1)
	if err != nil {
		return nil, err
	}
	var both []int
	for i, d := range n.Inputs[0].Shape {
		both = append(both, repeats[i], d)
	}
	return both, nil
}

// gradTile sums over the repetitions.
func gradTile(b *Builder, n *graph.Node, dy values) (values, error) {
	both, err := tiled(n)
	if err != nil {
		return nil, err
	}
	var axes []int
	for i := 0; i < len(both); i += 2 {
		axes = append(axes, i)
	}
	dx := dy[0]
	if len(axes) > 0 {
		dx = b.ReduceSum(b.Reshape(dx, both...), false, axes...)
	}
	return values{dx, nil}, nil
}

func forwardTile(c *Call) (func() error, error) {
	both, err := tiled(c.Node)
	if err != nil {
		return nil, err
	}
	from := make([]int, len(both))
	for i, s := range strides(c.In[0].Shape) {
		from[2*i+1] = s
	}
	return copyWalk(c.Out[0], c.In[0], newWalk(both, nil, strides(both), from))
}

func inferTrilu(n *graph.Node) error {
	if err := arity(n, 1, 2, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if len(x.Shape) < 2 {
		return fmt.Errorf("input has shape %v, want at least two axes", []int(x.Shape))
	}
	if k := n.Input(1); k != nil && (k.DType != onnx.Int64 || k.Shape.Size() != 1) {
		return fmt.Errorf("k is %v, want one int64", k)
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

// gradTrilu: the same triangle of dy.
func gradTrilu(b *Builder, n *graph.Node, dy values) (values, error) {
	in := append(values{dy[0]}, n.Inputs[1:]...)
	dx := b.OpA("Trilu", n.Attrs, in...)
	return values{dx, nil}[:len(n.Inputs)], nil
}

func forwardTrilu(c *Call) (func() error, error) {
	x, out := c.In[0], c.Out[0]
	e, err := elementFor(x)
	if err != nil {
		return nil, err
	}
	rows, cols := x.Shape[len(x.Shape)-2], x.Shape[len(x.Shape)-1]
	upper := c.Node.Int("upper", 1) != 0
	keep := onnx.NewTensor(onnx.Bool, rows, cols)
	mask, zero := onnx.Of[bool](keep), onnx.NewTensor(x.DType)
	none := make([]int, len(x.Shape))
	all := strides(x.Shape)
	choose := e.choose(out, keep, x, zero, newWalk(x.Shape, nil, all, repeatStrides(keep.Shape, x.Shape), all, none))
	return func() error {
		k := int64(0)
		if len(c.In) > 1 && c.In[1] != nil {
			k = onnx.Of[int64](c.In[1])[0]
		}
		k = min(max(k, -int64(rows)-int64(cols)), int64(rows)+int64(cols))
		for i := range mask {
			d := int64(i%cols) - int64(i/cols) // diagonal of this element
			mask[i] = upper && d >= k || !upper && d <= k
		}
		return choose()
	}, nil
}

// depthBlocks returns x's extents with the block of DepthToSpace or SpaceToDepth
// split off, as six axes, and the order in which the result has them.
// DCR: depth is (block, block, channel); CRD: (channel, block, block).
func depthBlocks(n *graph.Node) (split []int, perm []int, err error) {
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	if len(s) != 4 || block < 1 || block > 1<<15 || s[1]%(block*block) != 0 {
		return nil, nil, fmt.Errorf("blocksize %d does not fit shape %v", block, []int(s))
	}
	c := s[1] / (block * block)
	switch mode := n.Str("mode", "DCR"); mode {
	case "DCR":
		return []int{s[0], block, block, c, s[2], s[3]}, []int{0, 3, 4, 1, 5, 2}, nil
	case "CRD":
		return []int{s[0], c, block, block, s[2], s[3]}, []int{0, 1, 4, 2, 5, 3}, nil
	default:
		return nil, nil, fmt.Errorf("mode %q, want DCR or CRD", mode)
	}
}

func spaceBlocks(n *graph.Node) (split []int, perm []int, err error) {
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	if len(s) != 4 || block < 1 || block > 1<<15 || s[2]%block != 0 || s[3]%block != 0 {
		return nil, nil, fmt.Errorf("blocksize %d does not fit shape %v", block, []int(s))
	}
	return []int{s[0], s[1], s[2] / block, block, s[3] / block, block}, []int{0, 3, 5, 1, 2, 4}, nil
}

func inferDepthToSpace(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	if _, _, err := depthBlocks(n); err != nil {
		return err
	}
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{s[0], s[1] / (block * block), s[2] * block, s[3] * block})
}

func inferSpaceToDepth(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	if _, _, err := spaceBlocks(n); err != nil {
		return err
	}
	s, block := n.Inputs[0].Shape, n.Int("blocksize", 0)
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{s[0], s[1] * block * block, s[2] / block, s[3] / block})
}

func forwardDepthToSpace(c *Call) (func() error, error) { return forwardBlocks(c, depthBlocks) }
func forwardSpaceToDepth(c *Call) (func() error, error) { return forwardBlocks(c, spaceBlocks) }

func bodyDepthToSpace(b *Builder, n *graph.Node) (values, error) {
	return bodyBlocks(b, n, depthBlocks)
}

func bodySpaceToDepth(b *Builder, n *graph.Node) (values, error) {
	return bodyBlocks(b, n, spaceBlocks)
}

func gradDepthToSpace(b *Builder, n *graph.Node, dy values) (values, error) {
	return gradBlocks(b, n, dy, depthBlocks)
}

func gradSpaceToDepth(b *Builder, n *graph.Node, dy values) (values, error) {
	return gradBlocks(b, n, dy, spaceBlocks)
}

// forwardBlocks permutes the six axes of blocks.
func forwardBlocks(c *Call, blocks func(*graph.Node) ([]int, []int, error)) (func() error, error) {
	split, perm, err := blocks(c.Node)
	if err != nil {
		return nil, err
	}
	e, err := elementFor(c.In[0])
	if err != nil {
		return nil, err
	}
	view := &onnx.Tensor{DType: c.In[0].DType, Shape: split, Data: c.In[0].Data}
	return e.transpose(c.Team, c.Out[0], view, perm), nil
}

func bodyBlocks(b *Builder, n *graph.Node, blocks func(*graph.Node) ([]int, []int, error)) (values, error) {
	split, perm, err := blocks(n)
	if err != nil {
		return nil, err
	}
	y := b.Transpose(b.Reshape(n.Inputs[0], split...), perm...)
	return values{b.Reshape(y, n.Outputs[0].Shape...)}, nil
}

// gradBlocks moves the six axes back.
func gradBlocks(b *Builder, n *graph.Node, dy values, blocks func(*graph.Node) ([]int, []int, error)) (values, error) {
	split, perm, err := blocks(n)
	if err != nil {
		return nil, err
	}
	extents, inverse := make([]int, 6), make([]int, 6)
	for i, p := range perm {
		extents[i], inverse[p] = split[p], i
	}
	dx := b.Transpose(b.Reshape(dy[0], extents...), inverse...)
	return values{b.Reshape(dx, n.Inputs[0].Shape...)}, nil
}
