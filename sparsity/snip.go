package sparsity

import "math"

// SNIP scores a weight by how much the loss changes when it goes, to first
// order: |w·g|, g the gradient on one balanced batch (Lee et al. 2019; 25
// samples of each class).
type SNIP struct {
	// GradientOnly scores by |g| alone, as Unlearn-Sparse does
	// (pruner/utils.py: snip_importance_score).
	GradientOnly bool
}

// Name is "snip".
func (SNIP) Name() string { return "snip" }

// Unit is the single weight.
func (SNIP) Unit() Unit { return Weight }

// Scope is all layers.
func (SNIP) Scope() Scope { return Global }

// Needs gradients.
func (SNIP) Needs() Needs { return NeedsGradients }

// Score is |w·g|.
func (p SNIP) Score(in Input) ([]Scores, error) {
	g, err := in.gradient()
	if err != nil {
		return nil, err
	}
	return scoreProducts(in, g, func(w, g float64) float64 {
		if p.GradientOnly {
			return math.Abs(g)
		}
		return math.Abs(w * g)
	})
}

// Prune removes round-half-even(share·alive) weights.
func (p SNIP) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}
