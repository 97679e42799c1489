package study

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/unlearn"
)

// A Network is what a study's caller opens for a model's name.
type Network struct {
	Engine      unprune.Engine // new, with the file's weights
	Train, Test *data.Dataset
	Recipe      unprune.Recipe // the model's own training, without pruning
	Identity    string         // changes with the model's file, the data and whatever else Open does
}

// A Grid computes the cells of a study. Every network is trained by an engine
// of its own, so that nothing depends on what was computed before.
type Grid struct {
	Spec *Spec
	Dir  string // results, and networks that cells share
	Open func(model string) (*Network, error)

	// Shard of Shards (from 0) computes every Shards-th setting and writes to
	// a file of its own; Shards of 0 or 1 computes all.
	Shard, Shards int

	Progress unprune.Progress
}

// Journal is the file of results.
func (g *Grid) Journal() string {
	name := "results.jsonl"
	if g.Shards > 1 {
		name = fmt.Sprintf("results-%d-of-%d.jsonl", g.Shard, g.Shards)
	}
	return filepath.Join(g.Dir, name)
}

// Run computes the cells that the folder does not have yet. It can be killed at
// any moment and run again: the results are then those of a run that was never
// killed.
func (g *Grid) Run(ctx context.Context) error {
	if g.Shards > 1 && (g.Shard < 0 || g.Shard >= g.Shards) {
		return fmt.Errorf("study: shard %d of %d: want 0 to %d", g.Shard, g.Shards, g.Shards-1)
	}
	j, err := openJournal(g.Journal())
	if err != nil {
		return err
	}
	defer j.close()
	settings := g.Spec.Settings()
	for i, s := range settings {
		if g.Shards > 1 && i%g.Shards != g.Shard {
			continue
		}
		if err := g.setting(ctx, j, s); err != nil {
			return fmt.Errorf("study: %s, %s %g, forget %s, seed %d: %w", s.Model, s.Pruner, s.Sparsity, s.Forget, s.Seed, err)
		}
		if g.Progress != nil {
			g.Progress("settings", i+1, len(settings))
		}
	}
	return j.close()
}

// setting answers one setting by all methods that are missing.
func (g *Grid) setting(ctx context.Context, j *journal, s Setting) error {
	c := &cell{grid: g, setting: s, store: store{filepath.Join(g.Dir, "networks")}}
	n, err := g.Open(s.Model)
	if err != nil {
		return err
	}
	if err := c.describe(n); err != nil {
		return err
	}
	for _, m := range g.Spec.methods() {
		parts := []any{c.identity, s, m, g.Spec.Attack}
		if g.Spec.SameOrder {
			parts = append(parts, true)
		}
		key, err := contentKey(parts...)
		if err != nil {
			return err
		}
		if j.have[key] {
			continue
		}
		record := Record{Key: key, Setting: s, Label: m.Label, Method: m}
		figures, err := c.answer(ctx, m)
		var diverged *unprune.DivergedError
		switch {
		case err == nil:
			record.Figures = *figures
		case errors.As(err, &diverged):
			record.Failed = err.Error()
		default:
			return fmt.Errorf("%s: %w", m.Label, err)
		}
		if err := j.append(record); err != nil {
			return err
		}
	}
	return nil
}

// A cell is one setting being answered.
type cell struct {
	grid     *Grid
	setting  Setting
	store    store
	recipe   unprune.Recipe
	forget   []int
	identity []any // of the network, the data and the recipe

	ready *reference // nil until the first method needs it
}

// A reference is what all methods of a setting start from and are compared
// with.
type reference struct {
	original, gold, independent *unprune.Result
	sameOrder                   *unprune.Result // nil unless the study compares with it

	goldOutputs *judged
}

// describe settles what the setting is, without computing.
func (c *cell) describe(n *Network) error {
	s := c.setting
	pruner, err := sparsity.ByName(s.Pruner)
	if err != nil {
		return err
	}
	c.recipe = c.grid.Spec.Recipe.over(n.Recipe)
	c.recipe.Pruner, c.recipe.Sparsity = pruner, s.Sparsity
	if pruner.Unit() != sparsity.Weight {
		layers := n.Engine.Layers()
		last := layers[len(layers)-1].Name
		c.recipe.Skip = func(layer string) bool { return layer == last }
	}
	spec, err := data.ParseForget(s.Forget)
	if err != nil {
		return err
	}
	if c.forget, err = spec.Select(n.Train, s.Seed); err != nil {
		return err
	}
	r := c.recipe
	c.identity = []any{
		n.Identity, c.grid.Spec.Initial, s.Pruner, s.Sparsity, s.Seed, r.Rounds,
		r.Optimizer, r.Batch, r.Epochs, r.Rate, r.TuneEpochs, r.TuneRate, int(r.Schedule),
	}
	return nil
}

