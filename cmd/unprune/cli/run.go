package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/study"
	"github.com/unprune/unprune/unprune/unlearn"
)

// runOptions are the flags of "unprune run".
type runOptions struct {
	request requestOptions
	unlearn unlearnOptions

	rescore   string
	rounds    int
	share     float64
	grow      string
	init      string
	schedule  string
	weight    float64
	shortRun  int
	keep      float64
	order     string
	early     string
	record    *trainingRecord // of --order
	finish    int
	gold      bool
	bound     bool
	report    string
	tableFile string
	certify   certifyOptions
}

// unlearnOptions choose the unlearner and its budget.
type unlearnOptions struct {
	name    string
	epochs  int
	rate    float64
	options []string // name=value
}

// unlearner is the chosen one with its options set.
func (o *unlearnOptions) unlearner(a *app) (unprune.Unlearner, error) {
	options := map[string]string{}
	for _, s := range o.options {
		name, value, found := strings.Cut(s, "=")
		if !found {
			return nil, usagef("--option %q: want name=value; --unlearner list explains the options", s)
		}
		options[name] = value
	}
	u, err := unlearn.New(o.name, options, a.own...)
	if err != nil {
		return nil, usageError{err}
	}
	return u, nil
}

func (o *unlearnOptions) add(a *app, f *pflag.FlagSet) {
	f.StringVar(&o.name, "unlearner", "ft", "unlearner: "+strings.Join(a.unlearnerNames(), ", ")+"; list explains them")
	f.StringArrayVar(&o.options, "option", nil, "option of the unlearner as `name=value`; may be repeated, --unlearner list explains them")
	f.IntVar(&o.epochs, "unlearn-epochs", 4, "its epochs (in each round of the loop: 1 unless set)")
	f.Float64Var(&o.rate, "unlearn-lr", 0, "its peak learning rate (default: for ft twice --lr when rescoring and --tune-lr in the loop, else the published one)")
}

// rateFor is the rate that was asked for. Fine-tuning follows the recipe; other
// unlearners have rates of their own (0), many times smaller.
func (o *unlearnOptions) rateFor(u unprune.Unlearner, finetune float64) float64 {
	if o.rate == 0 && u.Name() == (unlearn.FineTune{}).Name() {
		return finetune
	}
	return o.rate
}

func runCommand(a *app) *cobra.Command {
	var o runOptions
	return a.command(spec{
		use: "run MODEL", group: groupJob, min: 0, max: 1,
		short: "Un-prune: make a pruned model forget, weights and mask",
		long: `Run corrects the weights and the pruning mask of a model so that both are what
retraining without the forgotten data would have given, at a fraction of its
cost.

With the initial weights (--initial), a short dense run from them on the kept
data tells which weights retraining would keep; its evidence is blended with
that of the model's own weights (--rescore blend). The published rule, growing
by |theta_0| and cutting back by magnitude in rounds, is --rescore magnitude; it
is what runs without the initial weights, growing by gradient. The recipe of the
original training (--epochs, --lr, ...) sets the scale of everything. For a model
that unprune trained, --rescore replay plays the beginning of its training again
with and without the forgotten samples, in the same order.

With --gold the gold standard, a second one and all baselines are computed too,
by the same code, and compared in a table; that costs several retrainings.

The written file is checked: its zeros are those of the new mask, and ONNX
Runtime computes the same outputs as the native executor (exit code 3 if not).`,
		example: `  unprune run pruned.onnx --initial theta0.onnx --dense trained.onnx \
      --train train.npz --test test.npz --forget class:3 \
      --epochs 10 --lr 0.05 --batch 128 -o forgotten.onnx --report report.html
  unprune run lenet-300-100 --initial lenet-300-100/theta0 --dense lenet-300-100/dense \
      --train fashion-mnist --test fashion-mnist --forget class:0+1 -o forgotten.onnx`,
		flags: o.request.addData,
		sections: []section{
			{"Un-pruning", func(f *pflag.FlagSet) {
				o.unlearn.add(a, f)
				f.StringVar(&o.rescore, "rescore", "", "how the new mask is chosen: blend, replay or magnitude (default: blend with --initial, else magnitude)")
			}},
			{"Rescoring (--rescore blend, replay)", func(f *pflag.FlagSet) {
				f.IntVar(&o.shortRun, "short-epochs", 0, "epochs of the short run (default: a tenth of --epochs, at least 2)")
				f.Float64Var(&o.weight, "blend-weight", 0, "weight of the short run's evidence (default: 1.5 with --dense, else 3)")
				f.StringVar(&o.order, "order", "", "the run `file` of \"unprune train\"; it tells the recipe, the order of the samples and, unless given, --initial, --dense and --early")
				f.StringVar(&o.early, "early", "", "replay: `model` with the weights after the first epochs, which \"unprune train --early\" kept")
				f.Float64Var(&o.keep, "keep", 0.75, "kept weights restart at theta_0 + keep·(theta - theta_0)")
			}},
			{"The published rule (--rescore magnitude)", func(f *pflag.FlagSet) {
				f.IntVar(&o.rounds, "rounds", 3, "rounds of growing, unlearning and pruning")
				f.Float64Var(&o.share, "grow-share", 0.2, "share of the pruned weights that grows back per round")
				f.StringVar(&o.grow, "grow", "", "which grow back: theta0, gradient or random (default: theta0 if known, else gradient)")
				f.StringVar(&o.init, "init", "", "where grown weights start: theta0, zero or random (default: theta0 if known, else random)")
				f.StringVar(&o.schedule, "schedule", "cycle", "prune in every round (cycle) or once at the end (cumulative)")
				f.IntVar(&o.finish, "finish-epochs", 1, "epochs of fine-tuning after the last cut")
			}},
			{"How the original was made", func(f *pflag.FlagSet) {
				o.request.recipe.addTraining(f)
				o.request.recipe.addPruning(f)
			}},
			{"Output", func(f *pflag.FlagSet) {
				o.request.addOutput(f)
				o.request.addResume(f)
				f.StringVar(&o.report, "report", "", "write an HTML report to this `file`")
				f.BoolVar(&o.gold, "gold", false, "also compute the gold standard and all baselines, and compare")
				f.BoolVar(&o.bound, "bound", false, "with --gold and --report: also bound the drift along the training, as \"unprune bound\" does (three gradients a step)")
				f.StringVar(&o.tableFile, "table", "", "with --gold: write the comparison as JSON to this `file`")
			}},
			{"Evidence", o.certify.add},
		},
		run: func(ctx context.Context, args []string) error {
			if o.unlearn.name == "list" {
				return a.listUnlearners()
			}
			if len(args) == 0 {
				return usagef("run: which MODEL? unprune run MODEL --train ... --forget ... -o OUT.onnx")
			}
			if o.request.output == "" {
				return usagef("run: -o is missing: name the output file")
			}
			if err := o.adoptRecord(a.ran.cmd.Flags()); err != nil {
				return err
			}
			o.unlearn.perRound(a.ran.cmd.Flags(), &o)
			return a.unprune(ctx, args[0], o)
		},
	})
}

