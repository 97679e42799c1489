package unlearn

import (
	"context"

	"github.com/unprune/unprune/unprune"
)

// NegGradPlus (NegGrad+) descends on retained and climbs on forgotten samples
// at once: per retain batch R_i, with the forget batch F_(i mod m), one step
// on Alpha·L_R - (1-Alpha)·L_F, two forward passes, train mode (Kurmanji et
// al. 2023, train_negrad). Defaults: alpha 0.95, 10 epochs, rate 0.01, batch
// 256, plain SGD.
type NegGradPlus struct {
	Alpha       float64 // 0: 0.95
	ForgetBatch int     // 0: as for retained samples
}

// Name is "neggrad+".
func (NegGradPlus) Name() string { return "neggrad+" }

// Needs both sets.
func (NegGradPlus) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

// Unlearn takes the steps.
func (u NegGradPlus) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := prescribed(t, recipe{epochs: 10, rate: 0.01, batch: 256, optimizer: sgd(0, 0)})
	if err != nil {
		return err
	}
	alpha, size := u.Alpha, u.ForgetBatch
	if alpha == 0 {
		alpha = 0.95
	}
	if size == 0 {
		size = r.batch
	}
	order, forget := t.Stream("order"), t.Stream("forget order")
	return epochs(t, u.Name(), r, func(_ int, rate float64) error {
		f := unprune.Batches(forget.Order(t.Forget), size)
		for i, index := range unprune.Batches(order.Order(t.Retain), r.batch) {
			_, err := t.Engine.Step(ctx, rate,
				unprune.Term{Data: t.Data, Index: index, Weight: alpha},
				unprune.Term{Data: t.Data, Index: f[i%len(f)], Weight: alpha - 1})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
