package sparsity

import "math"

// Magnitude scores a weight by |w|, within its layer or across all layers (Han
// et al. 2015; the counts are those of torch.nn.utils.prune).
type Magnitude struct {
	Global bool // weights of all layers compete
}

// Name is "magnitude" or "global-magnitude".
func (p Magnitude) Name() string {
	if p.Global {
		return "global-magnitude"
	}
	return "magnitude"
}

// Unit is the single weight.
func (Magnitude) Unit() Unit { return Weight }

// Scope is the layer, or all layers.
func (p Magnitude) Scope() Scope {
	if p.Global {
		return Global
	}
	return PerLayer
}

// Needs nothing besides the weights.
func (Magnitude) Needs() Needs { return 0 }

// Score is |w|.
func (Magnitude) Score(in Input) ([]Scores, error) { return absolute(in) }

// Prune removes round-half-even(share·alive) weights.
func (p Magnitude) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}

func absolute(in Input) ([]Scores, error) {
	return scoreUnits(in, Weight, func(_ Layer, w func(int) float64, i int) float64 { return math.Abs(w(i)) })
}
