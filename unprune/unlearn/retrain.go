package unlearn

import (
	"context"

	"github.com/unprune/unprune/unprune"
)

// Retrain starts again from theta_0 and trains on the retained data: exact
// unlearning, at full cost. The engine's masks hold, so within a loop it is
// retraining with the old or the grown mask. Defaults: 182 epochs, rate 0.1,
// times 0.1 at epochs 91 and 136, batch 256, momentum 0.9, weight decay 5e-4
// (Unlearn-Sparse). A number of epochs that the task prescribes is annealed
// by a cosine.
type Retrain struct{}

// Name is "retrain".
func (Retrain) Name() string { return "retrain" }

// Needs retained data and theta_0.
func (Retrain) Needs() unprune.Needs { return unprune.NeedsRetain | unprune.NeedsInitial }

// Unlearn retrains the engine's network.
func (u Retrain) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := prescribed(t, recipe{epochs: 182, rate: 0.1, batch: 256, optimizer: sgd(0.9, 5e-4)})
	if err != nil {
		return err
	}
	if t.Epochs == 0 && t.Schedule == nil {
		r.schedule = unprune.Steps(r.rate, 91, 136)
	}
	if err := t.Engine.Weights().Set(t.Initial); err != nil {
		return err
	}
	if err := t.Engine.Mask(); err != nil {
		return err
	}
	order := t.Stream("order")
	return epochs(t, u.Name(), r, func(_ int, rate float64) error {
		return pass(ctx, t, t.Retain, r.batch, rate, order, func(index []int) unprune.Term {
			return unprune.Term{Data: t.Data, Index: index, Weight: 1}
		})
	})
}
