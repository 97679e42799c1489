package cli

import (
	"context"
	"io"
	"path/filepath"

	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/bound"
	"github.com/unprune/unprune/unprune/study"
)

// unpruneAndCompare answers in every way and writes the answer that was asked
// for.
func (a *app) unpruneAndCompare(ctx context.Context, r *request, o runOptions, u unprune.Unlearner) error {
	res, err := o.answer(ctx, a, r, u)
	if err != nil {
		return err
	}
	comparison := study.Comparison{Problem: r.problem, Test: r.test, Answer: res}
	t, err := comparison.Run(ctx)
	if err != nil {
		return err
	}
	w, err := r.export(ctx, a, res)
	if err != nil {
		return err
	}
	w.content = o.label()
	if o.tableFile != "" {
		if err := writeJSON(o.tableFile, t); err != nil {
			return err
		}
	}
	rows, err := r.judge(ctx, namedResult{study.Unpruned, res})
	if err != nil {
		return err
	}
	metrics := rows.Rows[0].metrics()
	addGoldMetrics(metrics, t)
	c, err := o.certify.write(ctx, a, r, o.method(), metrics)
	if err != nil {
		return err
	}
	if o.report != "" {
		p := part{name: filepath.Base(r.path), problem: r.problem, table: t, sources: r.sources(), answer: o.label()}
		if p.bound, err = o.drift(ctx, r); err != nil {
			return err
		}
		if err := a.writeReport(o.report, o.request.data.forget, []part{p}, []written{w}, c); err != nil {
			return err
		}
	}
	return a.print(t, func(w io.Writer) { writeComparison(w, t) })
}

// drift bounds what the coupled run of the recipe allows, for the report; nil
// if that was not asked for.
func (o *runOptions) drift(ctx context.Context, r *request) (*bound.Assessment, error) {
	if !o.bound {
		return nil, nil
	}
	return assess(ctx, r, 0)
}
