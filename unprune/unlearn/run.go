package unlearn

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

// recipe is what all methods that take optimizer steps have in common. steps
// are the epochs, from 0, at which the published rate falls to a tenth; without
// them it is annealed to 0 by a cosine.
type recipe struct {
	epochs    int
	rate      float64
	batch     int
	optimizer ops.Optimizer
	steps     []int
}

// sgd is the optimizer of most published methods.
func sgd(momentum, decay float64) ops.Optimizer {
	return ops.Optimizer{Kind: "sgd", Momentum: momentum, WeightDecay: decay}
}

// prescribed is the recipe with what the task prescribes instead, and its
// schedule. A prescribed number of epochs is annealed.
func (r recipe) prescribed(t *unprune.Task) (recipe, unprune.Schedule) {
	if t.Epochs > 0 {
		r.epochs, r.steps = t.Epochs, nil
	}
	if t.Rate > 0 {
		r.rate = t.Rate
	}
	if t.Batch > 0 {
		r.batch = t.Batch
	}
	if t.Optimizer != nil {
		r.optimizer = *t.Optimizer
	}
	switch {
	case t.Schedule != nil:
		return r, t.Schedule
	case r.steps != nil:
		return r, unprune.Steps(r.rate, r.steps...)
	}
	return r, unprune.Cosine(r.rate)
}

// A run takes the optimizer steps of a method and watches over them.
type run struct {
	recipe
	*unprune.Task
	name     string
	schedule unprune.Schedule

	// edits change each gradient before the step, in order; after follows each
	// step.
	edits []func(g unprune.Vector)
	after func()

	good  *unprune.Weights // the last state that was fine
	limit float64          // of the weights' norm
	taken int              // steps
}

// explosion is the growth of the weights' norm that counts as divergence.
const explosion = 1e3

// start begins a method: the task's settings go before the defaults, and the
// optimizer starts afresh.
func start(t *unprune.Task, name string, defaults recipe) (*run, error) {
	r := &run{Task: t, name: name}
	r.recipe, r.schedule = defaults.prescribed(t)
	r.good = t.Engine.Weights().Clone()
	r.limit = normLimit(r.good)
	if r.adam() && t.Snap > 0 {
		r.edits = append(r.edits, r.snap)
	}
	return r, t.Engine.Optimize(r.optimizer)
}

func (r *run) adam() bool { return r.optimizer.Kind != "sgd" }

// epochs runs body for every epoch and checks what it leaves. A run that
// diverges ends with the last state that was fine.
func (r *run) epochs(body func(epoch int, rate float64) error) error {
	for e := range r.recipe.epochs {
		err := body(e, r.schedule(e, r.recipe.epochs))
		if err == nil {
			err = r.check()
		}
		if err != nil {
			return fmt.Errorf("unlearn: %s, epoch %d: %w", r.name, e+1, err)
		}
		r.Report(r.name, e+1, r.recipe.epochs)
	}
	return nil
}

// check keeps the weights if they are fine and goes back if they are not.
func (r *run) check() error {
	w := r.Engine.Weights()
	if err := sound(w, r.limit); err != nil {
		return r.back(err)
	}
	return r.good.Set(w)
}

// sound returns a DivergedError if weights are not finite or their norm is above
// the limit.
func sound(w *unprune.Weights, limit float64) error {
	if err := w.Check(); err != nil {
		return err
	}
	if norm := w.Vector().Norm(); norm > limit {
		return &unprune.DivergedError{Norm: norm}
	}
	return nil
}

// normLimit is the largest norm that weights may grow to from w.
func normLimit(w *unprune.Weights) float64 { return explosion * (1 + w.Vector().Norm()) }

// back restores the last good state and returns err.
func (r *run) back(err error) error {
	if setErr := r.Engine.Weights().Set(r.good); setErr != nil {
		return setErr
	}
	return err
}

// pass takes one step per batch of rows, in an order drawn from the stream.
// term makes the loss of a batch.
func (r *run) pass(ctx context.Context, rows []int, batch int, rate float64, stream unprune.Stream, term func(index []int) unprune.Term) error {
	for _, index := range unprune.Batches(stream.Order(rows), batch) {
		if err := r.step(ctx, rate, term(index)); err != nil {
			return err
		}
	}
	return nil
}

// retain is a pass over the retained data with its true labels.
func (r *run) retain(ctx context.Context, rate float64, stream unprune.Stream) error {
	return r.pass(ctx, r.Retain, r.batch, rate, stream, func(index []int) unprune.Term {
		return unprune.Term{Data: r.Data, Index: index, Weight: 1}
	})
}

// step takes one optimizer step on the sum of the terms.
func (r *run) step(ctx context.Context, rate float64, terms ...unprune.Term) error {
	return r.edited(ctx, rate, r.edits, terms...)
}

