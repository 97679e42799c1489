package sparsity

import (
	"math"
	"slices"
)

// LTH is one round of lottery-ticket pruning as the un-pruning authors run it
// (SparseModels, main.py: prune_by_percentile): per layer, the threshold is a
// percentile of the alive magnitudes, and weights equal to it stay. A round is followed by
// rewinding to the initial weights and training; that belongs to the caller.
type LTH struct{}

// Name is "lth".
func (LTH) Name() string { return "lth" }

// Unit is the single weight.
func (LTH) Unit() Unit { return Weight }

// Scope is the layer.
func (LTH) Scope() Scope { return PerLayer }

// Needs nothing besides the weights.
func (LTH) Needs() Needs { return 0 }

// Score is |w|.
func (LTH) Score(in Input) ([]Scores, error) { return absolute(in) }

// Prune keeps an alive weight if its magnitude is at least the percentile
// 100·share of its layer's alive magnitudes. At least one weight of a layer stays.
func (LTH) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	if err := checkScores(scores, PerLayer); err != nil {
		return nil, err
	}
	masks := &Masks{}
	for i, units := range aliveUnits(scores, alive) {
		s := scores[i]
		if units.Count() > 0 {
			t := Percentile(kept(s.Values, units), 100*share)
			for j, v := range s.Values {
				units.Set(j, units.Get(j) && v >= t)
			}
		}
		masks.Set(s.Layer.Name, s.Layer.WeightMask(Weight, units))
	}
	return masks, nil
}

func kept(values []float64, m *Mask) []float64 {
	var r []float64
	for i := range m.Kept() {
		r = append(r, values[i])
	}
	return r
}

// Percentile is the value at rank (n-1)·p/100 of the sorted values, linearly interpolated
// between neighbours, 0 <= p <= 100 and at least one value. Values that are
// float32 numbers are interpolated in float32, as NumPy does, so that a
// threshold falls on the same side of every weight.
func Percentile(values []float64, p float64) float64 {
	n, work := len(values), slices.Clone(values)
	rank := float64(n-1) * p / 100
	lower := int(math.Floor(rank))
	a := nthLargest(work, n-lower)
	if lower == n-1 {
		return a
	}
	b, t := nthLargest(work, n-lower-1), rank-float64(lower)
	if single(a) && single(b) {
		return float64(between(float32(a), float32(b), float32(t)))
	}
	return between(a, b, t)
}

func single(v float64) bool { return float64(float32(v)) == v }

// between is a + (b-a)·t, measured from the nearer end as NumPy does.
func between[T float32 | float64](a, b, t T) T {
	if t < 0.5 {
		return a + T((b-a)*t)
	}
	return b - T((b-a)*(1-t))
}
