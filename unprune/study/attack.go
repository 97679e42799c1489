package study

import (
	"context"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// Attack is what membership attacks say of an answer.
type Attack struct {
	// Efficacy is that of the published attack, by confidence: the share of
	// forgotten samples that a support vector machine calls non-members. To be
	// compared with gold's.
	Efficacy float64 `json:"efficacy"`

	// AUC is that of the log odds alone: how well they tell forgotten samples
	// from test samples of the same classes; 0.5 is not at all. TPR is the share
	// of forgotten samples found while one in a hundred of the others is called
	// forgotten. Intervals are 95 % bootstrap.
	AUC         float64              `json:"auc"`
	AUCInterval evalmetrics.Interval `json:"auc_interval"`
	TPR         float64              `json:"tpr_at_1pct"`
	TPRInterval evalmetrics.Interval `json:"tpr_interval"`
}

// attack runs the attacks with so many shadow members and non-members.
func (c *Comparison) attack(ctx context.Context, r *unprune.Result, shadows int) (*Attack, error) {
	p := c.Problem
	if err := p.Load(r); err != nil {
		return nil, err
	}
	rng := data.Stream(p.Seed, "study", "attack")
	retain, err := c.outputs(ctx, p.Train, sample(p.Train, p.Retain, shadows, p.Seed))
	if err != nil {
		return nil, err
	}
	test, err := c.outputs(ctx, c.Test, sample(c.Test, c.testRows, shadows, p.Seed))
	if err != nil {
		return nil, err
	}
	forget, err := c.outputs(ctx, p.Train, p.Forget)
	if err != nil {
		return nil, err
	}
	efficacy, err := evalmetrics.SVCAttack{Rand: rng}.ForgetEfficacy(retain, test, forget, evalmetrics.Confidence)
	if err != nil {
		return nil, err
	}
	roc, err := c.roc(ctx)
	if err != nil {
		return nil, err
	}
	low := func(r *evalmetrics.ROC) float64 { return r.TPR(0.01) }
	return &Attack{
		Efficacy: efficacy.Rate, AUC: roc.AUC(), AUCInterval: roc.Interval(rng, (*evalmetrics.ROC).AUC),
		TPR: low(roc), TPRInterval: roc.Interval(rng, low),
	}, nil
}

// roc separates forgotten samples from test samples of the same classes by the
// log odds of the network that is loaded.
func (c *Comparison) roc(ctx context.Context) (*evalmetrics.ROC, error) {
	p := c.Problem
	odds := func(d *data.Dataset, rows []int) ([]float64, error) {
		z, err := p.Engine.Logits(ctx, d, rows)
		if err != nil {
			return nil, err
		}
		return evalmetrics.LogOdds(z, labels(d, rows))
	}
	in, err := odds(p.Train, p.Forget)
	if err != nil {
		return nil, err
	}
	out, err := odds(c.Test, c.sameClasses())
	if err != nil {
		return nil, err
	}
	return evalmetrics.NewROC(in, out)
}

func (c *Comparison) outputs(ctx context.Context, d *data.Dataset, rows []int) (evalmetrics.Outputs, error) {
	z, err := c.Problem.Engine.Logits(ctx, d, rows)
	if err != nil {
		return evalmetrics.Outputs{}, err
	}
	return evalmetrics.NewOutputs(z, labels(d, rows))
}

// sample draws up to n of the rows, stratified by class. The draw depends on
// the seed alone, so that answers to one setting are attacked alike.
func sample(d *data.Dataset, rows []int, n int, seed uint64) []int {
	n = min(n, len(rows))
	chosen := evalmetrics.Stratified(data.Stream(seed, "study", "shadows"), labels(d, rows), n)
	out := make([]int, n)
	for i, k := range chosen {
		out[i] = rows[k]
	}
	return out
}
