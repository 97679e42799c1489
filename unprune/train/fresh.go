package train

import (
	"math"
	"math/rand/v2"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/unprune"
)

// Fresh draws the weights of an untrained network, as PyTorch initialises its
// layers: weights and biases of convolutions and linear layers uniform in
// ±1/sqrt(fan in), scales one, shifts zero, running mean zero and variance one.
// Embeddings and other parameters are standard normal, times 0.02.
func (e *Engine) Fresh(r *rand.Rand) *unprune.Weights {
	w := e.weights.Clone()
	bound := 0.0 // of the layer whose weight came last
	for _, name := range w.Names {
		p, t := e.model.Param(name), w.Tensors[name]
		draw := func() float64 { return 0.02 * r.NormFloat64() }
		switch p.Role {
		case pass.Weight:
			bound = 1 / math.Sqrt(float64(max(1, t.Len()/max(1, t.Shape[p.OutAxis]))))
			draw = func() float64 { return bound * (2*r.Float64() - 1) }
		case pass.Bias:
			draw = func() float64 { return bound * (2*r.Float64() - 1) }
		case pass.Scale, pass.Variance:
			draw = func() float64 { return 1 }
		case pass.Shift, pass.Mean:
			draw = func() float64 { return 0 }
		}
		for i := range t.Len() {
			setElement(t, i, draw())
		}
	}
	return w
}
