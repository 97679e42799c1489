package exec

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// fuse joins nodes that one kernel computes in fewer passes over memory.
func fuse(g *graph.Graph, state constants) error {
	b := ops.NewBuilder(g)
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" {
			continue
		}
		var err error
		switch n.Op {
		case "Gelu":
			err = joinSlope(g, n)
		case "Add":
			err = joinBias(b, n)
		case "BatchNormalization":
			err = foldNorm(b, n, state)
		}
		if err != nil {
			return err
		}
	}
	g.Prune()
	return g.Sort()
}

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