// adoptRecord takes over what the run file of the training says.
func (o *runOptions) adoptRecord(f *pflag.FlagSet) (err error) {
	if o.order == "" {
		return nil
	}
	if o.record, err = readRecord(o.order); err != nil {
		return err
	}
	if o.record.fresh {
		o.request.drawn = o.record
	}
	return o.record.adopt(f)
}

// perRound makes the loop's default of one epoch per round.
func (o *unlearnOptions) perRound(f *pflag.FlagSet, r *runOptions) {
	if !f.Changed("unlearn-epochs") && r.loops() {
		o.epochs = 1
	}
}

// loops reports whether the published loop runs instead of rescoring.
func (o *runOptions) loops() bool {
	return o.rescore == "magnitude" || o.rescore == "" && !o.request.knowsInitial()
}

// fallBack takes the published loop for units larger than weights whose dense
// values are not known: a unit that is gone carries no evidence to blend.
func (o *runOptions) fallBack(a *app, r *request) {
	p := r.problem
	if o.rescore != "" || o.request.initial == "" || p.Dense != nil || p.Recipe.Pruner.Unit() == sparsity.Weight {
		return
	}
	o.rescore = "magnitude"
	a.log.Info(fmt.Sprintf("without --dense there is no evidence about %ss that are gone: growing them by theta_0 and cutting back in rounds (--rescore magnitude)", p.Recipe.Pruner.Unit()))
	if !a.ran.cmd.Flags().Changed("unlearn-epochs") {
		o.unlearn.epochs = 1
	}
}

// check refuses options that make no sense, before anything is read.
func (o *runOptions) check() error {
	switch {
	case o.rescore != "" && o.rescore != "blend" && o.rescore != "replay" && o.rescore != "magnitude":
		return usagef("--rescore %q: want blend, replay or magnitude", o.rescore)
	case o.rescore == "replay" && (!o.request.knowsInitial() || o.request.dense == "" || o.order == ""):
		return usagef("--rescore replay needs --initial, --dense and --order: it plays the beginning of the original training again")
	case o.record != nil && o.early != "" && o.shortRun != 0 && o.shortRun != o.record.early && o.record.early != 0:
		return usagef("--short-epochs %d: the early checkpoint was kept after %d epochs (%s)", o.shortRun, o.record.early, o.order)
	case o.rescore == "blend" && !o.request.knowsInitial():
		return usagef("--rescore blend needs --initial, the weights before training; without them use --rescore magnitude")
	case o.schedule != "cycle" && o.schedule != "cumulative":
		return usagef("--schedule %q: want cycle or cumulative", o.schedule)
	case o.rounds < 1 || o.unlearn.epochs < 1 || o.finish < 0 || o.shortRun < 0:
		return usagef("--rounds, --unlearn-epochs: want positive numbers")
	case !(o.share > 0 && o.share <= 1):
		return usagef("--grow-share %g: want a number above 0 and at most 1", o.share)
	case !(o.keep > 0 && o.keep <= 1):
		return usagef("--keep %g: want a number above 0 and at most 1", o.keep)
	case o.gold && (!o.request.knowsInitial() || o.request.data.test == ""):
		return usagef("--gold needs --initial and --test: retraining starts from the initial weights, and is compared on test data")
	case o.bound && !(o.gold && o.report != ""):
		return usagef("--bound is for the report of a comparison with the gold standard; add --gold and --report")
	case o.tableFile != "" && !o.gold:
		return usagef("--table is the comparison with the gold standard; add --gold")
	}
	if err := o.certify.check(); err != nil {
		return err
	}
	return checkWritable(o.report, o.tableFile)
}

