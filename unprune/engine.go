package unprune

import (
	"context"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune/data"
)

// An Engine holds one network's parameters and computes with them. Package
// unprune/train has the implementation; the loop, the unlearners and the
// baselines are written against this interface and know no graph.
//
// Engines are not safe for concurrent use. Every method that computes stops
// early, with the context's error, when the context is cancelled; the
// parameters are then those after the last finished step.
type Engine interface {
	// Weights is the live state: trainable parameters and running
	// statistics, in graph order. Writing to the tensors changes the network.
	Weights() *Weights

	// Layers are the weight tensors that pruners look at; their memory is
	// that of Weights.
	Layers() []sparsity.Layer

	// SetMasks holds weights at zero from now on: they are zeroed at once, and
	// every step masks gradient, momentum and weight. Nil frees all weights.
	SetMasks(*sparsity.Masks) error

	// Mask zeroes the weights that the masks prune, after something else wrote
	// to them.
	Mask() error

	// Optimize chooses the update rule and clears its state.
	Optimize(ops.Optimizer) error

	// Step takes one optimizer step of the given learning rate on the sum of
	// the terms and returns its value. Terms are computed one after the other,
	// each with batch statistics of its own.
	Step(ctx context.Context, rate float64, terms ...Term) (loss float64, err error)

	// Gradient returns the gradient of the sum of the terms per parameter. The
	// tensors are valid until the engine computes again.
	Gradient(ctx context.Context, terms ...Term) (map[string]*onnx.Tensor, error)

	// Logits returns the outputs [len(index), classes] of the network in
	// inference mode.
	Logits(ctx context.Context, d *data.Dataset, index []int) ([]float64, error)

	// Recalibrate replaces the running statistics of batch normalisation by
	// the mean, over the batches, of the batch mean and of the unbiased batch
	// variance. Without such layers it does nothing.
	Recalibrate(ctx context.Context, d *data.Dataset, index []int, batch int) error

	// Classes is the number of classes of the output.
	Classes() int

	// Cost is what was computed so far; it has no seconds.
	Cost() evalmetrics.Cost
}

// A Term is a weighted mean loss over a batch.
type Term struct {
	Data   *data.Dataset
	Index  []int   // rows of Data
	Labels []int64 // one per row; nil: those of Data
	Weight float64 // factor of the mean cross-entropy
	Eval   bool    // use running statistics, no dropout
}
