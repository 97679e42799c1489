package autodiff

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// Gradient appends to g the nodes that compute the gradient of y with respect
// to each of xs and returns the results in order; an entry is nil where y does
// not depend on the value. seed is the gradient of the objective with respect
// to y, of y's shape; nil stands for ones, which for a scalar y makes y itself
// the objective.
//
// Every extent of g must be known. Nodes whose operator has a body but no
// gradient rule of its own, and that lie between xs and y, are replaced by
// their body.
func Gradient(g *graph.Graph, y, seed *graph.Value, xs []*graph.Value) ([]*graph.Value, error) {
	return gradient(ops.NewBuilder(g), []*graph.Value{y}, []*graph.Value{seed}, xs)
}

// gradient is Gradient of several outputs at once: the objective is the sum
// over ys of <seed, y>.
func gradient(b *ops.Builder, ys, seeds, xs []*graph.Value) ([]*graph.Value, error) {
	acc, err := backward(b, ys, seeds, xs)
	if err != nil {
		return nil, err
	}
	grads := make([]*graph.Value, len(xs))
	for i, x := range xs {
		grads[i] = acc.total(x)
	}
	return grads, b.Err
}

// backward carries the gradient of the objective back to everything between
// xs and ys.
func backward(b *ops.Builder, ys, seeds, xs []*graph.Value) (*adjoints, error) {
	g := b.G
	on, err := expand(b, ys, xs)
	if err != nil {
		return nil, err
	}
	acc := &adjoints{b: b, terms: map[*graph.Value][]*graph.Value{}}
	for i, y := range ys {
		seed := seeds[i]
		if seed == nil {
			seed = ones(b, y)
		} else if !slices.Equal(seed.Shape, y.Shape) {
			return nil, fmt.Errorf("autodiff: seed of %q has shape %v, want %v", y.Name, []int(seed.Shape), []int(y.Shape))
		}
		acc.add(y, seed)
	}
	nodes := slices.Clone(g.Nodes)
	for i := len(nodes) - 1; i >= 0; i-- {
		if on[nodes[i]] {
			if err := acc.pull(nodes[i]); err != nil {
				return nil, err
			}
		}
	}
	return acc, b.Err
}

// adjoints collects, per value, the terms of its gradient.
type adjoints struct {
	b     *ops.Builder
	terms map[*graph.Value][]*graph.Value
}

func (a *adjoints) add(v, term *graph.Value) { a.terms[v] = append(a.terms[v], term) }

// total sums the terms of v; nil when there are none.
func (a *adjoints) total(v *graph.Value) *graph.Value {
	terms := a.terms[v]
	if len(terms) == 0 {
		return nil
	}
	sum := terms[0]
	for _, t := range terms[1:] {
		sum = a.b.Add(sum, t)
	}
	a.terms[v] = []*graph.Value{sum}
	return sum
}

// pull carries the gradient of n's outputs to its inputs.
func (a *adjoints) pull(n *graph.Node) error {
	dy := make([]*graph.Value, len(n.Outputs))
	any := false
	for i, out := range n.Outputs {
		if out != nil {
			dy[i] = a.total(out)
			any = any || dy[i] != nil
		}
	}
	if !any {
		return nil
	}
	op, err := ops.Lookup(n)
	if err != nil {
		return err
	}
	if op.Grad == nil {
		return &ops.NodeError{Node: n, Err: fmt.Errorf("no gradient: %s", op.NoGrad)}
	}
	dx, err := op.Grad(a.b, n, dy)
	if err == nil {
		err = a.b.Err
	}
	if err != nil {
		return &ops.NodeError{Node: n, Err: err}
	}
	for i, d := range dx {
		in := n.Input(i)
		if d == nil || in == nil {
			continue
		}
		if !slices.Equal(d.Shape, in.Shape) {
			return &ops.NodeError{Node: n, Err: fmt.Errorf("gradient rule gives shape %v for input %d of shape %v", []int(d.Shape), i, []int(in.Shape))}
		}
		a.add(in, d)
	}
	return nil
}

// expand finds the nodes between xs and ys and replaces those that only have
// a body by that body, until each has a rule or is a dead end.
func expand(b *ops.Builder, ys, xs []*graph.Value) (map[*graph.Node]bool, error) {
	for {
		on := between(b.G, ys, xs)
		changed := false
		for _, n := range slices.Clone(b.G.Nodes) {
			if !on[n] {
				continue
			}
			op, err := ops.Lookup(n)
			if err != nil {
				return nil, err
			}
			if op.Grad != nil || op.Body == nil || op.NoGrad != "" {
				continue
			}
			if err := inline(b, n, ys); err != nil {
				return nil, err
			}
			changed = true
		}
		if !changed {
			return on, nil
		}
		if err := b.G.Sort(); err != nil {
			return nil, err
		}
	}
}

// inline replaces n by its body. Values that the caller holds in ys are
// followed to their replacement.
func inline(b *ops.Builder, n *graph.Node, ys []*graph.Value) error {
	outs, err := ops.Inline(b, n)
	if err != nil {
		return err
	}
	for i, out := range n.Outputs {
		if out == nil {
			continue
		}
		b.G.ReplaceUses(out, outs[i])
		for j, y := range ys {
			if y == out {
				ys[j] = outs[i]
			}
		}
	}
	return b.G.RemoveNode(n)
}

// between marks the nodes that lie on a path from one of xs to one of ys.
func between(g *graph.Graph, ys, xs []*graph.Value) map[*graph.Node]bool {
	fromX := map[*graph.Value]bool{}
	for _, x := range xs {
		fromX[x] = true
	}
	for _, n := range g.Nodes {
		if slices.ContainsFunc(n.Inputs, func(v *graph.Value) bool { return v != nil && fromX[v] }) {
			for _, out := range n.Outputs {
				fromX[out] = true
			}
		}
	}
	toY := map[*graph.Value]bool{}
	for _, y := range ys {
		toY[y] = true
	}
	on := map[*graph.Node]bool{}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if !slices.ContainsFunc(n.Outputs, func(v *graph.Value) bool { return v != nil && toY[v] && fromX[v] }) {
			continue
		}
		on[n] = true
		for _, in := range n.Inputs {
			if in != nil && fromX[in] {
				toY[in] = true
			}
		}
	}
	return on
}

// ones is a constant of ones with y's type and shape.
func ones(b *ops.Builder, y *graph.Value) *graph.Value {
	one := b.Scalar(1, y)
	if len(y.Shape) == 0 {
		return one
	}
	return b.Op("Expand", one, b.Ints(y.Shape...))
}
