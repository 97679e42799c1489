package ops

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Attention in one node, with queries, keys and values where a projection left
// them; pass.Contract makes it of the parts that exporters write.
func init() {
	register(
		Op{
			Domain: Domain, Name: "HeadAttention", Infer: inferHeads, Grad: gradHeads, Body: bodyHeads,
			Forward: kernels(forwardHeads[float32], forwardHeads[float64]),
		},
		Op{
			Domain: Domain, Name: "HeadAttentionGrad", Infer: inferHeadsGrad, Body: bodyHeadsGrad,
			Forward: kernels(forwardHeadsGrad[float32], forwardHeadsGrad[float64]),
		},
	)
}

// HeadAttention(q, k, v) returns y, of shape y_shape, and the probabilities,
// [batch heads queries keys]. Attributes: sizes (batch heads queries keys dim
// width), scale, and for q, k, v and y a layout: offset, and the distances of
// batch entries, heads and positions in the tensor, whose elements count from
// its beginning (kernel.HeadLayout). q, k and v may be one tensor.

// HeadAttributes are the attributes of a HeadAttention.
func HeadAttributes(s kernel.AttentionSpec, shape []int) []*onnx.Attr {
	layout := func(name string, l kernel.HeadLayout) *onnx.Attr {
		return onnx.AttrInts(name, toInt64([]int{l.Offset, l.Batch, l.Head, l.Position})...)
	}
	return []*onnx.Attr{
		onnx.AttrInts("sizes", toInt64([]int{s.Batch, s.Heads, s.Queries, s.Keys, s.Dim, s.Width})...),
		onnx.AttrFloat("scale", float32(s.Scale)),
		layout("q_layout", s.Q), layout("k_layout", s.K), layout("v_layout", s.V), layout("y_layout", s.Y),
		onnx.AttrInts("y_shape", toInt64(shape)...),
	}
}

// maxHeadExtent bounds sizes and distances, so that products of them do not
// overflow.
const maxHeadExtent = 1 << 40

// heads is what a node's attributes say.
type heads struct {
	kernel.AttentionSpec
	shape graph.Shape
}

func readHeads(n *graph.Node) (h heads, err error) {
	sizes := n.Ints("sizes")
	if len(sizes) != 6 || slices.Min(sizes) < 1 || slices.Max(sizes) > 1<<20 {
		return h, fmt.Errorf("attribute sizes is %v, want six positive extents", sizes)
	}
	s := kernel.AttentionSpec{Batch: sizes[0], Heads: sizes[1], Queries: sizes[2], Keys: sizes[3], Dim: sizes[4], Width: sizes[5],
		Scale: n.Float("scale", 1)}
	for _, l := range []struct {
		name   string
		to     *kernel.HeadLayout
		length int
	}{{"q_layout", &s.Q, s.Dim}, {"k_layout", &s.K, s.Dim}, {"v_layout", &s.V, s.Width}, {"y_layout", &s.Y, s.Width}} {
		list := n.Ints(l.name)
		if len(list) != 4 || slices.Min(list) < 0 || slices.Max(list) > maxHeadExtent || list[3] < l.length {
			return h, fmt.Errorf("attribute %s is %v, want an offset and three distances, the last at least %d", l.name, list, l.length)
		}
		*l.to = kernel.HeadLayout{Offset: list[0], Batch: list[1], Head: list[2], Position: list[3]}
	}
	shape := n.Ints("y_shape")
	size := 1
	for _, extent := range shape {
		if extent < 1 || extent > maxHeadExtent/size {
			return h, fmt.Errorf("attribute y_shape is %v, want positive extents that memory can hold", shape)
		}
		size *= extent
	}
	return heads{s, shape}, nil
}

// A headRole is one of the tensors of an attention: how it is laid out.
type headRole struct {
	kernel.HeadLayout
	positions, length int
}

func (h *heads) roles() (q, k, v, y headRole) {
	return headRole{h.Q, h.Queries, h.Dim}, headRole{h.K, h.Keys, h.Dim}, headRole{h.V, h.Keys, h.Width}, headRole{h.Y, h.Queries, h.Width}
}

// check makes sure that a role stays within size elements and that its vectors
// do not overlap.
func (h *heads) check(name string, r headRole, size int) error {
	type axis struct{ extent, step int }
	axes := []axis{{h.Batch, r.Batch}, {h.Heads, r.Head}, {r.positions, r.Position}}
	last, within := r.Offset+r.length, r.length
	slices.SortFunc(axes, func(a, b axis) int { return cmp.Compare(a.step, b.step) })
	for _, a := range axes {
		if a.extent == 1 {
			continue
		}
		if a.step < within || a.step > maxHeadExtent/a.extent {
			return fmt.Errorf("the vectors of %s overlap", name)
		}
		last += (a.extent - 1) * a.step
		within = a.step * a.extent
	}
	if last > size {
		return fmt.Errorf("the layout of %s reaches element %d of %d", name, last, size)
	}
	return nil
}

