package sparsity

import "github.com/unprune/unprune/onnx"

// Taylor scores a unit by the square of the loss change that its removal
// causes to first order, added up over batches: Σ_b (Σ w·g_b)² over the unit's
// weights (Molchanov et al. 2019).
type Taylor struct {
	Filters   bool // whole filters instead of single weights
	Layerwise bool // units compete within their layer, not across layers
}

// Name is "taylor" or "taylor-filter".
func (p Taylor) Name() string {
	if p.Filters {
		return "taylor-filter"
	}
	return "taylor"
}

// Unit is the weight or the filter.
func (p Taylor) Unit() Unit {
	if p.Filters {
		return Filter
	}
	return Weight
}

// Scope is all layers, or the layer.
func (p Taylor) Scope() Scope {
	if p.Layerwise {
		return PerLayer
	}
	return Global
}

// Needs gradients.
func (Taylor) Needs() Needs { return NeedsGradients }

// Score is Σ_b (Σ w·g_b)².
func (p Taylor) Score(in Input) ([]Scores, error) {
	sums, err := scoreUnits(in, p.Unit(), func(Layer, func(int) float64, int) float64 { return 0 })
	if err != nil {
		return nil, err
	}
	batches, err := in.gradients()
	if err != nil {
		return nil, err
	}
	for g, err := range batches {
		if err != nil {
			return nil, err
		}
		for _, s := range sums {
			if err := addSquares(s, g); err != nil {
				return nil, err
			}
		}
	}
	return sums, nil
}

// addSquares adds (Σ w·g)² of each unit to its score.
func addSquares(s Scores, gradients map[string]*onnx.Tensor) error {
	g, err := beside(s.Layer, gradients)
	if err != nil {
		return err
	}
	w := s.Layer.at()
	for u := range s.Values {
		sum := 0.0
		for i := range s.Layer.Indices(s.Unit, u) {
			sum += float64(w(i) * g(i))
		}
		s.Values[u] += float64(sum * sum)
	}
	return nil
}

// Prune removes round-half-even(share·alive) units.
func (p Taylor) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}
