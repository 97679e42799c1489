package pass

import (
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// Contract replaces, in place, what exporters write in several nodes and one
// operator of ours computes at once: attention and GELU. Before a graph is
// differentiated it spares the gradients of the parts too. g must be
// specialised.
func Contract(g *graph.Graph) error {
	if err := contractGelu(g); err != nil {
		return err
	}
	return contractAttention(g)
}

// contractGelu replaces 0.5 x (1 + erf(x/sqrt 2)).
func contractGelu(g *graph.Graph) error {
	b := ops.NewBuilder(g)
	found := false
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" || n.Op != "Erf" {
			continue
		}
		x, last := readGelu(g, n)
		if last == nil || slices.Contains(g.Outputs, last) {
			continue
		}
		found = true
		g.ReplaceUses(last, b.Own("GeluSlope", 2, []*graph.Value{x})[0])
		if b.Err != nil {
			return b.Err
		}
	}
	g.Prune()
	if !found {
		return nil
	}
	return g.Sort()
}

// readGelu recognises the GELU around an Erf: its input and result.
func readGelu(g *graph.Graph, erf *graph.Node) (x, last *graph.Value) {
	line := erf.Inputs[0].Producer()
	if line == nil || line.Domain != "" {
		return nil, nil
	}
	f, x, ok := scaled(line)
	if !ok || math.Abs(f-1/math.Sqrt2) > 1e-6 {
		return nil, nil
	}
	sum, one := partner(g, erf.Outputs[0], "Add")
	if f, ok := numberOf(one); !ok || f != 1 {
		return nil, nil
	}
	half, factor := false, false // what has been multiplied with
	for last = sum; !half || !factor; {
		var by *graph.Value
		if last, by = partner(g, last, "Mul"); last == nil {
			return nil, nil
		}
		f, isNumber := numberOf(by)
		switch {
		case isNumber && f == 0.5 && !half:
			half = true
		case by == x && !factor:
			factor = true
		case !half && !factor && isHalf(by, x):
			half, factor = true, true
		default:
			return nil, nil
		}
	}
	return x, last
}

// isHalf reports whether v is x/2.
func isHalf(v, x *graph.Value) bool {
	n := v.Producer()
	if n == nil || n.Domain != "" {
		return false
	}
	f, of, ok := scaled(n)
	return ok && f == 0.5 && of == x
}

// partner finds the only reader of v, a binary operator, and returns its result
// and other operand; nil when v is read otherwise.
func partner(g *graph.Graph, v *graph.Value, op string) (result, other *graph.Value) {
	if !only(g, v) {
		return nil, nil
	}
	n := v.Uses()[0].Node
	if n.Domain != "" || n.Op != op || !slices.Equal(n.Outputs[0].Shape, v.Shape) {
		return nil, nil
	}
	return n.Outputs[0], n.Inputs[1-v.Uses()[0].Slot]
}
