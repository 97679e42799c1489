package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/unprune/study"
)

// instabilityOptions are the flags of "unprune instability".
type instabilityOptions struct {
	request requestOptions
	study   study.Instability
	picture string
}

func instabilityCommand(a *app) *cobra.Command {
	var o instabilityOptions
	return a.command(spec{
		use: "instability MODEL", group: groupLook, min: 1, max: 1,
		short: "See how far the published membership attack can be trusted",
		long: `Instability attacks fixed networks (the original, gold standards, its answer with
the mask held, the un-pruned one) over and over, with small changes of the
attack: forget sets a little smaller or larger, other ratios of shadow members
to non-members, other draws of shadows, other features, other C and gamma. It
prints the range of the attack's figure on each network, how often the order of
two networks depends on such details, and a verdict on the claim that the figure
varies more than what it is meant to show.`,
		example: `  unprune instability lenet-300-100 --initial lenet-300-100/theta0 --dense lenet-300-100/dense \
      --train fashion-mnist --test fashion-mnist --forget random:0.1 --picture attack.svg`,
		flags: func(f *pflag.FlagSet) {
			o.request.addData(f)
			o.request.recipe.addPruning(f)
			o.request.recipe.addTraining(f)
			f.IntVar(&o.study.Shadows, "shadows", 1000, "shadow members and non-members together")
			f.IntVar(&o.study.Draws, "draws", 20, "random shadow sets")
			f.IntVar(&o.study.Golds, "golds", 3, "gold standards, each in another data order")
			f.StringVar(&o.picture, "picture", "", "draw the ranges into this SVG `file`")
		},
		run: func(ctx context.Context, args []string) error { return a.instability(ctx, args[0], o) },
	})
}

func (a *app) instability(ctx context.Context, path string, o instabilityOptions) error {
	if o.request.initial == "" || o.request.data.test == "" {
		return usagef("instability: --initial and --test are needed: gold standards start from the initial weights, shadows are test samples")
	}
	if o.study.Shadows < 20 || o.study.Draws < 1 || o.study.Golds < 1 {
		return usagef("--shadows %d, --draws %d, --golds %d: want at least 20, 1 and 1", o.study.Shadows, o.study.Draws, o.study.Golds)
	}
	if err := checkWritable(o.picture); err != nil {
		return err
	}
	r, err := o.request.open(a, path, needs{train: true, forget: true})
	if err != nil {
		return err
	}
	if err := r.needPruned(); err != nil {
		return err
	}
	o.study.Problem, o.study.Test = r.problem, r.test
	u, err := o.study.Run(ctx)
	if err != nil {
		return err
	}
	if o.picture != "" {
		if err := writeFile(o.picture, u.SVG); err != nil {
			return err
		}
	}
	return a.print(u, func(w io.Writer) { writeInstability(w, u) })
}

func writeInstability(w io.Writer, u *study.Unsteadiness) {
	table(w, func(w io.Writer) {
		fmt.Fprint(w, "efficacy\tbase\tAUC")
		for _, kind := range study.Variations {
			fmt.Fprint(w, "\t"+kind)
		}
		fmt.Fprintln(w)
		for _, n := range u.Networks {
			fmt.Fprintf(w, "%s\t%.2f\t%.2f", n.Name, n.Base.Efficacy, n.Base.AUC)
			for _, kind := range study.Variations {
				low, high := n.Spread(kind)
				fmt.Fprintf(w, "\t%.2f to %.2f", low, high)
			}
			fmt.Fprintln(w)
		}
		fmt.Fprint(w, "order flips\t\t")
		for _, kind := range study.Variations {
			fmt.Fprintf(w, "\t%.0f %% of pairs", 100*u.Flips[kind])
		}
		fmt.Fprintln(w)
	})
	fmt.Fprintln(w)
	fmt.Fprintln(w, u.Verdict())
}
