package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Scaled dot product attention and rotary position embeddings. Both are
// defined by their bodies: what they cost lies in MatMul and Softmax, which
// have kernels.
func init() {
	register(
		Op{Name: "Attention", Since: []int{23, 24, 25}, Infer: inferAttention, Body: attentionBody},
		Op{Name: "RotaryEmbedding", Since: []int{23}, Infer: inferRotary, Body: rotaryBody},
	)
}

// An attention is the sizes of an Attention node: queries [batch heads queries
// dim], keys [batch kvHeads past+fresh dim], values of width. Inputs of rank 3
// hold the heads side by side, [batch length heads*dim].
type attention struct {
	flat                 bool // inputs of rank 3
	batch                int
	heads, kvHeads       int
	queries, past, fresh int
	dim, width           int
	left, right          int // how far a query sees; -1: to the end
}

func (a *attention) keys() int { return a.past + a.fresh }

// offset is the position of the first query among the keys.
func (a *attention) offset() int { return a.past }

func readAttention(n *graph.Node) (*attention, error) {
	q, k, v := n.Inputs[0].Shape, n.Inputs[1].Shape, n.Inputs[2].Shape
	if len(q) != 3 && len(q) != 4 || len(k) != len(q) || len(v) != len(q) {
		return nil, fmt.Errorf("inputs Q, K and V have shapes %v, %v and %v, want three or four axes", []int(q), []int(k), []int(v))
	}
	a := &attention{flat: len(q) == 3, batch: q[0], left: n.Int("left_window_size", -1), right: n.Int("right_window_size", -1)}
	if a.flat {
		a.heads, a.kvHeads = n.Int("q_num_heads", 0), n.Int("kv_num_heads", 0)
		if a.heads < 1 || a.kvHeads < 1 || q[2]%a.heads != 0 || k[2]%a.kvHeads != 0 || v[2]%a.kvHeads != 0 {
			return nil, fmt.Errorf("widths %d, %d and %d do not divide into q_num_heads %d and kv_num_heads %d", q[2], k[2], v[2], a.heads, a.kvHeads)
		}
		q = graph.Shape{q[0], a.heads, q[1], q[2] / a.heads}
		k = graph.Shape{k[0], a.kvHeads, k[1], k[2] / a.kvHeads}
		v = graph.Shape{v[0], a.kvHeads, v[1], v[2] / a.kvHeads}
	}
	a.heads, a.kvHeads, a.queries, a.fresh, a.dim, a.width = q[1], k[1], q[2], k[2], q[3], v[3]
	if a.kvHeads == 0 || a.dim == 0 || a.heads%a.kvHeads != 0 || !slices.Equal(k, graph.Shape{a.batch, a.kvHeads, a.fresh, a.dim}) ||
		!slices.Equal(v, graph.Shape{a.batch, a.kvHeads, a.fresh, a.width}) {
		return nil, fmt.Errorf("inputs Q %v, K %v and V %v do not fit each other", []int(q), []int(k), []int(v))
	}
	if past := n.Input(4); past != nil && len(past.Shape) == 4 {
		a.past = past.Shape[2]
	}
	return a, nil
}

func inferAttention(n *graph.Node) error {
	if err := arity(n, 3, 7, 4); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	for _, i := range []int{1, 2, 4, 5} {
		if err := sameType(n, 0, i); err != nil {
			return err
		}
	}
	a, err := readAttention(n)
	if err != nil {
		return err
	}
	if (n.Input(4) == nil) != (n.Input(5) == nil) {
		return fmt.Errorf("past_key and past_value must be given together")
	}
	if err := wantShape(n, 4, a.batch, a.kvHeads, a.past, a.dim); err != nil {
		return err
	}
	if err := wantShape(n, 5, a.batch, a.kvHeads, a.past, a.width); err != nil {
		return err
	}
	if err := a.checkMask(n); err != nil {
		return err
	}
	if err := wantShape(n, 6, a.batch); err != nil {
		return err
	}
	if err := wantType(n, 6, onnx.Int64); err != nil {
		return err
	}
	dt := n.Inputs[0].DType
	y := graph.Shape{a.batch, a.heads, a.queries, a.width}
	if a.flat {
		y = graph.Shape{a.batch, a.queries, a.heads * a.width}
	}
	for i, shape := range []graph.Shape{
		y, {a.batch, a.kvHeads, a.keys(), a.dim}, {a.batch, a.kvHeads, a.keys(), a.width}, {a.batch, a.heads, a.queries, a.keys()},
	} {
		if err := setOutput(n, i, dt, shape); err != nil {
			return err
		}
	}
	return nil
}

