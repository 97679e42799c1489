package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/study"
)

// demoOptions are the flags of "unprune demo".
type demoOptions struct {
	out    string
	forget string
	short  bool
	verify verifyOptions
}

// demoPart is the outcome on one network.
type demoPart struct {
	Network   string `json:"network"`
	Forget    string `json:"forget"`
	Forgotten int    `json:"forgotten_images"`
	Kept      int    `json:"kept_images"`
	*study.Table
	Files   []demoFile `json:"files"`
	Seconds float64    `json:"seconds"`

	problem *unprune.Problem
	sources []source
	files   []written
}

// demoFile is a model that was written.
type demoFile struct {
	Path     string        `json:"path"`
	Verified string        `json:"verified_by"`
	Check    *verification `json:"check,omitempty"`
}

// demoResult is what "unprune demo --json" prints: the first network's table
// with the second's below.
type demoResult struct {
	Seed uint64 `json:"seed"`
	demoPart
	Then *demoPart `json:"then,omitempty"`
}

func demoCommand(a *app) *cobra.Command {
	var o demoOptions
	return a.command(spec{
		use: "demo", group: groupJob,
		short: "The whole job on embedded data and networks, verified and reported",
		long: `Demo deletes two classes of Fashion-MNIST from LeNet-300-100, a network that
PyTorch trained, pruned to a tenth, and exported. It makes every answer to that
request that unprune knows, compares each with the gold standard (retraining
without the deleted images, then pruning), and does the same in short for
LeNet-5. The answers are written as ONNX files, checked with ONNX Runtime, next
to a report.

Rows: original; fixed (fine-tuned, mask kept); rewind (half the way back to the
initial weights, mask kept); unpruned-paper (the published rule); unpruned (mask
rescored); short-retrain; gold; gold2 (gold with another data order, the best
that can be hoped for).

With --seed 0 the original is PyTorch's file; any other seed draws the initial
weights that torch.manual_seed(seed) gives, and trains and prunes an original of
its own from them.`,
		example: `  unprune demo
  unprune demo --forget class:0 --seed 1
  unprune demo --forget random:0.1     # the negative control`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.out, "out", "demo-out", "`folder` for the models, the table and the report")
			f.StringVar(&o.forget, "forget", "class:0+1", "`what` to forget: class:0, class:0+1, class:3@0.5, random:0.1")
			f.BoolVar(&o.short, "first-only", false, "leave LeNet-5 out")
			o.verify.add(f)
		},
		run: func(ctx context.Context, _ []string) error { return a.demo(ctx, o) },
	})
}

func (a *app) demo(ctx context.Context, o demoOptions) error {
	if err := makeFolder(o.out); err != nil {
		return err
	}
	first, err := a.demoPart(ctx, models.LeNet300(), o, o.out, false)
	if err != nil {
		return err
	}
	result := demoResult{Seed: a.seed, demoPart: *first}
	if !o.short {
		if result.Then, err = a.demoPart(ctx, models.LeNet5(), o, filepath.Join(o.out, "lenet-5"), true); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(o.out, "table.json"), result); err != nil {
		return err
	}
	if err := a.writeRunFile(filepath.Join(o.out, "run.yaml")); err != nil {
		return err
	}
	if err := a.writeReport(filepath.Join(o.out, "report.html"), o.forget, result.parts(), first.files, nil); err != nil {
		return err
	}
	return a.print(result, func(w io.Writer) { result.text(w, o.out) })
}

// demoPart answers the request on one network and writes the answers.
func (a *app) demoPart(ctx context.Context, net models.Net, o demoOptions, folder string, short bool) (*demoPart, error) {
	start := time.Now()
	if err := makeFolder(folder); err != nil {
		return nil, err
	}
	r, err := a.demoRequest(ctx, net, o)
	if err != nil {
		return nil, err
	}
	c := study.Comparison{Problem: r.problem, Test: r.test, Settings: study.Settings{Short: short}}
	t, err := c.Run(ctx)
	if err != nil {
		return nil, err
	}
	var files []written
	var list []demoFile
	for _, row := range t.Rows {
		r.opt.output = filepath.Join(folder, row.Name+".onnx")
		w, err := r.exportModel(ctx, a, row.Result)
		if err != nil {
			return nil, err
		}
		w.content = rowLabels[row.Name]
		files = append(files, w)
		list = append(list, demoFile{w.path, w.runtime, w.check})
	}
	return &demoPart{
		Network: net.Recipe.Name, Forget: o.forget, Forgotten: len(r.problem.Forget), Kept: len(r.problem.Retain),
		Table: t, Files: list, Seconds: time.Since(start).Seconds(), problem: r.problem, sources: r.sources(), files: files,
	}, nil
}

