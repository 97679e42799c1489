package exec

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// joinSums computes sums of several tensors, which factors and offsets of channels may
// scale and shift, and the Relu or ReluGrad that reads them, in one pass over memory
// where they would take more; the changes that a Hessian-vector product carries through
// batch normalisations and residuals are such sums.
func joinSums(g *graph.Graph) error {
	return rebuild(g, (*joining).joinSum)
}

const (
	// nearby is how many nodes may lie between a sum and one that is part of it, whose
	// terms are then kept longer.
	nearby = 8
	// longRow is the least elements of a channel's plane for which its factor or
	// offset is worth a call.
	longRow = 16
)

// channelSum is what a sum is made of.
type channelSum struct {
	terms  []ops.SumTerm
	offset *graph.Value // nil: none
	passes int          // that the nodes take
}

// joinSum replaces n where it is the last node of a sum.
func (j *joining) joinSum(n *graph.Node) error {
	v, mask := j.sumOf(n)
	if v == nil {
		return nil
	}
	var s channelSum
	j.collect(&s, v, n)
	if n.Outputs[0] != v {
		s.passes++
	}
	if m := j.reader(n.Outputs[0]); m != nil && mask == nil && m.Domain == "" && m.Op == "Relu" {
		s.passes++
	}
	if s.passes < 2 || len(s.terms) > ops.MaxSumTerms || j.b.Err != nil {
		return j.b.Err
	}
	// The result may take the memory of a term, which must count once.
	seen := []*graph.Value{nil}
	if mask != nil {
		seen[0] = shows(mask)
	}
	for _, t := range s.terms {
		if slices.Contains(seen, shows(t.X)) {
			return nil
		}
		seen = append(seen, shows(t.X))
	}
	return j.supplant(n, j.b.WeightedSum(s.terms, s.offset, mask))
}

// collect adds what v is the sum of; last is the sum's last node.
func (j *joining) collect(s *channelSum, v *graph.Value, last *graph.Node) {
	n := v.Producer()
	mine := n != nil && n.Domain == "" && isFloat(v) && (n == last || j.reader(v) != nil)
	if !mine || n.Op != "Mul" && (n.Op != "Add" || j.place[last]-j.place[n] > nearby) {
		s.terms = append(s.terms, ops.SumTerm{X: v})
		return
	}
	x, channels := n.Inputs[0], n.Inputs[1]
	if !slices.Equal(x.Shape, v.Shape) {
		x, channels = channels, x
	}
	switch {
	case !slices.Equal(x.Shape, v.Shape):
		s.terms = append(s.terms, ops.SumTerm{X: v})
		return
	case n.Op == "Add" && slices.Equal(channels.Shape, v.Shape):
		j.collect(s, x, last)
		j.collect(s, channels, last)
	case !perChannel(channels, v):
		s.terms = append(s.terms, ops.SumTerm{X: v})
		return
	case n.Op == "Mul":
		s.terms = append(s.terms, ops.SumTerm{X: x, Factor: j.b.Reshape(channels, v.Shape[1])})
	default:
		j.collect(s, x, last)
		offset := j.b.Reshape(channels, v.Shape[1])
		if s.offset != nil {
			offset = j.b.Add(s.offset, offset)
		}
		s.offset = offset
	}
	s.passes++
}

// perChannel tells whether v has one element for each channel of x, whose planes are
// long enough, and so that it is repeated over the rest.
func perChannel(v, x *graph.Value) bool {
	lead := len(x.Shape) - len(v.Shape)
	if len(x.Shape) < 3 || lead > 1 || x.Shape[2:].Size() < longRow || v.Shape[1-lead] != x.Shape[1] {
		return false
	}
	return v.Shape.Size() == x.Shape[1]
}

func isFloat(v *graph.Value) bool { return v.DType == onnx.Float32 || v.DType == onnx.Float64 }