// checkMask: the mask broadcasts to [batch heads queries keys]; its last axis
// may be shorter, what is missing is masked.
func (a *attention) checkMask(n *graph.Node) error {
	mask := n.Input(3)
	if mask == nil {
		return nil
	}
	if err := wantType(n, 3, n.Inputs[0].DType, onnx.Bool); err != nil {
		return err
	}
	full := graph.Shape{a.batch, a.heads, a.queries, a.keys()}
	if rank := len(mask.Shape); rank < 1 || rank > 4 || mask.Shape[rank-1] > a.keys() {
		return fmt.Errorf("the mask has shape %v, want one that broadcasts to %v", []int(mask.Shape), []int(full))
	}
	lead := mask.Shape[:len(mask.Shape)-1]
	if s, err := broadcast(full[:3], lead); err != nil || !slices.Equal(s, full[:3]) {
		return fmt.Errorf("the mask has shape %v, want one that broadcasts to %v", []int(mask.Shape), []int(full))
	}
	return nil
}

// attentionBody: softmax(s Q K^T + bias) V, s split evenly over Q and K.
func attentionBody(b *Builder, n *graph.Node) (values, error) {
	a, err := readAttention(n)
	if err != nil {
		return nil, err
	}
	q := a.split(b, n.Inputs[0], a.heads, a.dim)
	k := a.split(b, n.Inputs[1], a.kvHeads, a.dim)
	v := a.split(b, n.Inputs[2], a.kvHeads, a.width)
	if a.past > 0 {
		k, v = b.Concat(2, n.Inputs[4], k), b.Concat(2, n.Inputs[5], v)
	}
	out := make(values, 4)
	out[1], out[2] = k, v

	root := b.Scalar(math.Sqrt(n.Float("scale", 1/math.Sqrt(float64(a.dim)))), q)
	k, v = a.repeat(b, k, a.dim), a.repeat(b, v, a.width)
	scores := b.Op("MatMul", b.Mul(q, root), b.Transpose(b.Mul(k, root), 0, 1, 3, 2))
	mode := n.Int("qk_matmul_output_mode", 0)
	out[3] = scores
	if cap := n.Float("softcap", 0); cap > 0 {
		scores = b.Mul(b.Op("Tanh", b.Div(scores, b.Scalar(cap, q))), b.Scalar(cap, q))
		if mode == 1 {
			out[3] = scores
		}
	}
	bias := a.bias(b, n, q)
	var dead *graph.Value // rows that see no key
	if bias != nil {
		scores = b.Add(scores, bias)
		if n.Input(3) != nil || n.Input(6) != nil || a.left >= 0 || a.right >= 0 {
			dead = b.Op("Equal", b.reduce("ReduceMax", bias, len(bias.Shape)-1), b.Scalar(math.Inf(-1), q))
		}
	}
	if mode == 2 {
		out[3] = scores
	}
	if dead != nil { // keep infinities out of the softmax: its gradient must stay finite
		scores = b.Op("Where", dead, b.Scalar(0, q), scores)
	}
	p := b.OpA("Softmax", []*onnx.Attr{onnx.AttrInt("axis", -1)}, scores)
	if dead != nil {
		p = b.Op("Where", dead, b.Scalar(0, q), p)
	}
	if mode == 3 {
		out[3] = p
	}
	out[0] = b.Op("MatMul", p, v)
	if a.flat {
		out[0] = b.Reshape(b.Transpose(out[0], 0, 2, 1, 3), a.batch, a.queries, a.heads*a.width)
	}
	return out, nil
}

