package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/evalmetrics/report"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// A maskCombination makes one mask of two.
type maskCombination struct {
	name, short string
	join        func(a, b *sparsity.Masks) (*sparsity.Masks, error)
}

var maskCombinations = []maskCombination{
	{"union", "Keep what either of two masks keeps", (*sparsity.Masks).Union},
	{"intersection", "Keep what both of two masks keep", (*sparsity.Masks).Intersection},
	{"difference", "Keep what the first mask keeps and the second prunes", (*sparsity.Masks).Difference},
}

func (a *app) maskCombineCommand(c maskCombination) *cobra.Command {
	output := ""
	return a.command(spec{
		use: c.name + " A B", min: 2, max: 2, short: c.short + ", given as models or mask files",
		flags: func(f *pflag.FlagSet) { f.StringVarP(&output, "output", "o", "", "output mask `file` (.npz)") },
		run: func(_ context.Context, args []string) error {
			if output == "" {
				return usagef("mask %s: -o is missing: name the output file", c.name)
			}
			ma, err := a.masksOf(args[0])
			if err != nil {
				return err
			}
			mb, err := a.masksOf(args[1])
			if err != nil {
				return err
			}
			masks, err := c.join(ma, mb)
			if err != nil {
				return fmt.Errorf("%s and %s: %w", args[0], args[1], err)
			}
			if err := writeMaskFile(output, masks, ""); err != nil {
				return err
			}
			a.log.Info(fmt.Sprintf("wrote %s: %d of %d weights kept", output, masks.Count(), masks.Len()))
			return nil
		},
	})
}

// maskEmbedCommand keeps masks inside a model's file.
func (a *app) maskEmbedCommand() *cobra.Command {
	output := ""
	return a.command(spec{
		use: "embed MODEL [MASK]", min: 1, max: 2,
		short: "Write a mask into the model's metadata; without a mask, that of its zeros",
		flags: func(f *pflag.FlagSet) { f.StringVarP(&output, "output", "o", "", "output `file`") },
		run: func(_ context.Context, args []string) error {
			if output == "" {
				return usagef("mask embed: -o is missing: name the output file")
			}
			m, err := readFile(args[0])
			if err != nil {
				return err
			}
			masks, err := a.masksOf(args[len(args)-1])
			if err != nil {
				return err
			}
			im, err := a.importModel(args[0], m)
			if err != nil {
				return err
			}
			if c, err := checkMask(im, masks); err != nil {
				return fmt.Errorf("model %s: %w", args[0], err)
			} else if c.Violated > 0 {
				return brokenf("model %s: %d weights that the mask prunes are not zero", args[0], c.Violated)
			}
			if err := sparsity.StoreMasks(m, masks); err != nil {
				return err
			}
			return onnx.Write(output, m, onnx.WriteOptions{})
		},
	})
}

// writeMaskPage draws what moved between two masks.
func (a *app) writeMaskPage(path string, names []string, ma, mb *sparsity.Masks) error {
	var layers []report.MaskPair
	for name, m := range ma.All() {
		layers = append(layers, report.MaskPair{Name: name, Before: m, After: mb.Get(name)})
	}
	title := fmt.Sprintf("What moved between the masks of %s and %s", names[0], names[1])
	if err := writeFile(path, func(w io.Writer) error { return report.WriteMasks(w, title, layers) }); err != nil {
		return err
	}
	a.log.Info("wrote " + path)
	return nil
}
