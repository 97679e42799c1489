package unlearn

import (
	"context"
	"fmt"
	"math"

	"github.com/unprune/unprune/unprune"
)

// SFRon forgets along salient parameters while it remembers (Huang et al. 2024,
// Unified-Unlearning sfron.py). The mask is 1 where F_f/F_r ≥ Threshold, F_S =
// (1/#batches) Σ_b (gradient of the batch-mean loss)², eval mode, 1e-15 added to
// both. Iterations i = 0..n-1, train mode, one SGD with rate lr(1+cos(πi/n))/2:
//
//	if i mod Every = 0:  loss -a_i·Σ_x w_x·ℓ_x/Σ_x w_x over a forget batch,
//	                     w_x = 1/(ℓ_x^Lambda + 1e-15) held constant,
//	                     a_i = Alpha·(1+cos(πi/n))/2; gradient masked, then clipped
//	always:              one plain step on a retained batch
//	Keep β < 1:          θ ← (1-β)·θ_before + β·θ
//
// Both loaders cycle. The optimizer is shared, so masked-out parameters move on
// forget steps by momentum and weight decay; Strict holds them. Defaults: n
// 1500, every 5, alpha 25, lambda 0.5, threshold 1, clip 7, rate 0.01, batch
// 128, momentum 0.9, weight decay 5e-4. Epochs that the task prescribes count
// passes over the retained data.
type SFRon struct {
	Iterations  int     // n; 0: 1500
	Every       int     // f; 0: 5
	Alpha       float64 // 0: 25
	Fade        string  // of alpha: "": cosine; "linear", "quadratic"
	Lambda      float64 // 0: 0.5, negative: samples weigh alike
	Threshold   float64 // γ; 0: 1
	Clip        float64 // c; 0: 7
	Keep        float64 // β, the weight of the new value; 0: 1
	ForgetBatch int     // 0: as for retained samples
	Strict      bool
}

// Name is "sfron".
func (SFRon) Name() string { return "sfron" }

// Needs both sets.
func (SFRon) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

var sfron = recipe{rate: 0.01, batch: 128, optimizer: sgd(0.9, 5e-4)}

// Unlearn takes the steps.
func (u SFRon) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), sfron)
	if err != nil {
		return err
	}
	size := r.forgetBatch(u.ForgetBatch)
	mask, err := u.Mask(ctx, t, size, r.batch)
	if err != nil {
		return err
	}
	edits := []func(unprune.Vector){restrict(mask), clip(or(u.Clip, 7))}
	n := or(u.Iterations, 1500)
	if r.recipe.epochs > 0 {
		n = r.recipe.epochs * len(unprune.Batches(t.Retain, r.batch))
	}
	fade, err := u.fade()
	if err != nil {
		return err
	}
	forget := &cycle{stream: t.Stream("forget order"), rows: t.Forget, size: size}
	retain := &cycle{stream: t.Stream("order"), rows: t.Retain, size: r.batch}
	w := t.Engine.Weights()
	for i := range n {
		before, rate := w.Vector(), r.schedule(i, n)
		if i%or(u.Every, 5) == 0 {
			term := unprune.Term{Data: t.Data, Index: forget.next(), Weight: -or(u.Alpha, 25) * fade(i, n), Power: orNone(u.Lambda, 0.5)}
			if err := r.edited(ctx, rate, edits, term); err != nil {
				return err
			}
			if u.Strict {
				hold(w, before, mask)
			}
		}
		if err := r.step(ctx, rate, unprune.Term{Data: t.Data, Index: retain.next(), Weight: 1}); err != nil {
			return err
		}
		if keep := or(u.Keep, 1); keep != 1 {
			blend(w, before, keep)
		}
		if err := r.watch(i, n); err != nil {
			return err
		}
	}
	return nil
}

