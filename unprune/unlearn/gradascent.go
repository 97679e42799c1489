package unlearn

import (
	"context"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// GradientAscent (GA) climbs the loss of the samples to forget: SGD on -L_f +
// L1·‖θ‖₁, train mode. The objective has no bound, so few epochs at a small
// rate. Defaults: 5 epochs, rate 1e-4, batch 256, momentum 0.9, weight decay
// 5e-4 (Unlearn-Sparse unlearn/GA.py; L1: GA_l1 there).
type GradientAscent struct {
	// Eval uses running statistics, which then stay the original's, and Clip
	// bounds the gradient's norm: factor min(1, Clip/(‖g‖+1e-6)). With Eval, 9
	// epochs and Clip 0.1 it is Unified-Unlearning's gradient_ascent.py.
	Eval bool
	Clip float64 // 0: none

	L1 float64 // α, of the sum of absolute weights

	// Stop, in (0, 1], ends when the accuracy on the samples to forget is at
	// most that after an epoch; 0: never.
	Stop float64

	// Steps ends after so many steps; 0: no limit.
	Steps int
}

// Name is "ga".
func (GradientAscent) Name() string { return "ga" }

// Needs samples to forget.
func (GradientAscent) Needs() unprune.Needs { return unprune.NeedsForget }

var gradientAscent = recipe{epochs: 5, rate: 1e-4, batch: 256, optimizer: sgd(0.9, 5e-4)}

// Unlearn climbs.
func (u GradientAscent) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), gradientAscent)
	if err != nil {
		return err
	}
	if u.L1 != 0 {
		r.edits = append(r.edits, r.penalize(&u.L1))
	}
	if u.Clip != 0 {
		r.edits = append(r.edits, clip(u.Clip))
	}
	order, done := t.Stream("order"), false
	return r.epochs(func(_ int, rate float64) (err error) {
		for _, index := range unprune.Batches(order.Order(t.Forget), r.batch) {
			if done = done || u.Steps > 0 && r.taken >= u.Steps; done {
				return nil
			}
			if err := r.step(ctx, rate, unprune.Term{Data: t.Data, Index: index, Weight: -1, Eval: u.Eval}); err != nil {
				return err
			}
		}
		if u.Stop > 0 && !done {
			accuracy, err := accuracyOf(ctx, t, t.Data, t.Forget)
			done = accuracy <= u.Stop
			return err
		}
		return nil
	})
}

// accuracyOf is the share of rows that the network classifies right.
func accuracyOf(ctx context.Context, t *unprune.Task, d *data.Dataset, rows []int) (float64, error) {
	z, err := t.Engine.Logits(ctx, d, rows)
	if err != nil {
		return 0, err
	}
	percent, err := evalmetrics.Accuracy(z, pick(d.Y, rows))
	return percent / 100, err
}

// Info describes gradient ascent.
func (u *GradientAscent) Info() Info {
	return Info{
		About:  "climb the loss of the samples to forget",
		Good:   "cheapest of all; unbounded, so few epochs at a small rate; harms the rest quickly",
		Cost:   "epochs·n_f training samples",
		Source: "Thudi et al. 2022; Unlearn-Sparse unlearn/GA.py; Unified-Unlearning gradient_ascent.py",
		Recipe: gradientAscent.String(),
		Options: []Option{
			flag("eval", &u.Eval, "keep the running statistics of batch normalisation (Unified-Unlearning)"),
			number("clip", &u.Clip, 0, "global norm that gradients are clipped to, 0: none (Unified-Unlearning: 0.1)"),
			number("l1", &u.L1, 0, "weight of the sum of absolute weights (GA_l1)"),
			number("stop", &u.Stop, 0, "stop when the accuracy on the forgotten samples, 0 to 1, is at most that; 0: never"),
			integer("steps", &u.Steps, 0, "stop after so many steps; 0: no limit"),
		},
	}
}
