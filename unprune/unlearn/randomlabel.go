package unlearn

import (
	"context"
	"fmt"
	"slices"

	"github.com/unprune/unprune/unprune"
)

// RandomLabel (RL) teaches random labels for the samples to forget and the
// true ones for the rest; train mode.
//
//	"a"  each epoch first the forget set, labels drawn anew per batch, uniform
//	     over all classes, the true one included; then the retained set (SalUn
//	     repository, Classification/unlearn/RL.py, CIFAR-10 branch)
//	"b"  labels drawn once per epoch, one shuffled pass over both sets (its
//	     CIFAR-100 branch)
//	"c"  labels drawn once, uniform over the wrong classes, one shuffled pass
//	     over both sets (Unified-Unlearning random_label.py)
//
// Defaults: variant a, 10 epochs, rate 0.013 (c: 0.003), batch 256 (c: 128),
// momentum 0.9, weight decay 5e-4, cosine.
type RandomLabel struct {
	Variant     string // "": a
	ForgetBatch int    // of variant a; 0: as for retained samples

	// Labels, if set, gives the labels of rows to forget instead of a draw: of a
	// batch (a), or of the whole forget set (b: in each epoch, c: once).
	Labels func(epoch int, index []int) []int64
}

// Name is "rl".
func (RandomLabel) Name() string { return "rl" }

// Needs both sets and random labels.
func (RandomLabel) Needs() unprune.Needs {
	return unprune.NeedsForget | unprune.NeedsRetain | unprune.NeedsRandom
}

var (
	randomLabel      = recipe{epochs: 10, rate: 0.013, batch: 256, optimizer: sgd(0.9, 5e-4)}
	randomLabelJoint = recipe{epochs: 10, rate: 0.003, batch: 128, optimizer: sgd(0.9, 5e-4)}
)

// Unlearn takes the steps.
func (u RandomLabel) Unlearn(ctx context.Context, t *unprune.Task) error {
	defaults := randomLabel
	if u.Variant == "c" {
		defaults = randomLabelJoint
	}
	r, err := start(t, u.Name(), defaults)
	if err != nil {
		return err
	}
	return u.steps(ctx, r)
}

// steps are the epochs of the variant.
func (u RandomLabel) steps(ctx context.Context, r *run) error {
	labels, err := u.labels(r.Task)
	if err != nil {
		return err
	}
	switch u.Variant {
	case "", "a":
		return u.separate(ctx, r, labels)
	case "b", "c":
		return u.joint(ctx, r, labels)
	}
	return fmt.Errorf("unlearn: %s: variant %q: want a, b or c", r.name, u.Variant)
}

// separate visits the forget set with fresh labels, then the retained set.
func (u RandomLabel) separate(ctx context.Context, r *run, labels labeller) error {
	size := r.forgetBatch(u.ForgetBatch)
	order, forget := r.Stream("order"), r.Stream("forget order")
	return r.epochs(func(epoch int, rate float64) error {
		err := r.pass(ctx, r.Forget, size, rate, forget, func(index []int) unprune.Term {
			return unprune.Term{Data: r.Data, Index: index, Labels: labels(epoch, index), Weight: 1}
		})
		if err != nil {
			return err
		}
		return r.retain(ctx, rate, order)
	})
}

// joint visits both sets together.
func (u RandomLabel) joint(ctx context.Context, r *run, labels labeller) error {
	order, y := r.Stream("order"), slices.Clone(r.Data.Y)
	return r.epochs(func(epoch int, rate float64) error {
		if epoch == 0 || u.Variant == "b" {
			for i, label := range labels(epoch, r.Forget) {
				y[r.Forget[i]] = label
			}
		}
		return r.pass(ctx, both(r.Task), r.batch, rate, order, func(index []int) unprune.Term {
			return unprune.Term{Data: r.Data, Index: index, Labels: pick(y, index), Weight: 1}
		})
	})
}

// A labeller gives labels for rows.
type labeller func(epoch int, index []int) []int64

// labels draws uniformly over the classes; variant c leaves out the true one.
func (u RandomLabel) labels(t *unprune.Task) (labeller, error) {
	if u.Labels != nil {
		return u.Labels, nil
	}
	classes := int64(t.Engine.Classes())
	if classes < 2 {
		return nil, fmt.Errorf("unlearn: rl: random labels need at least two classes")
	}
	stream := t.Stream("labels")
	if stream.Rand == nil {
		return nil, fmt.Errorf("unlearn: rl: drawing labels needs a stream of random numbers")
	}
	return func(_ int, index []int) []int64 {
		out := make([]int64, len(index))
		for i, row := range index {
			if u.Variant == "c" {
				out[i] = (t.Data.Y[row] + 1 + stream.Int64N(classes-1)) % classes
			} else {
				out[i] = stream.Int64N(classes)
			}
		}
		return out
	}, nil
}

func (u *RandomLabel) options() []Option {
	return []Option{
		choice("variant", &u.Variant, "a: labels per batch, over all classes, forget set first; b: per epoch, both sets mixed; c: once, over wrong classes, mixed", "a", "b", "c"),
		integer("forget-batch", &u.ForgetBatch, 0, "batch of forgotten samples in variant a; 0: as for retained ones"),
	}
}

// Info describes random labels.
func (u *RandomLabel) Info() Info {
	return Info{
		About:   "teach random labels for the forgotten samples, true ones for the rest",
		Good:    "robust and bounded; forgotten samples may end below chance, which shows that they were there",
		Cost:    "epochs·(n_f + n_r) training samples",
		Source:  "Fan et al. 2024, Classification/unlearn/RL.py; Unified-Unlearning",
		Recipe:  randomLabel.String() + "; variant c: " + randomLabelJoint.String(),
		Options: u.options(),
	}
}
