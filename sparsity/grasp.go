package sparsity

import "math"

// graspTemperature divides the logits before the loss (Wang et al. 2020, and
// their code).
const graspTemperature = 200

// GraSP keeps the weights whose removal would reduce the gradient flow ‖g‖²
// most: those with the lowest -w·(Hg), g gradient and H Hessian of the loss of
// the logits divided by 200 (Wang et al. 2020).
type GraSP struct {
	// Absolute ranks by |w·(Hg)|, as Unlearn-Sparse does (pruner/utils.py:
	// grasp_importance_score, through a cut that takes magnitudes).
	Absolute bool
}

// Name is "grasp".
func (GraSP) Name() string { return "grasp" }

// Unit is the single weight.
func (GraSP) Unit() Unit { return Weight }

// Scope is all layers.
func (GraSP) Scope() Scope { return Global }

// Needs the curvature.
func (GraSP) Needs() Needs { return NeedsCurvature }

// Score is w·(Hg): the published score with its sign turned, since here higher
// is worth more.
func (p GraSP) Score(in Input) ([]Scores, error) {
	hg, err := in.curvature(graspTemperature)
	if err != nil {
		return nil, err
	}
	return scoreProducts(in, hg, func(w, hg float64) float64 {
		if p.Absolute {
			return math.Abs(w * hg)
		}
		return w * hg
	})
}

// Prune removes round-half-even(share·alive) weights.
func (p GraSP) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}
