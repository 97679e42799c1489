package autodiff

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// Graphs that compute what pruners score weights by. Each takes a specialised
// inference graph and rewrites it in place; the parameters become inputs under
// their own names, and the number for each weight of parameter p is the output
// ScoreName(p), which is missing where it is identically zero.

// ScoreName is the output that holds what parameter p is scored by.
func ScoreName(p string) string { return p + "_score" }

// FlowCurvature makes a graph of the product of the Hessian of the
// cross-entropy of logits/TemperatureName with the inputs DirectionName, and of the
// gradient itself as GradName. Both are scaled by the input WeightName.
func FlowCurvature(g *graph.Graph, o CurvatureOptions) error {
	z, xs, err := begin(g, o.Logits, o.Params, o.State)
	if err != nil {
		return err
	}
	b := ops.NewBuilder(g)
	loss := crossEntropies(b, b.Div(z, g.AddInput(TemperatureName, z.DType)), "mean")
	loss = b.Mul(loss, g.AddInput(WeightName, z.DType))
	if b.Err != nil {
		return b.Err
	}
	grads, err := Gradient(g, loss, nil, xs)
	if err != nil {
		return err
	}
	var along []*graph.Value
	for _, x := range xs {
		along = append(along, g.AddInput(DirectionName(x.Name), x.DType, x.Shape...))
	}
	products, err := HVP(g, loss, xs, along)
	if err != nil {
		return err
	}
	g.Outputs = nil
	if err := handOut(b, xs, grads, GradName); err != nil {
		return err
	}
	if err := handOut(b, xs, products, ScoreName); err != nil {
		return err
	}
	g.Prune()
	return nil
}

// Flow makes a graph of the gradient of the sum of the outputs.
func Flow(g *graph.Graph, o CurvatureOptions) error {
	z, xs, err := begin(g, o.Logits, o.Params, o.State)
	if err != nil {
		return err
	}
	grads, err := Gradient(g, z, nil, xs)
	if err != nil {
		return err
	}
	g.Outputs = nil
	if err := handOut(ops.NewBuilder(g), xs, grads, ScoreName); err != nil {
		return err
	}
	g.Prune()
	return nil
}

// InputSquares makes a graph of the sum, over samples and positions, of the
// squares of the values that each weight multiplies. A node y = x*w that is
// linear in its weight has, for ones in place of dL/dy and x² in place of x,
// that sum as the gradient of w.
func InputSquares(g *graph.Graph, o CurvatureOptions, weights []string) error {
	if _, _, err := begin(g, o.Logits, o.Params, o.State); err != nil {
		return err
	}
	xs := make([]*graph.Value, len(weights))
	from := map[*graph.Value]bool{}
	for i, name := range weights {
		xs[i] = g.Value(name)
		from[xs[i]] = true
	}
	b := ops.NewBuilder(g)
	var ys, ws []*graph.Value
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" {
			continue
		}
		switch n.Op {
		case "Transpose", "Cast", "Identity":
			from[n.Output(0)] = from[n.Input(0)]
		case "Conv", "ConvTranspose", "Gemm", "MatMul":
			if y, w := squared(b, n, from); y != nil {
				ys, ws = append(ys, y), append(ws, w)
			}
		}
	}
	if b.Err != nil {
		return b.Err
	}
	local, err := gradient(b, ys, make([]*graph.Value, len(ys)), ws)
	if err != nil {
		return err
	}
	sums, err := gradient(b, ws, local, xs)
	if err != nil {
		return err
	}
	g.Outputs = nil
	if err := handOut(b, xs, sums, ScoreName); err != nil {
		return err
	}
	g.Prune()
	return nil
}

// squared appends node n again, with its weight as it is and the other input
// squared, and returns its output and what it reads as its weight: a value of
// its own, so that a gradient goes no further. Both are nil where not exactly
// one of the inputs is a weight.
func squared(b *ops.Builder, n *graph.Node, weight map[*graph.Value]bool) (y, w *graph.Value) {
	in := [2]*graph.Value{n.Input(0), n.Input(1)}
	if in[0] == nil || in[1] == nil || weight[in[0]] == weight[in[1]] {
		return nil, nil
	}
	slot := 0
	if weight[in[1]] {
		slot = 1
	}
	w = b.Op("Identity", in[slot])
	in[1-slot] = b.Mul(in[1-slot], in[1-slot])
	in[slot] = w
	return b.Node(n.Op, 1, in[:], n.Attrs...)[0], w
}

// handOut makes outputs of the values that belong to parameters, under names
// of their own: one value may stand for several.
func handOut(b *ops.Builder, xs, values []*graph.Value, name func(string) string) error {
	for i, v := range values {
		if v == nil {
			continue
		}
		out := b.Op("Identity", v)
		if b.Err != nil {
			return b.Err
		}
		if err := b.G.Rename(out, name(xs[i].Name)); err != nil {
			return err
		}
		b.G.AddOutput(out)
	}
	return nil
}
