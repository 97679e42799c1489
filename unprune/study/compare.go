package study

import (
	"context"
	"fmt"
	"slices"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/unlearn"
)

// Row names. Scripts rely on them.
const (
	Original     = "original"
	Fixed        = "fixed"
	Rewind       = "rewind"
	Paper        = "unpruned-paper"
	Unpruned     = "unpruned"
	ShortRetrain = "short-retrain"
	Gold         = "gold"
	Gold2        = "gold2"
)

// Settings are the budgets of a comparison, in epochs; the zero value is the
// published set-up of our measurements (spec 1.6).
type Settings struct {
	Tune        int     // epochs of fine-tuning of every answer that keeps or rescores the mask; 0: 4
	FixedRate   float64 // their peak rate; 0: the recipe's dense peak
	BlendRate   float64 // that of the un-pruned model; 0: twice the recipe's dense peak
	PaperShare  float64 // growth per round of the paper's rule; 0: 0.2
	PaperRounds int     // 0: 3, one epoch each and one to finish
	PaperRate   float64 // 0: the recipe's fine-tuning peak
	Rewind      float64 // a of the rewind baseline; 0: 0.5
	RowRule     []int   // deleted classes whose output rows are rescored without |w|

	// Short leaves out all rows but the original, the fixed mask, the
	// un-pruned model and gold, and with them the diagnostics.
	Short bool
}

func (s *Settings) defaults(r unprune.Recipe) {
	set := func(x *float64, v float64) {
		if *x == 0 {
			*x = v
		}
	}
	if s.Tune == 0 {
		s.Tune = 4
	}
	if s.PaperRounds == 0 {
		s.PaperRounds = 3
	}
	set(&s.FixedRate, r.Rate)
	set(&s.BlendRate, 2*r.Rate)
	set(&s.PaperShare, 0.2)
	set(&s.PaperRate, r.TuneRate)
	set(&s.Rewind, 0.5)
}

// A Row is one answer and how it compares with the gold standard.
type Row struct {
	Name      string  `json:"name"`
	IoU       float64 `json:"iou_gold"`  // of the alive sets, all layers
	KLTest    float64 `json:"kl_test"`   // KL(gold‖row) on the test samples of kept classes, nats
	KLForget  float64 `json:"kl_forget"` // on the forgotten samples
	UA        float64 `json:"ua"`        // accuracy on the forgotten samples, percent
	RA        float64 `json:"ra"`        // on the retained samples
	TA        float64 `json:"ta"`        // on the test samples of kept classes
	Passes    float64 `json:"passes"`    // training passes over the retained data
	Seconds   float64 `json:"seconds"`
	Layers    []Layer `json:"layers"`
	Confident []int   `json:"confidence"` // histogram of the largest probability on the forgotten samples, 10 bins over [0,1]

	Evidence *Evidence `json:"evidence,omitempty"` // how sure the figures are; nil in a study

	Result *unprune.Result `json:"-"`
}

// A Layer is a row's mask overlap with gold in one layer.
type Layer struct {
	Name   string  `json:"name"`
	IoU    float64 `json:"iou"`
	Chance float64 `json:"chance"`
	Kept   int     `json:"kept"`
	Total  int     `json:"total"`
}

// A Table is the outcome of a comparison.
type Table struct {
	Rows        []Row        `json:"rows"`
	Diagnostics *Diagnostics `json:"diagnostics,omitempty"` // nil for a short comparison
}

// Row returns the row of that name, nil if there is none.
func (t *Table) Row(name string) *Row {
	for i := range t.Rows {
		if t.Rows[i].Name == name {
			return &t.Rows[i]
		}
	}
	return nil
}

// A Comparison judges the answers to one deletion request.
type Comparison struct {
	Problem  *unprune.Problem
	Test     *data.Dataset
	Settings Settings

	// Answer is the un-pruned model, if it is there already; nil: it is made by
	// rescoring with the Settings.
	Answer *unprune.Result

	testRows []int
	gold     *judged
	last     *judged // what row measured last
}

// judged is a result with its outputs.
type judged struct {
	result       *unprune.Result
	test, forget []float64 // probabilities
}

// Run computes every row and the diagnostics.
func (c *Comparison) Run(ctx context.Context) (*Table, error) {
	p, s := c.Problem, &c.Settings
	s.defaults(p.Recipe)
	c.testRows = KeptRows(c.Test, p.Train, p.Forget, p.Retain)
	gold, err := p.Retrain(ctx, p.Retain, "gold")
	if err != nil {
		return nil, err
	}
	if c.gold, err = c.judge(ctx, gold); err != nil {
		return nil, err
	}
	answers := []struct {
		name string
		make func() (*unprune.Result, error)
	}{
		{Original, func() (*unprune.Result, error) { return &p.Original, nil }},
		{Fixed, func() (*unprune.Result, error) { return p.FixedMask(ctx, unlearn.FineTune{}, s.Tune, s.FixedRate) }},
		{Rewind, func() (*unprune.Result, error) { return p.Rewind(ctx, s.Rewind, s.Tune, s.FixedRate) }},
		{Paper, func() (*unprune.Result, error) {
			l := unprune.Loop{Unlearner: unlearn.FineTune{}, Pruner: p.Recipe.Pruner, Rounds: s.PaperRounds, Share: s.PaperShare}
			return p.Unprune(ctx, l, 1, s.PaperRate, 1)
		}},
		{Unpruned, func() (*unprune.Result, error) {
			if c.Answer != nil {
				return c.Answer, nil
			}
			return p.Rescore(ctx, c.blend())
		}},
		{ShortRetrain, func() (*unprune.Result, error) {
			return p.ShortRetrain(ctx, p.ShortEpochs(), s.Tune, s.FixedRate)
		}},
		{Gold, func() (*unprune.Result, error) { return gold, nil }},
		{Gold2, func() (*unprune.Result, error) { return p.Retrain(ctx, p.Retain, "second gold") }},
	}
	t := &Table{}
	progress := p.Progress
	defer func() { p.Progress = progress }()
	for _, a := range answers {
		if s.Short && !slices.Contains([]string{Original, Fixed, Unpruned, Gold}, a.name) {
			continue
		}
		p.Progress = labelled(progress, a.name)
		r, err := a.make()
		if err != nil {
			return nil, fmt.Errorf("study: row %s: %w", a.name, err)
		}
		row, err := c.row(ctx, a.name, r)
		if err == nil {
			row.Evidence, err = c.evidence(ctx, row)
		}
		if err != nil {
			return nil, fmt.Errorf("study: row %s: %w", a.name, err)
		}
		t.Rows = append(t.Rows, row)
	}
	if !s.Short {
		t.Diagnostics, err = c.diagnose(ctx, t)
	}
	return t, err
}

