package pass

import (
	"slices"

	"github.com/unprune/unprune/graph"
)

// Split cuts a graph, whose nodes are in order, in two: first computes what does
// not depend on the inputs that are named, and has what the rest reads of it as
// its outputs; the rest has them as inputs of the same names, and g's outputs.
// Who changes the named inputs alone runs first once. What depends on no input at
// all stays with who reads it. g is not changed.
func Split(g *graph.Graph, inputs []string) (first, rest *graph.Graph, err error) {
	late, early := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	for _, v := range g.Inputs {
		if slices.Contains(inputs, v.Name) {
			late[v] = true
		} else {
			early[v] = true
		}
	}
	readLate := map[*graph.Value]bool{}
	for _, v := range g.Outputs {
		readLate[v] = true
	}
	for _, n := range g.Nodes {
		kind := early
		switch {
		case slices.ContainsFunc(n.Inputs, func(v *graph.Value) bool { return late[v] }):
			kind = late
			for _, v := range n.Inputs {
				readLate[v] = true
			}
		case !slices.ContainsFunc(n.Inputs, func(v *graph.Value) bool { return early[v] }):
			continue
		}
		for _, v := range n.Outputs {
			kind[v] = true
		}
	}
	first, rest = g.Clone(), g.Clone()
	first.Outputs = nil
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v == nil || !early[v] || !readLate[v] {
				continue
			}
			first.AddOutput(first.Value(v.Name))
			made := rest.Value(v.Name)
			if err := rest.Rename(made, rest.Unique(v.Name)); err != nil {
				return nil, nil, err
			}
			rest.ReplaceUses(made, rest.AddInput(v.Name, v.DType, v.Shape...))
		}
	}
	first.Prune()
	rest.Prune()
	first.Inputs = slices.DeleteFunc(first.Inputs, func(v *graph.Value) bool { return slices.Contains(inputs, v.Name) })
	return first, rest, nil
}
