package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// inferOptions are the flags of "unprune infer".
type inferOptions struct {
	input, output, backend string
}

func inferCommand(a *app) *cobra.Command {
	var o inferOptions
	return a.command(spec{
		use: "infer MODEL", group: groupLook, min: 1, max: 1,
		short: "Run a model on the arrays of a .npz file",
		long: `Infer computes all outputs of a model. The input file has one array per input
of the model, by name and of its type; a single array needs no name. Axes that
the model leaves open take the arrays' extents, and a batch that it fixes is
exchanged where that can be done. Backend go is the native executor, ort is ONNX
Runtime.`,
		example: `  unprune infer model.onnx --input samples.npz --output logits.npz
  unprune infer model.onnx --input samples.npz --output logits.npz --backend ort`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.input, "input", "", ".npz `file` with the inputs")
			f.StringVar(&o.output, "output", "", ".npz `file` for the outputs")
			f.StringVar(&o.backend, "backend", "go", "executor: go or ort")
		},
		run: func(ctx context.Context, args []string) error { return a.infer(ctx, args[0], o) },
	})
}

func (a *app) infer(ctx context.Context, path string, o inferOptions) error {
	if o.input == "" || o.output == "" {
		return usagef("infer: --input and --output are needed")
	}
	if o.backend != "go" && o.backend != "ort" {
		return usagef("--backend %q: want go or ort", o.backend)
	}
	if err := checkWritable(o.output); err != nil {
		return err
	}
	m, err := readFile(path)
	if err != nil {
		return err
	}
	outs, err := a.inferOn(ctx, path, m, o)
	if err != nil {
		return err
	}
	var list []*onnx.Tensor
	for _, name := range slices.Sorted(maps.Keys(outs)) {
		t := *outs[name]
		t.Name = name
		list = append(list, &t)
	}
	if err := writeFile(o.output, func(w io.Writer) error { return npz.Write(w, list...) }); err != nil {
		return err
	}
	for _, t := range list {
		a.log.Info(fmt.Sprintf("%s: %v %v", t.Name, t.DType, t.Shape))
	}
	return nil
}

// inferOn runs the model on the backend that was asked for. ONNX Runtime may
// know operators that the native executor does not.
func (a *app) inferOn(ctx context.Context, path string, m *onnx.Model, o inferOptions) (tensors, error) {
	feeds, err := readFeeds(o.input, inputNames(m))
	if err != nil {
		return nil, err
	}
	if o.backend == "ort" {
		if _, err := a.openRuntime(); err != nil {
			return nil, err
		}
		return a.runONNXRuntime(ctx, m, feeds)
	}
	im, err := a.importModel(path, m)
	if err != nil {
		return nil, err
	}
	g, err := fitted(im.Graph, feeds)
	if err != nil {
		return nil, err
	}
	return a.runGraph(ctx, g, feeds, true)
}
