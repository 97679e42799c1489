package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/sparsity"
)

// unlearnCommandOptions are the flags of "unprune unlearn".
type unlearnCommandOptions struct {
	request requestOptions
	unlearn unlearnOptions
	mask    string
}

func unlearnCommand(a *app) *cobra.Command {
	var o unlearnCommandOptions
	return a.command(spec{
		use: "unlearn MODEL", group: groupJob, min: 0, max: 1,
		short: "Unlearn with the mask held fixed: the baseline that others stop at",
		long: `Unlearn corrects the weights of a model and leaves its pruning mask alone, which
still remembers what was deleted. It is the baseline of "unprune run", with the
same unlearners. --mask free lets pruned weights come back, as published code
does; the result is then no longer sparse.`,
		example: `  unprune unlearn pruned.onnx --train train.npz --forget class:3 --unlearner neggrad+ -o out.onnx
  unprune unlearn --unlearner list`,
		flags: func(f *pflag.FlagSet) {
			o.request.addData(f)
			o.unlearn.add(a, f)
			f.Lookup("unlearn-epochs").Usage = "its epochs"
			f.Lookup("unlearn-lr").Usage = "its peak learning rate (default: --lr for ft, else the published one)"
			f.StringVar(&o.mask, "mask", "fixed", "fixed: pruned weights stay zero; free: they may come back")
		},
		sections: []section{
			{"How the original was made", func(f *pflag.FlagSet) {
				o.request.recipe.addTraining(f)
				o.request.recipe.addPruning(f)
			}},
			{"Output", o.request.addOutput},
		},
		run: func(ctx context.Context, args []string) error {
			switch {
			case o.unlearn.name == "list":
				return a.listUnlearners()
			case len(args) == 0:
				return usagef("unlearn: which MODEL? unprune unlearn MODEL --train ... --forget ... -o OUT.onnx")
			case o.request.output == "":
				return usagef("unlearn: -o is missing: name the output file")
			case o.mask != "fixed" && o.mask != "free":
				return usagef("--mask %q: want fixed or free", o.mask)
			}
			return a.unlearn(ctx, args[0], o)
		},
	})
}

func (a *app) unlearn(ctx context.Context, path string, o unlearnCommandOptions) error {
	u, err := o.unlearn.unlearner(a)
	if err != nil {
		return err
	}
	r, err := o.request.open(a, path, needs{train: true, forget: true})
	if err != nil {
		return err
	}
	rate := o.unlearn.rateFor(u, r.problem.Recipe.Rate)
	before := r.problem.Original
	if o.mask == "free" {
		r.problem.Original.Masks = sparsity.FullMasks(r.prunable())
	}
	res, err := r.problem.FixedMask(ctx, u, o.unlearn.epochs, rate)
	if err != nil {
		return err
	}
	r.problem.Original = before
	return r.finish(ctx, a, namedResult{"unlearned", res})
}

// prunable is the layers that have a mask.
func (r *request) prunable() []sparsity.Layer {
	var layers []sparsity.Layer
	for _, l := range r.engine.Layers() {
		if r.problem.Original.Masks.Get(l.Name) != nil {
			layers = append(layers, l)
		}
	}
	return layers
}

// finish evaluates, exports and prints a result beside the original.
func (r *request) finish(ctx context.Context, a *app, result namedResult) error {
	rows, err := r.judge(ctx, namedResult{"original", &r.problem.Original}, result)
	if err != nil {
		return err
	}
	if _, err := r.export(ctx, a, result.result); err != nil {
		return err
	}
	return a.print(rows, rows.text)
}

func retrainCommand(a *app) *cobra.Command {
	var o requestOptions
	return a.command(spec{
		use: "retrain MODEL", group: groupJob, min: 1, max: 1,
		short: "The gold standard: retrain on what is kept from the initial weights, prune again",
		long: `Retrain answers a deletion request exactly: it trains on the kept data from the
initial weights by the recipe of the original, prunes with the same pruner to
the same sparsity, and fine-tunes. It costs as much as the original did, and it
is what every other answer is measured by.`,
		example: `  unprune retrain pruned.onnx --initial theta0.onnx --train train.npz --test test.npz \
      --forget class:3 --epochs 10 --lr 0.05 -o gold.onnx`,
		flags: o.addData,
		sections: []section{
			{"How the original was made", func(f *pflag.FlagSet) {
				o.recipe.addTraining(f)
				o.recipe.addPruning(f)
			}},
			{"Output", func(f *pflag.FlagSet) {
				o.addOutput(f)
				o.addResume(f)
			}},
		},
		run: func(ctx context.Context, args []string) error {
			switch {
			case o.output == "":
				return usagef("retrain: -o is missing: name the output file")
			case o.initial == "":
				return usagef("retrain: --initial is missing: retraining starts from the weights before training")
			}
			return a.retrain(ctx, args[0], o)
		},
	})
}

func (a *app) retrain(ctx context.Context, path string, o requestOptions) error {
	r, err := o.open(a, path, needs{train: true, forget: true})
	if err != nil {
		return err
	}
	res, err := r.problem.Retrain(ctx, r.problem.Retain, "gold")
	if err != nil {
		return err
	}
	return r.finish(ctx, a, namedResult{"gold", res})
}
