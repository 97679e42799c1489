package sparsity

import "math"

// SynFlow scores a weight by its part in the sum R of the outputs that the
// network of absolute values has for an input of ones: |w·∂R/∂w| (Tanaka et
// al. 2020). It needs no data. Pruning takes 100 rounds, each with scores
// under the masks so far; [PlanOf] says so.
type SynFlow struct {
	// Exact makes the last round end at the exact count. Without it the
	// rounds' own rounding adds up, as in the reference: of 252 weights, 108
	// stay instead of 101 at a share of 0.6.
	Exact bool
}

// Name is "synflow".
func (SynFlow) Name() string { return "synflow" }

// Unit is the single weight.
func (SynFlow) Unit() Unit { return Weight }

// Scope is all layers.
func (SynFlow) Scope() Scope { return Global }

// Needs the flow.
func (SynFlow) Needs() Needs { return NeedsFlow }

// Score is |w·∂R/∂w|.
func (SynFlow) Score(in Input) ([]Scores, error) {
	flow, err := in.flow()
	if err != nil {
		return nil, err
	}
	return scoreProducts(in, flow, func(w, d float64) float64 { return math.Abs(w * d) })
}

// Prune is one round: it removes round-half-even(share·alive) weights.
func (p SynFlow) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}

// Plan is 100 rounds of equal shares of what is alive.
func (p SynFlow) Plan() Plan { return Plan{Schedule: Iterative, Rounds: 100, Exact: p.Exact} }