// watch checks the weights now and then.
func (r *run) watch(i, n int) error {
	if (i+1)%50 != 0 && i+1 != n {
		return nil
	}
	r.Report(r.name, i+1, n)
	if err := r.check(); err != nil {
		return fmt.Errorf("unlearn: %s, iteration %d: %w", r.name, i+1, err)
	}
	return nil
}

// Mask is 1 where a parameter matters for the forgotten data as much as for the
// retained ones.
func (u SFRon) Mask(ctx context.Context, t *unprune.Task, forgetBatch, retainBatch int) (unprune.Vector, error) {
	forget, err := importance(ctx, t, "saliency", t.Forget, forgetBatch)
	if err != nil {
		return nil, err
	}
	retain, err := importance(ctx, t, "saliency", t.Retain, retainBatch)
	if err != nil {
		return nil, err
	}
	const tiny = 1e-15
	for i, f := range forget {
		forget[i] = 0
		if (f+tiny)/(retain[i]+tiny) >= or(u.Threshold, 1) {
			forget[i] = 1
		}
	}
	return forget, nil
}

// fade is the course of a_i/Alpha.
func (u SFRon) fade() (func(i, n int) float64, error) {
	switch u.Fade {
	case "", "cosine":
		return unprune.Cosine(1), nil
	case "linear":
		return func(i, n int) float64 { return 1 - float64(i)/float64(n) }, nil
	case "quadratic":
		return func(i, n int) float64 { return math.Pow(1-float64(i)/float64(n), 2) }, nil
	}
	return nil, fmt.Errorf("unlearn: sfron: fade %q: want cosine, linear or quadratic", u.Fade)
}

// blend is θ ← (1-β)·before + β·θ.
func blend(w *unprune.Weights, before unprune.Vector, beta float64) {
	before.Scale(1 - beta)
	before.Axpy(beta, w.Vector())
	w.SetVector(before)
}

// hold puts what the mask leaves out back to where it was.
func hold(w *unprune.Weights, before, mask unprune.Vector) {
	v := w.Vector()
	for i, m := range mask {
		if m == 0 {
			v[i] = before[i]
		}
	}
	w.SetVector(v)
}

// A cycle hands out batches of rows over and over, each time in a fresh order.
type cycle struct {
	stream unprune.Stream
	rows   []int
	size   int
	left   [][]int
}

func (c *cycle) next() []int {
	if len(c.left) == 0 {
		c.left = unprune.Batches(c.stream.Order(c.rows), c.size)
	}
	batch := c.left[0]
	c.left = c.left[1:]
	return batch
}

// Info describes SFRon.
func (u *SFRon) Info() Info {
	return Info{
		About:  "climb on forgotten samples along salient parameters, between steps on retained ones",
		Good:   "accurate and cheap on large networks; alpha and clip keep the ascent in bounds",
		Cost:   "n + iterations·batch + ceil(iterations/every)·forget batch training samples",
		Source: "Huang et al. 2024; Unified-Unlearning sfron.py",
		Recipe: sfron.String() + ", 1500 iterations",
		Options: []Option{
			integer("iterations", &u.Iterations, 1500, "number of retain steps (epochs, where prescribed, go before)"),
			integer("every", &u.Every, 5, "iterations per forget step"),
			number("alpha", &u.Alpha, 25, "weight of the forget step, fading to 0"),
			choice("fade", &u.Fade, "how alpha fades", "cosine", "linear", "quadratic"),
			number("lambda", &u.Lambda, 0.5, "power by which samples of large loss weigh less; negative: all weigh alike"),
			number("threshold", &u.Threshold, 1, "least ratio of importances of parameters that forget steps move"),
			number("clip", &u.Clip, 7, "global norm that forget gradients are clipped to"),
			number("keep", &u.Keep, 1, "weight of the new value in the moving average"),
			integer("forget-batch", &u.ForgetBatch, 0, "batch of forgotten samples; 0: as for retained ones"),
			flag("strict", &u.Strict, "hold masked-out parameters in forget steps"),
		},
	}
}
