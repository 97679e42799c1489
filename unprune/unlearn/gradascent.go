package unlearn

import (
	"context"

	"github.com/unprune/unprune/unprune"
)

// GradientAscent (GA) climbs the loss of the samples to forget: SGD on -L_f,
// train mode. The objective has no bound, so few epochs at a small rate.
// Defaults: 5 epochs, rate 1e-4, batch 256, momentum 0.9, weight decay 5e-4
// (Unlearn-Sparse unlearn/GA.py).
type GradientAscent struct {
	// Eval uses running statistics, which then stay the original's
	// (Unified-Unlearning gradient_ascent.py).
	Eval bool
}

// Name is "ga".
func (GradientAscent) Name() string { return "ga" }

// Needs samples to forget.
func (GradientAscent) Needs() unprune.Needs { return unprune.NeedsForget }

// Unlearn climbs.
func (u GradientAscent) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := prescribed(t, recipe{epochs: 5, rate: 1e-4, batch: 256, optimizer: sgd(0.9, 5e-4)})
	if err != nil {
		return err
	}
	order := t.Stream("order")
	return epochs(t, u.Name(), r, func(_ int, rate float64) error {
		return pass(ctx, t, t.Forget, r.batch, rate, order, func(index []int) unprune.Term {
			return unprune.Term{Data: t.Data, Index: index, Weight: -1, Eval: u.Eval}
		})
	})
}