// problem opens the network anew.
func (c *cell) problem() (*unprune.Problem, *Network, error) {
	n, err := c.grid.Open(c.setting.Model)
	if err != nil {
		return nil, nil, err
	}
	p := &unprune.Problem{
		Engine: n.Engine, Recipe: c.recipe, Train: n.Train, Seed: c.setting.Seed,
		Forget: c.forget, Retain: data.Complement(n.Train.Len(), c.forget),
		Order: &unprune.Order{Seed: c.setting.Seed, Name: "original"}, Progress: c.grid.Progress,
	}
	p.Theta0 = n.Engine.Weights().Clone()
	if c.grid.Spec.Initial == "fresh" {
		p.Theta0 = n.Engine.Fresh(data.Stream(c.setting.Seed, "study", "initial"))
	}
	if c.ready != nil {
		p.Original, p.Dense = *c.ready.original, c.ready.original.Dense
	}
	return p, n, nil
}

// retrained returns the recipe's run on some rows from the store.
func (c *cell) retrained(ctx context.Context, rows []int, name string) (*unprune.Result, error) {
	key, err := contentKey(c.identity, rows, name)
	if err != nil {
		return nil, err
	}
	return c.store.get(ctx, key, func(ctx context.Context) (*unprune.Result, error) {
		p, _, err := c.problem()
		if err != nil {
			return nil, err
		}
		return p.Retrain(ctx, rows, name)
	})
}

// counterfactual returns the gold of the original's data order from the store.
func (c *cell) counterfactual(ctx context.Context) (*unprune.Result, error) {
	key, err := contentKey(c.identity, c.forget, "same-order gold")
	if err != nil {
		return nil, err
	}
	return c.store.get(ctx, key, func(ctx context.Context) (*unprune.Result, error) {
		p, _, err := c.problem()
		if err != nil {
			return nil, err
		}
		return p.Counterfactual(ctx)
	})
}

