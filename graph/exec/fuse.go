package exec

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// fuse joins nodes that one kernel computes in fewer passes over memory.
func fuse(g *graph.Graph, state constants, own owned) error {
	b := ops.NewBuilder(g)
	for _, n := range slices.Clone(g.Nodes) {
		var err error
		switch (name{n.Domain, n.Op}) {
		case name{"", "Gelu"}:
			err = joinSlope(g, n)
		case name{"", "Add"}:
			if err = joinBias(b, n); err == nil {
				err = joinExpanded(b, n)
			}
			spareExpand(b.G, n)
		case name{"", "Mul"}:
			spareExpand(b.G, n)
		case name{"", "ReduceMean"}:
			err = dropReduction(b, n)
		case name{"", "BatchNormalization"}:
			err = foldNorm(b, n, state, own)
		case name{ops.Domain, "BatchNormalizationInferenceGrad"}:
			err = moveFactors(b, n)
		case name{"", "ReduceSum"}:
			err = sumPooled(b, n)
		case name{"", "MaxPool"}:
			err = joinPool(b, n)
		case name{"", "Transpose"}:
			err = turnProduct(b, n)
		case name{ops.Domain, "SGD"}:
			err = joinStep(b, n)
		}
		if err != nil {
			return err
		}
	}
	for _, n := range slices.Clone(g.Nodes) { // once all else is as it will be
		var err error
		switch (name{n.Domain, n.Op}) {
		case name{"", "Gemm"}:
			turnFactors(g, n)
		case name{ops.Domain, "MaxPoolGrad"}:
			err = keepPooled(b, n)
		case name{ops.Domain, "MaxPoolPick"}:
			err = pickOnly(b, n)
		}
		if err != nil {
			return err
		}
	}
	g.Prune()
	return g.Sort()
}

// name is an operator's.
type name struct{ domain, op string }

// joinSlope takes the result of a Gelu from the node that computes its slope
// for the gradient.
func joinSlope(g *graph.Graph, n *graph.Node) error {
	if n.Str("approximate", "none") != "none" {
		return nil
	}
	for _, use := range n.Inputs[0].Uses() {
		if m := use.Node; m.Domain == ops.Domain && m.Op == "GeluSlope" {
			return replace(g, n.Outputs[0], m.Outputs[0])
		}
	}
	return nil
}

// joinBias makes a Gemm of a MatMul with one matrix for the whole batch and the
// bias that is added to each of its rows.
func joinBias(b *ops.Builder, n *graph.Node) error {
	for i, y := range n.Inputs {
		m, bias := y.Producer(), n.Inputs[1-i]
		if m == nil || m.Domain != "" || m.Op != "MatMul" || len(y.Uses()) != 1 || slices.Contains(b.G.Outputs, y) {
			continue
		}
		x, w := m.Inputs[0], m.Inputs[1]
		if len(w.Shape) != 2 || len(x.Shape) < 2 || len(bias.Shape) != 1 || bias.Shape[0] != w.Shape[1] {
			continue
		}
		k := w.Shape[0]
		sum := b.Op("Gemm", b.Reshape(x, x.Shape.Size()/max(k, 1), k), w, bias)
		sum = b.Reshape(sum, n.Outputs[0].Shape...)
		if b.Err != nil {
			return b.Err
		}
		return replace(b.G, n.Outputs[0], sum)
	}
	return nil
}

// turnFactors lets a Gemm read matrices as they lie that are transposed for it.
func turnFactors(g *graph.Graph, n *graph.Node) {
	for i, trans := range []string{"transA", "transB"} {
		if m := n.Inputs[i].Producer(); m != nil && turns(m) {
			g.SetInput(n, i, m.Inputs[0])
			n.SetAttr(onnx.AttrInt(trans, int64(1-n.Int(trans, 0))))
		}
	}
}

// turnProduct computes a Gemm of which only the transposed result is read as the
// product of the transposed factors.
func turnProduct(b *ops.Builder, n *graph.Node) error {
	y := n.Inputs[0]
	m := y.Producer()
	if m == nil || m.Domain != "" || m.Op != "Gemm" || m.Input(2) != nil || !turns(n) || len(y.Uses()) != 1 || slices.Contains(b.G.Outputs, y) {
		return nil
	}
	attrs := []*onnx.Attr{onnx.AttrInt("transA", int64(1-m.Int("transB", 0))), onnx.AttrInt("transB", int64(1-m.Int("transA", 0)))}
	if alpha := m.Attr("alpha"); alpha != nil {
		attrs = append(attrs, alpha)
	}
	turned := b.OpA("Gemm", attrs, m.Inputs[1], m.Inputs[0])
	if b.Err != nil {
		return b.Err
	}
	return replace(b.G, n.Outputs[0], turned)
}

