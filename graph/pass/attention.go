package pass

import (
	"cmp"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
)

// contractAttention replaces scaled dot product attention by the operator
// HeadAttention: Softmax between two MatMul, with whatever scales, splits and
// transposes exporters put around them. Attention with a mask stays as it is.
func contractAttention(g *graph.Graph) error {
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain == "" && n.Op == "Attention" && onlyQKV(n) {
			if err := spell(g, n); err != nil {
				return err
			}
		}
	}
	found := false
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" || n.Op != "MatMul" {
			continue
		}
		if h := readAttention(g, n); h != nil {
			found = h.replace(g) || found
		}
	}
	g.Prune()
	if !found {
		return nil
	}
	return g.Sort()
}

// onlyQKV reports whether an Attention node is softmax(q k') v and no more.
func onlyQKV(n *graph.Node) bool {
	return n.Input(3) == nil && n.Input(4) == nil && n.Input(6) == nil && n.Int("is_causal", 0) == 0 && n.Float("softcap", 0) == 0
}

// spell replaces n by its body.
func spell(g *graph.Graph, n *graph.Node) error {
	outs, err := ops.Inline(ops.NewBuilder(g), n)
	if err != nil {
		return err
	}
	for i, out := range n.Outputs {
		if out == nil || len(out.Uses()) == 0 && !slices.Contains(g.Outputs, out) {
			continue
		}
		if slices.Contains(g.Outputs, out) {
			return nil // its name is the program's; the executor takes it apart
		}
		g.ReplaceUses(out, outs[i])
	}
	if err := g.RemoveNode(n); err != nil {
		return err
	}
	return g.Sort()
}

// scaledDots is an attention found in a graph.
type scaledDots struct {
	spec    kernel.AttentionSpec
	q, k, v *graph.Value
	last    *graph.Value // the result, after what only moves it
	shape   []int
}

// readAttention recognises the attention that ends with n, softmax(s q k') v.
func readAttention(g *graph.Graph, n *graph.Node) *scaledDots {
	soft := n.Inputs[0].Producer()
	if !only(g, n.Inputs[0]) || soft == nil || soft.Domain != "" || soft.Op != "Softmax" {
		return nil
	}
	rank := len(n.Inputs[0].Shape)
	if rank != 3 && rank != 4 || axisOf(soft.Int("axis", -1), rank) != rank-1 {
		return nil
	}
	scores, scale := soft.Inputs[0], 1.0
	if m := scores.Producer(); m != nil && m.Domain == "" {
		if f, x, ok := scaled(m); ok && only(g, scores) {
			scores, scale = x, f
		}
	}
	dots := scores.Producer()
	if !only(g, scores) || dots == nil || dots.Domain != "" || dots.Op != "MatMul" {
		return nil
	}
	q, k, v := dots.Inputs[0], dots.Inputs[1], n.Inputs[1]
	lead := q.Shape[:max(len(q.Shape)-2, 0)]
	for _, x := range []*graph.Value{k, v} {
		if len(x.Shape) != rank || !slices.Equal(x.Shape[:rank-2], lead) {
			return nil // broadcast heads
		}
	}
	return layOut(g, n, q, k, v, scale)
}

// only reports whether v is read once, and not a result.
func only(g *graph.Graph, v *graph.Value) bool {
	return len(v.Uses()) == 1 && !slices.Contains(g.Outputs, v)
}

// layOut works out where the heads lie.
func layOut(g *graph.Graph, n *graph.Node, q, k, v *graph.Value, scale float64) *scaledDots {
	rank := len(q.Shape)
	keysLast := []int{0, 2, 1}
	if rank == 4 {
		keysLast = []int{0, 1, 3, 2}
	}
	sq, sk, sv := stridedOf(q), stridedOf(k).transpose(keysLast), stridedOf(v)
	h := &scaledDots{}
	s := &h.spec
	s.Batch, s.Heads = 1, q.Shape[0]
	if rank == 4 {
		s.Batch, s.Heads = q.Shape[0], q.Shape[1]
	} else if lead := sq.axes[0]; len(lead) == 2 {
		s.Batch, s.Heads = lead[0].size, lead[1].size
	}
	s.Queries, s.Dim, s.Keys, s.Width = q.Shape[rank-2], q.Shape[rank-1], k.Shape[rank-1], v.Shape[rank-1]
	s.Scale = scale * sq.scale * sk.scale
	var okQ, okK, okV bool
	h.q, s.Q, okQ = headsOf(s, sq, s.Queries, s.Dim)
	h.k, s.K, okK = headsOf(s, sk, s.Keys, s.Dim)
	h.v, s.V, okV = headsOf(s, sv, s.Keys, s.Width)
	if !okQ || !okK || !okV || sv.scale != 1 {
		return nil
	}
	h.follow(g, n.Outputs[0])
	return h
}

