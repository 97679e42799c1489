package pass

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// dropouts recognises dropout and stochastic depth that an exporter wrote in
// its parts, Cast(RandomUniformLike(s) < keep) / keep, and makes each of them
// a Dropout of ones of s's extents: nothing in inference, fresh noise in
// training. It returns how many there were.
func dropouts(g *graph.Graph) int {
	count := 0
	for _, n := range slices.Clone(g.Nodes) {
		keep, of := dropoutParts(n)
		if of == nil || slices.Contains(g.Outputs, n.Output(0)) {
			continue
		}
		shape := g.AddNode("", "Shape", []*graph.Value{of}, 1)
		one := g.AddInit("one", onnx.FromSlice([]float32{1}))
		ones := g.AddNode("", "Expand", []*graph.Value{one, shape.Outputs[0]}, 1)
		drop := g.AddNode("", "Dropout", ones.Outputs, 1)
		if drop.Version < 12 {
			drop.SetAttr(onnx.AttrFloat("ratio", float32(1-keep)))
		} else {
			g.SetInput(drop, 1, g.AddInit("ratio", onnx.FromSlice([]float32{float32(1 - keep)})))
		}
		g.ReplaceUses(n.Output(0), drop.Outputs[0])
		count++
	}
	if count > 0 {
		g.Prune()
	}
	return count
}

// dropoutParts returns the share that is kept and the value whose extents the
// noise has, nil when n is not the division at the end of the parts.
func dropoutParts(n *graph.Node) (keep float64, of *graph.Value) {
	cast := made(n.Input(0), "Cast")
	if n.Op != "Div" || n.Domain != "" || cast == nil {
		return 0, nil
	}
	less := made(cast.Input(0), "Less")
	if less == nil {
		return 0, nil
	}
	random := made(less.Input(0), "RandomUniformLike")
	p, q := constOf(n.Input(1)), constOf(less.Input(1))
	if random == nil || p == nil || q == nil || p.Len() != 1 || q.Len() != 1 || scalar(p) != scalar(q) ||
		random.Float("low", 0) != 0 || random.Float("high", 1) != 1 {
		return 0, nil
	}
	if keep = scalar(p); keep <= 0 || keep > 1 {
		return 0, nil
	}
	return keep, random.Input(0)
}

// made is the node that makes v, if it is one of ONNX's own operators called
// op.
func made(v *graph.Value, op string) *graph.Node {
	if v == nil || v.Producer() == nil || v.Producer().Op != op || v.Producer().Domain != "" {
		return nil
	}
	return v.Producer()
}