// turns tells whether n transposes a matrix.
func turns(n *graph.Node) bool {
	return n.Domain == "" && n.Op == "Transpose" && len(n.Inputs[0].Shape) == 2 && !slices.Equal(n.Ints("perm"), []int{0, 1})
}

// joinExpanded gives a Conv or Gemm without bias the one that is expanded, [1 C 1 ...],
// and added to its result, as double backward passes do.
func joinExpanded(b *ops.Builder, n *graph.Node) error {
	if b.G.Value(n.Outputs[0].Name) != n.Outputs[0] {
		return nil // joined before
	}
	for i, y := range n.Inputs {
		m, e := y.Producer(), n.Inputs[1-i].Producer()
		if m == nil || e == nil || e.Domain != "" || e.Op != "Expand" || len(y.Uses()) != 1 || slices.Contains(b.G.Outputs, y) ||
			m.Domain != "" || m.Op != "Conv" && m.Op != "Gemm" || m.Input(2) != nil || !slices.Equal(y.Shape, n.Outputs[0].Shape) {
			continue
		}
		bias := e.Inputs[0]
		if channels := y.Shape[1]; len(bias.Shape) != len(y.Shape) || bias.Shape[1] != channels || bias.Shape.Size() != channels {
			continue
		}
		if m.Op == "Conv" {
			bias = b.Reshape(bias, y.Shape[1])
		}
		sum := b.OpA(m.Op, m.Attrs, m.Inputs[0], m.Inputs[1], bias)
		if b.Err != nil {
			return b.Err
		}
		return replace(b.G, n.Outputs[0], sum)
	}
	return nil
}

// spareExpand lets a sum or product repeat what was expanded for it.
func spareExpand(g *graph.Graph, n *graph.Node) {
	for i, v := range n.Inputs {
		if v == nil || v.Producer() == nil {
			continue
		}
		e, other := v.Producer(), n.Inputs[1-i]
		if e.Domain == "" && e.Op == "Expand" && slices.Equal(other.Shape, n.Outputs[0].Shape) {
			g.SetInput(n, i, e.Inputs[0])
		}
	}
}

// dropReduction leaves out a mean of single elements.
func dropReduction(b *ops.Builder, n *graph.Node) error {
	x, y := n.Inputs[0], n.Outputs[0]
	if x.Shape.Size() != y.Shape.Size() || slices.Contains(b.G.Outputs, y) {
		return nil
	}
	z := b.Reshape(x, y.Shape...)
	if b.Err != nil {
		return b.Err
	}
	return replace(b.G, y, z)
}

// moveFactors spares a gradient by a batch normalisation's input that only
// convolutions' gradients and their squares read. Its factors go to their weights or
// results, where those have much fewer elements.
func moveFactors(b *ops.Builder, n *graph.Node) error {
	dy, y := n.Inputs[0], n.Outputs[0]
	for i, v := range n.Outputs {
		if v != nil && (slices.Contains(b.G.Outputs, v) || i > 0 && len(v.Uses()) > 0) {
			return nil
		}
	}
	const fewer = 4
	moved := 0
	for _, use := range y.Uses() {
		switch m := use.Node; (name{m.Domain, m.Op}) {
		case name{ops.Domain, "ConvGradInput"}:
			if use.Slot != 0 {
				return nil
			}
			moved += m.Inputs[1].Shape.Size()
		case name{ops.Domain, "ConvSampleSquares"}:
			if use.Slot != 1 {
				return nil
			}
			moved += m.Outputs[0].Shape.Size()
		default:
			return nil
		}
	}
	if moved == 0 || fewer*moved > dy.Shape.Size() {
		return nil
	}
	factors := b.NormGradFactors(n)
	times := func(v, factors *graph.Value) *graph.Value {
		ones := slices.Repeat([]int{1}, len(v.Shape)-1)
		return b.Mul(v, b.Reshape(factors, append([]int{v.Shape[0]}, ones...)...))
	}
	for _, use := range slices.Clone(y.Uses()) {
		m := use.Node
		var v *graph.Value
		if m.Op == "ConvGradInput" {
			v = b.Own(m.Op, 1, []*graph.Value{dy, times(m.Inputs[1], factors)}, m.Attrs...)[0]
		} else {
			v = times(b.Own(m.Op, 1, []*graph.Value{m.Inputs[0], dy}, m.Attrs...)[0], b.Mul(factors, factors))
		}
		if b.Err != nil {
			return b.Err
		}
		if err := b.G.Supplant(m.Outputs[0], v); err != nil {
			return err
		}
	}
	return nil
}

