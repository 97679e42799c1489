package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/unlearn"
)

// trainOptions are the flags of "unprune train".
type trainOptions struct {
	request     requestOptions
	fresh       bool
	early       string
	earlyEpochs int
}

func trainCommand(a *app) *cobra.Command {
	var to trainOptions
	o := &to.request
	return a.command(spec{
		use: "train MODEL", group: groupMake, min: 1, max: 1,
		short: "Train a model from the weights in its file",
		long: `Train takes the weights in the file as initial weights and trains them by a
recipe: epochs, peak learning rate with a cosine to 0, batch size, optimizer.

A model that unprune trained is ready for deletions: its run file records the
recipe and the order of the samples, so that "unprune run --rescore replay
--order RUNFILE" can play the beginning of the training again. Beside the run
file only theta_0 is needed, the input; with --fresh it is drawn from the seed,
and the input need not be kept. --early stores the weights after the first
epochs as well: as large as the model, and each replay is that much shorter.`,
		example: `  unprune train theta0.onnx --train train.npz --test test.npz --epochs 10 --lr 0.05 -o trained.onnx
  unprune train lenet-5/theta0 --train fashion-mnist --test fashion-mnist -o trained.onnx`,
		flags: func(f *pflag.FlagSet) {
			o.data.addTrain(f)
			o.data.addTest(f)
			o.data.addForget(f)
			f.Lookup("forget").Usage = "`what` to leave out of the training data, as in \"unprune run\""
			o.data.addNormalize(f)
		},
		sections: []section{{"Training", func(f *pflag.FlagSet) {
			o.recipe.addTraining(f)
			f.BoolVar(&to.fresh, "fresh", false, "draw the initial weights from --seed, as PyTorch initialises layers, instead of taking those in the file")
		}}, {"Output", func(f *pflag.FlagSet) {
			o.addOutput(f)
			f.StringVar(&to.early, "early", "", "also write the weights after --early-epochs to this `file`, for replay")
			f.IntVar(&to.earlyEpochs, "early-epochs", 0, "epochs before the early checkpoint (default: a tenth of --epochs, at least 2)")
			o.addResume(f)
		}}},
		run: func(ctx context.Context, args []string) error {
			if o.output == "" {
				return usagef("train: -o is missing: name the output file")
			}
			if to.earlyEpochs < 0 || to.earlyEpochs > 0 && to.early == "" {
				return usagef("--early-epochs %d: want a positive number, and a file for --early", to.earlyEpochs)
			}
			if err := checkWritable(to.early); err != nil {
				return err
			}
			o.recipe.rounds = 1 // no pruning
			return a.train(ctx, args[0], &to)
		},
	})
}

// train trains, and keeps the weights after the first epochs if that is asked
// for.
func (a *app) train(ctx context.Context, path string, o *trainOptions) error {
	r, err := o.request.open(a, path, needs{train: true})
	if err != nil {
		return err
	}
	p := r.problem
	p.Theta0 = p.Original.Weights
	if o.fresh {
		p.Theta0 = r.drawInitial(a.seed)
		p.Original = unprune.Result{Weights: p.Theta0, Masks: sparsity.FullMasks(r.prunable())}
	}
	p.Recipe.Pruner, p.Recipe.Sparsity, p.Recipe.TuneEpochs = sparsity.Magnitude{}, 0, 0
	p.Order = &unprune.Order{Seed: a.seed, Name: trainOrder}
	epochs := o.earlyEpochs
	if epochs == 0 {
		epochs = p.ShortEpochs()
	}
	if epochs > p.Recipe.Epochs {
		return usagef("--early-epochs %d: the training has %d epochs", epochs, p.Recipe.Epochs)
	}
	if o.early != "" {
		o.earlyEpochs = epochs // the run file says how many
	}
	var early *unprune.Weights
	p.Progress = func(stage string, done, total int) {
		if o.early != "" && stage == trainOrder && done == epochs {
			early = p.Engine.Weights().Clone()
		}
		a.bars.report(stage, done, total)
	}
	res, err := p.Retrain(ctx, p.Retain, trainOrder)
	if err != nil {
		return err
	}
	if o.early != "" {
		if err := r.writeEarly(ctx, o.early, epochs, early); err != nil {
			return err
		}
	}
	if err := r.finish(ctx, a, namedResult{"trained", res}); err != nil {
		return err
	}
	files := map[string]string{"record": runFileBeside(o.request.output), "early checkpoint": o.early}
	if !o.fresh {
		files["initial weights"] = path
	}
	a.tellStorage(files, o.request.output)
	return nil
}

// writeEarly writes the checkpoint. A training that was resumed after it is
// played again up to it.
func (r *request) writeEarly(ctx context.Context, path string, epochs int, early *unprune.Weights) (err error) {
	if early == nil {
		if early, err = r.problem.EarlyWeights(ctx, epochs); err != nil {
			return err
		}
	}
	if err := r.problem.Load(&unprune.Result{Weights: early}); err != nil {
		return err
	}
	r.engine.Export()
	return writeModel(path, r.im, nil, false)
}

