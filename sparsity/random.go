package sparsity

import "errors"

// Random gives every weight an independent uniform score: the control that any
// pruner has to beat.
type Random struct{}

// Name is "random".
func (Random) Name() string { return "random" }

// Unit is the single weight.
func (Random) Unit() Unit { return Weight }

// Scope is the layer.
func (Random) Scope() Scope { return PerLayer }

// Needs a stream of random numbers.
func (Random) Needs() Needs { return NeedsRandom }

// Score draws from U(0,1), one number per weight in the order of the layers.
func (Random) Score(in Input) ([]Scores, error) {
	if in.Rand == nil {
		return nil, errors.New("sparsity: the random pruner needs a stream of random numbers")
	}
	return scoreUnits(in, Weight, func(Layer, func(int) float64, int) float64 { return in.Rand.Float64() })
}

// Prune removes round-half-even(share·alive) weights.
func (p Random) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}