func (a *app) unprune(ctx context.Context, path string, o runOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	u, err := o.unlearn.unlearner(a)
	if err != nil {
		return err
	}
	r, err := o.request.open(a, path, needs{train: true, forget: true})
	if err != nil {
		return err
	}
	if err := r.needPruned(); err != nil {
		return err
	}
	o.fallBack(a, r)
	if err := o.certify.notLearnedAgain(ctx, r.problem.Train); err != nil {
		return err
	}
	if o.gold {
		return a.unpruneAndCompare(ctx, r, o, u)
	}
	res, err := o.answer(ctx, a, r, u)
	if err != nil {
		return err
	}
	rows, err := r.judge(ctx, namedResult{study.Original, &r.problem.Original}, namedResult{study.Unpruned, res})
	if err != nil {
		return err
	}
	w, err := r.export(ctx, a, res)
	if err != nil {
		return err
	}
	w.content = o.label()
	c, err := o.certify.write(ctx, a, r, o.method(), rows.Rows[1].metrics())
	if err != nil {
		return err
	}
	if o.report != "" {
		if err := a.writeRunReport(o.report, r, res, rows, w, c); err != nil {
			return err
		}
	}
	return a.print(rows, rows.text)
}

// rule is how the new mask is chosen.
func (o *runOptions) rule() string {
	if o.loops() {
		return "magnitude"
	}
	return cmp.Or(o.rescore, "blend")
}

// label is what the answer is called in a report.
func (o *runOptions) label() string {
	switch o.rule() {
	case "magnitude":
		return "un-pruned by the paper's rule, as asked for"
	case "replay":
		return "un-pruned, mask rescored by replay"
	}
	return rowLabels[study.Unpruned]
}

// method is what a certificate says of how the model was made to forget.
func (o *runOptions) method() map[string]string {
	return map[string]string{"rescore": o.rule(), "unlearner": o.unlearn.name, "forget": o.request.data.forget}
}

// answer un-prunes.
func (o *runOptions) answer(ctx context.Context, a *app, r *request, u unprune.Unlearner) (*unprune.Result, error) {
	p := r.problem
	if o.loops() {
		return p.Unprune(ctx, o.loop(p, u), o.unlearn.epochs, o.unlearn.rateFor(u, p.Recipe.TuneRate), o.finish)
	}
	rate := o.unlearn.rateFor(u, 2*p.Recipe.Rate)
	if o.rescore == "replay" {
		p.Order = &o.record.order
		early, err := o.earlyWeights(a, r)
		if err != nil {
			return nil, err
		}
		epochs := o.shortRun
		if early != nil && epochs == 0 {
			epochs = o.record.early
		}
		return p.Replay(ctx, unprune.Replay{Epochs: epochs, Early: early, Keep: o.keep, Finish: u, Tune: o.unlearn.epochs, TuneRate: rate})
	}
	return p.Rescore(ctx, unprune.Blend{
		C: o.weight, Epochs: o.shortRun, Keep: o.keep,
		Finish: u, Tune: o.unlearn.epochs, TuneRate: rate,
	})
}

// earlyWeights reads the early checkpoint; nil if there is none.
func (o *runOptions) earlyWeights(a *app, r *request) (*unprune.Weights, error) {
	if o.early == "" {
		return nil, nil
	}
	return a.otherWeights("early", o.early, r.im, r.engine)
}

func (o *runOptions) loop(p *unprune.Problem, u unprune.Unlearner) unprune.Loop {
	return unprune.Loop{
		Unlearner: u, Pruner: p.Recipe.Pruner, Rounds: o.rounds, Share: o.share,
		Grow: unprune.GrowBy(o.grow), Init: unprune.InitAs(o.init), Cumulative: o.schedule == "cumulative",
		Recalibrate: p.Recipe.Batch,
	}
}

func (a *app) unlearnerNames() []string {
	var names []string
	for _, u := range unlearn.With(a.own...) {
		names = append(names, u.Name())
	}
	return names
}
