package sparsity

import (
	"fmt"
	"math"
	"slices"
)

// Scope is the group within which units compete.
type Scope int

// The scopes.
const (
	PerLayer Scope = iota
	Global         // all layers together
)

// String names the scope for messages.
func (s Scope) String() string {
	if s == Global {
		return "global"
	}
	return "per layer"
}

// Target says how many units a cut keeps: per layer, in the order of the
// scores, or one total.
type Target struct {
	Scope Scope
	Keep  []int
}

// TargetOf is the target that the masks meet now, so that cutting anew keeps
// as many units as before.
func TargetOf(scores []Scores, scope Scope, masks *Masks) Target {
	t := Target{Scope: scope}
	for _, n := range aliveUnits(scores, masks) {
		t.add(n.Count())
	}
	return t
}

// add accounts for keep units of the next layer.
func (t *Target) add(keep int) {
	if t.Scope == Global && len(t.Keep) == 1 {
		t.Keep[0] += keep
		return
	}
	t.Keep = append(t.Keep, keep)
}

// aliveUnits are the units of each layer that the masks keep; all of them
// where there is no mask.
func aliveUnits(scores []Scores, masks *Masks) []*Mask {
	alive := make([]*Mask, len(scores))
	for i, s := range scores {
		var m *Mask
		if masks != nil {
			m = masks.Get(s.Layer.Name)
		}
		if m == nil {
			alive[i] = FullMask(len(s.Values))
		} else {
			alive[i] = s.Layer.UnitMask(s.Unit, m)
		}
	}
	return alive
}

// Cut keeps the units with the highest scores, as many as the target says, and
// returns masks over weights.
func Cut(scores []Scores, target Target) (*Masks, error) {
	groups := groupsOf(scores, target.Scope)
	if len(groups) != len(target.Keep) {
		return nil, fmt.Errorf("sparsity: target for %d groups, there are %d", len(target.Keep), len(groups))
	}
	masks := &Masks{}
	for g, group := range groups {
		values, err := pool(group)
		if err != nil {
			return nil, err
		}
		if k := target.Keep[g]; k < 0 || k > len(values) {
			return nil, fmt.Errorf("sparsity: cannot keep %d of the %d units of %q", k, len(values), group[0].Layer.Name)
		}
		split(group, TopK(values, target.Keep[g]), masks)
	}
	return masks, nil
}

// groupsOf splits the scores into the groups within which units compete.
func groupsOf(scores []Scores, scope Scope) [][]Scores {
	if scope == Global && len(scores) > 0 {
		return [][]Scores{scores}
	}
	var groups [][]Scores
	for i := range scores {
		groups = append(groups, scores[i:i+1])
	}
	return groups
}

// pool puts the scores of a group in one list. Their order is that of the tie
// rule.
func pool(group []Scores) ([]float64, error) {
	var values []float64
	for _, s := range group {
		if len(s.Values) != s.Layer.Units(s.Unit) {
			return nil, fmt.Errorf("sparsity: %d scores for the %d %ss of %q", len(s.Values), s.Layer.Units(s.Unit), s.Unit, s.Layer.Name)
		}
		for i, v := range s.Values {
			if math.IsNaN(v) {
				return nil, fmt.Errorf("sparsity: the score of %s %d of %q is not a number", s.Unit, i, s.Layer.Name)
			}
		}
		values = append(values, s.Values...)
	}
	return values, nil
}

// split hands the kept units of a group back to its layers.
func split(group []Scores, kept *Mask, masks *Masks) {
	start := 0
	for _, s := range group {
		units := NewMask(len(s.Values))
		for i := range s.Values {
			units.Set(i, kept.Get(start+i))
		}
		start += len(s.Values)
		masks.Set(s.Layer.Name, s.Layer.WeightMask(s.Unit, units))
	}
}

// TopK returns the mask of the k largest values; among equal ones the lower
// index is kept. Values must not be NaN; k is between 0 and len(values), or
// TopK panics.
func TopK(values []float64, k int) *Mask {
	m := NewMask(len(values))
	if k == 0 {
		return m
	}
	t := nthLargest(slices.Clone(values), k)
	for i, v := range values {
		if v > t {
			m.Set(i, true)
			k--
		}
	}
	for i, v := range values {
		if v == t && k > 0 {
			m.Set(i, true)
			k--
		}
	}
	return m
}

// nthLargest returns the k-th largest value, k from 1; it reorders values.
// Quickselect with three-way partition, since many scores may be equal.
func nthLargest(values []float64, k int) float64 {
	lo, hi := 0, len(values) // the answer is in values[lo:hi], k counts from lo
	for hi-lo > 12 {
		pivot := medianOfThree(values[lo], values[(lo+hi)/2], values[hi-1])
		above, i, below := lo, lo, hi // [lo,above) > pivot, [above,i) == pivot, [below,hi) < pivot
		for i < below {
			switch v := values[i]; {
			case v > pivot:
				values[i], values[above] = values[above], v
				above++
				i++
			case v < pivot:
				below--
				values[i], values[below] = values[below], v
			default:
				i++
			}
		}
		switch {
		case k <= above-lo:
			hi = above
		case k <= below-lo:
			return pivot
		default:
			k -= below - lo
			lo = below
		}
	}
	slices.Sort(values[lo:hi])
	return values[hi-k]
}

func medianOfThree(a, b, c float64) float64 {
	return max(min(a, b), min(max(a, b), c))
}
