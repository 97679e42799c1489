package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/study"
)

// evaluation is what "unprune eval" prints; accuracies are in percent.
type evaluation struct {
	Model    string   `json:"model"`
	UA       *float64 `json:"ua,omitempty"`
	RA       *float64 `json:"ra,omitempty"`
	TA       *float64 `json:"ta,omitempty"`
	Sparsity float64  `json:"sparsity"` // zeros in the weights of all layers
}

func evalCommand(a *app) *cobra.Command {
	var o dataOptions
	return a.command(spec{
		use: "eval MODEL", group: groupLook, min: 1, max: 1,
		short: "Measure accuracies on forgotten, kept and test data",
		long: `Eval measures a model's accuracy on the samples to forget (UA), on those to keep
(RA) and on test data (TA), whichever are given. With --forget, test samples of
classes that are deleted as a whole do not count.`,
		example: `  unprune eval forgotten.onnx --train train.npz --test test.npz --forget class:3`,
		flags: func(f *pflag.FlagSet) {
			o.addTrain(f)
			o.addTest(f)
			o.addForget(f)
			o.addNormalize(f)
		},
		run: func(ctx context.Context, args []string) error {
			if o.train == "" && o.test == "" {
				return usagef("eval: give --train (with --forget), --test or both")
			}
			if o.forget != "" && o.train == "" {
				return usagef("eval: --forget chooses among the training samples; give --train")
			}
			return a.eval(ctx, args[0], o)
		},
	})
}

func (a *app) eval(ctx context.Context, path string, o dataOptions) error {
	im, err := a.readNetwork(path)
	if err != nil {
		return err
	}
	e, err := a.newEngine(path, im)
	if err != nil {
		return err
	}
	sample, err := sampleShape(im)
	if err != nil {
		return fmt.Errorf("model %s: %w", path, err)
	}
	train, err := o.load(o.train, data.Train, sample, e.Classes())
	if err != nil {
		return err
	}
	test, err := o.load(o.test, data.Test, sample, e.Classes())
	if err != nil {
		return err
	}
	out := evaluation{Model: path}
	measure := func(d *data.Dataset, rows []int) *float64 {
		if err != nil {
			return nil
		}
		var acc float64
		acc, err = accuracy(ctx, e, d, rows)
		return &acc
	}
	var testRows []int // nil: all
	if train != nil {
		var retain, forget []int
		if o.forget != "" {
			if retain, forget, err = o.selectForget(train, a.seed); err != nil {
				return err
			}
			out.UA = measure(train, forget)
			if test != nil {
				testRows = study.KeptRows(test, train, forget, retain)
			}
		}
		out.RA = measure(train, retain)
	}
	if test != nil {
		out.TA = measure(test, testRows)
	}
	if err != nil {
		return err
	}
	weights, zeros := 0, 0.0
	for _, l := range layersOf(im) {
		weights += l.Weight.Len()
		zeros += zeroShare(l.Weight) * float64(l.Weight.Len())
	}
	out.Sparsity = zeros / float64(max(1, weights))
	return a.print(out, out.text)
}

func (ev evaluation) text(w io.Writer) {
	table(w, func(w io.Writer) {
		for _, row := range []struct {
			name  string
			value *float64
		}{
			{"accuracy on forgotten samples (UA)", ev.UA},
			{"accuracy on kept samples (RA)", ev.RA},
			{"accuracy on test samples (TA)", ev.TA},
		} {
			if row.value != nil {
				fmt.Fprintf(w, "%s\t%.2f %%\n", row.name, *row.value)
			}
		}
		fmt.Fprintf(w, "zeros among the weights\t%.2f %%\n", 100*ev.Sparsity)
	})
}
