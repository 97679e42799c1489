package cli

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
	"github.com/unprune/unprune/unprune/bound"
	"github.com/unprune/unprune/unprune/data"
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
	sources []source
	answer  string            // what the un-pruned row is called; empty: as in rowLabels
	bound   *bound.Assessment // nil: not asked for
}

// writeReport writes the outcome of a comparison as an HTML page. The first
// part must have diagnostics.
func (a *app) writeReport(path, forget string, parts []part, files []written, c *issued) error {
	first := parts[0]
	r, err := a.newReport(first.name, forget, first.problem, first.sources, files)
	if err != nil {
		return err
	}
	r.Summary += " Every answer is compared with the gold standard: the network retrained without them and pruned again."
	r.Verdict = append(findings(first.table), filesFinding(files))
	r.Certificate = c.section()
	for _, part := range parts {
		n, err := part.network()
		if err != nil {
			return err
		}
		r.Networks = append(r.Networks, n)
	}
	return writeFile(path, func(w io.Writer) error { return report.Write(w, r) })
}

// newReport is a report without findings and networks.
func (a *app) newReport(name, forget string, p *unprune.Problem, sources []source, files []written) (report.Report, error) {
	r := report.Report{
		Title:   "Deletion from " + name,
		Summary: fmt.Sprintf("%s was to forget %s: %d of its %d training samples.", name, forget, len(p.Forget), p.Train.Len()),
		Command: "unprune " + commandName(a.ran.cmd) + " --config " + filepath.Base(a.ran.file),
		Provenance: []report.Item{
			{Name: "program", Value: versionLine()},
			{Name: "seed", Value: fmt.Sprint(a.seed)},
			{Name: "recipe of the original", Value: recipeText(p.Recipe)},
		},
	}
	for _, s := range sources {
		item, err := s.item()
		if err != nil {
			return r, err
		}
		r.Provenance = append(r.Provenance, item)
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

// A source is an input of the run: a model by its path, or a data set.
type source struct {
	what, path string
	set        *data.Dataset
}

// sources are the inputs of a request.
func (r *request) sources() []source {
	list := []source{{what: "model in production", path: r.path}}
	if r.opt.initial != "" {
		list = append(list, source{what: "initial weights (theta_0)", path: r.opt.initial})
	}
	if r.opt.drawn != nil {
		list = append(list, source{what: "initial weights (theta_0), drawn as recorded in", path: r.opt.drawn.path})
	}
	if r.opt.dense != "" {
		list = append(list, source{what: "weights before pruning", path: r.opt.dense})
	}
	list = append(list, source{"training data", r.opt.data.train, r.problem.Train})
	if r.test != nil {
		list = append(list, source{"test data", r.opt.data.test, r.test})
	}
	return list
}

// item names a source and its SHA-256: of a model's file; of data, of the
// samples and labels as the network gets them.
func (s source) item() (report.Item, error) {
	if s.set == nil {
		m, err := modelArtifact(s.path)
		return report.Item{Name: s.what, Value: fmt.Sprintf("%s, SHA-256 %s", m.Name, m.SHA256)}, err
	}
	digest, err := dataDigest(s.set)
	return report.Item{Name: s.what, Value: fmt.Sprintf("%s, %d samples, SHA-256 %s", filepath.Base(s.path), s.set.Len(), digest)}, err
}

// writeRunReport writes the outcome of a run that has no gold standard to
// compare with.
func (a *app) writeRunReport(path string, r *request, res *unprune.Result, rows *judgedRows, w written, c *issued) error {
	moved, err := diffMasks(r.problem.Original.Masks, res.Masks)
	if err != nil {
		return err
	}
	name := filepath.Base(r.path)
	page, err := a.newReport(name, r.opt.data.forget, r.problem, r.sources(), []written{w})
	if err != nil {
		return err
	}
	page.Verdict = append(findingsAlone(rows, moved, r.problem.Recipe), filesFinding([]written{w}))
	page.Certificate = c.section()
	network := report.Network{Name: name, Setting: settingItems(r.problem), Masks: maskPairs(r.problem.Original.Masks, res.Masks)}
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