// headsOf expresses a view as the layout of heads.
func headsOf(s *kernel.AttentionSpec, x strided, positions, length int) (*graph.Value, kernel.HeadLayout, bool) {
	x, ok := x.reshape([]int{s.Batch, s.Heads, positions, length})
	if !ok {
		return nil, kernel.HeadLayout{}, false
	}
	var step [4]int
	for i, axis := range x.axes {
		f, ok := joined(axis)
		if !ok {
			return nil, kernel.HeadLayout{}, false
		}
		step[i] = f.step
	}
	if positions == 1 {
		step[2] = length
	}
	return x.base, kernel.HeadLayout{Offset: x.offset, Batch: step[0], Head: step[1], Position: step[2]}, step[3] == 1 || length == 1
}

// follow looks for the last value behind y, of [batch heads positions width],
// to which its elements are only moved, and works out where they go.
func (h *scaledDots) follow(g *graph.Graph, y *graph.Value) {
	s := &h.spec
	shape := []int{s.Batch, s.Heads, s.Queries, s.Width}
	whole := denseOf(&graph.Value{Shape: shape})
	at := whole
	for v := y; ; {
		if l, ok := inverse(at, shape); ok {
			h.last, h.shape, s.Y = v, v.Shape, l
		}
		if !only(g, v) {
			return
		}
		n, ok := v.Uses()[0].Node, false
		if n.Domain != "" || v.Uses()[0].Slot != 0 {
			return
		}
		switch n.Op {
		case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
			at, ok = at.reshape(n.Outputs[0].Shape)
		case "Transpose":
			at, ok = at.transpose(n.Ints("perm")), true
		}
		if !ok {
			return
		}
		v = n.Outputs[0]
	}
}

// inverse says where in a new tensor the vectors of [batch heads positions
// width], a dense tensor of the given shape, lie, when the new one is the view
// at of it.
func inverse(at strided, shape []int) (kernel.HeadLayout, bool) {
	type piece struct{ size, from, to int } // distances in the old tensor and the new
	var pieces [4][]piece
	to := 1
	for _, axis := range slices.Backward(at.axes) {
		for _, f := range slices.Backward(axis) {
			if f.size == 1 {
				continue
			}
			i, step := 3, 1 // the axis of shape that f moves along: views only split axes
			for i > 0 && f.step >= step*shape[i] {
				step *= shape[i]
				i--
			}
			pieces[i] = append(pieces[i], piece{f.size, f.step, to})
			to *= f.size
		}
	}
	var step [4]int
	for i, list := range pieces {
		slices.SortFunc(list, func(a, b piece) int { return cmp.Compare(a.from, b.from) })
		for j, p := range list {
			if j == 0 {
				step[i] = p.to
			} else if p.to != list[j-1].to*list[j-1].size {
				return kernel.HeadLayout{}, false
			}
		}
	}
	if shape[2] == 1 {
		step[2] = shape[3]
	}
	return kernel.HeadLayout{Batch: step[0], Head: step[1], Position: step[2]}, step[3] == 1 || shape[3] == 1
}

// replace puts the operator in. It reports false where the operator cannot do
// it: where queries, keys and values overlap.
func (h *scaledDots) replace(g *graph.Graph) bool {
	if h.last == nil {
		return false
	}
	b := ops.NewBuilder(g)
	out := b.Own("HeadAttention", 2, []*graph.Value{h.q, h.k, h.v}, ops.HeadAttributes(h.spec, h.shape)...)
	if b.Err != nil {
		return false // Prune removes the node: nobody reads it
	}
	name, isOutput := h.last.Name, slices.Contains(g.Outputs, h.last)
	g.ReplaceUses(h.last, out[0])
	if isOutput {
		if err := g.Rename(h.last, g.Unique(name)); err != nil {
			return false
		}
		return g.Rename(out[0], name) == nil
	}
	return true
}
