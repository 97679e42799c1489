package unlearn

import (
	"context"
	"fmt"

	"github.com/unprune/unprune/unprune"
)

// RandomLabel (RL) teaches random labels for the samples to forget and the
// true ones for the rest. Each epoch first visits the forget set, labels drawn
// anew per batch, uniform over all classes, the true one included; then the
// retained set; train mode (SalUn repository, Classification/unlearn/RL.py).
// Defaults: 10 epochs, rate 0.013, batch 256, momentum 0.9, weight decay 5e-4.
type RandomLabel struct {
	ForgetBatch int // 0: as for retained samples

	// Labels, if set, gives the labels of a forget batch instead of a draw.
	Labels func(epoch int, index []int) []int64
}

// Name is "rl".
func (RandomLabel) Name() string { return "rl" }

// Needs both sets.
func (RandomLabel) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

// Unlearn takes the steps.
func (u RandomLabel) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := prescribed(t, recipe{epochs: 10, rate: 0.013, batch: 256, optimizer: sgd(0.9, 5e-4)})
	if err != nil {
		return err
	}
	labels := u.Labels
	if labels == nil {
		if labels, err = drawLabels(t); err != nil {
			return err
		}
	}
	size := u.ForgetBatch
	if size == 0 {
		size = r.batch
	}
	order, forget := t.Stream("order"), t.Stream("forget order")
	return epochs(t, u.Name(), r, func(epoch int, rate float64) error {
		err := pass(ctx, t, t.Forget, size, rate, forget, func(index []int) unprune.Term {
			return unprune.Term{Data: t.Data, Index: index, Labels: labels(epoch, index), Weight: 1}
		})
		if err != nil {
			return err
		}
		return pass(ctx, t, t.Retain, r.batch, rate, order, func(index []int) unprune.Term {
			return unprune.Term{Data: t.Data, Index: index, Weight: 1}
		})
	})
}

// drawLabels draws one label per sample, uniform over the classes.
func drawLabels(t *unprune.Task) (func(int, []int) []int64, error) {
	if t.Data.Classes < 2 {
		return nil, fmt.Errorf("unlearn: rl: random labels need at least two classes")
	}
	stream := t.Stream("labels")
	if stream.Rand == nil {
		return nil, fmt.Errorf("unlearn: rl: drawing labels needs a stream of random numbers")
	}
	return func(_ int, index []int) []int64 {
		out := make([]int64, len(index))
		for i := range out {
			out[i] = stream.Int64N(int64(t.Data.Classes))
		}
		return out
	}, nil
}
