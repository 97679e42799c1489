package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/onnx"
)

// sparsePays is the density below which a sparse initializer is smaller than a
// dense one: a kept float32 costs 12 bytes, with its index, instead of 4.
const sparsePays = 1.0 / 3

// convertOptions are the flags of "unprune convert".
type convertOptions struct {
	output          string
	sparse, dense   bool
	external, embed bool
	threshold       int
	fp16, fp32      bool
	unmask, strip   bool
	compact         bool
	roundTo         int
	expand          string
}

func convertCommand(a *app) *cobra.Command {
	var o convertOptions
	return a.command(spec{
		use: "convert MODEL", group: groupFiles, min: 1, max: 1,
		short: "Store the same model in another way: sparse, compacted, embedded or external data",
		long: `Convert changes how a model is stored, not what it computes.

--sparse turns initializers below a third of density into sparse ones, which are
then smaller; not every reader takes them. --dense undoes that. --external puts
large initializers into a file beside the model, --embed brings them back.
--compact takes out channels, hidden units and heads that pruning has emptied,
through every layer that reads them: the outputs stay the same, file and latency
shrink. --expand ORIGINAL puts a compacted model back into the original's width.
--fp16 stores the weights in half precision, with a Cast behind each: what nodes
compute stays float32, and the outputs are compared in ONNX Runtime where there
is one. --fp32 undoes that. --unmask folds the products of weight and mask that
pruning hooks leave behind into masked weights.
--strip-metadata drops documentation and metadata, in which exporters leave
stack traces with paths of the machine that exported.`,
		example: `  unprune convert pruned.onnx --sparse -o small.onnx
  unprune convert model.onnx --embed -o one-file.onnx`,
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&o.output, "output", "o", "", "output `file`")
			f.BoolVar(&o.sparse, "sparse", false, "dense initializers to sparse ones, where that pays")
			f.BoolVar(&o.dense, "dense", false, "sparse initializers to dense ones")
			f.BoolVar(&o.compact, "compact", false, "take out what structured pruning has emptied")
			f.IntVar(&o.roundTo, "round-to", 0, "with --compact: a multiple of `channels` of each convolution stays, which ONNX Runtime computes fastest (default: 16, else 8, if the original had such a multiple; 1: none stays that is empty)")
			f.StringVar(&o.expand, "expand", "", "undo --compact, given the `original` or any other state of the uncompacted network")
			f.BoolVar(&o.external, "external", false, "large initializers into a second file")
			f.BoolVar(&o.embed, "embed", false, "everything into one file")
			f.IntVar(&o.threshold, "threshold", 4096, "`bytes` from which an initializer is large")
			f.BoolVar(&o.fp16, "fp16", false, "float32 weights to float16 ones")
			f.BoolVar(&o.fp32, "fp32", false, "float16 and bfloat16 weights to float32 ones")
			f.BoolVar(&o.unmask, "unmask", false, "products of weight and mask to masked weights")
			f.BoolVar(&o.strip, "strip-metadata", false, "drop documentation and metadata")
		},
		run: func(ctx context.Context, args []string) error { return a.convert(ctx, args[0], o) },
	})
}

func (a *app) convert(ctx context.Context, path string, o convertOptions) error {
	switch {
	case o.output == "":
		return usagef("convert: -o is missing: name the output file")
	case o.sparse && o.dense, o.external && o.embed, o.fp16 && o.fp32:
		return usagef("convert: --sparse and --dense, --external and --embed, --fp16 and --fp32 exclude each other")
	case o.compact && o.expand != "":
		return usagef("convert: --compact and --expand exclude each other")
	case o.roundTo < 0 || o.roundTo > 0 && !o.compact:
		return usagef("--round-to %d: want a positive number, and --compact", o.roundTo)
	case o.threshold < 1:
		return usagef("--threshold %d: want a positive number of bytes", o.threshold)
	}
	if err := checkWritable(o.output); err != nil {
		return err
	}
	m, err := readFile(path)
	if err != nil {
		return err
	}
	if o.compact {
		if m, err = a.compact(ctx, path, m, o.roundTo); err != nil {
			return err
		}
	}
	if o.expand != "" {
		if m, err = a.expand(path, m, o.expand); err != nil {
			return err
		}
	}
	if m, err = a.restore(ctx, path, m, o); err != nil {
		return err
	}
	if o.sparse {
		toSparse(m, pays)
	}
	if o.dense {
		if err := toDense(m); err != nil {
			return fmt.Errorf("model %s: %w", path, err)
		}
	}
	if o.strip {
		stripMetadata(m)
	}
	if err := onnx.Write(o.output, m, onnx.WriteOptions{External: o.external, Threshold: o.threshold}); err != nil {
		return err
	}
	a.log.Info(fmt.Sprintf("wrote %s", o.output))
	return nil
}

// toSparse makes the dense initializers for which it is worth it sparse.
func toSparse(m *onnx.Model, worth func(*onnx.Tensor) bool) {
	g := m.Graph
	g.Initializers = slices.DeleteFunc(slices.Clone(g.Initializers), func(t *onnx.Tensor) bool {
		if len(t.Shape) == 0 || t.DType != onnx.Float32 || !worth(t) {
			return false
		}
		g.SparseInitializers = append(g.SparseInitializers, onnx.Sparsify(t))
		return true
	})
}

// pays reports whether t is smaller as a sparse tensor.
func pays(t *onnx.Tensor) bool { return t.Len() > 0 && 1-zeroShare(t) < sparsePays }

// toDense makes sparse initializers dense.
func toDense(m *onnx.Model) error {
	g := m.Graph
	var failed error
	for _, s := range g.SparseInitializers {
		t, err := s.Dense()
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		g.Initializers = append(g.Initializers, t)
	}
	g.SparseInitializers = nil
	return failed
}

// stripMetadata drops everything that nothing computes with.
func stripMetadata(m *onnx.Model) {
	m.Doc, m.Metadata = "", nil
	stripGraph(m.Graph)
	for _, f := range m.Functions {
		f.Doc, f.Metadata = "", nil
		stripNodes(f.Nodes)
		stripValues(f.ValueInfo)
	}
}

func stripGraph(g *onnx.Graph) {
	g.Doc, g.Metadata = "", nil
	stripNodes(g.Nodes)
	stripValues(g.Inputs)
	stripValues(g.Outputs)
	stripValues(g.ValueInfo)
	for _, t := range g.Initializers {
		t.Doc, t.Metadata = "", nil
	}
}

func stripNodes(nodes []*onnx.Node) {
	for _, n := range nodes {
		n.Doc, n.Metadata = "", nil
		for _, at := range n.Attrs {
			at.Doc = ""
			for _, g := range append(at.Graphs, at.G) {
				if g != nil {
					stripGraph(g)
				}
			}
		}
	}
}

func stripValues(values []*onnx.ValueInfo) {
	for _, v := range values {
		v.Doc, v.Metadata = "", nil
	}
}
