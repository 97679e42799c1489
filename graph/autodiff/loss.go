package autodiff

import (
	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// Names that graphs with a richer Loss have as well.
const (
	SamplesName     = "sample_weights" // [N], factors of the samples' cross-entropies
	PowerName       = "loss_power"     // scalar
	SoftLossName    = "soft_loss"      // output, scalar
	SoftWeightName  = "soft_weight"    // scalar factor of the soft loss's gradient
	TargetsName     = "targets"        // [N classes], distributions
	TemperatureName = "temperature"    // scalar
)

// A Loss says what is added to the mean cross-entropy of the labels.
type Loss struct {
	// Samples replaces the mean by Σ share_x·ℓ_x with share_x proportional to
	// sample_weights_x / (ℓ_x^loss_power + 1e-15). Shares are not
	// differentiated.
	Samples bool

	// Soft adds soft_loss = -1/N Σ_x Σ_c targets_xc · log softmax(z_x /
	// temperature)_c, scaled by a weight of its own.
	Soft bool
}

// An objective is the sum over ys of <seed, y>.
type objective struct{ ys, seeds []*graph.Value }

// build appends the loss of the logits, its outputs and the seeds of its
// gradient. Weighted scales the cross-entropy by the input WeightName.
func (l Loss) build(b *ops.Builder, logits *graph.Value, weighted bool) (o objective, err error) {
	var weight *graph.Value
	if weighted {
		weight = b.G.AddInput(WeightName, logits.DType)
	}
	if l.Samples {
		err = o.samples(b, logits, weight)
	} else {
		err = o.mean(b, logits, weight)
	}
	if err == nil && l.Soft {
		err = o.soft(b, logits)
	}
	return o, err
}

func (o *objective) add(y, seed *graph.Value) { o.ys, o.seeds = append(o.ys, y), append(o.seeds, seed) }

// hand makes v an output of that name.
func hand(b *ops.Builder, v *graph.Value, name string) error {
	if b.Err != nil {
		return b.Err
	}
	if err := b.G.Rename(v, name); err != nil {
		return err
	}
	b.G.AddOutput(v)
	return nil
}

// crossEntropies is the loss with the labels, by its reduction.
func crossEntropies(b *ops.Builder, logits *graph.Value, reduction string) *graph.Value {
	labels := b.G.AddInput(LabelsName, onnx.Int64, logits.Shape[0])
	return b.Node("SoftmaxCrossEntropyLoss", 2, []*graph.Value{logits, labels}, onnx.AttrString("reduction", reduction))[0]
}

func (o *objective) mean(b *ops.Builder, logits, weight *graph.Value) error {
	loss := crossEntropies(b, logits, "mean")
	o.add(loss, weight)
	return hand(b, loss, LossName)
}

// samples seeds the losses of the samples with their shares: a constant as far
// as the gradient is concerned.
func (o *objective) samples(b *ops.Builder, logits, weight *graph.Value) error {
	losses := crossEntropies(b, logits, "none")
	factors := b.G.AddInput(SamplesName, logits.DType, logits.Shape[0])
	power := b.G.AddInput(PowerName, logits.DType)
	share := b.Div(factors, b.Add(b.Op("Pow", losses, power), b.Scalar(1e-15, logits)))
	share = b.Div(share, b.ReduceSum(share, true, 0))
	loss := b.ReduceSum(b.Mul(share, losses), false, 0)
	if weight != nil {
		share = b.Mul(share, weight)
	}
	o.add(losses, share)
	return hand(b, loss, LossName)
}

func (o *objective) soft(b *ops.Builder, logits *graph.Value) error {
	g := b.G
	targets := g.AddInput(TargetsName, logits.DType, logits.Shape...)
	temperature := g.AddInput(TemperatureName, logits.DType)
	logs := b.OpA("LogSoftmax", []*onnx.Attr{onnx.AttrInt("axis", -1)}, b.Div(logits, temperature))
	sum := b.ReduceSum(b.Mul(targets, logs), false, 0, 1)
	loss := b.Mul(sum, b.Scalar(-1/float64(logits.Shape[0]), logits))
	o.add(loss, g.AddInput(SoftWeightName, logits.DType))
	return hand(b, loss, SoftLossName)
}
