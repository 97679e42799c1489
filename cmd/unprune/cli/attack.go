package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/study"
)

// attackOptions are the flags of "unprune attack".
type attackOptions struct {
	request requestOptions
	unlearn unlearnOptions
	method  string
	models  int
}

func attackCommand(a *app) *cobra.Command {
	var o attackOptions
	return a.command(spec{
		use: "attack MODEL", group: groupLook, min: 1, max: 1,
		short: "Attack a method of forgetting with many networks (U-LiRA, KLoM, RMIA)",
		long: `Attack judges a method by attacks that one network cannot give: it trains
--models originals, lets each forget a random half of --forget by the method, and
trains a gold standard for each. The likelihood-ratio attack (U-LiRA) tells, per
sample, networks that forgot it from networks that never saw it: 0.5 is perfect.
KLoM is the divergence of the two in nats, the score that of the NeurIPS 2023
competition, RMIA an attack on the first network with its gold as reference.
Networks that did nothing to forget are attacked beside, as the worst case. The
interval of U-LiRA's rate covers the draw of networks, RMIA's that of samples. The
cost is --models times that of training twice and forgetting once.`,
		example: `  unprune attack lenet-300-100 --initial lenet-300-100/theta0 \
      --train fashion-mnist --test fashion-mnist --forget random:0.1 --models 32`,
		flags: o.request.addData,
		sections: []section{
			{"Forgetting", func(f *pflag.FlagSet) {
				f.StringVar(&o.method, "method", "blend", "blend, replay, magnitude (the published rule) or fixed (mask held)")
				o.unlearn.add(a, f)
				f.IntVar(&o.models, "models", 32, "networks to train; per sample, half of them count")
			}},
			{"How the original was made", func(f *pflag.FlagSet) {
				o.request.recipe.addTraining(f)
				o.request.recipe.addPruning(f)
			}},
		},
		run: func(ctx context.Context, args []string) error { return a.attack(ctx, args[0], o) },
	})
}

func (a *app) attack(ctx context.Context, path string, o attackOptions) error {
	if o.request.initial == "" || o.request.data.test == "" {
		return usagef("attack: --initial and --test are needed: every network starts from the initial weights and is judged on test data")
	}
	if o.models < 8 {
		return usagef("--models %d: want at least 8", o.models)
	}
	u, err := o.unlearn.unlearner(a)
	if err != nil {
		return err
	}
	method, err := o.forgetting(u)
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
	rows, err := study.Anchors{Problem: r.problem, Test: r.test, Models: o.models, Method: method}.Run(ctx)
	if err != nil {
		return err
	}
	return a.print(rows, func(w io.Writer) { writeAnchors(w, rows) })
}

// forgetting is the method that is attacked.
func (o *attackOptions) forgetting(u unprune.Unlearner) (func(context.Context, *unprune.Problem) (*unprune.Result, error), error) {
	switch o.method {
	case "fixed":
		return func(ctx context.Context, p *unprune.Problem) (*unprune.Result, error) {
			return p.FixedMask(ctx, u, o.unlearn.epochs, o.unlearn.rateFor(u, p.Recipe.Rate))
		}, nil
	case "magnitude":
		return func(ctx context.Context, p *unprune.Problem) (*unprune.Result, error) {
			l := unprune.Loop{Unlearner: u, Pruner: p.Recipe.Pruner, Rounds: 3, Recalibrate: p.Recipe.Batch}
			return p.Unprune(ctx, l, 1, o.unlearn.rateFor(u, p.Recipe.TuneRate), 1)
		}, nil
	case "replay":
		return func(ctx context.Context, p *unprune.Problem) (*unprune.Result, error) {
			return p.Replay(ctx, unprune.Replay{Finish: u, Tune: o.unlearn.epochs, TuneRate: o.unlearn.rateFor(u, 2*p.Recipe.Rate)})
		}, nil
	case "blend":
		return func(ctx context.Context, p *unprune.Problem) (*unprune.Result, error) {
			return p.Rescore(ctx, unprune.Blend{Finish: u, Tune: o.unlearn.epochs, TuneRate: o.unlearn.rateFor(u, 2*p.Recipe.Rate)})
		}, nil
	}
	return nil, usagef("--method %q: want blend, replay, magnitude or fixed", o.method)
}

func writeAnchors(w io.Writer, rows []study.Anchor) {
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "\tU-LiRA\tworst tenth\tTPR at 1 %\t[95 %]\tTPR at 0.1 %\tKLoM\tworst tenth\tscore\tRMIA AUC\t[95 %]")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%.3f\t[%.3f, %.3f]\t%.4f\t%.3f\t%.3f\t%.3f\t%.3f\t[%.3f, %.3f]\n", r.Name, r.ULiRA, r.ULiRAUpper,
				r.TPR["0.01"], r.TPRAt1.Low, r.TPRAt1.High, r.TPR["0.001"], r.KLoM, r.KLoMUpper, r.Score, r.RMIA, r.RMIAInterval.Low, r.RMIAInterval.High)
		}
	})
	fmt.Fprintf(w, "%d samples. U-LiRA, RMIA: 0.5 is perfect; TPR: the false positive rate; KLoM: 0; score: 1.\n", rows[0].Samples)
}
