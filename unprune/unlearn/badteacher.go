package unlearn

import (
	"context"
	"fmt"

	"github.com/unprune/unprune/unprune"
)

// BadTeacher distils from two frozen teachers at once: an untrained network for
// the samples to forget, the original for the rest (Chundawat et al. 2023,
// bad-teaching-unlearning unlearn.py blindspot_unlearner). One shuffled pass
// over both sets per epoch with q = softmax(teacher/T),
//
//	loss = Σ_x Σ_c q·log(q/q_s) / (B·C)
//
// The mean runs over classes too, as the published rates expect; there is no
// factor T². Student in train mode. Defaults: T 1, 10 epochs, rate 0.02, batch
// 256, momentum 0.9, weight decay 5e-4, cosine (Unified-Unlearning); the
// authors' code uses Adam at 1e-4 to 1e-2 for 1 to 10 epochs.
type BadTeacher struct {
	Temperature float64          // T; 0: 1
	Share       float64          // of the retained data that is visited, drawn once; 0: 1 (SSD's driver: 0.3)
	Teacher     *unprune.Weights // the untrained network; nil: drawn from the stream "teacher"
}

// Name is "bad-teacher".
func (BadTeacher) Name() string { return "bad-teacher" }

// Needs both sets and random numbers.
func (BadTeacher) Needs() unprune.Needs {
	return unprune.NeedsForget | unprune.NeedsRetain | unprune.NeedsRandom
}

var badTeacher = recipe{epochs: 10, rate: 0.02, batch: 256, optimizer: sgd(0.9, 5e-4)}

// Unlearn trains the student.
func (u BadTeacher) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), badTeacher)
	if err != nil {
		return err
	}
	bad := u.Teacher
	if bad == nil {
		stream := t.Stream("teacher")
		if stream.Rand == nil {
			return fmt.Errorf("unlearn: bad-teacher: drawing the untrained network needs a stream of random numbers")
		}
		bad = t.Engine.Fresh(stream.Rand)
	}
	retain := t.Retain
	if u.Share != 0 && u.Share != 1 {
		if u.Share < 0 || u.Share > 1 {
			return fmt.Errorf("unlearn: bad-teacher: share %g of the retained data: want a number above 0 and at most 1", u.Share)
		}
		retain = t.Stream("share").Order(retain)[:int(u.Share*float64(len(retain)))]
	}
	teach, err := newTeacher(ctx, t, bad, t.Forget, or(u.Temperature, 1))
	if err != nil {
		return err
	}
	if err := teach.record(ctx, t, t.Original, retain); err != nil {
		return err
	}
	rows := append(append([]int{}, t.Forget...), retain...)
	weight, order := 1/float64(t.Engine.Classes()), t.Stream("order")
	return r.epochs(func(_ int, rate float64) error {
		return r.pass(ctx, rows, r.batch, rate, order, func(index []int) unprune.Term {
			return unprune.Term{Data: t.Data, Index: index, Soft: teach.soft(index, weight)}
		})
	})
}

// Info describes bad teaching.
func (u *BadTeacher) Info() Info {
	return Info{
		About:  "learn from an untrained network on forgotten data, from the original on the rest",
		Good:   "fast and bounded; forgotten outputs become uninformative rather than those of a retrained network",
		Cost:   "n_f + share·n_r forward passes of teachers, epochs·(n_f + share·n_r) training samples",
		Source: "Chundawat et al. 2023; bad-teaching-unlearning unlearn.py; Unified-Unlearning bad_teacher.py",
		Recipe: badTeacher.String(),
		Options: []Option{
			number("temperature", &u.Temperature, 1, "of the softmax"),
			number("share", &u.Share, 1, "share of the retained data that is visited (SSD's driver: 0.3)"),
		},
	}
}
