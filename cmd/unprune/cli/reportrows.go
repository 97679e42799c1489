package cli

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/evalmetrics/report"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/bound"
	"github.com/unprune/unprune/unprune/study"
)

// rowLabels explains the rows of a comparison.
var rowLabels = map[string]string{
	study.Original:     "original, in production",
	study.Fixed:        "fine-tuned, mask kept",
	study.Rewind:       "rewound half the way, mask kept",
	study.Paper:        "un-pruned by the paper's rule",
	study.Unpruned:     "un-pruned, mask rescored",
	study.ShortRetrain: "retrained in short",
	study.Gold:         "gold standard",
	study.Gold2:        "second gold, other data order",
}

func (p part) network() (report.Network, error) {
	n := report.Network{Name: p.name, Setting: settingItems(p.problem)}
	n.Setting = append(n.Setting, report.Item{Name: "recipe", Value: recipeText(p.problem.Recipe)})
	for _, r := range p.table.Rows {
		row := comparedRow(r)
		if r.Name == study.Unpruned && p.answer != "" {
			row.Label = p.answer
		}
		n.Rows = append(n.Rows, row)
	}
	n.Masks = maskPairs(p.table.Row(study.Original).Result.Masks, p.table.Row(study.Unpruned).Result.Masks)
	if p.table.Diagnostics != nil {
		n.Diagnostics = diagnostics(p.table.Diagnostics)
	}
	var err error
	n.Bounds, err = p.bounds()
	return n, err
}

func settingItems(p *unprune.Problem) []report.Item {
	return []report.Item{
		{Name: "forgotten", Value: fmt.Sprintf("%d samples", len(p.Forget))},
		{Name: "kept", Value: fmt.Sprintf("%d samples", len(p.Retain))},
	}
}

// comparedRow is a row of a comparison.
func comparedRow(r study.Row) report.Row {
	row := report.Row{
		Name: r.Name, Label: rowLabels[r.Name], IoU: r.IoU, KLTest: r.KLTest, KLForget: r.KLForget,
		UA: r.UA, RA: r.RA, TA: r.TA, Passes: r.Passes, Seconds: r.Seconds, Confidence: r.Confident,
	}
	switch r.Name {
	case study.Unpruned:
		row.Role = report.Answer
	case study.Gold, study.Gold2:
		row.Role = report.Gold
	}
	for _, l := range r.Layers {
		row.Layers = append(row.Layers, report.Layer{Name: l.Name, IoU: l.IoU, Chance: l.Chance, Kept: l.Kept, Total: l.Total})
	}
	e := r.Evidence
	if e == nil {
		return row
	}
	row.UARange, row.TARange, row.Spread = reportRange(&e.UA), reportRange(&e.TA), e.Spread
	row.KLTestRange, row.KLForgetRange = reportRange(e.KLTest), reportRange(e.KLForget)
	if c := e.Attack; c != nil {
		row.Attack = &report.Attack{AUC: c.AUC, TPR: c.TPR, AUCRange: reportRange(&c.AUCInterval), TPRRange: reportRange(&c.TPRInterval)}
		for _, p := range c.Points {
			row.Attack.Curve = append(row.Attack.Curve, report.Point{FPR: p.FPR, TPR: p.TPR})
		}
	}
	return row
}

func reportRange(i *evalmetrics.Interval) report.Range {
	if i == nil {
		return report.Range{}
	}
	return report.Range{Low: i.Low, High: i.High}
}

// maskPairs is every layer that has a mask before and after.
func maskPairs(before, after *sparsity.Masks) []report.MaskPair {
	var out []report.MaskPair
	for name, m := range before.All() {
		if n := after.Get(name); n != nil {
			out = append(out, report.MaskPair{Name: name, Before: m, After: n})
		}
	}
	return out
}

