package exec

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// orderUpdates moves every node that only makes the new value of inputs to the
// earliest place at which nobody reads the old ones any more: what it is made
// from, a gradient, is then still in the caches and need not be kept.
func orderUpdates(g *graph.Graph, into map[string]string) error {
	var rest, updates []*graph.Node
	for _, n := range g.Nodes {
		if isUpdate(n, into) {
			updates = append(updates, n)
		} else {
			rest = append(rest, n)
		}
	}
	if len(updates) == 0 {
		return nil
	}
	at := map[*graph.Node]int{}
	for i, n := range rest {
		at[n] = i
	}
	behind := make([][]*graph.Node, len(rest)+1) // updates behind rest[i-1]
	for _, u := range updates {
		place := 0
		for _, in := range u.Inputs {
			if in != nil && in.Producer() != nil {
				place = max(place, at[in.Producer()]+1)
			}
		}
		for _, out := range u.Outputs {
			if old := g.Value(into[nameOf(out)]); old != nil {
				last, err := lastReader(old, at)
				if err != nil {
					return err
				}
				place = max(place, last+1)
			}
		}
		behind[place] = append(behind[place], u)
	}
	g.Nodes = slices.Clone(behind[0])
	for i, n := range rest {
		g.Nodes = append(append(g.Nodes, n), behind[i+1]...)
	}
	return nil
}

// isUpdate reports whether all that n computes replaces inputs, and nobody
// reads it.
func isUpdate(n *graph.Node, into map[string]string) bool {
	return len(into) > 0 && !slices.ContainsFunc(n.Outputs, func(v *graph.Value) bool {
		return v != nil && (into[v.Name] == "" || len(v.Uses()) > 0)
	})
}

func nameOf(v *graph.Value) string {
	if v == nil {
		return ""
	}
	return v.Name
}

// lastReader is the greatest position of a node that reads v's memory: v itself
// or a view of it. Nodes without a position do not count; -1 when there is none.
func lastReader(v *graph.Value, at map[*graph.Node]int) (int, error) {
	last := -1
	for _, use := range v.Uses() {
		i, ok := at[use.Node]
		if !ok {
			continue
		}
		last = max(last, i)
		op, err := ops.Lookup(use.Node)
		if err != nil {
			return 0, err
		}
		if op.View && use.Node.Input(0) == v {
			behind, err := lastReader(use.Node.Outputs[0], at)
			if err != nil {
				return 0, err
			}
			last = max(last, behind)
		}
	}
	return last, nil
}
