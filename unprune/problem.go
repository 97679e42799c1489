package unprune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune/data"
)

// A Problem is one deletion request: a pruned network, how it was made, its
// training data, and the samples to forget. Its methods make the candidate
// answers and what they are compared with; each leaves the engine in the state
// of its result.
type Problem struct {
	Engine Engine
	Recipe Recipe
	Train  *data.Dataset
	Retain []int // rows of Train
	Forget []int
	Seed   uint64

	Original Result   // the network in production
	Theta0   *Weights // nil if unknown
	Dense    *Weights // theta_d, the weights before the original pruning; nil if unknown

	// Order is how the original's training samples were ordered, which only
	// replay needs; nil if unknown.
	Order *Order

	Progress Progress
	Warning  func(string) // nil: warnings are dropped
	Journal  Journal      // nil: an interrupted run starts over

	drop map[int]bool // rows that runs leave out of the batches they fall in
}

// A Result is one network.
type Result struct {
	Weights *Weights
	Masks   *sparsity.Masks
	Cost    evalmetrics.Cost

	// Dense is, for a run of the recipe, the weights before the last cut.
	Dense *Weights
}

// measure runs make and packs the engine's state, its work and its time.
func (p *Problem) measure(make func() (*sparsity.Masks, error)) (*Result, error) {
	start, before := time.Now(), p.Engine.Cost()
	masks, err := make()
	if err != nil {
		return nil, err
	}
	if err := p.settle(masks); err != nil {
		return nil, err
	}
	after := p.Engine.Cost()
	return &Result{
		Weights: p.Engine.Weights().Clone(), Masks: masks,
		Cost: evalmetrics.Cost{
			Forward: after.Forward - before.Forward, Backward: after.Backward - before.Backward,
			HVP: after.HVP - before.HVP, Seconds: time.Since(start).Seconds(),
		},
	}, nil
}

// settle puts to zero what biases and normalisations have of units that were
// removed with all that reads them. Nothing reads it; a file in which it is
// zero is one that can be compacted to the last number.
func (p *Problem) settle(masks *sparsity.Masks) error {
	groups, ok := p.Recipe.Pruner.(sparsity.GroupL2)
	if !ok || masks == nil {
		return nil
	}
	w := p.Engine.Weights()
	return groups.Settle(masks, w.Tensors, w.Stats)
}

// Load puts a result's network into the engine.
func (p *Problem) Load(r *Result) error {
	if err := p.Engine.SetMasks(nil); err != nil {
		return err
	}
	if err := p.Engine.Weights().Set(r.Weights); err != nil {
		return err
	}
	return p.Engine.SetMasks(r.Masks)
}

// prunable is the engine's layers without those that the recipe skips.
func (p *Problem) prunable() []sparsity.Layer {
	var out []sparsity.Layer
	for _, l := range p.Engine.Layers() {
		if p.Recipe.Skip == nil || !p.Recipe.Skip(l.Name) {
			out = append(out, l)
		}
	}
	return out
}

func (p *Problem) stream(algorithm string) Stream {
	return Stream{data.Stream(p.Seed, algorithm, "order")}
}

// dense trains from theta_0 with the given masks (nil: dense).
func (p *Problem) dense(ctx context.Context, masks *sparsity.Masks, rows []int, epochs int, s Schedule, stage, stream string) error {
	if err := p.Load(&Result{Weights: p.Theta0, Masks: masks}); err != nil {
		return err
	}
	if err := p.Engine.Optimize(p.Recipe.Optimizer); err != nil {
		return err
	}
	return run{
		stage: stage, data: p.Train, rows: rows, batch: p.Recipe.Batch,
		epochs: epochs, schedule: s, order: p.stream(stream), drop: p.drop, progress: p.Progress,
		journal: p.Journal, key: stream,
	}.train(ctx, p.Engine)
}

// tune trains what the engine holds, with its masks, annealed to 0.
func (p *Problem) tune(ctx context.Context, rows []int, epochs int, rate float64, stage, stream string) error {
	if epochs == 0 {
		return nil
	}
	if err := p.Engine.Optimize(p.Recipe.Optimizer); err != nil {
		return err
	}
	return run{
		stage: stage, data: p.Train, rows: rows, batch: p.Recipe.Batch,
		epochs: epochs, schedule: Cosine(rate), order: p.stream(stream + " tune"), drop: p.drop, progress: p.Progress,
		journal: p.Journal, key: stream + " tune",
	}.train(ctx, p.Engine)
}

// Retrain runs the recipe from theta_0 on the given rows: dense training, the
// pruner, fine-tuning; for iterative pruners the whole schedule. name selects
// the data order. On the retained rows it is the gold standard.
func (p *Problem) Retrain(ctx context.Context, rows []int, name string) (*Result, error) {
	if p.Theta0 == nil {
		return nil, fmt.Errorf("unprune: retraining needs the initial weights (theta_0)")
	}
	var dense *Weights
	r, err := p.measure(func() (masks *sparsity.Masks, err error) {
		masks, dense, err = p.pipeline(ctx, rows, p.Recipe.Epochs, name)
		return masks, err
	})
	if err != nil {
		return nil, err
	}
	r.Dense = dense
	return r, nil
}

