package unlearn

import (
	"context"
	"strings"

	"github.com/unprune/unprune/unprune"
)

// FineTune (FT) trains on the retained data alone and lets the rest fade:
// SGD on L_r, train mode. Defaults: 10 epochs, rate 0.01, batch 256, momentum
// 0.9, weight decay 5e-4 (Jia et al. 2023, Unlearn-Sparse unlearn/FT.py).
type FineTune struct {
	// Saliency, if not nil, restricts the training to the parameters that
	// matter most for the forgotten data (SalUn repository, unlearn/FT.py).
	Saliency *Saliency

	// FreezeNegative zeroes the gradient of weights below 1e-6, negative ones
	// included, in tensors named "weight": a slip in the training step of the
	// un-pruning authors' code, here for comparison with their results.
	FreezeNegative bool
}

// Name is "ft".
func (FineTune) Name() string { return "ft" }

// Needs retained data, and with a saliency samples to forget.
func (u FineTune) Needs() unprune.Needs {
	if u.Saliency != nil {
		return unprune.NeedsRetain | unprune.NeedsForget
	}
	return unprune.NeedsRetain
}

var fineTune = recipe{epochs: 10, rate: 0.01, batch: 256, optimizer: sgd(0.9, 5e-4)}

// Unlearn fine-tunes the engine's network.
func (u FineTune) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), fineTune)
	if err != nil {
		return err
	}
	if u.FreezeNegative {
		r.edits = append(r.edits, r.freezeNegative)
	}
	if u.Saliency != nil {
		if err := u.Saliency.hold(ctx, r); err != nil {
			return err
		}
	}
	order := t.Stream("order")
	return r.epochs(func(_ int, rate float64) error { return r.retain(ctx, rate, order) })
}

// freezeNegative is the edit of FineTune.FreezeNegative.
func (r *run) freezeNegative(g unprune.Vector) {
	w := r.Engine.Weights()
	v := w.Vector()
	for _, p := range w.Parts() {
		if !strings.Contains(p.Name, "weight") {
			continue
		}
		for i, x := range p.Of(v) {
			if x < 1e-6 {
				p.Of(g)[i] = 0
			}
		}
	}
}

// Info describes fine-tuning.
func (u *FineTune) Info() Info {
	return Info{
		About:  "train on the retained data and let the rest fade",
		Good:   "gentle, needs no forgotten sample; weak on samples that the retained data resemble",
		Cost:   "epochs·n_r training samples",
		Source: "Jia et al. 2023; Unlearn-Sparse unlearn/FT.py",
		Recipe: fineTune.String(),
		Options: []Option{
			saliencyOption(&u.Saliency),
			flag("freeze-negative", &u.FreezeNegative, "zero the gradient of weights below 1e-6, as the un-pruning authors' code does by a slip"),
		},
	}
}