// labelled puts the name of a row before the stages of its making.
func labelled(p unprune.Progress, row string) unprune.Progress {
	if p == nil {
		return nil
	}
	return func(stage string, done, total int) {
		if stage != row {
			stage = row + ": " + stage
		}
		p(stage, done, total)
	}
}

func (c *Comparison) blend() unprune.Blend {
	s := c.Settings
	return unprune.Blend{
		Finish: unlearn.FineTune{}, Tune: s.Tune, TuneRate: s.BlendRate, Classes: s.RowRule,
	}
}

// judge computes a result's outputs.
func (c *Comparison) judge(ctx context.Context, r *unprune.Result) (*judged, error) {
	p := c.Problem
	if err := p.Load(r); err != nil {
		return nil, err
	}
	j := &judged{result: r}
	for _, part := range []struct {
		d    *data.Dataset
		rows []int
		to   *[]float64
	}{{c.Test, c.testRows, &j.test}, {p.Train, p.Forget, &j.forget}} {
		z, err := p.Engine.Logits(ctx, part.d, part.rows)
		if err != nil {
			return nil, err
		}
		*part.to = evalmetrics.Softmax(z, c.classes())
	}
	return j, nil
}

func (c *Comparison) classes() int { return c.Problem.Engine.Classes() }

// row measures one result.
func (c *Comparison) row(ctx context.Context, name string, r *unprune.Result) (Row, error) {
	p := c.Problem
	row := Row{
		Name: name, Result: r, Seconds: r.Cost.Seconds,
		Passes: r.Cost.Passes(len(p.Retain)),
	}
	j, err := c.judge(ctx, r)
	if err != nil {
		return row, err
	}
	c.last = j
	if row.KLTest, err = evalmetrics.KL(c.gold.test, j.test, c.classes()); err != nil {
		return row, err
	}
	if row.KLForget, err = evalmetrics.KL(c.gold.forget, j.forget, c.classes()); err != nil {
		return row, err
	}
	if row.TA, err = evalmetrics.Accuracy(j.test, labels(c.Test, c.testRows)); err != nil {
		return row, err
	}
	if row.UA, err = evalmetrics.Accuracy(j.forget, labels(p.Train, p.Forget)); err != nil {
		return row, err
	}
	z, err := p.Engine.Logits(ctx, p.Train, p.Retain)
	if err != nil {
		return row, err
	}
	if row.RA, err = evalmetrics.Accuracy(z, labels(p.Train, p.Retain)); err != nil {
		return row, err
	}
	row.Confident = histogram(j.forget, c.classes())
	return row, row.overlap(r.Masks, c.gold.result.Masks)
}

// overlap compares the row's masks with gold's.
func (row *Row) overlap(masks, gold *sparsity.Masks) error {
	layers, err := evalmetrics.Overlaps(masks, gold)
	if err != nil {
		return err
	}
	for _, l := range layers {
		row.Layers = append(row.Layers, Layer{Name: l.Name, IoU: l.IoU(), Chance: l.ChanceIoU(), Kept: l.A, Total: l.N})
	}
	row.IoU = evalmetrics.TotalOverlap(layers).IoU()
	return nil
}

// histogram counts samples by their largest probability.
func histogram(p []float64, classes int) []int {
	bins := make([]int, 10)
	for i := 0; i < len(p); i += classes {
		top := slices.Max(p[i : i+classes])
		bins[min(9, int(top*10))]++
	}
	return bins
}

func labels(d *data.Dataset, rows []int) []int64 {
	out := make([]int64, len(rows))
	for i, r := range rows {
		out[i] = d.Y[r]
	}
	return out
}

// KeptRows lists the test samples whose class still has training samples among
// the retained ones: what test accuracy is measured on. A class without any
// training sample counts as kept.
func KeptRows(test, train *data.Dataset, forget, retain []int) []int {
	kept, gone := map[int64]bool{}, map[int64]bool{}
	for _, r := range retain {
		kept[train.Y[r]] = true
	}
	for _, r := range forget {
		gone[train.Y[r]] = !kept[train.Y[r]]
	}
	var rows []int
	for i, y := range test.Y {
		if !gone[y] {
			rows = append(rows, i)
		}
	}
	return rows
}