// split gives x the axes [batch heads length dim].
func (a *attention) split(b *Builder, x *graph.Value, heads, dim int) *graph.Value {
	if !a.flat {
		return x
	}
	return b.Transpose(b.Reshape(x, a.batch, x.Shape[1], heads, dim), 0, 2, 1, 3)
}

// repeat gives every query head its key or value head.
func (a *attention) repeat(b *Builder, x *graph.Value, dim int) *graph.Value {
	if a.heads == a.kvHeads {
		return x
	}
	times := a.heads / a.kvHeads
	x = b.Reshape(x, a.batch, a.kvHeads, 1, a.keys(), dim)
	x = b.Expand(x, graph.Shape{a.batch, a.kvHeads, times, a.keys(), dim})
	return b.Reshape(x, a.batch, a.heads, a.keys(), dim)
}

// bias is what is added to the scores: 0 where a query sees a key, minus
// infinity where it does not, or the numbers of the mask; nil for nothing.
func (a *attention) bias(b *Builder, n *graph.Node, like *graph.Value) *graph.Value {
	zero, never := b.Scalar(0, like), b.Scalar(math.Inf(-1), like)
	var bias *graph.Value
	if mask := n.Input(3); mask != nil {
		if mask.DType == onnx.Bool {
			mask = b.Op("Where", mask, zero, never)
		}
		if b.Err == nil && len(mask.Shape) == 1 {
			mask = b.Reshape(mask, 1, mask.Shape[0])
		}
		if b.Err == nil {
			if last := len(mask.Shape) - 1; mask.Shape[last] < a.keys() {
				rest := slices.Clone([]int(mask.Shape))
				rest[last] = a.keys() - rest[last]
				mask = b.Concat(last, mask, b.Fill(math.Inf(-1), like, rest...))
			}
		}
		bias = mask
	}
	if n.Int("is_causal", 0) != 0 || a.left >= 0 || a.right >= 0 {
		bias = b.sum(bias, a.window(b, n, zero, never))
	}
	if lengths := n.Input(6); lengths != nil {
		keys := b.Ints(sequence(0, a.keys())...)
		seen := b.Op("Less", keys, b.Reshape(lengths, a.batch, 1, 1, 1))
		bias = b.sum(bias, b.Op("Where", seen, zero, never))
	}
	return bias
}

// window masks the keys that a query does not see by their distance.
func (a *attention) window(b *Builder, n *graph.Node, zero, never *graph.Value) *graph.Value {
	right := a.right
	if n.Int("is_causal", 0) != 0 {
		right = 0
	}
	distance := make([]int64, a.queries*a.keys()) // key minus query
	for i := range distance {
		distance[i] = int64(i%a.keys() - i/a.keys() - a.offset())
	}
	far := b.Const(onnx.FromSlice(distance, a.queries, a.keys()))
	if lengths := n.Input(6); lengths != nil && a.past == 0 {
		// The queries are the last of the keys that count.
		first := b.Sub(b.Reshape(lengths, a.batch, 1, 1, 1), b.Int(a.queries))
		far = b.Sub(far, first)
	}
	var bias *graph.Value
	if right >= 0 {
		bias = b.Op("Where", b.Op("Less", far, b.Int(right+1)), zero, never)
	}
	if a.left >= 0 {
		bias = b.sum(bias, b.Op("Where", b.Op("Greater", far, b.Int(-a.left-1)), zero, never))
	}
	return bias
}

// RotaryEmbedding(x, cos, sin, positions) turns pairs of x's numbers, x of
// [batch heads length dim] or [batch length heads*dim], by angles that grow
// with the position.

