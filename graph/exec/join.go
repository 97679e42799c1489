package exec

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
)

// joinConvs lets convolutions and their gradients by the input take along what is
// added to their results, another convolution above all, and the ReluGrad that reads
// the sum (see ops.JoinsConv). What replaces a node takes its place in the order.
func joinConvs(g *graph.Graph, wish kernel.Winograd) error {
	return rebuild(g, func(j *joining, n *graph.Node) error { return j.joinConv(n, wish) })
}

// rebuild has each node of g looked at by join, which may replace what comes of it.
func rebuild(g *graph.Graph, join func(*joining, *graph.Node) error) error {
	j := joining{b: ops.NewBuilder(g), place: map[*graph.Node]int{}}
	var order []*graph.Node
	nodes := slices.Clone(g.Nodes)
	for i, n := range nodes {
		j.place[n] = i
	}
	for _, n := range nodes {
		before := len(g.Nodes)
		if err := join(&j, n); err != nil {
			return err
		}
		order = append(append(order, g.Nodes[before:]...), n)
	}
	g.Nodes = order
	g.Prune()
	return g.Sort()
}

// joining is the work of joinConvs and joinSums.
type joining struct {
	b     *ops.Builder
	place map[*graph.Node]int // in the order of the graph
}

// sumOf returns the sum of which n is the last node: n's result, or what n, a ReluGrad,
// masks. It is nil where there is none, or a further node has n as a part.
func (j *joining) sumOf(n *graph.Node) (sum, mask *graph.Value) {
	switch y := n.Output(0); {
	case isReluGrad(n):
		if j.reader(n.Inputs[0]) != nil {
			return n.Inputs[0], n.Inputs[1]
		}
	case isSum(n):
		if m := j.reader(y); m == nil || !isSum(m) && !(isReluGrad(m) && m.Inputs[0] == y) {
			return y, nil
		}
	}
	return nil, nil
}

// joinConv replaces n where it is the last node of a sum with a convolution.
func (j *joining) joinConv(n *graph.Node, wish kernel.Winograd) error {
	sum, mask := j.sumOf(n)
	if sum == nil {
		return nil
	}
	joins := func(v *graph.Value) bool {
		return v.Producer() != nil && j.reader(v) != nil && ops.JoinsConv(v.Producer(), wish)
	}
	terms, _ := j.terms(nil, sum, true, joins)
	// The last one: the others are there by then.
	last := -1
	for i, v := range terms {
		if joins(v) && (last < 0 || j.place[v.Producer()] > j.place[terms[last].Producer()]) {
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	conv := terms[last].Producer()
	terms = slices.Delete(terms, last, last+1)
	var other *graph.Node
	for i, v := range terms {
		if joins(v) && ops.AlikeConvs(conv, v.Producer()) {
			other = v.Producer()
			terms = slices.Delete(terms, i, i+1)
			break
		}
	}
	var addend *graph.Value
	for _, v := range terms {
		if addend == nil {
			addend = v
		} else {
			addend = j.b.Add(addend, v)
		}
	}
	if j.b.Err != nil {
		return j.b.Err
	}
	// The result may take the addend's memory, which others must not read then.
	if addend != nil && shares(addend, mask, conv, other) {
		if other == nil {
			return nil
		}
		y := j.b.Add(j.b.JoinedConv(conv, other, nil, nil), addend)
		if mask != nil {
			y = j.b.Own("ReluGrad", 1, []*graph.Value{y, mask})[0]
		}
		return j.supplant(n, y)
	}
	return j.supplant(n, j.b.JoinedConv(conv, other, addend, mask))
}

func (j *joining) supplant(n *graph.Node, y *graph.Value) error {
	if j.b.Err != nil {
		return j.b.Err
	}
	return j.b.G.Supplant(n.Outputs[0], y)
}

// terms appends to list what v is the sum of, and tells whether any of it joins: sums
// of nothing that does stay what they are. Only the sum itself, root, may have other
// readers.
func (j *joining) terms(list []*graph.Value, v *graph.Value, root bool, joins func(*graph.Value) bool) ([]*graph.Value, bool) {
	n := v.Producer()
	if n == nil || !isSum(n) || !root && j.reader(v) == nil {
		return append(list, v), joins(v)
	}
	all, left := j.terms(list, n.Inputs[0], false, joins)
	all, right := j.terms(all, n.Inputs[1], false, joins)
	if !root && !left && !right {
		return append(list, v), false
	}
	return all, left || right
}

// reader is the node that alone reads v, nil if there is none or v is an output.
func (j *joining) reader(v *graph.Value) *graph.Node {
	if len(v.Uses()) != 1 || slices.Contains(j.b.G.Outputs, v) {
		return nil
	}
	return v.Uses()[0].Node
}

// isSum tells whether n adds floats of one shape.
func isSum(n *graph.Node) bool {
	return n.Domain == "" && n.Op == "Add" && isFloat(n.Outputs[0]) && slices.Equal(n.Inputs[0].Shape, n.Inputs[1].Shape)
}

func isReluGrad(n *graph.Node) bool { return n.Domain == ops.Domain && n.Op == "ReluGrad" }

// shares tells whether addend's memory is the mask's, or a convolution's input's.
func shares(addend, mask *graph.Value, convs ...*graph.Node) bool {
	others := []*graph.Value{mask}
	for _, n := range convs {
		if n != nil {
			others = append(others, n.Inputs...)
		}
	}
	return slices.ContainsFunc(others, func(v *graph.Value) bool { return v != nil && shows(v) == shows(addend) })
}