// prepare trains, or finds, what the setting is compared with.
func (c *cell) prepare(ctx context.Context) error {
	if c.ready != nil {
		return nil
	}
	p, n, err := c.problem()
	if err != nil {
		return err
	}
	all := everyRow(n.Train.Len())
	ready := &reference{}
	for _, part := range []struct {
		to   **unprune.Result
		rows []int
		name string
	}{
		{&ready.original, all, "original"}, {&ready.gold, p.Retain, "gold"}, {&ready.independent, all, "independent run"},
	} {
		if *part.to, err = c.retrained(ctx, part.rows, part.name); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if c.grid.Spec.SameOrder {
		if ready.sameOrder, err = c.counterfactual(ctx); err != nil {
			return err
		}
	}
	c.ready = ready
	return nil
}

// answer makes one answer and measures it.
func (c *cell) answer(ctx context.Context, m Method) (*Figures, error) {
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	p, n, err := c.problem()
	if err != nil {
		return nil, err
	}
	r, err := c.make(ctx, p, m)
	if err != nil {
		return nil, err
	}
	cmp := &Comparison{Problem: p, Test: n.Test, testRows: KeptRows(n.Test, p.Train, p.Forget, p.Retain)}
	if c.ready.goldOutputs == nil {
		if c.ready.goldOutputs, err = cmp.judge(ctx, c.ready.gold); err != nil {
			return nil, err
		}
	}
	cmp.gold = c.ready.goldOutputs
	row, err := cmp.row(ctx, m.Label, r)
	if err != nil {
		return nil, err
	}
	f := &Figures{
		IoU: row.IoU, KLTest: row.KLTest, KLForget: row.KLForget, UA: row.UA, RA: row.RA, TA: row.TA,
		Passes: r.Cost.Passes(len(p.Retain)), Cost: &evalmetrics.Cost{Forward: r.Cost.Forward, Backward: r.Cost.Backward, HVP: r.Cost.HVP},
	}
	if err := c.compareMasks(f, r); err != nil {
		return nil, err
	}
	if c.grid.Spec.Attack > 0 {
		f.Attack, err = cmp.attack(ctx, r, c.grid.Spec.Attack)
	}
	return f, err
}

// compareMasks fills in what the mask says beyond its overlap with gold.
func (c *cell) compareMasks(f *Figures, r *unprune.Result) error {
	var m meter
	f.IoUOriginal = m.iou(r.Masks, c.ready.original.Masks)
	f.Contrast = f.IoU - m.iou(r.Masks, c.ready.independent.Masks)
	if c.ready.sameOrder != nil {
		iou := m.iou(r.Masks, c.ready.sameOrder.Masks)
		f.IoUSameOrder = &iou
	}
	if m.err != nil {
		return m.err
	}
	s, err := evalmetrics.NewSwap(c.ready.original.Masks, r.Masks, c.ready.gold.Masks)
	if err != nil {
		return err
	}
	if s.Added > 0 && s.Dropped > 0 {
		f.Swap = &Swap{Share: float64(s.Dropped) / float64(c.ready.original.Masks.Count()), AddedInGold: s.AddedInGold, DroppedInGold: s.DroppedInGold}
	}
	return nil
}

// make computes the answer of a method.
func (c *cell) make(ctx context.Context, p *unprune.Problem, m Method) (*unprune.Result, error) {
	switch m.Rule {
	case RuleOriginal:
		o := *c.ready.original
		o.Cost = evalmetrics.Cost{}
		return &o, nil
	case RuleGold:
		return c.ready.gold, nil
	case RuleNothingSaved:
		return c.ready.independent, nil
	case RuleGold2:
		return c.retrained(ctx, p.Retain, "second gold")
	case RuleSameOrder:
		return c.counterfactual(ctx)
	}
	u, err := m.unlearner(c.grid.Spec.own)
	if err != nil {
		return nil, err
	}
	tuning := u.Name() == unlearn.FineTune{}.Name()
	if m.Epochs == 0 && m.Rule == RuleLoop {
		m.Epochs = 1
	} else if m.Epochs == 0 && tuning {
		m.Epochs = 4
	}
	rate := func(standard float64) float64 {
		if m.Rate > 0 || !tuning { // 0 is the unlearner's own
			return m.Rate
		}
		return standard
	}
	if m.NoDense {
		p.Dense = nil
	}
	peak := p.Recipe.Rate
	switch m.Rule {
	case RuleFixed:
		return p.FixedMask(ctx, u, m.Epochs, rate(peak))
	case RuleRewind:
		if m.Keep == 0 {
			m.Keep = 0.5
		}
		return p.Rewind(ctx, m.Keep, m.Epochs, rate(peak))
	case RuleShort:
		if m.Short == 0 {
			m.Short = p.ShortEpochs()
		}
		return p.ShortRetrain(ctx, m.Short, m.Epochs, rate(peak))
	case RuleReplay, RuleReplayOther:
		r := unprune.Replay{Epochs: m.Short, Extra: m.Extra, Keep: m.Keep, Finish: u, Tune: m.Epochs, TuneRate: rate(2 * peak)}
		if m.Rule == RuleReplayOther {
			r.Drop = sample(p.Train, p.Retain, len(p.Forget), p.Seed)
		}
		return p.Replay(ctx, r)
	case RuleBlend, RuleControl:
		b := unprune.Blend{C: m.Weight, Epochs: m.Short, Keep: m.Keep, Finish: u, Tune: m.Epochs, TuneRate: rate(2 * peak)}
		if m.Rule == RuleControl {
			b.Rows = everyRow(p.Train.Len())
		}
		return p.Rescore(ctx, b)
	}
	return p.Unprune(ctx, unprune.Loop{
		Unlearner: u, Pruner: p.Recipe.Pruner, Rounds: m.Rounds, Share: m.Share,
		Grow: unprune.GrowBy(m.Grow), Init: unprune.InitAs(m.Init), Cumulative: m.Schedule == "cumulative",
		Recalibrate: p.Recipe.Batch,
	}, m.Epochs, rate(p.Recipe.TuneRate), m.Finish)
}

// Figures is what is measured of an answer; the gold is that of the setting.
type Figures struct {
	IoU         float64 `json:"iou_gold"`
	IoUOriginal float64 `json:"iou_original"`

	IoUSameOrder *float64 `json:"iou_same_order_gold,omitempty"`

	Contrast float64 `json:"contrast"` // see Diagnostics
	KLTest   float64 `json:"kl_test"`
	KLForget float64 `json:"kl_forget"`
	UA       float64 `json:"ua"`
	RA       float64 `json:"ra"`
	TA       float64 `json:"ta"`
	Passes   float64 `json:"passes"`

	Cost *evalmetrics.Cost `json:"cost,omitempty"` // without seconds; nil in results of before it was recorded

	Swap   *Swap   `json:"swap,omitempty"`
	Attack *Attack `json:"attack,omitempty"`
}