// pipeline is the recipe with the given number of dense epochs. It returns the
// last mask and the weights from which that was cut.
func (p *Problem) pipeline(ctx context.Context, rows []int, epochs int, name string) (masks *sparsity.Masks, dense *Weights, err error) {
	rounds := max(1, p.Recipe.Rounds)
	for round := range rounds {
		stage := name
		if rounds > 1 {
			stage = fmt.Sprintf("%s, round %d of %d", name, round+1, rounds)
		}
		err := p.dense(ctx, masks, rows, epochs, Cosine(p.Recipe.Rate), stage, fmt.Sprintf("%s %d", name, round))
		if err != nil {
			return nil, nil, err
		}
		dense = p.Engine.Weights().Clone()
		share := p.Recipe.Schedule.Share(round, rounds, p.Recipe.Sparsity)
		if masks, err = p.Prune(ctx, without(slices.Clone(rows), p.drop), masks, share, name); err != nil {
			return nil, nil, err
		}
	}
	return masks, dense, p.tune(ctx, rows, p.Recipe.TuneEpochs, p.Recipe.TuneRate, name, name)
}

// Prune cuts a share of the units alive (nil: all) from what the engine holds,
// by the recipe's pruner; those that score on samples see the given rows.
// name selects the stream of pruners that draw.
func (p *Problem) Prune(ctx context.Context, rows []int, alive *sparsity.Masks, share float64, name string) (*sparsity.Masks, error) {
	pruner := p.Recipe.Pruner
	samples := Samples{Data: p.Train, Rows: rows}
	in, err := ScoreInput(ctx, p.Engine, pruner, p.prunable(), samples, data.Stream(p.Seed, name, "prune"))
	if err != nil {
		return nil, err
	}
	masks, err := sparsity.PlanOf(pruner).Run(pruner, in, alive, share)
	if err != nil {
		return nil, err
	}
	if err := p.Engine.SetMasks(masks); err != nil {
		return nil, err
	}
	return masks, p.settle(masks)
}

// task is what an unlearner is given: the recipe's batch size and optimizer.
// Without a rate it has a rate of its own, and its own optimizer with it.
func (p *Problem) task(name string, epochs int, rate float64) *Task {
	t := &Task{
		Engine: p.Engine, Data: p.Train, Retain: p.Retain, Forget: p.Forget, Initial: p.Theta0, Original: p.Original.Weights,
		Epochs: epochs, Rate: rate, Batch: p.Recipe.Batch,
		Rand:     func(purpose string) *rand.Rand { return data.Stream(p.Seed, name, purpose) },
		Progress: p.Progress, Warning: p.Warning,
	}
	if rate != 0 {
		o := p.Recipe.Optimizer
		t.Optimizer = &o
	}
	return t
}

// finish runs an unlearner with the masks the engine has. A run that diverges
// is repeated from its start at half the rate, twice at most.
func (p *Problem) finish(ctx context.Context, u Unlearner, name string, epochs int, rate float64) error {
	start := p.Engine.Weights().Clone()
	var err error
	for range 3 {
		t := p.task(name, epochs, rate)
		if err = Satisfies(u, t); err != nil {
			return err
		}
		if err = u.Unlearn(ctx, t); err == nil {
			err = p.Engine.Weights().Check()
		}
		var blown *DivergedError
		if !asDiverged(err, &blown) || rate == 0 {
			return err
		}
		rate /= 2
		if setErr := p.Engine.Weights().Set(start); setErr != nil {
			return setErr
		}
	}
	return err
}

// Unprune runs the published loop on the original, followed by finish epochs
// of fine-tuning on the retained data.
func (p *Problem) Unprune(ctx context.Context, l Loop, epochs int, rate float64, finish int) (*Result, error) {
	return p.measure(func() (*sparsity.Masks, error) {
		if err := p.Load(&p.Original); err != nil {
			return nil, err
		}
		masks, err := l.Run(ctx, p.task("un-pruned by the paper's rule", epochs, rate), p.Original.Masks)
		if err != nil {
			return nil, err
		}
		return masks, p.tune(ctx, p.Retain, finish, cmp.Or(rate, p.Recipe.TuneRate), "finish", "paper")
	})
}

// FixedMask runs an unlearner on the original with its mask held: the baseline
// that others stop at.
func (p *Problem) FixedMask(ctx context.Context, u Unlearner, epochs int, rate float64) (*Result, error) {
	return p.measure(func() (*sparsity.Masks, error) {
		if err := p.Load(&p.Original); err != nil {
			return nil, err
		}
		return p.Original.Masks, p.finish(ctx, u, "fixed mask", epochs, rate)
	})
}

// Rewind moves the original a share 1-a of the way back to theta_0, mask kept,
// and fine-tunes on the retained data.
func (p *Problem) Rewind(ctx context.Context, a float64, epochs int, rate float64) (*Result, error) {
	if p.Theta0 == nil {
		return nil, fmt.Errorf("unprune: rewinding needs the initial weights (theta_0)")
	}
	return p.measure(func() (*sparsity.Masks, error) {
		if err := p.rewindTo(a); err != nil {
			return nil, err
		}
		if err := p.Engine.SetMasks(p.Original.Masks); err != nil {
			return nil, err
		}
		return p.Original.Masks, p.tune(ctx, p.Retain, epochs, rate, "rewind", fmt.Sprint("rewind ", a))
	})
}

// ShortRetrain is retraining with a smaller budget: a few annealed dense
// epochs from theta_0 on the retained data, its own pruning, fine-tuning.
func (p *Problem) ShortRetrain(ctx context.Context, dense, tune int, rate float64) (*Result, error) {
	if p.Theta0 == nil {
		return nil, fmt.Errorf("unprune: retraining needs the initial weights (theta_0)")
	}
	q := *p
	q.Recipe.TuneEpochs, q.Recipe.TuneRate = tune, rate
	q.Recipe.Rounds = 1
	return p.measure(func() (*sparsity.Masks, error) {
		masks, _, err := q.pipeline(ctx, p.Retain, dense, "short retrain")
		return masks, err
	})
}

func asDiverged(err error, target **DivergedError) bool { return errors.As(err, target) }
