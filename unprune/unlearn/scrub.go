package unlearn

import (
	"context"
	"math"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// SCRUB trains a student, which starts as the teacher's copy, to disagree with
// the teacher on the forgotten data and to agree on the rest (Kurmanji et al.
// 2023); student in train mode, teacher in eval mode. With q = softmax(z/T),
//
//	KL_T = (T²/B) Σ_x Σ_c q_t·log(q_t/q_s)
//
// epochs e = 1..E: if e ≤ MaxEpochs one pass over D_f with loss -KL_T; then one
// over D_r with Gamma·L + Alpha·KL_T. One optimizer for both. Smoothing adds
// Smoothing·Σ_tensors ‖θ-θ_start‖₂, its gradient 0 at the start.
//
// Rewind (SCRUB+R) returns the state after that epoch whose error on D_f is
// nearest to the final one's error on Validation, samples of the forgotten
// distribution that were never trained on.
//
// Defaults, of the authors' small-scale notebook: Adam with weight decay 0.1 (in
// the gradient), rate 5e-4, a tenth of it after epochs 5, 8 and 9, 10 epochs,
// gamma 1, alpha 0.5, T 2, 3 maximising epochs. Its large-scale notebook: SGD,
// rate 5e-4, weight decay 5e-4, gamma .99, alpha .001, T 4, 2 of 3 epochs.
type SCRUB struct {
	Alpha       float64 // 0: 0.5, negative: none
	Gamma       float64 // 0: 1, negative: none
	Temperature float64 // 0: 2
	MaxEpochs   int     // msteps; 0: 3, negative: none
	Smoothing   float64
	ForgetBatch int           // 0: as for retained samples
	Validation  *data.Dataset // for Rewind; nil: none
}

// Name is "scrub".
func (SCRUB) Name() string { return "scrub" }

// Needs both sets.
func (SCRUB) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

var scrub = recipe{
	epochs: 10, rate: 5e-4, batch: 128, steps: []int{5, 8, 9},
	optimizer: ops.Optimizer{Kind: "adam", WeightDecay: 0.1},
}

// Unlearn trains the student.
func (u SCRUB) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), scrub)
	if err != nil {
		return err
	}
	temperature := or(u.Temperature, 2)
	teach, err := newTeacher(ctx, t, t.Original, t.Retain, temperature)
	if err != nil {
		return err
	}
	if err := teach.record(ctx, t, t.Original, t.Forget); err != nil {
		return err
	}
	if u.Smoothing != 0 {
		r.edits = append(r.edits, r.smooth(u.Smoothing))
	}
	size := r.forgetBatch(u.ForgetBatch)
	square := temperature * temperature
	order, forget := t.Stream("order"), t.Stream("forget order")
	var points rewind
	err = r.epochs(func(epoch int, rate float64) error {
		if epoch < orNone(u.MaxEpochs, 3) {
			err := r.pass(ctx, t.Forget, size, rate, forget, func(index []int) unprune.Term {
				return unprune.Term{Data: t.Data, Index: index, Soft: teach.soft(index, -square)}
			})
			if err != nil {
				return err
			}
		}
		err := r.pass(ctx, t.Retain, r.batch, rate, order, func(index []int) unprune.Term {
			return unprune.Term{Data: t.Data, Index: index, Weight: orNone(u.Gamma, 1), Soft: teach.soft(index, orNone(u.Alpha, 0.5)*square)}
		})
		if err == nil && u.Validation != nil {
			err = points.add(ctx, t)
		}
		return err
	})
	if err == nil && u.Validation != nil {
		err = points.rewind(ctx, t, u.Validation)
	}
	return err
}

// smooth returns the edit that adds the gradient of rate·Σ_tensors ‖θ-θ_start‖₂.
func (r *run) smooth(rate float64) func(unprune.Vector) {
	w := r.Engine.Weights()
	origin := w.Vector()
	return func(g unprune.Vector) {
		away := w.Vector()
		away.Axpy(-1, origin)
		for _, p := range w.Parts() {
			if d := p.Of(away); d.Norm() > 0 {
				p.Of(g).Axpy(rate/d.Norm(), d)
			}
		}
	}
}

// rewind holds the states after the epochs and their errors on D_f.
type rewind struct {
	states []*unprune.Weights
	errors []float64
}

func (p *rewind) add(ctx context.Context, t *unprune.Task) error {
	accuracy, err := accuracyOf(ctx, t, t.Data, t.Forget)
	p.states, p.errors = append(p.states, t.Engine.Weights().Clone()), append(p.errors, 1-accuracy)
	return err
}

// rewind goes back to the state whose error is nearest to that of the last one
// on the validation samples.
func (p *rewind) rewind(ctx context.Context, t *unprune.Task, d *data.Dataset) error {
	rows := make([]int, d.Len())
	for i := range rows {
		rows[i] = i
	}
	accuracy, err := accuracyOf(ctx, t, d, rows)
	if err != nil {
		return err
	}
	best := len(p.states) - 1
	for i, e := range p.errors {
		if math.Abs(e-(1-accuracy)) < math.Abs(p.errors[best]-(1-accuracy)) {
			best = i
		}
	}
	return t.Engine.Weights().Set(p.states[best])
}

// Info describes SCRUB.
func (u *SCRUB) Info() Info {
	return Info{
		About:  "train a student to disagree with the original on forgotten data and to agree on the rest",
		Good:   "strong on classes and on random samples; Adam and batch sizes need care",
		Cost:   "n forward passes of the teacher, min(max-epochs, epochs)·n_f + epochs·n_r training samples",
		Source: "Kurmanji et al. 2023; meghdadk/SCRUB loops.py train_distill",
		Recipe: scrub.String(),
		Options: []Option{
			number("alpha", &u.Alpha, 0.5, "weight of agreement on retained data, negative: none (large-scale notebook: 0.001)"),
			number("gamma", &u.Gamma, 1, "weight of the labels of retained data, negative: none (large-scale notebook: 0.99)"),
			number("temperature", &u.Temperature, 2, "of the softmax (large-scale notebook: 4)"),
			choiceOfEpochs("max-epochs", &u.MaxEpochs, 3, "epochs that begin with a pass over the forgotten data; none: no epoch"),
			number("smoothing", &u.Smoothing, 0, "pull towards the starting weights"),
			integer("forget-batch", &u.ForgetBatch, 0, "batch of forgotten samples; 0: as for retained ones"),
		},
	}
}
