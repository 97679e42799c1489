package sparsity

import "math"

// Wanda scores a weight by |w|·‖x‖₂, x all the values that it multiplies on
// the scoring samples; weights of one output unit compete (Sun et al. 2023).
type Wanda struct{}

// Name is "wanda".
func (Wanda) Name() string { return "wanda" }

// Unit is the single weight.
func (Wanda) Unit() Unit { return Weight }

// Scope is the output unit.
func (Wanda) Scope() Scope { return PerRow }

// Needs the norms of the inputs.
func (Wanda) Needs() Needs { return NeedsInputNorms }

// Score is |w|·‖x‖₂.
func (Wanda) Score(in Input) ([]Scores, error) {
	if err := checkRows(in.Layers); err != nil {
		return nil, err
	}
	norms, err := in.inputNorms()
	if err != nil {
		return nil, err
	}
	return scoreProducts(in, norms, func(w, x float64) float64 { return math.Abs(w) * x })
}

// Prune removes round-half-even(share·alive) weights of each output unit.
func (p Wanda) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}
