package exec

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// orderResults moves every node that nobody reads, which makes outputs of the
// graph, behind what it is made from: that is then still in the caches and need
// not be kept. Then it moves those that make the new value of inputs to the
// earliest place at which nobody reads the old ones any more.
func orderResults(g *graph.Graph, into map[string]string) error {
	earliest := func(n *graph.Node, at map[*graph.Node]int) int {
		place := 0
		for _, in := range n.Inputs {
			if in != nil && in.Producer() != nil {
				place = max(place, at[in.Producer()]+1)
			}
		}
		return place
	}
	last := func(n *graph.Node) bool { return isLast(n) && !isUpdate(n, into) }
	err := move(g, last, func(n *graph.Node, at map[*graph.Node]int) (int, error) { return earliest(n, at), nil })
	if err != nil {
		return err
	}
	update := func(n *graph.Node) bool { return isUpdate(n, into) }
	return move(g, update, func(n *graph.Node, at map[*graph.Node]int) (int, error) {
		place := earliest(n, at)
		for _, out := range n.Outputs {
			if old := g.Value(into[nameOf(out)]); old != nil {
				last, err := lastReader(old, at)
				if err != nil {
					return 0, err
				}
				place = max(place, last+1)
			}
		}
		return place, nil
	})
}

// move puts the nodes chosen in front of that of the others which place names, by
// their positions without those chosen.
func move(g *graph.Graph, chosen func(*graph.Node) bool, place func(n *graph.Node, at map[*graph.Node]int) (int, error)) error {
	var rest, moved []*graph.Node
	for _, n := range g.Nodes {
		if chosen(n) {
			moved = append(moved, n)
		} else {
			rest = append(rest, n)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	at := map[*graph.Node]int{}
	for i, n := range rest {
		at[n] = i
	}
	behind := make([][]*graph.Node, len(rest)+1) // nodes behind rest[i-1]
	for _, n := range moved {
		i, err := place(n, at)
		if err != nil {
			return err
		}
		behind[i] = append(behind[i], n)
	}
	g.Nodes = slices.Clone(behind[0])
	for i, n := range rest {
		g.Nodes = append(append(g.Nodes, n), behind[i+1]...)
	}
	return nil
}

// isLast reports whether nobody reads what n computes.
func isLast(n *graph.Node) bool {
	return !slices.ContainsFunc(n.Outputs, func(v *graph.Value) bool { return v != nil && len(v.Uses()) > 0 })
}

// isUpdate reports whether all that n computes replaces inputs, and nobody
// reads it.
func isUpdate(n *graph.Node, into map[string]string) bool {
	return len(into) > 0 && isLast(n) && !slices.ContainsFunc(n.Outputs, func(v *graph.Value) bool {
		return v != nil && into[v.Name] == ""
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
