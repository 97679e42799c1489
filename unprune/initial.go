package unprune

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// DrawInitial draws initial weights as PyTorch's Conv and Linear layers do:
// weights and biases uniform in ±1/sqrt(fan in). Networks with other
// parameters (normalisation, embeddings) are an error: their initial values
// are not a matter of shape.
func DrawInitial(e Engine, r *rand.Rand) (*Weights, error) {
	layers := map[string]sparsity.Layer{}
	for _, l := range e.Layers() {
		layers[l.Name] = l
	}
	drawn := NewWeights()
	bound, outputs := 0.0, -1 // of the layer whose weight came last
	for _, name := range e.Weights().Names {
		t := e.Weights().Tensors[name]
		if l, ok := layers[name]; ok {
			bound, outputs = 1/math.Sqrt(float64(fanIn(l))), l.Units(sparsity.Filter)
		} else if t.Len() != outputs || e.Weights().Stats[name] {
			return nil, fmt.Errorf("unprune: the initial value of %q is unknown; give the initial weights", name)
		} else {
			outputs = -1 // one bias a layer
		}
		d := onnx.NewTensor(t.DType, t.Shape...)
		d.Name = name
		for i := range d.Len() {
			set(d, i, bound*(2*r.Float64()-1))
		}
		drawn.Add(name, d, false)
	}
	return drawn, nil
}