// sumPooled sums the pooled gradient instead of what MaxPoolGrad spreads it to: a
// bias needs the sums over whole planes, which are the same.
func sumPooled(b *ops.Builder, n *graph.Node) error {
	m := n.Inputs[0].Producer()
	if m == nil || m.Domain != ops.Domain || m.Op != "MaxPoolGrad" || !ops.SumsPlanes(n) {
		return nil
	}
	y := b.OpA("ReduceSum", n.Attrs, append([]*graph.Value{m.Inputs[0]}, n.Inputs[1:]...)...)
	if b.Err != nil {
		return b.Err
	}
	return replace(b.G, n.Outputs[0], y)
}

// joinPool pools the result of a convolution where it is computed.
func joinPool(b *ops.Builder, n *graph.Node) error {
	y := b.ConvMaxPool(n)
	for i, v := range y {
		if n.Outputs[i] == nil {
			continue
		}
		if err := b.G.Supplant(n.Outputs[i], v); err != nil {
			return err
		}
	}
	return b.Err
}

// keepPooled computes the gradients of a convolution from what MaxPoolGrad would
// spread, where all that read it can.
func keepPooled(b *ops.Builder, m *graph.Node) error {
	y := m.Outputs[0]
	if slices.Contains(b.G.Outputs, y) {
		return nil
	}
	var from, to []*graph.Value
	for _, use := range y.Uses() {
		out := b.PooledConvGrad(use.Node, m)
		if b.Err != nil || out == nil {
			return b.Err
		}
		from, to = append(from, use.Node.Outputs...), append(to, out...)
	}
	for i, v := range from {
		if v == nil {
			continue
		}
		if err := b.G.Supplant(v, to[i]); err != nil {
			return err
		}
	}
	return nil
}

// pickOnly computes a convolution only where a MaxPoolPick looks.
func pickOnly(b *ops.Builder, n *graph.Node) error {
	old, y := b.ConvAt(n)
	if y == nil {
		return b.Err
	}
	return b.G.Supplant(old, y)
}

// joinStep takes the step of a weight matrix together with the product that is
// its gradient, where the product is so flat that moving the gradient through
// memory costs as much.
func joinStep(b *ops.Builder, n *graph.Node) error {
	w, grad := n.Inputs[1], n.Inputs[2]
	m := grad.Producer()
	if m == nil || m.Domain != "" || m.Op != "Gemm" || m.Input(2) != nil || len(grad.Uses()) != 1 || slices.Contains(b.G.Outputs, grad) {
		return nil
	}
	x, y := m.Inputs[0], m.Inputs[1]
	depth := x.Shape[1]
	if m.Int("transA", 0) != 0 {
		depth = x.Shape[0]
	}
	if depth == 0 || depth > kernel.MaxStepDepth || m.Float("alpha", 1) == 0 || shows(x) == shows(w) || shows(y) == shows(w) {
		return nil
	}
	in := []*graph.Value{n.Inputs[0], w, x, y, n.Input(3), n.Input(4)}
	for in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	out := b.Own("GemmSGD", len(n.Outputs), in, slices.Concat(n.Attrs, m.Attrs)...)
	if b.Err != nil {
		return b.Err
	}
	var names []string
	for i, old := range n.Outputs {
		names = append(names, old.Name)
		b.G.ReplaceUses(old, out[i])
	}
	if err := b.G.RemoveNode(n); err != nil {
		return err
	}
	for i, name := range names {
		if err := b.G.Rename(out[i], name); err != nil {
			return err
		}
	}
	return nil
}

// shows is the value whose memory v shows.
func shows(v *graph.Value) *graph.Value {
	for n := v.Producer(); n != nil; n = v.Producer() {
		op, err := ops.Lookup(n)
		if err != nil || !op.View {
			break
		}
		v = n.Inputs[0]
	}
	return v
}

// replace lets v take the place of old, which nobody computes any more. The
// program's outputs go by name.
func replace(g *graph.Graph, old, v *graph.Value) error {
	name, isOutput := old.Name, slices.Contains(g.Outputs, old)
	g.ReplaceUses(old, v)
	if err := g.RemoveNode(old.Producer()); err != nil {
		return err
	}
	if isOutput {
		return g.Rename(v, name)
	}
	return nil
}
