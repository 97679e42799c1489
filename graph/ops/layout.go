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
			Axes:  axesTranspose,
			Infer: inferTranspose, Grad: gradTranspose, Forward: forwardTranspose,
		},
		Op{
			Name: "Expand", Since: []int{8, 13},
			Axes:  axesExpand,
			Infer: inferExpand, Grad: gradExpand, Forward: forwardExpand,
		},
		Op{
			Name: "Tile", Since: []int{6, 13},
			Infer: inferTile, Grad: gradTile, Forward: forwardTile,
		},
		Op{
			Name: "Trilu", Since: []int{14},
			Infer: inferTrilu, Grad: gradTrilu, Forward: forwardTrilu,
		},
	)
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

// Expand repeats x to shape; x itself when it has that shape.
func (b *Builder) Expand(x *graph.Value, shape graph.Shape) *graph.Value {
	if b.Err != nil || len(x.Shape) == len(shape) && repeatedAxes(x.Shape, shape) == nil {
		return x
	}
	return b.Op("Expand", x, b.Ints(shape...))
}

func inferExpand(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	to, _, err := constInts(n, 1)
	if err != nil {
		return err
	}
	if err := CheckSize(to); err != nil {
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
	if err := CheckSize(repeats); err != nil {
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
