package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune/data"
)

// gradientOptions are the flags of "unprune gradient".
type gradientOptions struct {
	output string
	mode   string
	batch  int
	verify verifyOptions
}

func gradientCommand(a *app) *cobra.Command {
	var o gradientOptions
	return a.command(spec{
		use: "gradient MODEL", group: groupFiles, min: 1, max: 1,
		short: "Write the training graph, loss and gradients, as ONNX that any runtime runs",
		long: `Gradient differentiates a model and writes the result as an ordinary ONNX file:
parameters are inputs under their own names, labels enter as "labels" (int64),
the loss (mean cross-entropy) is the output "loss", and the gradient of parameter
p is the output "p_grad". In train mode batch normalisation uses the statistics
of the batch, and its new running statistics are outputs "p_new". Only standard
operators are written. ONNX Runtime, where there is one, confirms the file.`,
		example: `  unprune gradient model.onnx --batch 64 -o model.train.onnx`,
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&o.output, "output", "o", "", "output `file`")
			f.StringVar(&o.mode, "mode", "train", "mode of batch normalisation and dropout: train or eval")
			f.IntVar(&o.batch, "batch", 64, "batch size that the graph is made for")
			o.verify.add(f)
		},
		run: func(ctx context.Context, args []string) error { return a.gradient(ctx, args[0], o) },
	})
}

func (a *app) gradient(ctx context.Context, path string, o gradientOptions) error {
	if o.output == "" {
		return usagef("gradient: -o is missing: name the output file")
	}
	if o.mode != "train" && o.mode != "eval" {
		return usagef("--mode %q: want train or eval", o.mode)
	}
	if o.batch < 1 {
		return usagef("--batch %d: want a positive number", o.batch)
	}
	if err := checkWritable(o.output); err != nil {
		return err
	}
	im, err := a.readTrainable(path)
	if err != nil {
		return err
	}
	g, err := trainingGraph(im, o.batch, o.mode == "train")
	if err != nil {
		return fmt.Errorf("model %s: %w", path, err)
	}
	m := g.ToONNX()
	m.Graph.ValueInfo = nil // the file's types are those of the forward graph
	if err := onnx.Write(o.output, m, onnx.WriteOptions{}); err != nil {
		return err
	}
	return a.checkGradient(ctx, o, im, g, m)
}

// trainingGraph is loss and gradients of a model in standard operators.
func trainingGraph(im *pass.Model, batch int, training bool) (*graph.Graph, error) {
	keep := map[string]bool{}
	o := autodiff.TrainOptions{Logits: im.Logits.Name, Gradients: true}
	for _, p := range im.Params {
		keep[p.Name()] = p.Trainable || p.State()
	}
	g, err := pass.Specialise(im.Trunk(), pass.Target{Batch: batch, Training: training, Keep: keep})
	if err != nil {
		return nil, err
	}
	for _, p := range im.Params {
		if v := g.Value(p.Name()); v == nil || v.Const == nil {
			continue
		}
		if p.Trainable {
			o.Params = append(o.Params, p.Name())
		} else if p.State() {
			o.State = append(o.State, p.Name())
		}
	}
	if err := autodiff.Train(g, o); err != nil {
		return nil, err
	}
	return g, inlineOwn(g)
}

// inlineOwn replaces the operators of our own domain by their bodies.
func inlineOwn(g *graph.Graph) error {
	b := ops.NewBuilder(g)
	for again := true; again; {
		again = false
		for _, n := range slices.Clone(g.Nodes) {
			if n.Domain != ops.Domain {
				continue
			}
			if err := inlineNode(b, n); err != nil {
				return err
			}
			again = true
		}
		if err := g.Sort(); err != nil {
			return err
		}
	}
	delete(g.Opsets, ops.Domain)
	g.Prune()
	return nil
}

// inlineNode replaces one node.
func inlineNode(b *ops.Builder, n *graph.Node) error {
	outs, err := ops.Inline(b, n)
	if err != nil {
		return err
	}
	for i, out := range n.Outputs {
		if out == nil {
			continue
		}
		if err := b.G.Supplant(out, outs[i]); err != nil {
			return err
		}
	}
	return b.G.RemoveNode(n)
}

// checkGradient runs the written graph on both executors.
func (a *app) checkGradient(ctx context.Context, o gradientOptions, im *pass.Model, g *graph.Graph, m *onnx.Model) error {
	if o.verify.skip {
		a.log.Info(fmt.Sprintf("wrote %s, not verified", o.output))
		return nil
	}
	lib, err := a.openRuntime()
	if err != nil {
		a.log.Warn(fmt.Sprintf("wrote %s, NOT verified by ONNX Runtime: %s", o.output, sentence(err)))
		return nil
	}
	feeds, err := randomFeeds(g.Inputs, o.batch, data.Stream(a.seed, "gradient", "inputs"))
	if err != nil {
		return err
	}
	for _, in := range g.Inputs {
		if p := im.Param(in.Name); p != nil {
			feeds[in.Name] = p.Tensor()
		}
	}
	native, err := a.runGraph(ctx, g, feeds, false)
	if err != nil {
		return brokenf("%s does not run: %w", o.output, err)
	}
	reference, err := a.runONNXRuntime(ctx, m, feeds)
	if err != nil {
		return brokenf("%s does not run in ONNX Runtime: %w", o.output, err)
	}
	v := newVerification(native, reference, o.verify.tolerance)
	if !v.OK {
		return brokenf("%s: ONNX Runtime %s and the native executor disagree: %s", o.output, lib.Version, v.worst())
	}
	a.log.Info(fmt.Sprintf("wrote %s: ONNX Runtime %s computes the same loss and gradients (%s)", o.output, lib.Version, v.worst()))
	return nil
}
