package sparsity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// A Group is units that structured pruning removes one by one, each with all
// that has to go with it: the filter of one convolution, say, with its bias and
// normalisation, the same channel of everything that is added to its output,
// and the weights that read it. Which parameters belong together follows from
// the operators' Axes rules.
type Group struct {
	Members []Member
	Units   int
	Mixed   bool // a normalisation computes with all units together
}

// A Member is what a group has of one parameter, along one of its axes.
type Member struct {
	Param string
	Axis  int
	// At lists, per unit, the positions along the axis that go with it.
	At [][]int
}

// Groups finds the groups of a graph whose shapes are known. The parameters are
// its floating-point initializers; groups are in the order in which the graph
// first reads one of theirs.
func Groups(g *graph.Graph) ([]Group, error) {
	c, err := ops.Couple(g)
	if err != nil {
		return nil, err
	}
	order := map[string]int{}
	var groups []Group
	for _, class := range c.Classes() {
		members := membersOf(class)
		if class.Fixed || len(members) == 0 {
			continue
		}
		id := signature(members)
		i, ok := order[id]
		if !ok {
			i = len(groups)
			order[id] = i
			groups = append(groups, Group{Members: members, Mixed: class.Mixed})
		}
		grp := &groups[i]
		grp.Units++
		if ok {
			for m := range grp.Members {
				grp.Members[m].At = append(grp.Members[m].At, members[m].At...)
			}
		}
	}
	return groups, nil
}

// membersOf are the places of a class in floating-point initializers, as
// members of a group of one unit.
func membersOf(class ops.Class) []Member {
	var members []Member
	for _, p := range class.Places {
		if p.Value.Const == nil || !p.Value.DType.IsFloat() {
			continue
		}
		i := slices.IndexFunc(members, func(m Member) bool { return m.Param == p.Value.Name && m.Axis == p.Index })
		if i < 0 {
			i = len(members)
			members = append(members, Member{Param: p.Value.Name, Axis: p.Index, At: make([][]int, 1)})
		}
		members[i].At[0] = append(members[i].At[0], p.Position)
	}
	return members
}

// signature tells units apart that belong to different groups: they have other
// members, or other numbers of positions of them.
func signature(members []Member) string {
	var b strings.Builder
	for _, m := range members {
		fmt.Fprintf(&b, "%q %d %d;", m.Param, m.Axis, len(m.At[0]))
	}
	return b.String()
}
