package unprune

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune/data"
)

// A Recipe is how the original network was made: dense training from theta_0,
// pruning, fine-tuning with the mask fixed. Iterative pruning (Rounds > 1)
// prunes in several steps and rewinds the surviving weights to theta_0 before
// each (LTH).
type Recipe struct {
	Optimizer ops.Optimizer
	Batch     int

	Epochs int     // of dense training
	Rate   float64 // its peak learning rate, cosine to 0

	Pruner   sparsity.Pruner
	Sparsity float64 // share of units that is pruned in the end
	Skip     func(layer string) bool
	Rounds   int               // pruning rounds, 0 or 1: one-shot
	Schedule sparsity.Schedule // of the rounds

	TuneEpochs int // fine-tuning after the last cut
	TuneRate   float64
}

// Passes is the number of training passes over the data that the recipe costs.
func (r Recipe) Passes() int {
	return max(1, r.Rounds)*r.Epochs + r.TuneEpochs
}

// A Schedule gives the learning rate of epoch e, counted from 0, of E.
type Schedule func(e, total int) float64

// Cosine anneals from peak to 0: peak·(1+cos(πe/E))/2, stepped per epoch.
func Cosine(peak float64) Schedule {
	return func(e, total int) float64 {
		return peak * (1 + math.Cos(math.Pi*float64(e)/float64(total))) / 2
	}
}

// Constant keeps the rate.
func Constant(rate float64) Schedule { return func(int, int) float64 { return rate } }

// Steps multiplies the rate by 0.1 at each milestone, an epoch counted from 0.
func Steps(rate float64, milestones ...int) Schedule {
	return func(e, _ int) float64 {
		lr := rate
		for _, m := range milestones {
			if e >= m {
				lr *= 0.1
			}
		}
		return lr
	}
}

// A run is plain supervised training of an engine.
type run struct {
	stage    string
	data     *data.Dataset
	rows     []int
	drop     map[int]bool // rows that are left out of the batches they fall in
	batch    int
	epochs   int
	schedule Schedule
	order    Stream
	progress Progress
	journal  Journal
	key      string // names the run in the journal
}

// train runs epochs of minibatch training; the weights are checked after each.
func (r run) train(ctx context.Context, e Engine) error {
	done, err := r.resume(e)
	if err != nil {
		return err
	}
	for epoch := range r.epochs {
		order := r.order.Order(r.rows) // of epochs that are done too: the stream goes on
		if epoch < done {
			continue
		}
		rate := r.schedule(epoch, r.epochs)
		for _, batch := range Batches(order, r.batch) {
			if batch = without(batch, r.drop); len(batch) == 0 {
				continue
			}
			if _, err := e.Step(ctx, rate, Term{Data: r.data, Index: batch, Weight: 1}); err != nil {
				return err
			}
		}
		if err := e.Weights().Check(); err != nil {
			return fmt.Errorf("%s, epoch %d: %w", r.stage, epoch+1, err)
		}
		if err := r.save(e, epoch+1); err != nil {
			return err
		}
		r.progress.report(r.stage, epoch+1, r.epochs)
	}
	return nil
}

// without leaves rows out, in place.
func without(rows []int, drop map[int]bool) []int {
	return slices.DeleteFunc(rows, func(row int) bool { return drop[row] })
}
