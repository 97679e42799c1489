package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/study"
)

// studyOptions are the flags of "unprune study".
type studyOptions struct {
	out    string
	shard  string
	shards int
	tables bool
}

func studyCommand(a *app) *cobra.Command {
	var o studyOptions
	return a.command(spec{
		use: "study FILE", group: groupLook, min: 1, max: 1,
		short: "Run a grid of experiments and summarise it",
		long: `Study answers many deletion requests in many ways, as a YAML file says: models,
pruners, sparsities, requests, seeds, and the methods that answer, each with
lists of options that multiply. Every answer is one line of JSON in
DIR/results.jsonl. A study can be killed at any moment and started again: what
is there is not computed twice, originals and gold standards are trained once
and shared, and the file in the end is that of a study that was never killed.

With --shard i/n only every n-th setting, from the i-th (counted from 0), is
computed, into a file of its own. In a Slurm array the shard is taken from the
environment (SLURM_ARRAY_TASK_ID and its range), in a Kubernetes indexed job from
JOB_COMPLETION_INDEX, with --shards saying how many there are. Shards that see
the same DIR share networks; the tables cover all results that are in it.

The tables, in Markdown, CSV and LaTeX, give mean and standard deviation over
seeds and the paired difference to the baseline with its 95 % bootstrap interval.`,
		example: `  unprune study claims.yaml --out claims
  unprune study claims.yaml --out claims --shard 2/8
  unprune study claims.yaml --out claims --tables`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.out, "out", "", "`folder` for results, shared networks and tables (default: the file's name without .yaml)")
			f.StringVar(&o.shard, "shard", "", "compute shard `i/n`, i from 0 to n-1")
			f.IntVar(&o.shards, "shards", 0, "how many shards there are, where the environment tells which one this is")
			f.BoolVar(&o.tables, "tables", false, "compute nothing; write the tables anew from the results that are there")
		},
		run: func(ctx context.Context, args []string) error { return a.study(ctx, args[0], o) },
	})
}

func (a *app) study(ctx context.Context, path string, o studyOptions) error {
	shard, shards, err := o.part(os.Getenv)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("study %s: there is no such file", path)
	}
	defer f.Close()
	s, err := study.ReadSpec(f, a.own...)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if o.out == "" {
		o.out = strings.TrimSuffix(path, filepath.Ext(path))
	}
	if !o.tables {
		opener := &studyNetworks{app: a, spec: s, sets: map[string]*studyData{}}
		g := &study.Grid{Spec: s, Dir: o.out, Open: opener.open, Shard: shard, Shards: shards, Progress: a.bars.report}
		if err := g.Run(ctx); err != nil {
			return err
		}
	}
	return a.writeTables(s, o.out)
}

// writeTables summarises what the folder holds.
func (a *app) writeTables(s *study.Spec, dir string) error {
	records, err := study.Load(dir)
	if err != nil {
		return err
	}
	sum, err := study.Summarize(records, s)
	if err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{"summary.md": sum.Markdown, "summary.csv": sum.CSV, "summary.tex": sum.LaTeX} {
		if err := writeFile(filepath.Join(dir, name), write); err != nil {
			return err
		}
	}
	a.log.Info(fmt.Sprintf("%d results in %s; tables: summary.md, summary.csv, summary.tex", len(records), dir))
	var text strings.Builder
	if err := sum.Markdown(&text); err != nil {
		return err
	}
	return a.print(records, func(w io.Writer) { fmt.Fprint(w, text.String()) })
}

