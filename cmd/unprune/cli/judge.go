package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/study"
)

// judgedRow says what a network forgot and what it kept. Accuracies are in
// percent.
type judgedRow struct {
	Name     string   `json:"name"`
	UA       *float64 `json:"ua,omitempty"` // on the forgotten samples, if there are any
	RA       float64  `json:"ra"`           // on the kept samples
	TA       *float64 `json:"ta,omitempty"` // on the test samples of kept classes, if given
	Sparsity float64  `json:"sparsity"`     // of the pruned layers
	IoU      float64  `json:"iou_original"` // overlap of the mask with the original's
	Passes   float64  `json:"passes"`       // training passes over the kept data
	Seconds  float64  `json:"seconds"`
}

// metrics is what a certificate says of the row.
func (r judgedRow) metrics() map[string]float64 {
	m := map[string]float64{"ra": r.RA, "sparsity": r.Sparsity, "iou_original": r.IoU, "passes": r.Passes}
	if r.UA != nil {
		m["ua"] = *r.UA
	}
	if r.TA != nil {
		m["ta"] = *r.TA
	}
	return m
}

// addGoldMetrics adds how near the answer is to the gold standard, and what a
// second gold reaches.
func addGoldMetrics(m map[string]float64, t *study.Table) {
	answer, ceiling := t.Row(study.Unpruned), t.Row(study.Gold2)
	m["iou_gold"], m["kl_test"], m["kl_forget"] = answer.IoU, answer.KLTest, answer.KLForget
	m["iou_gold_ceiling"], m["kl_forget_ceiling"] = ceiling.IoU, ceiling.KLForget
}

type judgedRows struct {
	Rows []judgedRow `json:"rows"`
}

type namedResult struct {
	name   string
	result *unprune.Result
}

// judge evaluates results. The engine holds the last one afterwards.
func (r *request) judge(ctx context.Context, results ...namedResult) (*judgedRows, error) {
	out := &judgedRows{}
	for _, nr := range results {
		row, err := r.judgeOne(ctx, nr)
		if err != nil {
			return nil, err
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

func (r *request) judgeOne(ctx context.Context, nr namedResult) (judgedRow, error) {
	p := r.problem
	row := judgedRow{
		Name: nr.name, Sparsity: 1, IoU: 1, Seconds: nr.result.Cost.Seconds,
		Passes: nr.result.Cost.Passes(len(p.Retain)),
	}
	err := p.Load(nr.result)
	if err != nil {
		return row, err
	}
	if len(p.Forget) > 0 {
		ua, err := accuracy(ctx, p.Engine, p.Train, p.Forget)
		if err != nil {
			return row, err
		}
		row.UA = &ua
	}
	if row.RA, err = accuracy(ctx, p.Engine, p.Train, p.Retain); err != nil {
		return row, err
	}
	if r.test != nil {
		ta, err := accuracy(ctx, p.Engine, r.test, study.KeptRows(r.test, p.Train, p.Forget, p.Retain))
		if err != nil {
			return row, err
		}
		row.TA = &ta
	}
	if nr.result.Masks == nil {
		row.Sparsity = 0
		return row, nil
	}
	row.Sparsity = 1 - nr.result.Masks.Density()
	row.IoU, err = iou(nr.result.Masks, p.Original.Masks)
	return row, err
}

// accuracy evaluates the engine's network on rows of the data; nil are all.
func accuracy(ctx context.Context, e unprune.Engine, d *data.Dataset, rows []int) (float64, error) {
	if rows == nil {
		rows = data.Complement(d.Len(), nil)
	}
	z, err := e.Logits(ctx, d, rows)
	if err != nil {
		return 0, err
	}
	labels := make([]int64, len(rows))
	for i, row := range rows {
		labels[i] = d.Y[row]
	}
	return evalmetrics.Accuracy(z, labels)
}

func iou(a, b *sparsity.Masks) (float64, error) {
	layers, err := evalmetrics.Overlaps(a, b)
	if err != nil {
		return 0, err
	}
	return evalmetrics.TotalOverlap(layers).IoU(), nil
}

func (rows *judgedRows) text(w io.Writer) {
	percent := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f %%", *x)
	}
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "\tforgotten\tkept\ttest\tsparsity\tmask IoU to original\tpasses\tseconds")
		for _, r := range rows.Rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.2f %%\t%.3f\t%.1f\t%.1f\n", r.Name, percent(r.UA), percent(&r.RA), percent(r.TA), 100*r.Sparsity, r.IoU, r.Passes, r.Seconds)
		}
	})
}

// writeJSON writes a value to a file.
func writeJSON(path string, v any) error {
	return writeFile(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	})
}
