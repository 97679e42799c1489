package sparsity

import (
	"fmt"
	"math"
)

// FPGM scores a filter by the sum of its Euclidean distances to the others: a
// filter near the geometric median can be replaced by them (He et al. 2019;
// filter-pruning-geometric-median, pruning_cifar10.py).
type FPGM struct {
	// NormDrop is the share of filters that is removed first for their low
	// L2 norm; distances are then taken among the rest. 0: none.
	NormDrop float64
	// ReferenceCount counts in floating point as the reference does, so that
	// int(10·(1-.9)) is 0.
	ReferenceCount bool
}

// Name is "fpgm".
func (FPGM) Name() string { return "fpgm" }

// Unit is the filter.
func (FPGM) Unit() Unit { return Filter }

// Scope is the layer.
func (FPGM) Scope() Scope { return PerLayer }

// Needs nothing besides the weights.
func (FPGM) Needs() Needs { return 0 }

// Score is Σ‖w_f-w_g‖₂ over the other filters g. Filters dropped for their norm
// score below all others, between -1 and 0 in the order of their norms.
func (p FPGM) Score(in Input) ([]Scores, error) {
	if p.NormDrop < 0 || p.NormDrop >= 1 {
		return nil, fmt.Errorf("sparsity: fpgm cannot drop a share of %v by norm: it must be at least 0 and below 1", p.NormDrop)
	}
	scores, err := FilterL2.Score(in)
	if err != nil {
		return nil, err
	}
	for _, s := range scores {
		drop := p.count(len(s.Values), p.NormDrop)
		rest := TopK(s.Values, len(s.Values)-drop)
		sums := distanceSums(s.Layer, rest)
		for f, norm := range s.Values {
			if s.Values[f] = sums[f]; !rest.Get(f) {
				s.Values[f] = -1 / (1 + norm)
			}
		}
	}
	return scores, nil
}

// distanceSums adds up, for each filter in the subset, its distances to the others of it.
func distanceSums(l Layer, subset *Mask) []float64 {
	at := l.at()
	filters := make([][]float64, subset.Len())
	for f := range subset.Kept() {
		for i := range l.Indices(Filter, f) {
			filters[f] = append(filters[f], at(i))
		}
	}
	sums := make([]float64, subset.Len())
	for f := range subset.Kept() {
		for g := range f {
			if subset.Get(g) {
				d := distance(filters[f], filters[g])
				sums[f] += d
				sums[g] += d
			}
		}
	}
	return sums
}

func distance(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		d := v - b[i]
		sum += float64(d * d)
	}
	return math.Sqrt(sum)
}

// Prune removes floor(share·alive) filters of each layer besides those dropped
// for their norm.
func (p FPGM) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, func(n int, share float64) int {
		return min(n, p.count(n, p.NormDrop)+p.count(n, share))
	})
}

func (p FPGM) count(n int, share float64) int {
	if p.ReferenceCount {
		return int(share * float64(n))
	}
	return floorCount(n, share)
}