// bounds says what the distance of the dense weights from gold's allows the
// original's mask to differ by, and, if it was asked for, what a coupled run
// says.
func (p part) bounds() ([]report.Bound, error) {
	var out []report.Bound
	gold := p.table.Row(study.Gold).Result.Dense
	if r := p.problem.Recipe; p.problem.Dense != nil && gold != nil && r.Pruner.Name() == (sparsity.Magnitude{}).Name() && r.Rounds <= 1 {
		as, err := bound.Apart(p.problem.Dense, gold, p.problem.Original.Masks)
		if err != nil {
			return nil, err
		}
		out = append(out, reportBound("The original against gold, at the measured distance of their weights before pruning.", as))
	}
	if p.bound == nil {
		return out, nil
	}
	words := map[string]string{
		bound.Measured:         fmt.Sprintf("Two runs side by side on the same batches, with and without the deleted samples, at their measured distance after %d steps (%.4g).", p.bound.Steps, p.bound.Drift),
		bound.CertifiedSecant:  "The same, at the distance that is certified along the way by secants: at most %.4g.",
		bound.SpectralEstimate: "The same, at the distance that the largest curvature along the way suggests: about %.4g, an estimate and not a bound.",
	}
	for _, kind := range []string{bound.Measured, bound.CertifiedSecant, bound.SpectralEstimate} {
		as := p.bound.Masks[kind]
		if as == nil {
			continue
		}
		text := words[kind]
		if d, ok := p.bound.Bounds[kind]; ok {
			text = fmt.Sprintf(text, d)
		}
		out = append(out, reportBound(text, as))
	}
	return out, nil
}

func reportBound(distance string, as []bound.Agreement) report.Bound {
	b := report.Bound{Distance: distance}
	for _, a := range as {
		b.Layers = append(b.Layers, report.Margin{
			Name: a.Name, Distance: a.Distance, Kept: a.Kept, MostFlips: a.MostFlips, Flips: a.Flips,
			IoU: a.IoU, LeastIoU: a.LeastIoU, Chance: a.ChanceIoU, Vacuous: a.Vacuous,
		})
	}
	return b
}

func diagnostics(d *study.Diagnostics) []report.Diagnostic {
	swap := func(who string, s study.Swap) report.Diagnostic {
		return report.Diagnostic{
			Label: who + ": added and dropped weights in gold", Value: fmt.Sprintf("%.2f / %.2f", s.AddedInGold, s.DroppedInGold),
			Explanation: fmt.Sprintf("%.0f %% of the mask was exchanged; that helps only if more of the added weights are in gold's mask than of the dropped ones.", 100*s.Share),
		}
	}
	return []report.Diagnostic{
		swap("un-pruned", d.Unpruned),
		swap("paper's rule", d.Paper),
		{Label: "contrast", Value: fmt.Sprintf("%+.3f", d.Contrast), Explanation: fmt.Sprintf("Overlap with gold minus overlap with an independent run on all data; positive looks as if the deleted data had never been seen. The original has %+.3f.", d.ContrastOriginal)},
		{Label: "control for denoising", Value: fmt.Sprintf("%.3f", d.Control), Explanation: fmt.Sprintf("Overlap with gold of the same rescoring with nothing forgotten; forgetting adds %+.3f.", d.Forgetting)},
		{Label: "trace of the deleted data", Value: fmt.Sprintf("%+.3f", d.Trace), Explanation: fmt.Sprintf("How much more two runs on the same data agree than runs with and without the deleted samples; these spread by %.3f over data orders.", d.Noise)},
	}
}

func (row judgedRow) reportRow() report.Row {
	known := func(x *float64) float64 {
		if x == nil {
			return math.NaN()
		}
		return *x
	}
	r := report.Row{
		Name: row.Name, Label: rowLabels[row.Name], IoU: math.NaN(), KLTest: math.NaN(), KLForget: math.NaN(),
		UA: known(row.UA), RA: row.RA, TA: known(row.TA), Passes: row.Passes, Seconds: row.Seconds,
	}
	if row.Name == study.Unpruned {
		r.Role = report.Answer
	}
	return r
}
