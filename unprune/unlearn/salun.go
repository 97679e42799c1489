package unlearn

import (
	"context"
	"fmt"
	"math"

	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
)

// A Saliency is the set of the parameters, biases and normalisation included,
// that matter most for the forgotten data: the floor(Ratio·N) largest |G|, G
// the sum over forget batches of the gradient of the batch-mean loss, eval mode
// (Fan et al. 2024, generate_mask.py). Equal values: the lower position.
type Saliency struct {
	Ratio float64 // r; 0: 0.5
	Batch int     // of forget samples; 0: as in training

	// Freeze holds the parameters outside at their values. Otherwise only their
	// gradient is zeroed, and weight decay and momentum still move them.
	Freeze bool
}

// Mask returns the set: 1 inside, 0 outside.
func (s Saliency) Mask(ctx context.Context, t *unprune.Task) (unprune.Vector, error) {
	if !(s.Ratio >= 0 && s.Ratio <= 1) {
		return nil, fmt.Errorf("unlearn: saliency ratio %g: want a share from 0 to 1", s.Ratio)
	}
	size := or(s.Batch, or(t.Batch, 256))
	var terms []unprune.Term
	for _, index := range unprune.Batches(t.Forget, size) {
		terms = append(terms, unprune.Term{Data: t.Data, Index: index, Weight: 1, Eval: true})
	}
	grads, err := t.Engine.Gradient(ctx, terms...)
	if err != nil {
		return nil, err
	}
	g := t.Engine.Weights().Flatten(grads)
	for i, x := range g {
		if g[i] = math.Abs(x); math.IsNaN(x) {
			return nil, fmt.Errorf("unlearn: the gradient on the forgotten data is not finite: %w", &unprune.DivergedError{Param: "gradient", Value: x})
		}
	}
	mask := make(unprune.Vector, len(g))
	for i := range sparsity.TopK(g, int(or(s.Ratio, 0.5)*float64(len(g)))).Kept() {
		mask[i] = 1
	}
	return mask, nil
}

// hold restricts the steps of a run to the set.
func (s Saliency) hold(ctx context.Context, r *run) error {
	mask, err := s.Mask(ctx, r.Task)
	if err != nil {
		return err
	}
	r.edits = append(r.edits, restrict(mask))
	if s.Freeze {
		w := r.Engine.Weights()
		held := w.Vector()
		r.after = func() { hold(w, held, mask) }
	}
	return nil
}

// restrict returns the edit that multiplies gradients by a mask.
func restrict(mask unprune.Vector) func(unprune.Vector) {
	return func(g unprune.Vector) {
		for i, m := range mask {
			g[i] *= m
		}
	}
}

// SalUn is random labels on the parameters that matter for the forgotten data
// (Fan et al. 2024). Variants a and b are the authors' repository: the set is
// half of the parameters, the rest is frozen; variant c is Unified-Unlearning:
// a fifth, and only gradients are masked. Rates: 0.013, and 0.007 for c.
type SalUn struct {
	RandomLabel
	Ratio  float64 // 0: 0.5, variant c: 0.2
	Freeze string  // "": as published for the variant; "strict", "leaky"
}

// Name is "salun".
func (SalUn) Name() string { return "salun" }

var salunJoint = recipe{epochs: 10, rate: 0.007, batch: 128, optimizer: sgd(0.9, 5e-4)}

// Unlearn takes the steps.
func (u SalUn) Unlearn(ctx context.Context, t *unprune.Task) error {
	joint := u.Variant == "c"
	defaults, ratio := randomLabel, 0.5
	if joint {
		defaults, ratio = salunJoint, 0.2
	}
	if u.Freeze != "" && u.Freeze != "strict" && u.Freeze != "leaky" {
		return fmt.Errorf("unlearn: salun: freeze %q: want strict or leaky", u.Freeze)
	}
	r, err := start(t, u.Name(), defaults)
	if err != nil {
		return err
	}
	s := Saliency{Ratio: or(u.Ratio, ratio), Batch: u.ForgetBatch, Freeze: u.Freeze == "strict" || u.Freeze == "" && !joint}
	if s.Batch == 0 {
		s.Batch = r.batch
	}
	if err := s.hold(ctx, r); err != nil {
		return err
	}
	return u.RandomLabel.steps(ctx, r)
}

// Info describes SalUn.
func (u *SalUn) Info() Info {
	return Info{
		About:  "random labels, restricted to the parameters that matter for the forgotten data",
		Good:   "as random labels, with less harm to the rest",
		Cost:   "n_f + epochs·(n_f + n_r) training samples",
		Source: "Fan et al. 2024; SalUn repository; Unified-Unlearning salun.py (variant c)",
		Recipe: randomLabel.String() + "; variant c: " + salunJoint.String(),
		Options: append(u.options(),
			number("ratio", &u.Ratio, 0.5, "share of the parameters that may move (variant c: 0.2)"),
			choice("freeze", &u.Freeze, "strict holds all others; leaky masks their gradient only (default: as published, strict for a and b, leaky for c)", "strict", "leaky"),
		),
	}
}