// edited is step with a choice of edits.
func (r *run) edited(ctx context.Context, rate float64, edits []func(unprune.Vector), terms ...unprune.Term) error {
	first := r.taken == 0
	r.taken++
	if len(edits) == 0 && !(first && r.adam()) {
		loss, err := r.Engine.Step(ctx, rate, terms...)
		if err == nil && math.IsNaN(loss) {
			err = r.back(&unprune.DivergedError{Param: "loss", Value: loss})
		}
		return r.finishStep(err)
	}
	grads, err := r.Engine.Gradient(ctx, terms...)
	if err != nil {
		return err
	}
	if first && r.adam() {
		r.warnRounding(grads)
	}
	w := r.Engine.Weights()
	g := w.Flatten(grads)
	r.mask(g)
	for _, edit := range edits {
		edit(g)
	}
	w.Spread(g, grads)
	return r.finishStep(r.Engine.Apply(ctx, rate))
}

func (r *run) finishStep(err error) error {
	if err == nil && r.after != nil {
		r.after()
	}
	return err
}

// mask zeroes the gradient of pruned weights, so that clipping does not count
// what will not move.
func (r *run) mask(g unprune.Vector) {
	masks := r.Engine.Masks()
	if masks == nil {
		return
	}
	for _, p := range r.Engine.Weights().Parts() {
		if m := masks.Get(p.Name); m != nil {
			part := p.Of(g)
			for i := range part {
				if !m.Get(i) {
					part[i] = 0
				}
			}
		}
	}
}

// snap zeroes what is rounding beside the largest entry.
func (r *run) snap(g unprune.Vector) {
	bound := r.Snap * largest(g)
	for i, x := range g {
		if math.Abs(x) < bound {
			g[i] = 0
		}
	}
}

func largest(g unprune.Vector) float64 {
	top := 0.0
	for _, x := range g {
		top = max(top, math.Abs(x))
	}
	return top
}

// warnRounding warns of parameters whose whole gradient looks like rounding
// error: Adam makes steps of the full rate of it.
func (r *run) warnRounding(grads map[string]*onnx.Tensor) {
	w := r.Engine.Weights()
	g := w.Flatten(grads)
	noise := 1e-7
	if grads[w.Parts()[0].Name].DType == onnx.Float64 {
		noise = 1e-12
	}
	all := largest(g)
	var names []string
	for _, p := range w.Parts() {
		if top := largest(p.Of(g)); top > 0 && top < noise*all {
			names = append(names, p.Name)
		}
	}
	if len(names) > 0 && r.Snap == 0 {
		r.Warn("%s: the gradient of %q is zero but for rounding, and %s turns rounding into steps of the full rate; use SGD, or snap such gradients to zero (Task.Snap)",
			r.name, names, r.optimizer.Kind)
	}
}

// clip returns the edit that scales gradients to at most a global norm:
// factor min(1, c/(‖g‖+1e-6)).
func clip(c float64) func(unprune.Vector) {
	return func(g unprune.Vector) {
		if f := c / (g.Norm() + 1e-6); f < 1 {
			g.Scale(f)
		}
	}
}

// penalize returns the edit that adds alpha times the gradient of the sum of
// absolute weights: 0 at 0.
func (r *run) penalize(alpha *float64) func(unprune.Vector) {
	w := r.Engine.Weights()
	return func(g unprune.Vector) {
		if *alpha == 0 {
			return
		}
		for i, x := range w.Vector() {
			switch {
			case x > 0:
				g[i] += *alpha
			case x < 0:
				g[i] -= *alpha
			}
		}
	}
}

// forgetBatch is the size of forget batches: the option's, or that of retained
// samples.
func (r *run) forgetBatch(option int) int {
	size := option
	if size == 0 {
		size = r.batch
	}
	if len(r.Forget) < size/2 {
		r.Warn("%s: %d samples to forget do not fill half a batch of %d: every epoch is one small step with poor batch statistics; choose a smaller forget batch",
			r.name, len(r.Forget), size)
	}
	return size
}

// pick is labels[index].
func pick(labels []int64, index []int) []int64 {
	out := make([]int64, len(index))
	for i, row := range index {
		out[i] = labels[row]
	}
	return out
}

// both lists the rows to forget and then the rows to keep.
func both(t *unprune.Task) []int { return slices.Concat(t.Forget, t.Retain) }

// orNone is x, or def if x is zero, or zero if x is negative: for options of which
// zero means something.
func orNone[T int | float64](x, def T) T { return max(0, or(x, def)) }

// or is x, or def if x is zero: how options take their defaults.
func or[T int | float64](x, def T) T {
	if x == 0 {
		return def
	}
	return x
}
