package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/unprune/unprune/evalmetrics/report"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/study"
)

// A written file with how it was verified, for the report.
type written struct {
	path, content string
	check         *verification // nil: not verified
	runtime       string        // the version of ONNX Runtime, or why there was none
}

// part is one network of a report.
type part struct {
	name    string
	problem *unprune.Problem
	table   *study.Table
}

// writeReport writes the outcome of a comparison as an HTML page. The first
// part must have diagnostics.
func (a *app) writeReport(path, forget string, parts []part, files []written) error {
	first := parts[0]
	r, err := a.newReport(first.name, forget, first.problem, files)
	if err != nil {
		return err
	}
	r.Summary += " Every answer is compared with the gold standard, the network retrained without them and pruned again."
	r.Verdict = findings(first.table, files)
	for _, part := range parts {
		r.Networks = append(r.Networks, part.network())
	}
	return writeFile(path, func(w io.Writer) error { return report.Write(w, r) })
}

// newReport is a report without findings and networks.
func (a *app) newReport(name, forget string, p *unprune.Problem, files []written) (report.Report, error) {
	r := report.Report{
		Title:   "Un-pruning " + name,
		Summary: fmt.Sprintf("%s was to forget %s: %d of its %d training samples.", name, forget, len(p.Forget), p.Train.Len()),
		Command: "unprune " + commandName(a.ran.cmd) + " --config " + filepath.Base(a.ran.file),
		Provenance: []report.Item{
			{Name: "program", Value: versionLine()},
			{Name: "seed", Value: fmt.Sprint(a.seed)},
			{Name: "recipe", Value: recipeText(p.Recipe)},
		},
	}
	for _, f := range files {
		file, err := f.reportFile()
		if err != nil {
			return r, err
		}
		r.Files = append(r.Files, file)
	}
	return r, nil
}