// index lists the elements of a role in the order [batch heads positions length].
func (h *heads) index(r headRole) []int64 {
	list := make([]int64, 0, h.Batch*h.Heads*r.positions*r.length)
	for b := range h.Batch {
		for head := range h.Heads {
			for p := range r.positions {
				at := r.At(b, head) + p*r.Position
				for i := range r.length {
					list = append(list, int64(at+i))
				}
			}
		}
	}
	return list
}

// checkAll checks the layouts of y and of q, k and v, the inputs of n from slot
// on; roles that share a tensor must not overlap, because their gradients are
// written side by side. whole tells, per input, whether the roles that its
// tensor has reach all of it.
func (h *heads) checkAll(n *graph.Node, slot int) (whole [3]bool, err error) {
	q, k, v, y := h.roles()
	if err := h.check("y", y, h.shape.Size()); err != nil {
		return whole, err
	}
	roles := []headRole{q, k, v}
	for i, name := range []string{"q", "k", "v"} {
		if err := h.check(name, roles[i], n.Inputs[slot+i].Shape.Size()); err != nil {
			return whole, err
		}
	}
	if h.Batch*h.Heads*h.Queries*h.Width != h.shape.Size() {
		return whole, fmt.Errorf("y_shape %v is not filled by %d vectors of %d", []int(h.shape), h.Batch*h.Heads*h.Queries, h.Width)
	}
	for i := range 3 {
		if h.first(n, slot, i) != i {
			continue
		}
		used := make([]bool, n.Inputs[slot+i].Shape.Size())
		count := 0
		for j := i; j < 3; j++ {
			if n.Inputs[slot+j] != n.Inputs[slot+i] {
				continue
			}
			for _, at := range h.index(roles[j]) {
				if used[at] {
					return whole, fmt.Errorf("q, k and v overlap in %q", n.Inputs[slot+i].Name)
				}
				used[at] = true
				count++
			}
		}
		whole[i] = count == len(used)
	}
	return whole, nil
}

// first is the first of q, k and v (0, 1, 2) that is the same tensor as role i.
func (h *heads) first(n *graph.Node, slot, i int) int {
	for j := range i {
		if n.Inputs[slot+j] == n.Inputs[slot+i] {
			return j
		}
	}
	return i
}

func inferHeads(n *graph.Node) error {
	if err := floatInputs(n, 3, 3, 2); err != nil {
		return err
	}
	h, err := readHeads(n)
	if err != nil {
		return err
	}
	if _, err := h.checkAll(n, 0); err != nil {
		return err
	}
	dt := n.Inputs[0].DType
	if err := setOutput(n, 1, dt, graph.Shape{h.Batch, h.Heads, h.Queries, h.Keys}); err != nil {
		return err
	}
	return setOutput(n, 0, dt, h.shape)
}

func gradHeads(b *Builder, n *graph.Node, dy values) (values, error) {
	h, err := readHeads(n)
	if err != nil {
		return nil, err
	}
	p := b.Outputs(n, 2)[1]
	d := dy[0]
	if d == nil {
		d = b.Zeros(n.Outputs[0])
	}
	in := values{d, n.Inputs[0], n.Inputs[1], n.Inputs[2], p}
	if len(dy) > 1 && dy[1] != nil {
		in = append(in, dy[1])
	}
	grads := b.Own("HeadAttentionGrad", 3, in, n.Attrs...)
	for i := range grads { // of a tensor with several roles there is one gradient
		if h.first(n, 0, i) != i {
			grads[i] = nil
		}
	}
	return grads, nil
}

// HeadAttentionGrad(dy, q, k, v, p, [dp]) returns the gradients of q, k and v.
// That of a tensor with several roles is the first output that stands for it;
// the others are then empty.

func inferHeadsGrad(n *graph.Node) error {
	if err := floatInputs(n, 5, 6, 3); err != nil {
		return err
	}
	h, err := readHeads(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 0, h.shape...); err != nil {
		return err
	}
	for _, i := range []int{4, 5} {
		if err := wantShape(n, i, h.Batch, h.Heads, h.Queries, h.Keys); err != nil {
			return err
		}
	}
	if _, err := h.checkAll(n, 1); err != nil {
		return err
	}
	for i := range 3 {
		shape := n.Inputs[1+i].Shape
		if h.first(n, 1, i) != i {
			shape = graph.Shape{0}
		}
		if err := setOutput(n, i, n.Inputs[0].DType, shape); err != nil {
			return err
		}
	}
	return nil
}

// gather is a role of x as a tensor [batch heads positions length].
func (h *heads) gather(b *Builder, x *graph.Value, r headRole) *graph.Value {
	if b.Err != nil {
		return nil
	}
	index := onnx.FromSlice(h.index(r), h.Batch, h.Heads, r.positions, r.length)
	return b.Op("Gather", b.Reshape(x, x.Shape.Size()), b.Const(index))
}

