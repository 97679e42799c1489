package unprune

import (
	"context"
	"math/rand/v2"

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

	// Masks are the masks that are held, nil when all weights are free.
	Masks() *sparsity.Masks

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
	// tensors are valid until the engine computes again, and may be changed
	// before Apply.
	Gradient(ctx context.Context, terms ...Term) (map[string]*onnx.Tensor, error)

	// Apply takes the optimizer step of the given learning rate along the
	// gradients that Gradient returned last, as they are now.
	Apply(ctx context.Context, rate float64) error

	// Logits returns the outputs [len(index), classes] of the network in
	// inference mode.
	Logits(ctx context.Context, d *data.Dataset, index []int) ([]float64, error)

	// Recalibrate replaces the running statistics of batch normalisation by
	// the mean, over the batches, of the batch mean and of the unbiased batch
	// variance. Without such layers it does nothing.
	Recalibrate(ctx context.Context, d *data.Dataset, index []int, batch int) error

	// Fresh draws the weights of an untrained network.
	Fresh(r *rand.Rand) *Weights

	// Classes is the number of classes of the output.
	Classes() int

	// Cost is what was computed so far; it has no seconds.
	Cost() evalmetrics.Cost
}

// A Term is a loss over a batch: Weight times the mean cross-entropy of its
// labels, and what Soft adds to it.
type Term struct {
	Data   *data.Dataset
	Index  []int   // rows of Data
	Labels []int64 // one per row; nil: those of Data
	Weight float64 // factor of the mean cross-entropy
	Eval   bool    // use running statistics, no dropout

	// Samples weigh the rows in the mean; nil: alike. With a positive Power,
	// row x with cross-entropy l_x weighs 1/(l_x^Power + 1e-15) as much; the
	// gradient takes the weights as constants.
	Samples []float64
	Power   float64

	Soft *Soft
}

// Soft is Weight times the mean over a batch of the Kullback-Leibler
// divergence Σ_c q_c·log(q_c/p_c), p = softmax(logits/Temperature).
type Soft struct {
	Targets     []float64 // q, [rows, classes], row-major
	Temperature float64   // 0: 1
	Weight      float64
}

// A Curvature is an engine that computes beyond gradients. Terms are in
// inference mode and hold a plain cross-entropy: Labels of the data, Weight,
// Samples and Soft are not looked at. Vectors are as those of
// Weights.Vector. Batches of any length are split as memory asks.
type Curvature interface {
	Engine

	// SampleSquares returns the sum, over the rows of the term, of the squared
	// gradient of one row's loss.
	SampleSquares(ctx context.Context, t Term) (Vector, error)

	// SampleDots returns the product of the gradient of each row's loss with
	// each direction: out[direction][row].
	SampleDots(ctx context.Context, t Term, directions ...Vector) (out [][]float64, err error)

	// ClassSquares returns Σ_c p_c·g_c² over all classes c, for the term's rows
	// as one batch: g_c the gradient of the mean loss with every label c, p_c the
	// mean probability of c.
	ClassSquares(ctx context.Context, t Term) (Vector, error)

	// Hessian returns the Hessian of the term's mean loss at the present weights,
	// for as many products as are wanted. It is valid until the weights change or
	// another Hessian is taken.
	Hessian(ctx context.Context, t Term) (Hessian, error)
}

// A Hessian returns its product with v.
type Hessian func(ctx context.Context, v Vector) (Vector, error)
