package unprune

import (
	"context"
	"fmt"

	"github.com/unprune/unprune/sparsity"
)

// Order is how the original's batches were drawn: by Problem.Retrain under
// this seed and name.
type Order struct {
	Seed uint64 `json:"seed"`
	Name string `json:"name"`
}

// Replay is mask rescoring by the beginning of the original run played twice
// from theta_0, with its own batches and learning rates: s_d as it was, s_r
// with the rows to forget left out of the same batches. The new mask is the
// top k, per pruning group, of
//
//	|theta_d + Gain·(s_r - s_d)|  +  Extra·|s_r|
//
// both terms over the mean of their top k, theta_d the dense weights before
// pruning. The noise that the order of the data makes is in all three and
// cancels: the rule aims at the gold that shares the original's order
// (Counterfactual), which no other run knows. It is not for iterative pruning.
type Replay struct {
	Epochs int     // that are played; 0: as Blend's short run
	Gain   float64 // 0: 1
	Extra  float64 // 0 is the plain rule; 0.5 leans on the short run

	// Early is the original's weights after Epochs epochs, if they were kept;
	// s_d is then not run.
	Early *Weights

	Drop []int // rows left out; nil: those to forget. Others serve as control

	Keep     float64   // as in Blend
	Finish   Unlearner // with the new mask held fixed
	Tune     int       // as in Blend
	TuneRate float64
	MaskOnly bool // stop when the mask is chosen
}

// Replay chooses a new mask for the problem's original and finishes with it.
func (p *Problem) Replay(ctx context.Context, r Replay) (*Result, error) {
	switch {
	case p.Theta0 == nil || p.Dense == nil:
		return nil, fmt.Errorf("unprune: replay needs the initial weights (theta_0) and the dense weights before pruning; give them, or rescore by blend")
	case p.Order == nil:
		return nil, fmt.Errorf("unprune: replay needs the order of the original's training samples, as recorded when it was trained; without it, rescore by blend")
	case p.iterative():
		return nil, fmt.Errorf("unprune: replay is for networks pruned once; this recipe prunes in %d rounds: rescore by blend", p.Recipe.Rounds)
	}
	if r.Drop == nil {
		r.Drop = p.Forget
	}
	if r.Gain == 0 {
		r.Gain = 1
	}
	b := Blend{Epochs: r.Epochs, Keep: r.Keep, Finish: r.Finish, Tune: r.Tune, TuneRate: r.TuneRate}
	b.defaults(p)
	return p.measure(func() (*sparsity.Masks, error) {
		masks, start, err := p.replayed(ctx, r, b.Epochs)
		if err != nil || r.MaskOnly {
			return masks, err
		}
		if err := p.restart(b.Keep, masks, start); err != nil {
			return nil, err
		}
		return masks, p.finish(ctx, r.Finish, "un-pruned", b.Tune, b.TuneRate)
	})
}

// replayed returns the new masks and s_r.
func (p *Problem) replayed(ctx context.Context, r Replay, epochs int) (*sparsity.Masks, *Weights, error) {
	withAll, err := r.Early, error(nil)
	if withAll == nil {
		if withAll, err = p.beginning(ctx, epochs, nil); err != nil {
			return nil, nil, err
		}
	}
	without, err := p.beginning(ctx, epochs, r.Drop)
	if err != nil {
		return nil, nil, err
	}
	moved := p.Dense.Clone()
	v := moved.Vector()
	v.Axpy(r.Gain, without.Vector())
	v.Axpy(-r.Gain, withAll.Vector())
	moved.SetVector(v)
	scores, target, err := p.blended(moved.Tensors, without.Tensors, r.Extra)
	if err != nil {
		return nil, nil, err
	}
	masks, err := sparsity.Cut(scores, target)
	return masks, without, err
}

// beginning plays the first epochs of the original's dense training, some rows
// left out.
func (p *Problem) beginning(ctx context.Context, epochs int, drop []int) (*Weights, error) {
	q := p.inOrder(drop)
	full := Cosine(p.Recipe.Rate)
	schedule := func(e, _ int) float64 { return full(e, p.Recipe.Epochs) }
	if err := q.dense(ctx, nil, q.everyRow(), min(epochs, p.Recipe.Epochs), schedule, "replay", p.Order.Name+" 0"); err != nil {
		return nil, err
	}
	return p.Engine.Weights().Clone(), nil
}

// Counterfactual is the gold standard that shares the original's data order:
// the recipe on the original's batches, the rows to forget left out of them.
func (p *Problem) Counterfactual(ctx context.Context) (*Result, error) {
	if p.Order == nil {
		return nil, fmt.Errorf("unprune: the counterfactual gold needs the order of the original's training samples")
	}
	q := p.inOrder(p.Forget)
	return q.Retrain(ctx, q.everyRow(), p.Order.Name)
}

// EarlyWeights repeats the beginning of the original's training: the
// checkpoint that deletion-ready training keeps for Replay.Early.
func (p *Problem) EarlyWeights(ctx context.Context, epochs int) (*Weights, error) {
	if p.Order == nil || p.Theta0 == nil {
		return nil, fmt.Errorf("unprune: repeating the original's training needs its order and the initial weights (theta_0)")
	}
	return p.beginning(ctx, epochs, nil)
}

// inOrder is the problem with the original's data order, rows left out.
func (p *Problem) inOrder(drop []int) *Problem {
	q := *p
	q.Seed, q.drop = p.Order.Seed, map[int]bool{}
	for _, row := range drop {
		q.drop[row] = true
	}
	return &q
}

func (p *Problem) everyRow() []int {
	rows := make([]int, p.Train.Len())
	for i := range rows {
		rows[i] = i
	}
	return rows
}
