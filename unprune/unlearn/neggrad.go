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
	Alpha       float64 // 0: 0.95, negative: none
	ForgetBatch int     // 0: as for retained samples

	// Eval uses running statistics, and Anchor adds Alpha·(Anchor/2)·‖θ-θ_start‖²
	// in place of plain weight decay: the variant of the authors' notebook.
	Eval   bool
	Anchor float64
}

// Name is "neggrad+".
func (NegGradPlus) Name() string { return "neggrad+" }

// Needs both sets.
func (NegGradPlus) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

var negGradPlus = recipe{epochs: 10, rate: 0.01, batch: 256, optimizer: sgd(0, 0)}

// Unlearn takes the steps.
func (u NegGradPlus) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), negGradPlus)
	if err != nil {
		return err
	}
	alpha, size := orNone(u.Alpha, 0.95), r.forgetBatch(u.ForgetBatch)
	if u.Anchor != 0 {
		r.edits = append(r.edits, r.anchor(alpha*u.Anchor))
	}
	order, forget := t.Stream("order"), t.Stream("forget order")
	return r.epochs(func(_ int, rate float64) error {
		f := unprune.Batches(forget.Order(t.Forget), size)
		for i, index := range unprune.Batches(order.Order(t.Retain), r.batch) {
			err := r.step(ctx, rate,
				unprune.Term{Data: t.Data, Index: index, Weight: alpha, Eval: u.Eval},
				unprune.Term{Data: t.Data, Index: f[i%len(f)], Weight: alpha - 1, Eval: u.Eval})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// anchor returns the edit that pulls the weights back to where they are now.
func (r *run) anchor(rate float64) func(unprune.Vector) {
	w := r.Engine.Weights()
	origin := w.Vector()
	return func(g unprune.Vector) {
		for i, x := range w.Vector() {
			g[i] += float64(rate * (x - origin[i]))
		}
	}
}

// Info describes NegGrad+.
func (u *NegGradPlus) Info() Info {
	return Info{
		About:  "descend on retained and climb on forgotten samples at once",
		Good:   "strong and simple; the balance alpha decides between forgetting and accuracy",
		Cost:   "epochs·(n_r + ceil(n_r/batch)·forget batch) training samples",
		Source: "Kurmanji et al. 2023; meghdadk/SCRUB loops.py train_negrad",
		Recipe: negGradPlus.String(),
		Options: []Option{
			number("alpha", &u.Alpha, 0.95, "weight of the retained loss, the forgotten one's is 1-alpha; negative: none"),
			integer("forget-batch", &u.ForgetBatch, 0, "batch of forgotten samples; 0: as for retained ones"),
			flag("eval", &u.Eval, "use running statistics (the notebook's variant)"),
			number("anchor", &u.Anchor, 0, "decay towards the starting weights instead of zero (the notebook's variant: 5e-4)"),
		},
	}
}
