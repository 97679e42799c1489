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

var retrain = recipe{epochs: 182, rate: 0.1, batch: 256, optimizer: sgd(0.9, 5e-4), steps: []int{91, 136}}

// Unlearn retrains the engine's network.
func (u Retrain) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), retrain)
	if err != nil {
		return err
	}
	if err := t.Engine.Weights().Set(t.Initial); err != nil {
		return err
	}
	if err := t.Engine.Mask(); err != nil {
		return err
	}
	order := t.Stream("order")
	return r.epochs(func(_ int, rate float64) error { return r.retain(ctx, rate, order) })
}

// Info describes retraining.
func (u *Retrain) Info() Info {
	return Info{
		About:  "train again from the initial weights on the retained data",
		Good:   "exact, the standard that others are measured by; costs as much as the original training",
		Cost:   "epochs·n_r training samples",
		Source: "Unlearn-Sparse unlearn/retrain.py",
		Recipe: retrain.String(),
	}
}
