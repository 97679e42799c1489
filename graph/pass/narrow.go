package pass

import (
	"hash/fnv"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// A Narrowing is a model without the units that a mask holds at zero while it
// trains, and what it took out.
type Narrowing struct {
	Model *Model
	Compaction

	// Dropped lists, per value that dropout makes and axis that lost positions,
	// the positions that are left; Wide are the original shapes of these values
	// for a batch of one.
	Dropped map[string]map[int][]int
	Wide    map[string][]int
}

// Narrow returns a copy of an imported model without the units that do not
// take part in training: every trainable element that goes with them satisfies
// held, which says of element i of a parameter that it is zero and stays so,
// and what reads them reads zero or with weights of zero. The loss as a function
// of what is left, and so every gradient, is that of the whole model. Unlike
// Compact it passes no constants on: a channel with a live shift stays.
//
// Running statistics may go where what they are statistics of is zero. im is not
// changed; the numbers of the parameters are not copied. With a nil held, or
// where nothing can go, the result is the whole model.
func Narrow(im *Model, held func(param string, i int) bool) (*Narrowing, error) {
	n := &Narrowing{Model: im.copy(), Dropped: map[string]map[int][]int{}, Wide: map[string][]int{}}
	if held == nil {
		return n, nil
	}
	for _, p := range n.Model.Params {
		if p.Value.Const = pattern(p, held); p.Value.Const == nil {
			return Narrow(im, nil)
		}
	}
	s, err := newShrinker(n.Model)
	if err != nil {
		return nil, err
	}
	s.decideHeld(held)
	if len(s.gone) == 0 || !s.noteDropped(n) {
		return Narrow(im, nil)
	}
	c, err := s.rewrite()
	if err != nil {
		return nil, err
	}
	n.Compaction = *c
	return n, nil
}

// copy returns a model with a graph of its own; tensors are shared.
func (im *Model) copy() *Model {
	c := *im
	c.Graph = im.Graph.Clone()
	c.Logits = c.Graph.Value(im.Logits.Name)
	twin := map[*graph.Node]*graph.Node{}
	for i, n := range im.Graph.Nodes {
		twin[n] = c.Graph.Nodes[i]
	}
	c.Params = nil
	for _, p := range im.Params {
		q := *p
		q.Value, q.Node = c.Graph.Value(p.Name()), twin[p.Node]
		c.Params = append(c.Params, &q)
	}
	return &c
}

// pattern is a tensor that is zero where a trainable parameter is held and has
// different numbers, never zero, everywhere else: what an analysis finds to be
// zero with it is so for all values. Others keep their values. Nil is for a
// trainable parameter of another type than float32, which no import makes.
func pattern(p *Param, held func(param string, i int) bool) *onnx.Tensor {
	t := p.Tensor()
	if !p.Trainable && !p.State() {
		return t
	}
	data, ok := t.Data.([]float32)
	if !ok {
		return nil
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.Name())) // a hash takes everything
	state := h.Sum64()
	out := onnx.NewTensor(t.DType, t.Shape...)
	out.Name = t.Name
	values := onnx.Of[float32](out)
	for i := range data {
		state = state*6364136223846793005 + 1442695040888963407 // Knuth, MMIX
		if p.State() || !held(p.Name(), i) {
			values[i] = 0.5 + float32(state>>40)/(1<<24)
		}
	}
	return out
}

// decideHeld marks the classes that can go while the network trains.
func (s *shrinker) decideHeld(held func(string, int) bool) {
	params := map[*graph.Value]*Param{}
	for _, p := range s.model.Params {
		if v := s.one.Value(p.Name()); v != nil {
			params[v] = p
		}
	}
	still := s.stillStatistics()
	for _, class := range s.classes.Classes() {
		if class.Fixed || class.Mixed || !s.holdsWeights(class) {
			continue
		}
		id := s.classes.Class(class.Places[0].Axis, class.Places[0].Position)
		silent := !slices.ContainsFunc(s.readers[id], func(r reader) bool { return s.contributes(r) != 0 })
		if silent && !slices.ContainsFunc(class.Places, func(p ops.Place) bool { return !restful(p, params, held, still) }) {
			s.gone[id] = true
		}
	}
	s.leaveOne()
}

// restful reports whether training leaves what is at a place as it is.
func restful(at ops.Place, params map[*graph.Value]*Param, held func(string, int) bool, still map[ops.Place]bool) bool {
	p := params[at.Value]
	switch {
	case p == nil || !p.Trainable && !p.State():
		return true
	case p.State():
		return still[at]
	}
	inner := onnx.Size(at.Value.Shape[at.Index+1:])
	extent := at.Extent()
	for outer := range onnx.Size(at.Value.Shape[:at.Index]) {
		first := (outer*extent + at.Position) * inner
		for i := range inner {
			if !held(p.Name(), first+i) {
				return false
			}
		}
	}
	return true
}

// stillStatistics are the places of running statistics of zeros.
func (s *shrinker) stillStatistics() map[ops.Place]bool {
	still := map[ops.Place]bool{}
	for _, n := range s.one.Nodes {
		if n.Op != "BatchNormalization" || n.Domain != "" {
			continue
		}
		for c := range n.Inputs[0].Shape[1] {
			if s.numbers.get(ops.Axis{Value: n.Inputs[0], Index: 1}, c) == 0 {
				for _, stat := range n.Inputs[3:5] {
					still[ops.Place{Axis: ops.Axis{Value: stat}, Position: c}] = true
				}
			}
		}
	}
	return still
}

// noteDropped lists what dropout loses; it reports false where that is not
// known.
func (s *shrinker) noteDropped(n *Narrowing) bool {
	for _, node := range s.model.Graph.Nodes {
		out := node.Output(0)
		if node.Op != "Dropout" || node.Domain != "" || out == nil {
			continue
		}
		// The analysed copy is in inference mode and may have lost the node; what
		// passes through to it has the same extents.
		v, at := s.one.Value(out.Name), node
		for v == nil && at != nil && passesThrough(at) {
			v = s.one.Value(at.Input(0).Name)
			at = at.Input(0).Producer()
		}
		if v == nil {
			return false
		}
		n.Wide[out.Name] = slices.Clone(v.Shape)
		for axis, d := range v.Shape {
			if list := s.kept(ops.Axis{Value: v, Index: axis}); len(list) < d {
				if n.Dropped[out.Name] == nil {
					n.Dropped[out.Name] = map[int][]int{}
				}
				n.Dropped[out.Name][axis] = list
			}
		}
	}
	return true
}