// rotarySizes are the extents of a RotaryEmbedding: turned of the dim numbers
// of each head are.
func rotarySizes(n *graph.Node) (batch, heads, length, dim, turned int, err error) {
	s := n.Inputs[0].Shape
	switch heads = n.Int("num_heads", 0); {
	case len(s) == 4:
		batch, heads, length, dim = s[0], s[1], s[2], s[3]
	case len(s) == 3 && heads > 0 && s[2]%heads == 0:
		batch, length, dim = s[0], s[1], s[2]/heads
	default:
		return 0, 0, 0, 0, 0, fmt.Errorf("x has shape %v, num_heads is %d; want four axes, or three of which the last divides into the heads", []int(s), heads)
	}
	if turned = n.Int("rotary_embedding_dim", 0); turned == 0 {
		turned = dim
	}
	if turned < 0 || turned > dim || turned%2 != 0 {
		return 0, 0, 0, 0, 0, fmt.Errorf("rotary_embedding_dim is %d of %d numbers, want an even part of them", turned, dim)
	}
	return batch, heads, length, dim, turned, nil
}

func inferRotary(n *graph.Node) error {
	if err := arity(n, 3, 4, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := sameType(n, 0, 1, 2); err != nil {
		return err
	}
	batch, _, length, _, turned, err := rotarySizes(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 3, batch, length); err != nil {
		return err
	}
	if err := wantType(n, 3, indexes...); err != nil {
		return err
	}
	want := graph.Shape{batch, length, turned / 2}
	if n.Input(3) != nil {
		if c := n.Inputs[1].Shape; len(c) != 2 {
			return fmt.Errorf("the cache of cosines has shape %v, want [positions %d]", []int(c), turned/2)
		}
		want = graph.Shape{n.Inputs[1].Shape[0], turned / 2}
	}
	for i := 1; i <= 2; i++ {
		if err := wantShape(n, i, want...); err != nil {
			return err
		}
	}
	return setOutput(n, 0, n.Inputs[0].DType, n.Inputs[0].Shape)
}

// rotaryBody: (u, v) becomes (u cos - v sin, u sin + v cos) for the pairs, that
// are neighbours when interleaved and half of the numbers apart otherwise.
func rotaryBody(b *Builder, n *graph.Node) (values, error) {
	batch, heads, length, dim, turned, err := rotarySizes(n)
	if err != nil {
		return nil, err
	}
	x, half := n.Inputs[0], turned/2
	rank4 := len(x.Shape) == 4
	if !rank4 {
		x = b.Transpose(b.Reshape(x, batch, length, heads, dim), 0, 2, 1, 3)
	}
	angle := func(v *graph.Value) *graph.Value {
		if n.Input(3) != nil {
			v = b.Op("Gather", v, n.Input(3))
		}
		return b.Reshape(v, batch, 1, length, half)
	}
	cos, sin := angle(n.Inputs[1]), angle(n.Inputs[2])
	var rest *graph.Value
	if turned < dim {
		parts := b.Split(x, 3, turned, dim-turned)
		x, rest = parts[0], parts[1]
	}
	pairAxis, shape := 3, []int{batch, heads, length, 2, half}
	if n.Int("interleaved", 0) != 0 {
		pairAxis, shape = 4, []int{batch, heads, length, half, 2}
	}
	pairs := b.Split(b.Reshape(x, shape...), pairAxis, 1, 1)
	u, v := b.Reshape(pairs[0], batch, heads, length, half), b.Reshape(pairs[1], batch, heads, length, half)
	shape[pairAxis] = 1
	y := b.Concat(pairAxis,
		b.Reshape(b.Sub(b.Mul(u, cos), b.Mul(v, sin)), shape...),
		b.Reshape(b.Add(b.Mul(u, sin), b.Mul(v, cos)), shape...))
	y = b.Reshape(y, batch, heads, length, turned)
	if rest != nil {
		y = b.Concat(3, y, rest)
	}
	if !rank4 {
		y = b.Reshape(b.Transpose(y, 0, 2, 1, 3), batch, length, heads*dim)
	}
	return values{y}, nil
}
