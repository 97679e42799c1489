package unprune

import (
	"context"
	"fmt"
	"slices"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// Loop is un-pruning as published (arXiv 2507.18725): per round, grow the
// mask, give regrown weights a starting value, unlearn with the grown mask,
// prune back to the density the mask had. It ranks by the pruner's own score
// (rescore: magnitude); Rescore is the alternative.
type Loop struct {
	Unlearner Unlearner
	Pruner    sparsity.Pruner

	Rounds     int     // 0: 5
	Share      float64 // p, of the pruned units of each layer; 0: 0.2
	Grow       GrowBy  // "": theta0 where known, else gradient
	Init       InitAs  // "": theta0 where known, else random
	Cumulative bool    // prune once at the end instead of in every round

	// Recalibrate is the batch size of the pass over the retained data that
	// renews running statistics after each cut; 0: 256.
	Recalibrate int

	// Observe, if set, sees the mask after each growth and each cut.
	Observe func(round int, grown bool, masks *sparsity.Masks)

	layers []sparsity.Layer // that have a mask: others stay dense
}

func (l *Loop) defaults(t *Task) error {
	if l.Rounds == 0 {
		l.Rounds = 5
	}
	if l.Share == 0 {
		l.Share = 0.2
	}
	if l.Recalibrate == 0 {
		l.Recalibrate = 256
	}
	if l.Grow == "" {
		l.Grow = GrowTheta0
		if t.Initial == nil {
			l.Grow = GrowGradient
		}
	}
	if l.Init == "" {
		l.Init = InitTheta0
		if t.Initial == nil {
			l.Init = InitRandom
		}
	}
	if l.Share < 0 || l.Share > 1 {
		return fmt.Errorf("unprune: growth share %g: want a number above 0 and at most 1", l.Share)
	}
	if l.Pruner.Unit() == sparsity.Joint && l.Grow == GrowGradient {
		return fmt.Errorf("unprune: units that were removed with all that reads them have no gradient; give the initial weights, or grow at random")
	}
	if (l.Grow == GrowTheta0 || l.Init == InitTheta0) && t.Initial == nil {
		return fmt.Errorf("unprune: growth by theta0 needs the initial weights; give them, or grow by gradient and initialise at random")
	}
	if (l.Grow == GrowRandom || l.Init == InitRandom) && t.Rand == nil {
		return fmt.Errorf("unprune: random growth or initialisation needs a stream of random numbers")
	}
	return Satisfies(l.Unlearner, t)
}

// Satisfies reports what an unlearner needs and the task does not have.
func Satisfies(u Unlearner, t *Task) error {
	n := u.Needs()
	curvature, _ := t.Engine.(Curvature)
	switch {
	case n&NeedsForget != 0 && len(t.Forget) == 0:
		return fmt.Errorf("unprune: %s needs the samples to forget", u.Name())
	case n&NeedsRetain != 0 && len(t.Retain) == 0:
		return fmt.Errorf("unprune: %s needs retained samples", u.Name())
	case n&NeedsInitial != 0 && t.Initial == nil:
		return fmt.Errorf("unprune: %s needs the initial weights (theta_0)", u.Name())
	case n&NeedsRandom != 0 && t.Rand == nil:
		return fmt.Errorf("unprune: %s needs a stream of random numbers", u.Name())
	case n&NeedsCurvature != 0 && curvature == nil:
		return fmt.Errorf("unprune: %s needs an engine that computes gradients of single samples and Hessian-vector products", u.Name())
	}
	return nil
}

// Run un-prunes the engine's network, whose masks are given, and returns the
// new masks; the engine holds them.
func (l Loop) Run(ctx context.Context, t *Task, masks *sparsity.Masks) (*sparsity.Masks, error) {
	if err := l.defaults(t); err != nil {
		return nil, err
	}
	l.layers = t.Engine.Layers()
	if l.Pruner.Unit() != sparsity.Joint { // whose groups reach into all layers
		l.layers = slices.DeleteFunc(slices.Clone(l.layers), func(layer sparsity.Layer) bool { return masks.Get(layer.Name) == nil })
	}
	target := sparsity.TargetOf(sparsity.Unscored(l.Pruner, l.layers), l.Pruner.Scope(), masks)
	var err error
	for round := range l.Rounds {
		if masks, err = l.grow(ctx, t, masks); err != nil {
			return nil, err
		}
		l.observe(round, true, masks)
		if err := l.Unlearner.Unlearn(ctx, t); err != nil {
			return nil, err
		}
		if l.Cumulative && round < l.Rounds-1 {
			continue
		}
		if masks, err = l.cut(ctx, t, target, masks); err != nil {
			return nil, err
		}
		l.observe(round, false, masks)
		if err := t.Engine.Recalibrate(ctx, t.Data, t.Retain, l.Recalibrate); err != nil {
			return nil, err
		}
		t.Report("un-pruning", round+1, l.Rounds)
	}
	return masks, nil
}

func (l *Loop) observe(round int, grown bool, masks *sparsity.Masks) {
	if l.Observe != nil {
		l.Observe(round, grown, masks)
	}
}

// score scores what the engine holds, on retained samples where the pruner
// looks at samples.
func (l *Loop) score(ctx context.Context, t *Task) ([]sparsity.Scores, error) {
	if l.Pruner.Needs()&sparsity.NeedsRandom != 0 {
		return nil, fmt.Errorf("unprune: pruner %s cannot score the same weights twice alike; use one that can", l.Pruner.Name())
	}
	in, err := ScoreInput(ctx, t.Engine, l.Pruner, l.layers, Samples{Data: t.Data, Rows: t.Retain}, nil)
	if err != nil {
		return nil, err
	}
	return l.Pruner.Score(in)
}

// grow brings pruned units back and gives them their starting value.
func (l *Loop) grow(ctx context.Context, t *Task, masks *sparsity.Masks) (*sparsity.Masks, error) {
	layers := l.layers
	var scores []sparsity.Scores
	var err error
	switch l.Grow {
	case GrowTheta0:
		scores, err = unitScores(l.Pruner, layers, t.Initial.Tensors)
	case GrowGradient:
		var grads map[string]*onnx.Tensor
		if grads, err = retainGradient(ctx, t); err == nil {
			scores, err = unitScores(l.Pruner, layers, grads)
		}
	case GrowRandom:
		scores = randomScores(l.Pruner, layers, t.Stream("grow").Rand)
	default:
		err = fmt.Errorf("unprune: growth rule %q: want theta0, gradient or random", l.Grow)
	}
	if err != nil {
		return nil, err
	}
	more := grown(masks, scores, l.Share)
	if err := t.Engine.SetMasks(more); err != nil {
		return nil, err
	}
	if err := initialise(layers, masks, more, l.Init, t.Initial, t.Stream("init").Rand); err != nil {
		return nil, err
	}
	from := t.Initial
	if l.Init != InitTheta0 {
		from = nil
	}
	return more, follow(l.Pruner, t.Engine, masks, more, from)
}

// retainGradient is the gradient of the mean loss over the retained samples.
func retainGradient(ctx context.Context, t *Task) (map[string]*onnx.Tensor, error) {
	var terms []Term
	for _, batch := range Batches(t.Retain, 256) {
		terms = append(terms, Term{
			Data: t.Data, Index: batch, Eval: true,
			Weight: float64(len(batch)) / float64(len(t.Retain)),
		})
	}
	return t.Engine.Gradient(ctx, terms...)
}

// cut prunes back to the target by the pruner's score. Only what the mask has
// now can stay.
func (l *Loop) cut(ctx context.Context, t *Task, target sparsity.Target, masks *sparsity.Masks) (*sparsity.Masks, error) {
	scores, err := l.score(ctx, t)
	if err != nil {
		return nil, err
	}
	out, err := sparsity.CutWithin(scores, masks, target)
	if err != nil {
		return nil, err
	}
	return out, t.Engine.SetMasks(out)
}
