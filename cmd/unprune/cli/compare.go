package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune/data"
)

// comparison is what "unprune compare" prints.
type comparison struct {
	A       string          `json:"a"`
	B       string          `json:"b"`
	Layers  []layerCompared `json:"layers"`
	Total   layerCompared   `json:"total"`
	Outputs *outputsApart   `json:"outputs,omitempty"`
}

// layerCompared is the overlap of two masks and the distance of two weight
// tensors.
type layerCompared struct {
	Name     string  `json:"name"`
	Weights  int     `json:"weights"`
	KeptA    int     `json:"kept_a"`
	KeptB    int     `json:"kept_b"`
	IoU      float64 `json:"iou"`
	IoM      float64 `json:"iom"`
	Chance   float64 `json:"chance_iou"` // of independent random masks of these sizes
	Distance float64 `json:"distance"`   // ‖a-b‖₂
}

// outputsApart is the divergence of two models' predictions, A's coming first.
type outputsApart struct {
	Samples int     `json:"samples"`
	KL      float64 `json:"kl"` // nats
	JS      float64 `json:"js"`
	Agree   float64 `json:"agree"` // share of samples with the same prediction, percent
}

func compareCommand(a *app) *cobra.Command {
	var o dataOptions
	return a.command(spec{
		use: "compare A B", group: groupLook, min: 2, max: 2,
		short: "Compare two models of one network: masks, weights, outputs",
		long: `Compare shows, per layer, how the masks of two models overlap (IoU, IoM, and the
IoU to expect by chance) and how far their weights are apart. With --test it adds
how far their predictions are: KL(A‖B), so name the gold standard first, and the
symmetric Jensen-Shannon divergence. The models are matched by position in the
graph; names may differ.`,
		example: `  unprune compare gold.onnx forgotten.onnx --test test.npz`,
		flags: func(f *pflag.FlagSet) {
			o.addTest(f)
			o.addNormalize(f)
		},
		run: func(ctx context.Context, args []string) error { return a.compare(ctx, args[0], args[1], o) },
	})
}

func (a *app) compare(ctx context.Context, pathA, pathB string, o dataOptions) error {
	imA, err := a.readNetwork(pathA)
	if err != nil {
		return err
	}
	imB, err := a.readNetwork(pathB)
	if err != nil {
		return err
	}
	c := &comparison{A: pathA, B: pathB}
	if err := c.compareLayers(imA, imB); err != nil {
		return err
	}
	if o.test != "" {
		if c.Outputs, err = a.compareOutputs(ctx, [2]string{pathA, pathB}, [2]*pass.Model{imA, imB}, o); err != nil {
			return err
		}
	}
	return a.print(c, c.text)
}

// compareLayers matches the layers of two models and compares each pair.
func (c *comparison) compareLayers(imA, imB *pass.Model) error {
	twins, err := imA.Match(imB)
	if err != nil {
		return fmt.Errorf("%s and %s cannot be compared: %s", c.A, c.B, sentence(err))
	}
	var masksA, masksB sparsity.Masks
	var apart []evalmetrics.Distance
	var sum evalmetrics.Distance
	for i, p := range imA.Params {
		if p.Role != pass.Weight || !p.Trainable {
			continue
		}
		for _, m := range []struct {
			to *sparsity.Masks
			t  *onnx.Tensor
		}{{&masksA, p.Tensor()}, {&masksB, twins[i].Tensor()}} {
			mask, err := sparsity.FromValues(m.t)
			if err != nil {
				return err
			}
			m.to.Set(p.Name(), mask)
		}
		d, err := evalmetrics.NewDistance(onnx.Of[float32](p.Tensor()), onnx.Of[float32](twins[i].Tensor()), nil)
		if err != nil {
			return err
		}
		apart, sum = append(apart, d), sum.Add(d)
	}
	layers, err := evalmetrics.Overlaps(&masksA, &masksB)
	if err != nil {
		return err
	}
	for i, l := range layers {
		c.Layers = append(c.Layers, newLayerCompared(l.Name, l.Overlap, apart[i]))
	}
	c.Total = newLayerCompared("total", evalmetrics.TotalOverlap(layers), sum)
	return nil
}

func newLayerCompared(name string, o evalmetrics.Overlap, d evalmetrics.Distance) layerCompared {
	return layerCompared{
		Name: name, Weights: o.N, KeptA: o.A, KeptB: o.B,
		IoU: o.IoU(), IoM: o.IoM(), Chance: o.ChanceIoU(), Distance: d.L2(),
	}
}

// compareOutputs compares the predictions of two models.
func (a *app) compareOutputs(ctx context.Context, paths [2]string, ims [2]*pass.Model, o dataOptions) (*outputsApart, error) {
	var probs [2][]float64
	classes, samples := 0, 0
	for i, im := range ims {
		e, err := a.newEngine(paths[i], im)
		if err != nil {
			return nil, err
		}
		sample, err := sampleShape(im)
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", paths[i], err)
		}
		test, err := o.load(o.test, data.Test, sample, e.Classes())
		if err != nil {
			return nil, err
		}
		z, err := e.Logits(ctx, test, data.Complement(test.Len(), nil))
		if err != nil {
			return nil, err
		}
		probs[i], classes, samples = evalmetrics.Softmax(z, e.Classes()), e.Classes(), test.Len()
	}
	out := &outputsApart{Samples: samples}
	var err error
	if out.KL, err = evalmetrics.KL(probs[0], probs[1], classes); err != nil {
		return nil, err
	}
	if out.JS, err = evalmetrics.JS(probs[0], probs[1], classes); err != nil {
		return nil, err
	}
	same := 0
	for i := 0; i < len(probs[0]); i += classes {
		if evalmetrics.Argmax(probs[0][i:i+classes]) == evalmetrics.Argmax(probs[1][i:i+classes]) {
			same++
		}
	}
	out.Agree = 100 * float64(same) / float64(samples)
	return out, nil
}

func (c *comparison) text(w io.Writer) {
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "layer\tweights\tkept in A\tkept in B\tIoU\tIoM\tIoU by chance\tdistance")
		for _, l := range append(c.Layers, c.Total) {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.3f\t%.3f\t%.3f\t%.3f\n", l.Name, l.Weights, l.KeptA, l.KeptB, l.IoU, l.IoM, l.Chance, l.Distance)
		}
	})
	if o := c.Outputs; o != nil {
		fmt.Fprintf(w, "outputs on %d samples: KL(A‖B) %.4f, JS %.4f, same prediction for %.2f %%\n", o.Samples, o.KL, o.JS, o.Agree)
	}
}
