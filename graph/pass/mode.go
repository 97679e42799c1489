package pass

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// NoiseSuffix marks the graph inputs that training-mode dropout reads: the
// value of such an input is 0 with the dropout's ratio and 1/(1-ratio)
// otherwise, drawn anew for every step by whoever runs the graph.
const NoiseSuffix = "_noise"

// inferenceMode makes every BatchNormalization normalise by its running
// statistics, also in files exported in training mode.
func inferenceMode(g *graph.Graph) error {
	for _, n := range g.Nodes {
		if n.Op != "BatchNormalization" || n.Domain != "" {
			continue
		}
		for _, extra := range n.Outputs[min(1, len(n.Outputs)):] {
			if extra != nil && (len(extra.Uses()) > 0 || slices.Contains(g.Outputs, extra)) {
				return fmt.Errorf("pass: node %q (BatchNormalization): its running statistics are read by the graph, which only training does", n.Name)
			}
		}
		if n.Version >= 14 && n.Int("training_mode", 0) != 0 {
			n.SetAttr(onnx.AttrInt("training_mode", 0))
		}
		g.DropOutputs(n, 1)
	}
	return nil
}

// trainingMode makes every BatchNormalization use batch statistics and hand
// out its new running statistics as graph outputs (named by NewValue), and
// every Dropout multiply by a noise input.
func trainingMode(g *graph.Graph) error {
	b := ops.NewBuilder(g)
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" {
			continue
		}
		switch n.Op {
		case "BatchNormalization":
			trainNorm(b, n)
		case "Dropout":
			trainDropout(b, n)
		}
		if b.Err != nil {
			return b.Err
		}
	}
	return g.Sort()
}

// NewValue is the name of the output that holds the new value of a parameter
// or running statistic after a step.
func NewValue(name string) string { return name + "_new" }

func trainNorm(b *ops.Builder, n *graph.Node) {
	attrs := []*onnx.Attr{
		onnx.AttrFloat("epsilon", float32(n.Float("epsilon", 1e-5))),
		onnx.AttrFloat("momentum", float32(n.Float("momentum", 0.9))),
	}
	out := b.Own("BatchNormalizationTraining", 5, n.Inputs, attrs...)
	if b.Err != nil {
		return
	}
	for i, stat := range []*graph.Value{n.Input(3), n.Input(4)} {
		if b.Err = b.G.Rename(out[1+i], NewValue(stat.Name)); b.Err != nil {
			return
		}
		b.G.AddOutput(out[1+i])
	}
	replace(b, n, out[0])
}

func trainDropout(b *ops.Builder, n *graph.Node) {
	ratio := 0.5
	if n.Version < 12 {
		ratio = n.Float("ratio", ratio)
	} else if t := constOf(n.Input(1)); t != nil && t.Len() == 1 {
		ratio = scalar(t)
	}
	if ratio <= 0 || ratio >= 1 {
		return // simplify removes it
	}
	x, y := n.Input(0), n.Output(0)
	noise := b.G.AddInput(b.G.Unique(y.Name+NoiseSuffix), x.DType, x.Shape...)
	noise.Info = nil
	replace(b, n, b.Mul(x, noise))
	if b.Err == nil {
		b.G.Noise = append(b.G.Noise, graph.Noise{Input: noise.Name, Ratio: ratio})
	}
}

// replace makes v stand for output 0 of n, which takes over its name when the
// graph hands it out, and removes n.
func replace(b *ops.Builder, n *graph.Node, v *graph.Value) {
	if b.Err != nil {
		return
	}
	out := n.Output(0)
	isOutput := slices.Contains(b.G.Outputs, out)
	name := out.Name
	b.G.ReplaceUses(out, v)
	if b.Err = b.G.RemoveNode(n); b.Err == nil && isOutput {
		b.Err = b.G.Rename(v, name)
	}
}

func scalar(t *onnx.Tensor) float64 {
	switch d := t.Data.(type) {
	case []float32:
		return float64(d[0])
	case []float64:
		return d[0]
	}
	return 0
}
