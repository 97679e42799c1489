package sparsity

import "math"

// SFP scores a filter by ‖w‖₂ (He et al. 2018; soft-filter-pruning,
// pruning_cifar10_resnet.py). In training the cut is made anew every epoch and
// pruned filters go on learning; the last cut is the hard one.
type SFP struct {
	// ReferenceCount counts int(F·(1-rate)) with rate = 1-share, the share
	// kept, in floating point as the reference does: int(10·(1-.9)) is 0.
	ReferenceCount bool
}

// Name is "sfp".
func (SFP) Name() string { return "sfp" }

// Unit is the filter.
func (SFP) Unit() Unit { return Filter }

// Scope is the layer.
func (SFP) Scope() Scope { return PerLayer }

// Needs nothing besides the weights.
func (SFP) Needs() Needs { return 0 }

// Score is ‖w‖₂ of each filter.
func (SFP) Score(in Input) ([]Scores, error) { return FilterL2.Score(in) }

// Prune removes floor(share·alive) filters of each layer.
func (p SFP) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, p.count)
}

func (p SFP) count(n int, share float64) int {
	if p.ReferenceCount {
		rate := 1 - share
		return int(float64(n) * (1 - rate))
	}
	return floorCount(n, share)
}

// floorCount is floor(share·n), forgiving the rounding of a share such as 1-.9.
func floorCount(n int, share float64) int {
	return int(math.Floor(share*float64(n) + 1e-9))
}
