package pass

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// findParts names the equal parts into which a weight's outputs fall: query,
// key and value of an attention layer, the gates of a recurrent one. Structured
// pruning must cut all parts alike.
func (p *Param) findParts() []string {
	switch {
	case p.Role != Weight && p.Role != Bias:
	case p.Node.Op == "LSTM" && p.Slot <= 2:
		return []string{"i", "o", "f", "c"}
	case p.Node.Op == "GRU" && p.Slot <= 2:
		return []string{"z", "r", "h"}
	case p.Role == Weight && (p.Node.Op == "MatMul" || p.Node.Op == "Gemm") && p.Value.Shape[p.OutAxis]%3 == 0 && threefold(p.Node.Output(0)):
		return []string{"q", "k", "v"}
	}
	return nil
}

// threefold reports whether v, past a bias and changes of its layout, is taken
// apart into three along an axis of three: by Gather or Slice at each index or
// by Split. That is how attention layers with one projection are exported.
func threefold(v *graph.Value) bool {
	for range 8 {
		if v == nil {
			return false
		}
		uses := slices.DeleteFunc(slices.Clone(v.Uses()), shapeOnly)
		if len(uses) != 1 {
			return takenApart(uses)
		}
		n := uses[0].Node
		if n.Domain != "" {
			return false
		}
		if n.Op == "Split" {
			return len(n.Outputs) == 3
		}
		if !slices.Contains([]string{"Add", "Reshape", "Transpose", "Unsqueeze", "Squeeze"}, n.Op) || uses[0].Slot > 1 {
			return false
		}
		v = n.Output(0)
	}
	return false
}

// takenApart reports whether three nodes read a value at three places.
func takenApart(uses []graph.Use) bool {
	places := map[int64]bool{}
	for _, u := range uses {
		n := u.Node
		if n.Domain != "" || u.Slot != 0 || n.Op != "Gather" && n.Op != "Slice" {
			return false
		}
		at := constOf(n.Input(1))
		if at == nil || at.Len() != 1 {
			return false
		}
		places[int64At(at, 0)] = true
	}
	return len(places) == 3
}

// additiveMask reports whether t is what attention adds to forbid places: zero
// and one large negative number, or minus infinity.
func additiveMask(t *onnx.Tensor) bool {
	values, ok := t.Data.([]float32)
	if !ok {
		return false
	}
	const forbidding = -50
	low := float32(0)
	for _, x := range values {
		switch {
		case x == 0 || x == low:
		case low == 0 && x <= forbidding:
			low = x
		default:
			return false
		}
	}
	return low != 0
}

// groupStandIn reports whether p is the ones or zeros of an
// InstanceNormalization that stands for a group normalisation: between two
// Reshape nodes, the network's own scale and shift follow behind.
func (p *Param) groupStandIn() bool {
	n := p.Node
	if n.Op != "InstanceNormalization" || p.Slot == 0 || made(n.Input(0), "Reshape") == nil {
		return false
	}
	want := float32(2 - p.Slot) // ones in slot 1, zeros in slot 2
	values, ok := p.Tensor().Data.([]float32)
	return ok && !slices.ContainsFunc(values, func(x float32) bool { return x != want })
}

// repeatsBatch reports whether the leading extent of p is the batch that the
// file fixes: a class token or position table that the exporter expanded.
func (p *Param) repeatsBatch(batch int) bool {
	return batch > 1 && len(p.Value.Shape) > 2 && p.Value.Shape[0] == batch &&
		p.Node.Domain == "" && slices.Contains([]string{"Concat", "Add", "Mul", "Sub"}, p.Node.Op)
}

// commonBatch is the leading extent that all inputs fix, 0 if they do not.
func commonBatch(g *graph.Graph) int {
	batch := 0
	for i, in := range g.Inputs {
		if len(in.Shape) == 0 || in.Shape[0] < 0 || i > 0 && in.Shape[0] != batch {
			return 0
		}
		batch = in.Shape[0]
	}
	return batch
}
