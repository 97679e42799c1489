package study

import (
	"context"
	"fmt"
	"slices"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// Anchors measures a method by attacks that train many networks: per network, a
// random half of the problem's forget set is what it trains on and then
// forgets, by the method, and what a gold standard never sees. They cost that
// many times (train + unlearn + retrain) and see what attacks on one network
// cannot.
type Anchors struct {
	Problem *unprune.Problem
	Test    *data.Dataset
	Models  int // 0: 32; per sample, half of them count
	Method  func(context.Context, *unprune.Problem) (*unprune.Result, error)
}

// An Anchor is the outcome for one way of forgetting.
type Anchor struct {
	Name    string `json:"name"`
	Samples int    `json:"samples"` // attacked

	ULiRA      float64              `json:"ulira"`                // mean balanced accuracy; 0.5 is perfect
	ULiRAUpper float64              `json:"ulira_upper"`          // 90 % quantile over samples
	TPR        map[string]float64   `json:"tpr"`                  // of the attack, at false positive rates 0.01 and 0.001
	TPRAt1     evalmetrics.Interval `json:"tpr_at_1pct_interval"` // 95 %, bootstrap over splits: their networks see many samples each

	KLoM      float64 `json:"klom"`       // median over samples, nats; 0 is perfect
	KLoMUpper float64 `json:"klom_upper"` // 90 % quantile
	Score     float64 `json:"score"`      // of the NeurIPS 2023 competition; higher is better
	RMIA      float64 `json:"rmia_auc"`   // of the first network, with its gold as reference; 0.5 is perfect

	RMIAInterval evalmetrics.Interval `json:"rmia_auc_interval"` // 95 %, bootstrap over samples
	RMIATPR      float64              `json:"rmia_tpr_at_1pct"`
}

// Anchor names beside the method's.
const (
	AnchorNothing = "nothing done"
	AnchorMethod  = "method"
)

// collected is what is kept of the networks of one way of forgetting.
type collected struct {
	unlearned, retrained map[int][]float64 // log odds per forgotten row
	splits               map[int][]int     // of which split they are
	model, gold          evalmetrics.Accuracies
	rmia                 *evalmetrics.ROC
}

// Run trains the networks and attacks them, the method's beside networks that
// did nothing to forget, which are the worst case.
func (a Anchors) Run(ctx context.Context) ([]Anchor, error) {
	setDefault(&a.Models, 32)
	if a.Models < 8 {
		return nil, fmt.Errorf("study: %d models are too few for a likelihood ratio; want at least 8", a.Models)
	}
	nothing := func(_ context.Context, p *unprune.Problem) (*unprune.Result, error) { return &p.Original, nil }
	ways := []struct {
		name string
		make func(context.Context, *unprune.Problem) (*unprune.Result, error)
		*collected
	}{{AnchorNothing, nothing, newCollected()}, {AnchorMethod, a.Method, newCollected()}}
	for i := range a.Models {
		p, gold, err := a.split(ctx, i)
		if err != nil {
			return nil, err
		}
		for _, w := range ways {
			r, err := w.make(ctx, p)
			if err != nil {
				return nil, err
			}
			if err := a.collect(ctx, w.collected, p, r, gold, i); err != nil {
				return nil, err
			}
		}
		if a.Problem.Progress != nil {
			a.Problem.Progress("networks", i+1, a.Models)
		}
	}
	var out []Anchor
	for _, w := range ways {
		anchor, err := w.attack(w.name, a.Models)
		if err != nil {
			return nil, err
		}
		out = append(out, anchor)
	}
	return out, nil
}

func newCollected() *collected {
	return &collected{unlearned: map[int][]float64{}, retrained: map[int][]float64{}, splits: map[int][]int{}}
}

// split makes the i-th problem, its original trained on everything, and its
// gold.
func (a Anchors) split(ctx context.Context, i int) (*unprune.Problem, *unprune.Result, error) {
	p := *a.Problem
	p.Seed += uint64(i) + 1
	order := data.Stream(p.Seed, "anchors", "split").Perm(len(a.Problem.Forget))
	p.Forget = nil
	for _, k := range order[:len(order)/2] {
		p.Forget = append(p.Forget, a.Problem.Forget[k])
	}
	slices.Sort(p.Forget)
	p.Retain = data.Complement(p.Train.Len(), p.Forget)
	original, err := p.Retrain(ctx, everyRow(p.Train.Len()), "original")
	if err != nil {
		return nil, nil, err
	}
	p.Original, p.Dense = *original, original.Dense
	p.Order = &unprune.Order{Seed: p.Seed, Name: "original"}
	gold, err := p.Retrain(ctx, p.Retain, "gold")
	return &p, gold, err
}

// seen is a network's outputs on what it is attacked on.
type seen struct{ forget, test, retain []float64 }

func (a Anchors) look(ctx context.Context, p *unprune.Problem, r *unprune.Result) (s seen, err error) {
	if err := p.Load(r); err != nil {
		return s, err
	}
	if s.forget, err = p.Engine.Logits(ctx, p.Train, p.Forget); err != nil {
		return s, err
	}
	if s.retain, err = p.Engine.Logits(ctx, p.Train, p.Retain); err != nil {
		return s, err
	}
	s.test, err = p.Engine.Logits(ctx, a.Test, everyRow(a.Test.Len()))
	return s, err
}

// collect keeps what the networks of one split say.
func (a Anchors) collect(ctx context.Context, c *collected, p *unprune.Problem, r, gold *unprune.Result, split int) error {
	model, err := a.look(ctx, p, r)
	if err != nil {
		return err
	}
	standard, err := a.look(ctx, p, gold)
	if err != nil {
		return err
	}
	forgot := labels(p.Train, p.Forget)
	for _, row := range p.Forget {
		c.splits[row] = append(c.splits[row], split)
	}
	for _, part := range []struct {
		logits []float64
		to     map[int][]float64
	}{{model.forget, c.unlearned}, {standard.forget, c.retrained}} {
		odds, err := evalmetrics.LogOdds(part.logits, forgot)
		if err != nil {
			return err
		}
		for k, row := range p.Forget {
			part.to[row] = append(part.to[row], odds[k])
		}
	}
	for _, part := range []struct {
		s  seen
		to *evalmetrics.Accuracies
	}{{model, &c.model}, {standard, &c.gold}} {
		retain, err := evalmetrics.Accuracy(part.s.retain, labels(p.Train, p.Retain))
		if err != nil {
			return err
		}
		test, err := evalmetrics.Accuracy(part.s.test, a.Test.Y)
		if err != nil {
			return err
		}
		part.to.Retain += retain / float64(a.Models)
		part.to.Test += test / float64(a.Models)
	}
	if split == 0 {
		c.rmia, err = a.rmia(model, standard, forgot)
	}
	return err
}

// rmia attacks one network with its gold as the only, offline, reference: the
// first half of the test samples is the population, the second half are the
// non-members.
func (a Anchors) rmia(model, reference seen, forgot []int64) (*evalmetrics.ROC, error) {
	likelihoods := func(m, r []float64, y []int64) ([]evalmetrics.Likelihood, error) {
		mo, err := evalmetrics.NewOutputs(m, y)
		if err != nil {
			return nil, err
		}
		ro, err := evalmetrics.NewOutputs(r, y)
		if err != nil {
			return nil, err
		}
		return evalmetrics.Likelihoods(mo, ro)
	}
	members, err := likelihoods(model.forget, reference.forget, forgot)
	if err != nil {
		return nil, err
	}
	others, err := likelihoods(model.test, reference.test, a.Test.Y)
	if err != nil {
		return nil, err
	}
	half := len(others) / 2
	attack := evalmetrics.RMIA{Offline: true}
	in, err := attack.Scores(members, others[:half])
	if err != nil {
		return nil, err
	}
	out, err := attack.Scores(others[half:], others[:half])
	if err != nil {
		return nil, err
	}
	return evalmetrics.NewROC(in, out)
}

// attack runs the attacks on samples that at least three networks forgot.
func (c *collected) attack(name string, models int) (Anchor, error) {
	var trials []evalmetrics.Trials
	var splits [][]int
	rows := make([]int, 0, len(c.unlearned))
	for row := range c.unlearned {
		rows = append(rows, row)
	}
	slices.Sort(rows)
	for _, row := range rows {
		if len(c.unlearned[row]) >= 3 {
			trials = append(trials, evalmetrics.Trials{Unlearned: c.unlearned[row], Retrained: c.retrained[row]})
			splits = append(splits, c.splits[row])
		}
	}
	out := Anchor{Name: name, Samples: len(trials), RMIA: c.rmia.AUC(), RMIATPR: c.rmia.TPR(0.01), TPR: map[string]float64{}}
	lira, err := evalmetrics.ULiRA(trials)
	if err != nil {
		return out, err
	}
	out.ULiRA, out.ULiRAUpper = lira.Mean, lira.Upper
	out.TPR["0.01"], out.TPR["0.001"] = lira.ROC.TPR(0.01), lira.ROC.TPR(0.001)
	rng := data.Stream(uint64(models), "anchors", "bootstrap")
	out.RMIAInterval = c.rmia.Interval(data.Stream(uint64(models), "anchors", "rmia"), (*evalmetrics.ROC).AUC)
	groups := bySplit(lira.Ratios, splits, models)
	if out.TPRAt1, err = evalmetrics.GroupInterval(rng, groups, func(r *evalmetrics.ROC) float64 { return r.TPR(0.01) }); err != nil {
		return out, err
	}
	klom, err := evalmetrics.KLoM(trials, 0)
	if err != nil {
		return out, err
	}
	slices.Sort(klom)
	out.KLoM, out.KLoMUpper = evalmetrics.Quantile(klom, 0.5), evalmetrics.Quantile(klom, 0.9)
	out.Score, err = evalmetrics.CompetitionScore(trials, c.model, c.gold)
	return out, err
}

// bySplit gathers the samples' ratios by the split whose networks they are of.
func bySplit(ratios []evalmetrics.Trials, splits [][]int, n int) []evalmetrics.Group {
	groups := make([]evalmetrics.Group, n)
	for i, r := range ratios {
		for k, split := range splits[i] {
			g := &groups[split]
			g.Positives = append(g.Positives, r.Unlearned[k])
			g.Negatives = append(g.Negatives, r.Retrained[k])
		}
	}
	return groups
}