// demoRequest is the deletion request on an embedded network.
func (a *app) demoRequest(ctx context.Context, net models.Net, o demoOptions) (*request, error) {
	name := net.Recipe.Name
	opt := &requestOptions{
		initial: name + "/theta0", dense: name + "/dense", verify: o.verify,
		data: dataOptions{train: embeddedData, test: embeddedData, forget: o.forget},
	}
	im, err := a.readNetwork(name)
	if err != nil {
		return nil, err
	}
	e, err := a.newEngine(name, im)
	if err != nil {
		return nil, err
	}
	p := &unprune.Problem{Engine: e, Seed: a.seed, Progress: a.bars.report, Warning: a.warn, Recipe: demoRecipe(net.Recipe)}
	r := &request{opt: opt, path: name, im: im, engine: e, problem: p}
	if err := r.loadData(a); err != nil {
		return nil, err
	}
	return r, r.demoOriginal(ctx, a)
}

// demoOriginal takes PyTorch's network for seed 0; otherwise it draws initial
// weights and trains and prunes a network of its own.
func (r *request) demoOriginal(ctx context.Context, a *app) (err error) {
	p := r.problem
	if a.seed != 0 {
		if p.Theta0, err = unprune.DrawInitial(r.engine, uint32(a.seed)); err != nil {
			return err
		}
		original, err := p.Retrain(ctx, data.Complement(p.Train.Len(), nil), "original")
		if err != nil {
			return err
		}
		p.Original, p.Dense = *original, original.Dense
		return nil
	}
	if p.Theta0, err = a.otherWeights("initial", r.opt.initial, r.im, r.engine); err != nil {
		return err
	}
	if p.Dense, err = a.otherWeights("dense", r.opt.dense, r.im, r.engine); err != nil {
		return err
	}
	masks, err := sparsity.MasksOf(r.engine.Layers())
	p.Original = unprune.Result{Weights: r.engine.Weights().Clone(), Masks: masks}
	return err
}

// demoRecipe is how PyTorch made an embedded network.
func demoRecipe(r models.Recipe) unprune.Recipe {
	return unprune.Recipe{
		Optimizer: ops.Optimizer{Kind: "sgd", Momentum: r.Momentum, WeightDecay: r.WeightDecay},
		Batch:     r.Batch, Epochs: r.DenseEpochs, Rate: r.DenseRate,
		Pruner: sparsity.Magnitude{}, Sparsity: r.Sparsity,
		TuneEpochs: r.FinetuneEpochs, TuneRate: r.FinetuneRate,
	}
}

// parts is both networks, for the report.
func (d *demoResult) parts() []part {
	parts := []part{{name: d.Network, problem: d.problem, table: d.Table, sources: d.sources}}
	if d.Then != nil {
		parts = append(parts, part{name: d.Then.Network, problem: d.Then.problem, table: d.Then.Table, sources: d.Then.sources})
	}
	return parts
}

func (d *demoResult) text(w io.Writer, folder string) {
	d.demoPart.text(w, d.Seed)
	fmt.Fprintln(w)
	fmt.Fprintln(w, legend)
	if d.Then != nil {
		fmt.Fprintln(w)
		d.Then.text(w, d.Seed)
	}
	fmt.Fprintf(w, "\nModels (%s), report.html and table.json are in %s.\n", d.verified(), folder)
}

// verified says in a few words how the files were checked.
func (d *demoResult) verified() string {
	all := d.files
	if d.Then != nil {
		all = append(all[:len(all):len(all)], d.Then.files...)
	}
	for _, f := range all {
		if f.check == nil {
			return "NOT verified by ONNX Runtime"
		}
	}
	return "all verified by " + all[0].runtime
}

func (d *demoPart) text(w io.Writer, seed uint64) {
	fmt.Fprintf(w, "%s on Fashion-MNIST, forgetting %s (%d of %d images), seed %d, %.0f s\n\n", d.Network, d.Forget, d.Forgotten, d.Forgotten+d.Kept, seed, d.Seconds)
	writeComparison(w, d.Table)
}
