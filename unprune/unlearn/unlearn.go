package unlearn

import (
	"context"
	"fmt"
	"strings"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/unprune"
)

// All returns every unlearner with its published defaults.
func All() []unprune.Unlearner {
	return []unprune.Unlearner{Retrain{}, FineTune{}, GradientAscent{}, NegGradPlus{}, RandomLabel{}}
}

// ByName returns the unlearner of that name.
func ByName(name string) (unprune.Unlearner, error) {
	var names []string
	for _, u := range All() {
		if u.Name() == name {
			return u, nil
		}
		names = append(names, u.Name())
	}
	return nil, fmt.Errorf("unlearn: no unlearner is named %q; there are: %s", name, strings.Join(names, ", "))
}

// recipe is what all methods that take optimizer steps have in common.
type recipe struct {
	epochs    int
	rate      float64
	batch     int
	optimizer ops.Optimizer
	schedule  unprune.Schedule
}

// sgd is the optimizer of most published methods.
func sgd(momentum, decay float64) ops.Optimizer {
	return ops.Optimizer{Kind: "sgd", Momentum: momentum, WeightDecay: decay}
}

// prescribed lets the task's settings override a method's defaults and starts
// the optimizer afresh. The schedule anneals to 0 over the epochs unless the
// task has another schedule.
func prescribed(t *unprune.Task, r recipe) (recipe, error) {
	if t.Epochs > 0 {
		r.epochs = t.Epochs
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
	r.schedule = unprune.Cosine(r.rate)
	if t.Schedule != nil {
		r.schedule = t.Schedule
	}
	return r, t.Engine.Optimize(r.optimizer)
}

// pass takes one step per batch of rows, in an order drawn from the stream.
// term makes the loss of a batch.
func pass(ctx context.Context, t *unprune.Task, rows []int, batch int, rate float64, stream unprune.Stream, term func(index []int) unprune.Term) error {
	for _, index := range unprune.Batches(stream.Order(rows), batch) {
		if _, err := t.Engine.Step(ctx, rate, term(index)); err != nil {
			return err
		}
	}
	return nil
}

// epochs runs body for every epoch, checks the weights after it, and reports.
func epochs(t *unprune.Task, name string, r recipe, body func(epoch int, rate float64) error) error {
	for e := range r.epochs {
		if err := body(e, r.schedule(e, r.epochs)); err != nil {
			return fmt.Errorf("unlearn: %s, epoch %d: %w", name, e+1, err)
		}
		if err := t.Engine.Weights().Check(); err != nil {
			return fmt.Errorf("unlearn: %s, epoch %d: %w", name, e+1, err)
		}
		t.Report(name, e+1, r.epochs)
	}
	return nil
}
