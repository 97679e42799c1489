package sparsity

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// GroupL2 removes units of groups: whole channels, hidden units or heads with
// all that goes with them. A unit scores by the L2 norm of everything that it
// has in the group: the weights that make it, those that read it and the scales
// of its batch normalisations. That ranks as the default of Torch-Pruning does
// (Fang et al. 2023; pruner/importance.py, GroupMagnitudeImportance), which
// takes the mean of the squares.
//
// Its groups come from a graph, so it is not among Pruners. Its masks are about
// layers, as all are. What biases and normalisations have of a unit is idle
// when no weight reads it: Settle puts it to zero.
type GroupL2 struct{ groups []Group }

// GroupL2Name is what the command line calls it.
const GroupL2Name = "group-l2"

// NewGroupL2 prunes the groups that have a layer's outputs. Groups whose units
// a normalisation computes with together stay: taking some away would change
// the others.
func NewGroupL2(groups []Group) GroupL2 {
	return GroupL2{slices.DeleteFunc(slices.Clone(groups), func(g Group) bool {
		return g.Mixed || g.Units < 2 || !slices.ContainsFunc(g.Members, func(m Member) bool { return m.Out })
	})}
}

// Name is "group-l2".
func (GroupL2) Name() string { return GroupL2Name }

// Unit is that of a group.
func (GroupL2) Unit() Unit { return Joint }

// Scope is the group.
func (GroupL2) Scope() Scope { return PerLayer }

// Needs nothing besides the weights.
func (GroupL2) Needs() Needs { return 0 }

// unscored lists the groups all of whose outputs belong to the layers: one that
// is skipped keeps what goes with it.
func (p GroupL2) unscored(layers []Layer) []Scores {
	byName := map[string]Layer{}
	for _, l := range layers {
		byName[l.Name] = l
	}
	var scores []Scores
	for i := range p.groups {
		g, first, all := &p.groups[i], -1, true
		for j, m := range g.Members {
			if !m.Out {
				continue
			}
			if first < 0 {
				first = j
			}
			_, ok := byName[m.Param]
			all = all && ok
		}
		if all {
			scores = append(scores, Scores{Layer: byName[g.Members[first].Param], Unit: Joint, parts: g, Values: make([]float64, g.Units)})
		}
	}
	return scores
}

// Score is the norm of each unit.
func (p GroupL2) Score(in Input) ([]Scores, error) {
	scores := p.unscored(in.Layers)
	if len(scores) == 0 {
		return nil, fmt.Errorf("sparsity: no group of units can be removed together from these layers; prune filters instead (filter-l2)")
	}
	for _, s := range scores {
		for _, m := range s.Group().Members {
			if err := m.addSquares(s.Values, in.Parameters); err != nil {
				return nil, err
			}
		}
		for _, m := range s.Group().Followers {
			if m.Scale && in.Parameters[m.Param] != nil {
				if err := m.addSquares(s.Values, in.Parameters); err != nil {
					return nil, err
				}
			}
		}
		for u, v := range s.Values {
			s.Values[u] = math.Sqrt(v)
		}
	}
	return scores, nil
}

// addSquares adds up the squares of each unit's part.
func (m Member) addSquares(sums []float64, parameters map[string]*onnx.Tensor) error {
	t := parameters[m.Param]
	if t == nil || !slices.Equal(t.Shape, m.Shape) {
		return fmt.Errorf("sparsity: group member %q is no parameter of shape %v", m.Param, m.Shape)
	}
	l := Layer{Name: m.Param, Weight: t}
	if err := checkLayer(l, Weight); err != nil {
		return err
	}
	w := l.at()
	for u := range sums {
		for i := range m.Indices(u) {
			sums[u] += float64(w(i) * w(i))
		}
	}
	return nil
}

// Prune removes round-half-even(share·alive) units of each group, but never
// all.
func (p GroupL2) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, func(n int, share float64) int {
		return max(0, min(n-1, RoundHalfEven(n, share)))
	})
}

// Settle writes zero to what followers have of units without a weight in the
// masks. fixed names parameters to leave alone, such as running statistics.
func (p GroupL2) Settle(masks *Masks, parameters map[string]*onnx.Tensor, fixed map[string]bool) error {
	for i := range p.groups {
		g := &p.groups[i]
		alive := g.alive(masks)
		for _, m := range g.Followers {
			t := parameters[m.Param]
			if t == nil || fixed[m.Param] {
				continue
			}
			mask := FullMask(m.Shape...)
			m.prune(alive, mask)
			if err := mask.Apply(t); err != nil {
				return err
			}
		}
	}
	return nil
}