// writeRunReport writes the outcome of a run that has no gold standard to
// compare with.
func (a *app) writeRunReport(path string, r *request, res *unprune.Result, rows *judgedRows, w written) error {
	moved, err := diffMasks(r.problem.Original.Masks, res.Masks)
	if err != nil {
		return err
	}
	name := filepath.Base(r.path)
	page, err := a.newReport(name, r.opt.data.forget, r.problem, []written{w})
	if err != nil {
		return err
	}
	before, after := rows.Rows[0], rows.Rows[1]
	exchanged := 100 * float64(moved.Total.Dropped) / float64(max(1, moved.Total.KeptA))
	page.Verdict = []report.Finding{
		{Question: "Was it forgotten?", Answer: fmt.Sprintf("%.1f %% right on the deleted samples", *after.UA), Detail: fmt.Sprintf("The original: %.1f %%.", *before.UA)},
		{Question: "What changed in the mask?", Answer: fmt.Sprintf("%.0f %% of the kept weights were exchanged", exchanged), Detail: fmt.Sprintf("Overlap with the original's mask (IoU): %.3f.", after.IoU)},
		{Question: "What did it cost the rest?", Answer: fmt.Sprintf("%.1f %% right on the kept samples", after.RA), Detail: fmt.Sprintf("The original: %.1f %%.", before.RA)},
		{Question: "What did it cost to make?", Answer: fmt.Sprintf("%.1f passes over the kept data", after.Passes), Detail: fmt.Sprintf("Retraining by the recipe takes %d.", r.problem.Recipe.Passes()), Tone: tone(after.Passes < float64(r.problem.Recipe.Passes())/2)},
		{Question: "How near is it to the gold standard?", Answer: "not measured", Detail: "With --gold the run retrains without the deleted samples and compares.", Tone: report.Caution},
		filesFinding([]written{w}),
	}
	network := report.Network{Name: name, Setting: []report.Item{
		{Name: "forgotten", Value: fmt.Sprintf("%d samples", len(r.problem.Forget))},
		{Name: "kept", Value: fmt.Sprintf("%d samples", len(r.problem.Retain))},
	}}
	for _, row := range rows.Rows {
		network.Rows = append(network.Rows, row.reportRow())
	}
	for _, l := range moved.Layers {
		network.Diagnostics = append(network.Diagnostics, report.Diagnostic{
			Label: "mask of " + l.Name, Value: fmt.Sprintf("IoU %.3f", l.IoU),
			Explanation: fmt.Sprintf("Overlap with the original's mask: of %d kept weights %d were dropped and %d added.", l.KeptA, l.Dropped, l.Added),
		})
	}
	page.Networks = []report.Network{network}
	return writeFile(path, func(out io.Writer) error { return report.Write(out, page) })
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

func tone(good bool) report.Tone {
	if good {
		return report.Good
	}
	return report.Caution
}

// findings answers what a reader asks first.
func findings(t *study.Table, files []written) []report.Finding {
	d := t.Diagnostics
	un, gold, fixed := t.Row(study.Unpruned), t.Row(study.Gold), t.Row(study.Fixed)
	mask := report.Finding{
		Question: "Did the mask forget?", Answer: "yes", Tone: report.Good,
		Detail: fmt.Sprintf("Its overlap with gold rose from %.3f to %.3f; the same rescoring without forgetting reaches %.3f.",
			t.Row(study.Original).IoU, un.IoU, d.Control),
	}
	switch {
	case d.BelowSeedNoise:
		mask.Answer, mask.Tone = "below seed noise", report.Caution
		mask.Detail = fmt.Sprintf("The deleted data leaves no trace in the mask (%+.3f) beyond what another data order does (%.3f): the overlap, %.3f before and %.3f now, says nothing about forgetting.",
			d.Trace, d.Noise, t.Row(study.Original).IoU, un.IoU)
	case d.Forgetting <= 0:
		mask.Answer, mask.Tone = "no more than by denoising", report.Caution
	}
	return []report.Finding{
		{
			Question: "Was it forgotten?", Answer: fmt.Sprintf("%.1f %% right", un.UA),
			Detail: fmt.Sprintf("On the deleted samples. Gold: %.1f %%; with the mask kept: %.1f %%. Divergence from gold there: %.3f, against %.3f with the mask kept.", gold.UA, fixed.UA, un.KLForget, fixed.KLForget),
			Tone:   tone(math.Abs(un.UA-gold.UA) < 5),
		},
		mask,
		{
			Question: "What did it cost the rest?", Answer: fmt.Sprintf("%+.1f points", un.TA-gold.TA),
			Detail: fmt.Sprintf("Test accuracy on kept classes: %.1f %%; gold: %.1f %%.", un.TA, gold.TA),
			Tone:   tone(un.TA > gold.TA-1),
		},
		{
			Question: "What did it cost to make?", Answer: fmt.Sprintf("%.0f %% of retraining", 100*un.Passes/gold.Passes),
			Detail: fmt.Sprintf("%.1f of %.1f passes over the kept data.", un.Passes, gold.Passes),
			Tone:   tone(un.Passes < gold.Passes/2),
		},
		filesFinding(files),
	}
}

func filesFinding(files []written) report.Finding {
	for _, f := range files {
		if f.check == nil || !f.check.OK {
			return report.Finding{Question: "Do the files hold what is promised?", Answer: "not verified", Tone: report.Caution, Detail: "See the list of files."}
		}
	}
	return report.Finding{Question: "Do the files hold what is promised?", Answer: "verified", Tone: report.Good, Detail: "ONNX Runtime computes the same outputs, and the zeros are those of the masks."}
}

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

func (p part) network() report.Network {
	n := report.Network{
		Name: p.name,
		Setting: []report.Item{
			{Name: "forgotten", Value: fmt.Sprintf("%d samples", len(p.problem.Forget))},
			{Name: "kept", Value: fmt.Sprintf("%d samples", len(p.problem.Retain))},
			{Name: "recipe", Value: recipeText(p.problem.Recipe)},
		},
	}
	for _, r := range p.table.Rows {
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
		n.Rows = append(n.Rows, row)
	}
	if p.table.Diagnostics != nil {
		n.Diagnostics = diagnostics(p.table.Diagnostics)
	}
	return n
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

func recipeText(r unprune.Recipe) string {
	parts := []string{fmt.Sprintf("%d epochs at %g, batch %d, %s, weight decay %g", r.Epochs, r.Rate, r.Batch, r.Optimizer.Kind, r.Optimizer.WeightDecay)}
	if r.Sparsity > 0 {
		unit := "weights"
		if r.Pruner.Unit() != sparsity.Weight {
			unit = r.Pruner.Unit().String() + "s"
		}
		parts = append(parts, fmt.Sprintf("%s, %.0f %% of the %s, %d epochs at %g", r.Pruner.Name(), 100*r.Sparsity, unit, r.TuneEpochs, r.TuneRate))
	}
	return strings.Join(parts, "; ")
}

// reportFile describes a written file.
func (f written) reportFile() (report.File, error) {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return report.File{}, err
	}
	sum := sha256.Sum256(b)
	out := report.File{
		Path: filepath.Base(f.path), Content: f.content, SHA256: hex.EncodeToString(sum[:]),
		Verified: f.runtime, AbsErr: math.NaN(), RelErr: math.NaN(),
	}
	if f.check != nil {
		out.OK, out.AbsErr, out.RelErr = f.check.OK, 0, 0
		for _, c := range f.check.Outputs {
			out.AbsErr, out.RelErr = max(out.AbsErr, c.MaxAbs), max(out.RelErr, c.MaxRel)
		}
	}
	return out, nil
}
