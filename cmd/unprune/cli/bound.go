package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/unprune/bound"
)

// boundOptions are the flags of "unprune bound".
type boundOptions struct {
	request requestOptions
	every   int
}

func boundCommand(a *app) *cobra.Command {
	var o boundOptions
	return a.command(spec{
		use: "bound MODEL", group: groupLook, min: 1, max: 1,
		short: "Bound how far training without the forgotten samples can lead elsewhere",
		long: `Bound trains two networks side by side from the initial weights, one on all
samples, one on the same batches without those to forget, and measures along
the way what bounds the distance of their weights: from secants, which holds for
certain, and from eigenvalues of the Hessian, an estimate that needs no second
run (--curvature-every). Then it says, per layer and in total, how many bits of
the mask of the first can be otherwise in the second at the measured distance
and at the bounds, beside how many are. A bound that is no better than chance is
called vacuous; those of the drift usually are on long runs.`,
		example: `  unprune bound lenet-300-100 --initial lenet-300-100/theta0 \
      --train fashion-mnist --forget class:0 --epochs 1 --momentum 0`,
		flags: o.request.addData,
		sections: []section{
			{"How the original was made", func(f *pflag.FlagSet) {
				o.request.recipe.addTraining(f)
				o.request.recipe.addPruning(f)
			}},
			{"Curvature", func(f *pflag.FlagSet) {
				f.IntVar(&o.every, "curvature-every", 0, "steps between two estimates of the Hessian's extreme eigenvalues; 0: none")
			}},
		},
		run: func(ctx context.Context, args []string) error {
			if o.every < 0 {
				return usagef("--curvature-every %d: want a number of steps, or 0", o.every)
			}
			return a.bound(ctx, args[0], o)
		},
	})
}

func (a *app) bound(ctx context.Context, path string, o boundOptions) error {
	r, err := o.request.open(a, path, needs{train: true, forget: true})
	if err != nil {
		return err
	}
	if err := r.needPruned(); err != nil {
		return err
	}
	as, err := assess(ctx, r, o.every)
	if err != nil {
		return err
	}
	return a.print(as, func(w io.Writer) { writeAssessment(w, as) })
}

// assess runs the coupled runs of a request and judges the original's mask by
// them; every is the number of steps between two estimates of the curvature, 0
// for none.
func assess(ctx context.Context, r *request, every int) (*bound.Assessment, error) {
	p := r.problem
	c, err := bound.Of(p)
	if err != nil {
		return nil, err
	}
	c.Every = every
	t, err := c.Run(ctx)
	if err != nil {
		return nil, err
	}
	kept := func(layer string) int {
		if m := p.Original.Masks.Get(layer); m != nil {
			return m.Count()
		}
		return p.Engine.Weights().Tensors[layer].Len()
	}
	return t.Assess(p.Engine.Weights(), p.Engine.Layers(), t.Theta, kept)
}

func writeAssessment(w io.Writer, a *bound.Assessment) {
	fmt.Fprintf(w, "%d steps, the weights are %.4g apart\n", a.Steps, a.Drift)
	for _, kind := range slices.Sorted(maps.Keys(a.Bounds)) {
		fmt.Fprintf(w, "%s: at most %.4g\n", kind, a.Bounds[kind])
	}
	if a.Proxy >= 0 {
		fmt.Fprintf(w, "a-priori rule of thumb, not a bound: %.4g\n", a.Proxy)
	}
	fmt.Fprintln(w)
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "distance\tlayer\tkept\tof\tflips\tat most\tIoU\tat least\tchance\t")
		for _, kind := range slices.Sorted(maps.Keys(a.Masks)) {
			for _, m := range a.Masks[kind] {
				note := ""
				if m.Vacuous {
					note = "vacuous"
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%.3f\t%.3f\t%.3f\t%s\n", kind, m.Name, m.Kept, m.Total, m.Flips, m.MostFlips, m.IoU, m.LeastIoU, m.ChanceIoU, note)
			}
		}
	})
}
