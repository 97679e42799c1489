package unprune

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune/data"
)

// A Scorer is an engine that computes what pruners score by, beyond
// gradients. Results are per parameter name, valid until the next call.
type Scorer interface {
	Engine

	// FlowCurvature returns Hg: g is the gradient and H the Hessian of the sum
	// of the terms, in inference mode, the logits divided by the temperature.
	FlowCurvature(ctx context.Context, temperature float64, terms ...Term) (map[string]*onnx.Tensor, error)

	// SynapticFlow returns ∂R/∂|w|: R is the sum of the outputs of the network
	// of absolute values for a sample of ones.
	SynapticFlow(ctx context.Context) (map[string]*onnx.Tensor, error)

	// InputNorms returns, per weight of a layer, the L2 norm of the values that
	// it multiplies over the samples, in inference mode.
	InputNorms(ctx context.Context, d *data.Dataset, index []int) (map[string]*onnx.Tensor, error)
}

// Samples are the rows of a dataset that data-dependent pruners score on.
type Samples struct {
	Data *data.Dataset
	Rows []int // retained ones: forgotten ones would leak into the mask

	// PerClass is how many of each class are taken, the first ones in the
	// order of Rows; 0: 25 (Lee et al. 2019).
	PerClass int
	// Batch is how many are computed at once, which Taylor scores depend on;
	// 0: all.
	Batch int
}

// Balanced takes the first PerClass rows of each class, class by class. A
// class with fewer has all of its rows taken.
func (s Samples) Balanced() []int {
	each := s.PerClass
	if each == 0 {
		each = 25
	}
	byClass := make([][]int, s.Data.Classes)
	for _, row := range s.Rows {
		if y := s.Data.Y[row]; y >= 0 && int(y) < len(byClass) && len(byClass[y]) < each {
			byClass[y] = append(byClass[y], row)
		}
	}
	var rows []int
	for _, class := range byClass {
		rows = append(rows, class...)
	}
	return rows
}

// terms are the batches of the balanced rows; their sum is the mean loss.
func (s Samples) terms() []Term {
	rows := s.Balanced()
	size := s.Batch
	if size == 0 {
		size = max(1, len(rows))
	}
	var terms []Term
	for _, batch := range Batches(rows, size) {
		terms = append(terms, Term{Data: s.Data, Index: batch, Eval: true, Weight: float64(len(batch)) / float64(len(rows))})
	}
	return terms
}

// ScoreInput is what the pruner needs to score the engine's layers. r is the
// stream of pruners that draw; it may be nil for others.
func ScoreInput(ctx context.Context, e Engine, p sparsity.Pruner, layers []sparsity.Layer, s Samples, r *rand.Rand) (sparsity.Input, error) {
	in := sparsity.Input{Layers: layers, Parameters: e.Weights().Tensors, Mask: e.SetMasks}
	needs := p.Needs()
	if needs&sparsity.NeedsRandom != 0 {
		if r == nil {
			return in, fmt.Errorf("unprune: pruner %s needs a stream of random numbers", p.Name())
		}
		in.Rand = r
	}
	if needs.Data() && (s.Data == nil || len(s.Rows) == 0) {
		return in, fmt.Errorf("unprune: pruner %s scores on retained samples, and there are none", p.Name())
	}
	in.Gradients = func() iter.Seq2[map[string]*onnx.Tensor, error] {
		return func(yield func(map[string]*onnx.Tensor, error) bool) {
			for _, t := range s.terms() {
				if !yield(e.Gradient(ctx, t)) {
					return
				}
			}
		}
	}
	if needs&(sparsity.NeedsCurvature|sparsity.NeedsFlow|sparsity.NeedsInputNorms) == 0 {
		return in, nil
	}
	sc, ok := e.(Scorer)
	if !ok {
		return in, fmt.Errorf("unprune: this engine does not compute what pruner %s scores by", p.Name())
	}
	in.Curvature = func(temperature float64) (map[string]*onnx.Tensor, error) {
		return sc.FlowCurvature(ctx, temperature, s.terms()...)
	}
	in.Flow = func() (map[string]*onnx.Tensor, error) { return sc.SynapticFlow(ctx) }
	in.InputNorms = func() (map[string]*onnx.Tensor, error) {
		return sc.InputNorms(ctx, s.Data, s.Balanced())
	}
	return in, nil
}
