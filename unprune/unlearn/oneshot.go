package unlearn

import (
	"context"
	"fmt"

	"github.com/unprune/unprune/unprune"
)

// What methods that write the weights once have in common.

// settle replaces the trainable parameters by v, masked; the old ones stay if v
// is not finite or its norm exploded.
func settle(t *unprune.Task, name string, v unprune.Vector) error {
	w := t.Engine.Weights()
	old, limit := w.Vector(), normLimit(w)
	w.SetVector(v)
	if err := sound(w, limit); err != nil {
		w.SetVector(old)
		return fmt.Errorf("unlearn: %s: %w", name, err)
	}
	return t.Engine.Mask()
}

// curvature is the task's engine, if it computes what is needed.
func curvature(t *unprune.Task, name string) (unprune.Curvature, error) {
	if c, ok := t.Engine.(unprune.Curvature); ok {
		return c, nil
	}
	return nil, fmt.Errorf("unlearn: %s needs an engine that computes gradients of single samples and Hessian-vector products", name)
}

// Noise fills z with standard normal numbers for a parameter.
type Noise func(param string, z []float64)

// noise is the hook, or draws from the task's stream "noise".
func noise(t *unprune.Task, name string, hook Noise) (Noise, error) {
	if hook != nil {
		return hook, nil
	}
	stream := t.Stream("noise")
	if stream.Rand == nil {
		return nil, fmt.Errorf("unlearn: %s: drawing noise needs a stream of random numbers", name)
	}
	return func(_ string, z []float64) {
		for i := range z {
			z[i] = stream.NormFloat64()
		}
	}, nil
}

// disturb adds noise with standard deviation sd[i] to v[i].
func disturb(w *unprune.Weights, v, sd unprune.Vector, draw Noise) {
	for _, p := range w.Parts() {
		z := make([]float64, p.Tensor.Len())
		draw(p.Name, z)
		for i, s := range p.Of(sd) {
			p.Of(v)[i] += float64(s * z[i])
		}
	}
}

// meanGradient is the gradient of the mean loss over rows, eval mode.
func meanGradient(ctx context.Context, t *unprune.Task, rows []int, batch int) (unprune.Vector, error) {
	var terms []unprune.Term
	for _, index := range unprune.Batches(rows, batch) {
		terms = append(terms, unprune.Term{
			Data: t.Data, Index: index, Eval: true,
			Weight: float64(len(index)) / float64(len(rows)),
		})
	}
	g, err := t.Engine.Gradient(ctx, terms...)
	if err != nil {
		return nil, err
	}
	return t.Engine.Weights().Flatten(g), nil
}
