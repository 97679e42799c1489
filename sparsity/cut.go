package sparsity

import (
	"fmt"
	"math"
	"slices"
)

// Scope is the group within which units compete. A positive number m stands
// for groups of m consecutive inputs of one output unit, at one kernel
// position: those of N:M sparsity. The last group of a row may be smaller.
type Scope int

// The scopes that span more than a few weights.
const (
	PerLayer Scope = 0
	Global   Scope = -1 // all layers together
	PerRow   Scope = -2 // the weights of one output unit
)

// String names the scope for messages.
func (s Scope) String() string {
	switch {
	case s > 0:
		return fmt.Sprintf("per %d inputs", int(s))
	case s == Global:
		return "global"
	case s == PerRow:
		return "per output unit"
	}
	return "per layer"
}

// Target says how many units a cut keeps in each group: per layer in the order
// of the scores, within a layer per output unit, within that per kernel
// position and run of inputs; or one total.
type Target struct {
	Scope Scope
	Keep  []int
}

// TargetOf is the target that the masks meet now, so that cutting anew keeps
// as many units as before.
func TargetOf(scores []Scores, scope Scope, masks *Masks) Target {
	t := Target{Scope: scope}
	alive := aliveUnits(scores, masks)
	for g := range groupsOf(scores, scope) {
		t.Keep = append(t.Keep, g.count(alive))
	}
	return t
}

// PerLayer is how many units of each layer the target keeps in all its groups.
// A global target has no such numbers.
func (t Target) PerLayer(scores []Scores) []int {
	keep, next := make([]int, len(scores)), 0
	for g := range groupsOf(scores, t.Scope) {
		keep[g.first] += t.Keep[next]
		next++
	}
	return keep
}

// Times is the target that keeps several times as many units of each group, or
// all of them.
func (t Target) Times(factor int, scores []Scores) Target {
	all := TargetOf(scores, t.Scope, nil)
	for g, n := range all.Keep {
		all.Keep[g] = min(factor*t.Keep[g], n)
	}
	return all
}

// aliveUnits are the units of each layer or group that the masks keep; all of
// them where there is no mask.
func aliveUnits(scores []Scores, masks *Masks) []*Mask {
	alive := make([]*Mask, len(scores))
	for i, s := range scores {
		alive[i] = s.alive(masks)
	}
	return alive
}

// Grow returns masks that keep, besides what they kept, further units of each
// layer or group: more has a mask over units per entry of the scores, nil for
// none.
func Grow(scores []Scores, masks *Masks, more []*Mask) *Masks {
	before, after := &Masks{}, &Masks{}
	for i, units := range aliveUnits(scores, masks) {
		scores[i].spread(units, before)
		if more[i] != nil {
			units = units.Or(more[i])
		}
		scores[i].spread(units, after)
	}
	out := masks.Clone()
	for name, m := range after.All() {
		if old := masks.Get(name); old != nil {
			out.Set(name, old.Or(m.AndNot(before.Get(name))))
		}
	}
	return out
}

// Alive are the units of each layer or group that the masks keep.
func Alive(scores []Scores, masks *Masks) []*Mask { return aliveUnits(scores, masks) }

// Cut keeps the units with the highest scores, as many as the target says, and
// returns masks over weights.
func Cut(scores []Scores, target Target) (*Masks, error) {
	if err := checkScores(scores, target.Scope); err != nil {
		return nil, err
	}
	units := make([]*Mask, len(scores))
	for i, s := range scores {
		units[i] = NewMask(len(s.Values))
	}
	next := 0
	for g := range groupsOf(scores, target.Scope) {
		if next == len(target.Keep) {
			return nil, fmt.Errorf("sparsity: a target for %d groups, there are more", next)
		}
		values, k := g.values(scores), target.Keep[next]
		if k < 0 || k > len(values) {
			return nil, fmt.Errorf("sparsity: cannot keep %d of the %d units of %q", k, len(values), scores[g.first].Layer.Name)
		}
		g.set(TopK(values, k), units)
		next++
	}
	if next != len(target.Keep) {
		return nil, fmt.Errorf("sparsity: a target for %d groups, there are %d", len(target.Keep), next)
	}
	masks := &Masks{}
	for i, s := range scores {
		s.spread(units[i], masks)
	}
	return masks, nil
}

// checkScores reports scores that cannot be ranked within the scope.
func checkScores(scores []Scores, scope Scope) error {
	for _, s := range scores {
		if scope > 0 || scope == PerRow {
			if s.Unit != Weight {
				return fmt.Errorf("sparsity: %ss of %q cannot compete %s; weights can", s.Unit, s.Layer.Name, scope)
			}
			if err := s.Layer.check(Filter); err != nil {
				return err
			}
		}
		if len(s.Values) != s.units() {
			return fmt.Errorf("sparsity: %d scores for the %d %ss of %q", len(s.Values), s.units(), s.Unit, s.Layer.Name)
		}
		for i, v := range s.Values {
			if math.IsNaN(v) {
				return fmt.Errorf("sparsity: the score of %s %d of %q is not a number", s.Unit, i, s.Layer.Name)
			}
		}
	}
	return nil
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