// part is which shard to compute, of how many.
func (o *studyOptions) part(env func(string) string) (shard, shards int, err error) {
	if o.shard != "" {
		i, n, ok := strings.Cut(o.shard, "/")
		shard, err1 := strconv.Atoi(i)
		shards, err2 := strconv.Atoi(n)
		if !ok || err1 != nil || err2 != nil || shard < 0 || shard >= shards {
			return 0, 0, usagef("--shard %q: want i/n with i from 0 to n-1, as in 2/8", o.shard)
		}
		return shard, shards, nil
	}
	number := func(name string) (int, bool) {
		v, err := strconv.Atoi(env(name))
		return v, err == nil
	}
	if id, ok := number("SLURM_ARRAY_TASK_ID"); ok {
		first, _ := number("SLURM_ARRAY_TASK_MIN")
		count, _ := number("SLURM_ARRAY_TASK_COUNT")
		step, _ := number("SLURM_ARRAY_TASK_STEP")
		shard, shards = (id-first)/max(1, step), count
	}
	if id, ok := number("JOB_COMPLETION_INDEX"); ok {
		shard = id
	}
	if o.shards > 0 {
		shards = o.shards
	}
	if shards == 0 && shard > 0 || shards > 0 && shard >= shards {
		return 0, 0, usagef("the environment names shard %d; say with --shards how many there are", shard)
	}
	return shard, shards, nil
}

// studyNetworks opens the models of a study. Data is read once per shape.
type studyNetworks struct {
	app  *app
	spec *study.Spec
	sets map[string]*studyData
}

type studyData struct {
	train, test *data.Dataset
	identity    string
}

// open makes a new engine for a model.
func (s *studyNetworks) open(model string) (*study.Network, error) {
	file := model
	if _, ok := embeddedRecipe(model); ok && s.spec.Initial == "file" && !strings.Contains(model, "/") {
		file += "/theta0"
	}
	m, err := readFile(file)
	if err != nil {
		return nil, err
	}
	bytes, err := m.Encode()
	if err != nil {
		return nil, err
	}
	im, err := s.app.importModel(file, m)
	if err != nil {
		return nil, err
	}
	e, err := s.app.newEngine(file, im)
	if err != nil {
		return nil, err
	}
	sample, err := sampleShape(im)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", file, err)
	}
	d, err := s.data(sample, e.Classes())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(bytes)
	return &study.Network{
		Engine: e, Train: d.train, Test: d.test, Recipe: defaultRecipe(model),
		Identity: hex.EncodeToString(sum[:]) + d.identity,
	}, nil
}

// data reads the study's samples in the shape of a model.
func (s *studyNetworks) data(sample []int, classes int) (*studyData, error) {
	key := fmt.Sprint(sample, classes)
	if d := s.sets[key]; d != nil {
		return d, nil
	}
	o := dataOptions{normalize: s.spec.Normalize}
	d := &studyData{}
	var err error
	if d.train, err = o.load(s.spec.Train, data.Train, sample, classes); err != nil {
		return nil, err
	}
	if d.test, err = o.load(s.spec.Test, data.Test, sample, classes); err != nil {
		return nil, err
	}
	d.train, d.test = first(d.train, s.spec.Samples), first(d.test, s.spec.Samples)
	if d.identity, err = dataDigest(d.train, d.test); err != nil {
		return nil, err
	}
	s.sets[key] = d
	return d, nil
}

// dataDigest is the SHA-256 of samples and labels.
func dataDigest(sets ...*data.Dataset) (string, error) {
	h := sha256.New()
	for _, set := range sets {
		for _, t := range []*onnx.Tensor{set.X, onnx.FromSlice(set.Y, set.Len())} {
			if err := npz.WriteNPY(h, t); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// first is the beginning of a data set, all of it if n is 0.
func first(d *data.Dataset, n int) *data.Dataset {
	if n == 0 || n >= d.Len() {
		return d
	}
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return d.Subset(rows)
}

// defaultRecipe is that of an embedded network, for others what the training
// flags default to.
func defaultRecipe(model string) unprune.Recipe {
	sgd := func(momentum, decay float64) ops.Optimizer {
		return ops.Optimizer{Kind: "sgd", Momentum: momentum, WeightDecay: decay}
	}
	if r, ok := embeddedRecipe(model); ok {
		return unprune.Recipe{
			Optimizer: sgd(r.Momentum, r.WeightDecay), Batch: r.Batch, Epochs: r.DenseEpochs, Rate: r.DenseRate,
			TuneEpochs: r.FinetuneEpochs, TuneRate: r.FinetuneRate,
		}
	}
	return unprune.Recipe{Optimizer: sgd(0.9, 5e-4), Batch: 128, Epochs: 10, Rate: 0.05, TuneEpochs: 4, TuneRate: 0.02}
}