// scores is Scale q k'.
func (h *heads) scores(b *Builder, q, k *graph.Value) *graph.Value {
	return b.Op("MatMul", b.Mul(q, b.Scalar(h.Scale, q)), b.flip(k))
}

func bodyHeads(b *Builder, n *graph.Node) (values, error) {
	h, err := readHeads(n)
	if err != nil {
		return nil, err
	}
	rq, rk, rv, ry := h.roles()
	q, k, v := h.gather(b, n.Inputs[0], rq), h.gather(b, n.Inputs[1], rk), h.gather(b, n.Inputs[2], rv)
	p := b.OpA("Softmax", []*onnx.Attr{onnx.AttrInt("axis", -1)}, h.scores(b, q, k))
	y := b.Op("MatMul", p, v)
	place := make([]int64, h.shape.Size()) // where each element of y comes from
	for from, to := range h.index(ry) {
		place[to] = int64(from)
	}
	y = b.Op("Gather", b.Reshape(y, h.shape.Size()), b.Const(onnx.FromSlice(place, h.shape...)))
	return values{y, p}, b.Err
}

// bodyHeadsGrad: dv = p' dy, ds = p (g - sum p g) with g = dy v' + dp,
// dq = Scale ds k, dk = Scale ds' q, each put back to where its role lies.
func bodyHeadsGrad(b *Builder, n *graph.Node) (values, error) {
	h, err := readHeads(n)
	if err != nil {
		return nil, err
	}
	rq, rk, rv, ry := h.roles()
	dy, p := h.gather(b, n.Inputs[0], ry), n.Inputs[4]
	q, k, v := h.gather(b, n.Inputs[1], rq), h.gather(b, n.Inputs[2], rk), h.gather(b, n.Inputs[3], rv)
	g := b.Op("MatMul", dy, b.flip(v))
	if dp := n.Input(5); dp != nil {
		g = b.Add(g, dp)
	}
	ds := b.Mul(p, b.Sub(g, b.ReduceSum(b.Mul(p, g), true, 3)))
	ds = b.Mul(ds, b.Scalar(h.Scale, ds))
	parts := values{b.Op("MatMul", ds, k), b.Op("MatMul", b.flip(ds), q), b.Op("MatMul", b.flip(p), dy)}
	if b.Err != nil {
		return nil, b.Err
	}
	out := values{nil, nil, nil}
	for i, r := range []headRole{rq, rk, rv} {
		first, x := h.first(n, 1, i), n.Inputs[1+i]
		if out[first] == nil {
			out[first] = b.Reshape(b.Zeros(x), x.Shape.Size())
		}
		index := h.index(r)
		out[first] = b.OpA("ScatterElements", []*onnx.Attr{onnx.AttrInt("axis", 0)}, out[first],
			b.Const(onnx.FromSlice(index, len(index))), b.Reshape(parts[i], len(index)))
	}
	for i := range out {
		if out[i] == nil {
			out[i] = b.Const(onnx.NewTensor(n.Inputs[0].DType, 0))
		} else {
			out[i] = b.Reshape(out[i], n.Inputs[1+i].Shape...)
		}
	}
	return out, b.Err
}

func forwardHeads[T kernel.Float](c *Call) (func() error, error) {
	h, err := readHeads(c.Node)
	if err != nil {
		return nil, err
	}
	a := kernel.NewAttention[T](h.AttentionSpec)
	y, p := orScratch[T](c.Out, 0, h.shape.Size()), slot[T](c.Out, 1)
	q, k, v := onnx.Of[T](c.In[0]), onnx.Of[T](c.In[1]), onnx.Of[T](c.In[2])
	return func() error {
		a.Forward(c.Team, y, p, q, k, v)
		return nil
	}, nil
}

func forwardHeadsGrad[T kernel.Float](c *Call) (func() error, error) {
	h, err := readHeads(c.Node)
	if err != nil {
		return nil, err
	}
	whole, err := h.checkAll(c.Node, 1)
	if err != nil {
		return nil, err
	}
	var to [3][]T
	var clears [][]T
	for i := range to {
		first := h.first(c.Node, 1, i)
		if first != i {
			to[i] = to[first]
			continue
		}
		to[i] = orScratch[T](c.Out, i, c.Node.Inputs[1+i].Shape.Size())
		if !whole[i] {
			clears = append(clears, to[i])
		}
	}
	a := kernel.NewAttention[T](h.AttentionSpec)
	dy, dp, p := onnx.Of[T](c.In[0]), slot[T](c.In, 5), onnx.Of[T](c.In[4])
	q, k, v := onnx.Of[T](c.In[1]), onnx.Of[T](c.In[2]), onnx.Of[T](c.In[3])
	return func() error {
		for _, x := range clears {
			clear(x)
		}
		a.Backward(c.Team, to[0], to[1], to[2], dy, dp, q, k, v, p)
		return nil
	}, nil
}
