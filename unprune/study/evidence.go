package study

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/unprune/data"
)

// Evidence says how sure a row's figures are, and what single samples and an
// attacker see. Intervals are 95 %: of divergences by bootstrap over samples, of
// accuracies (percent) by Wilson's formula. They cover the draw of samples, not
// that of seeds; the second gold shows what a seed does.
type Evidence struct {
	KLTest   *evalmetrics.Interval `json:"kl_test,omitempty"` // nil of a single sample
	KLForget *evalmetrics.Interval `json:"kl_forget,omitempty"`
	UA       evalmetrics.Interval  `json:"ua"`
	TA       evalmetrics.Interval  `json:"ta"`

	// Spread is the quantiles (SpreadAt) of KL(gold‖row) over the forgotten
	// samples.
	Spread []float64 `json:"kl_forget_quantiles"`

	// Attack tells the forgotten samples from test samples of the same classes
	// by their log odds; nil if there is no such test sample.
	Attack *Curve `json:"attack,omitempty"`
}

// SpreadAt are the quantiles of Evidence.Spread.
var SpreadAt = []float64{0.05, 0.25, 0.5, 0.75, 0.95}

// A Curve is an attack's ROC curve. AUC 0.5 is an attack that tells nothing;
// TPR is the share of forgotten samples that are found while one in a hundred
// of the others is called forgotten.
type Curve struct {
	AUC         float64              `json:"auc"`
	AUCInterval evalmetrics.Interval `json:"auc_interval"`
	TPR         float64              `json:"tpr_at_1pct"`
	TPRInterval evalmetrics.Interval `json:"tpr_interval"`
	Points      []evalmetrics.Rate   `json:"-"`
}

// evidence looks closer at the row that was measured last, whose network the
// engine holds.
func (c *Comparison) evidence(ctx context.Context, row Row) (*Evidence, error) {
	p, j := c.Problem, c.last
	forget, err := evalmetrics.KLSamples(c.gold.forget, j.forget, c.classes())
	if err != nil {
		return nil, err
	}
	test, err := evalmetrics.KLSamples(c.gold.test, j.test, c.classes())
	if err != nil {
		return nil, err
	}
	rng := data.Stream(p.Seed, "study", "evidence "+row.Name)
	e := &Evidence{
		KLTest: meanInterval(rng, test), KLForget: meanInterval(rng, forget),
		UA: percentInterval(row.UA, len(p.Forget)), TA: percentInterval(row.TA, len(c.testRows)),
	}
	slices.Sort(forget)
	for _, q := range SpreadAt {
		e.Spread = append(e.Spread, max(0, evalmetrics.Quantile(forget, q)))
	}
	if !c.attackable() {
		return e, nil
	}
	roc, err := c.roc(ctx)
	if err != nil {
		return nil, err
	}
	low := func(r *evalmetrics.ROC) float64 { return r.TPR(0.01) }
	e.Attack = &Curve{
		AUC: roc.AUC(), AUCInterval: roc.Interval(rng, (*evalmetrics.ROC).AUC),
		TPR: low(roc), TPRInterval: roc.Interval(rng, low), Points: roc.Curve(),
	}
	return e, nil
}

func meanInterval(rng *rand.Rand, values []float64) *evalmetrics.Interval {
	if len(values) < 2 {
		return nil
	}
	i := evalmetrics.MeanInterval(rng, values)
	return &i
}

// percentInterval is that of an accuracy in percent over n samples.
func percentInterval(accuracy float64, n int) evalmetrics.Interval {
	i := evalmetrics.ShareInterval(int(math.Round(accuracy/100*float64(n))), n)
	return evalmetrics.Interval{Low: 100 * i.Low, High: 100 * i.High}
}

// attackable reports whether there are test samples of the forgotten classes.
func (c *Comparison) attackable() bool { return len(c.sameClasses()) > 0 }

// sameClasses lists the test samples of the classes of forgotten samples.
func (c *Comparison) sameClasses() []int {
	p := c.Problem
	gone := map[int64]bool{}
	for _, row := range p.Forget {
		gone[p.Train.Y[row]] = true
	}
	var same []int
	for i, y := range c.Test.Y {
		if gone[y] {
			same = append(same, i)
		}
	}
	return same
}