func pruneCommand(a *app) *cobra.Command {
	var o requestOptions
	return a.command(spec{
		use: "prune MODEL", group: groupMake, min: 1, max: 1,
		short: "Prune a trained model, and fine-tune it with the mask held",
		long: `Prune sets the least important share of the weights to zero. With training data
it then fine-tunes what is left (--tune-epochs). With --prune-rounds above 1 it
prunes step by step, each time rewinding to the initial weights and training
again (LTH), which needs --initial and the training recipe.

Pruners: magnitude (smallest |w| of each layer), global-magnitude (of all
layers), lth, random; filter-l1, filter-l2, sfp, fpgm (whole filters or rows),
channel-l1 (input channels); group-l2 (channels, hidden units and attention heads
with everything that reads them, through residual additions and the like: what
"unprune convert --compact" can take out); block-4x1 and other sizes; 2:4 and
other N:M patterns; snip, grasp, taylor, taylor-filter, wanda (by what the network
computes on --train), synflow. --skip names layers to leave alone; filter pruners
should skip the output layer.`,
		example: `  unprune prune trained.onnx --sparsity 0.9 --train train.npz --lr 0.05 -o pruned.onnx
  unprune prune trained.onnx --pruner filter-l2 --sparsity 0.5 --skip fc.weight -o half.onnx`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.initial, "initial", "", "`model` with the weights before training, for --prune-rounds")
			o.data.addTrain(f)
			o.data.addTest(f)
			o.data.addNormalize(f)
		},
		sections: []section{
			{"Pruning", func(f *pflag.FlagSet) {
				o.recipe.addPruning(f)
				f.Lookup("pruner").Usage = "pruner: " + strings.Join(prunerNames(), ", ") + " (default: magnitude)"
				f.Lookup("sparsity").Usage = "share of the weights (or filters) to prune, 0 to 1"
			}},
			{"Training", o.recipe.addTraining},
			{"Output", func(f *pflag.FlagSet) {
				o.addOutput(f)
				o.addResume(f)
			}},
		},
		run: func(ctx context.Context, args []string) error {
			switch {
			case o.output == "":
				return usagef("prune: -o is missing: name the output file")
			case o.recipe.sparsity == 0 && !strings.Contains(o.recipe.pruner, ":"):
				return usagef("prune: --sparsity is missing: say which share to prune, such as 0.9")
			case o.recipe.rounds > 1 && (o.initial == "" || o.data.train == ""):
				return usagef("prune: --prune-rounds needs --initial and --train: every round trains from the initial weights")
			}
			return a.prune(ctx, args[0], &o)
		},
	})
}

func (a *app) prune(ctx context.Context, path string, o *requestOptions) error {
	r, err := o.open(a, path, needs{})
	if err != nil {
		return err
	}
	var res *unprune.Result
	if o.recipe.rounds > 1 {
		res, err = r.problem.Retrain(ctx, r.problem.Retain, "prune")
	} else {
		res, err = r.pruneOnce(ctx)
	}
	if err != nil {
		return err
	}
	a.log.Info(fmt.Sprintf("pruned %.2f %% of the weights", 100*(1-res.Masks.Density())))
	rec := r.problem.Recipe
	if gone := prunedShare(rec, r.engine.Layers(), res.Masks); gone < 0.9*rec.Sparsity {
		a.log.Warn(fmt.Sprintf("--sparsity asks for %.3g %% of the %ss, %.3g %% are gone: whole %[2]ss are pruned, and so small a share of a layer is less than one",
			100*rec.Sparsity, rec.Pruner.Unit(), 100*gone))
	}
	if r.problem.Train == nil {
		_, err := r.export(ctx, a, res)
		return err
	}
	return r.finish(ctx, a, namedResult{"pruned", res})
}

// pruneOnce cuts the weights as they are and, with training data, fine-tunes.
// What is pruned already stays so and counts.
func (r *request) pruneOnce(ctx context.Context) (*unprune.Result, error) {
	p := r.problem
	if err := p.Load(&unprune.Result{Weights: p.Original.Weights}); err != nil {
		return nil, err
	}
	have := prunedShare(p.Recipe, p.Engine.Layers(), p.Original.Masks)
	if have >= p.Recipe.Sparsity {
		return nil, fmt.Errorf("model %s is pruned already: %.1f %% of its %ss are gone, --sparsity asks for %.1f %%", r.path, 100*have, p.Recipe.Pruner.Unit(), 100*p.Recipe.Sparsity)
	}
	masks, err := p.Prune(ctx, p.Retain, p.Original.Masks, 1-(1-p.Recipe.Sparsity)/(1-have), "prune")
	if err != nil {
		return nil, err
	}
	return r.tuned(ctx, unprune.Result{Weights: p.Engine.Weights().Clone(), Masks: masks})
}

// tuned fine-tunes a network that was cut, if there is training data.
func (r *request) tuned(ctx context.Context, cutTo unprune.Result) (*unprune.Result, error) {
	cut := *r.problem
	cut.Original = cutTo
	if cut.Train == nil || cut.Recipe.TuneEpochs == 0 {
		return &cut.Original, nil
	}
	return cut.FixedMask(ctx, unlearn.FineTune{}, cut.Recipe.TuneEpochs, cut.Recipe.TuneRate)
}
