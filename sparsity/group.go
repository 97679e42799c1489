package sparsity

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// A Group is units that structured pruning removes one by one, each with all
// that has to go with it: the filter of one convolution, say, with its bias and
// normalisation, the same channel of everything that is added to its output,
// and the weights that read it. Which parameters belong together follows from
// the operators' Axes rules.
type Group struct {
	Members   []Member // of the layers: what masks are about
	Followers []Member // biases, normalisations and their statistics
	Units     int
	Mixed     bool // a normalisation computes with all units together
}

// A Member is what a group has of one parameter, along one of its axes.
type Member struct {
	Param string
	Axis  int
	Shape []int // of the parameter
	Out   bool  // of a layer: the axis is that of its outputs
	Scale bool  // of a follower: it is the scale of a batch normalisation
	// At lists, per unit, the positions along the axis that go with it.
	At [][]int
}

// Groups finds the groups of a graph whose shapes are known. The parameters are
// its floating-point initializers, those among the layers its weights; groups
// are in the order in which the graph first reads one of theirs.
func Groups(g *graph.Graph, layers []Layer) ([]Group, error) {
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
	for i := range groups {
		groups[i].part(layers)
	}
	return groups, nil
}

// part tells the members that layers have from their followers.
func (g *Group) part(layers []Layer) {
	all := g.Members
	g.Members = nil
	for _, m := range all {
		i := slices.IndexFunc(layers, func(l Layer) bool { return l.Name == m.Param })
		if i < 0 {
			g.Followers = append(g.Followers, m)
			continue
		}
		m.Out = m.Axis == layers[i].OutAxis
		g.Members = append(g.Members, m)
	}
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
			members = append(members, Member{Param: p.Value.Name, Axis: p.Index, Shape: p.Value.Shape, Scale: isScale(p.Value), At: make([][]int, 1)})
		}
		members[i].At[0] = append(members[i].At[0], p.Position)
	}
	return members
}

func isScale(v *graph.Value) bool {
	return slices.ContainsFunc(v.Uses(), func(u graph.Use) bool { return u.Node.Op == "BatchNormalization" && u.Slot == 1 })
}

// Indices yields the flat indices of a unit's part of the parameter.
func (m Member) Indices(unit int) iter.Seq[int] {
	n := m.Shape[m.Axis]
	outer, inner := onnx.Size(m.Shape[:m.Axis]), onnx.Size(m.Shape[m.Axis+1:])
	return func(yield func(int) bool) {
		for _, p := range m.At[unit] {
			for o := range outer {
				for j := range inner {
					if !yield((o*n+p)*inner + j) {
						return
					}
				}
			}
		}
	}
}

func (g *Group) count() int { return g.Units }

// alive are the units of which a mask keeps a weight.
func (g *Group) alive(masks *Masks) *Mask {
	units := NewMask(g.Units)
	for u := range g.Units {
		units.Set(u, slices.ContainsFunc(g.Members, func(m Member) bool { return m.keeps(u, masks.Get(m.Param)) }))
	}
	return units
}

// keeps reports whether the mask, nil for all, keeps a weight of the unit.
func (m Member) keeps(unit int, mask *Mask) bool {
	for i := range m.Indices(unit) {
		if mask == nil || mask.Get(i) {
			return true
		}
	}
	return false
}

// spread prunes what units that are not kept have in the layers.
func (g *Group) spread(units *Mask, masks *Masks) {
	for _, m := range g.Members {
		mask := masks.Get(m.Param)
		if mask == nil {
			mask = FullMask(m.Shape...)
			masks.Set(m.Param, mask)
		}
		m.prune(units, mask)
	}
}

// prune takes from the parameter's mask what units that are not kept have.
func (m Member) prune(units, mask *Mask) {
	for u := range units.Len() {
		if units.Get(u) {
			continue
		}
		for i := range m.Indices(u) {
			mask.Set(i, false)
		}
	}
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
