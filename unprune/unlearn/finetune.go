package unlearn

import (
	"context"

	"github.com/unprune/unprune/unprune"
)

// FineTune (FT) trains on the retained data alone and lets the rest fade:
// SGD on L_r, train mode. Defaults: 10 epochs, rate 0.01, batch 256, momentum
// 0.9, weight decay 5e-4 (Jia et al. 2023, Unlearn-Sparse unlearn/FT.py).
type FineTune struct{}

// Name is "ft".
func (FineTune) Name() string { return "ft" }

// Needs retained data.
func (FineTune) Needs() unprune.Needs { return unprune.NeedsRetain }

// Unlearn fine-tunes the engine's network.
func (u FineTune) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := prescribed(t, recipe{epochs: 10, rate: 0.01, batch: 256, optimizer: sgd(0.9, 5e-4)})
	if err != nil {
		return err
	}
	order := t.Stream("order")
	return epochs(t, u.Name(), r, func(_ int, rate float64) error {
		return pass(ctx, t, t.Retain, r.batch, rate, order, func(index []int) unprune.Term {
			return unprune.Term{Data: t.Data, Index: index, Weight: 1}
		})
	})
}
