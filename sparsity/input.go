package sparsity

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/unprune/unprune/onnx"
)

// Needs is a set of what a pruner must be given besides the weights.
type Needs uint

// What a pruner may need.
const (
	NeedsRandom     Needs = 1 << iota // Input.Rand
	NeedsGradients                    // Input.Gradients
	NeedsCurvature                    // Input.Curvature
	NeedsFlow                         // Input.Flow
	NeedsInputNorms                   // Input.InputNorms
)

// Data reports whether scores depend on samples. When un-pruning these must be
// retained ones, or the forgotten ones leak into the new mask.
func (n Needs) Data() bool { return n&(NeedsGradients|NeedsCurvature|NeedsInputNorms) != 0 }

// Input is what pruners score: the layers and, for pruners that need it, what
// the network computes with them. The functions compute with the weights of
// the moment and return one tensor per parameter name, of the parameter's
// shape, float32 or float64, valid until the next call.
type Input struct {
	Layers []Layer

	// Parameters are all weights by name, those of biases and normalisations
	// too; pruners of groups look at them.
	Parameters map[string]*onnx.Tensor

	Rand *rand.Rand // for pruners with NeedsRandom: a stream of their own

	// Gradients yields, batch after batch of the scoring samples, the gradient
	// of the batch's share of the mean loss; their sum is that of the mean loss.
	Gradients func() iter.Seq2[map[string]*onnx.Tensor, error]

	// Curvature returns Hg: g is the gradient and H the Hessian of the mean
	// loss of the logits divided by the temperature.
	Curvature func(temperature float64) (map[string]*onnx.Tensor, error)

	// Flow returns ∂R/∂|w|: R is the sum of the outputs for an input of ones
	// when every parameter and running statistic is replaced by its absolute
	// value.
	Flow func() (map[string]*onnx.Tensor, error)

	// InputNorms returns, per weight, the L2 norm of the values that the
	// weight multiplies, over samples and positions.
	InputNorms func() (map[string]*onnx.Tensor, error)

	// Mask holds pruned weights at zero in what is computed from now on, for
	// pruning in rounds.
	Mask func(*Masks) error
}

func (in Input) gradients() (iter.Seq2[map[string]*onnx.Tensor, error], error) {
	if in.Gradients == nil {
		return nil, errors.New("sparsity: this pruner scores by gradients: give it samples")
	}
	return in.Gradients(), nil
}

// gradient is that of the mean loss.
func (in Input) gradient() (map[string]*onnx.Tensor, error) {
	batches, err := in.gradients()
	if err != nil {
		return nil, err
	}
	sum := map[string]*onnx.Tensor{}
	for g, err := range batches {
		if err != nil {
			return nil, err
		}
		for _, l := range in.Layers {
			if err := addTo(sum, l, g); err != nil {
				return nil, err
			}
		}
	}
	if len(sum) < len(in.Layers) {
		return nil, errors.New("sparsity: this pruner scores by gradients, and there is no sample to take one on")
	}
	return sum, nil
}

// addTo adds a layer's gradient to the sum.
func addTo(sum map[string]*onnx.Tensor, l Layer, gradients map[string]*onnx.Tensor) error {
	g, err := beside(l, gradients)
	if err != nil {
		return err
	}
	if sum[l.Name] == nil {
		sum[l.Name] = onnx.NewTensor(onnx.Float64, l.Weight.Shape...)
	}
	s := onnx.Of[float64](sum[l.Name])
	for i := range s {
		s[i] += g(i)
	}
	return nil
}

func (in Input) curvature(temperature float64) (map[string]*onnx.Tensor, error) {
	if in.Curvature == nil {
		return nil, errors.New("sparsity: this pruner scores by Hessian-vector products: give it samples")
	}
	return in.Curvature(temperature)
}

func (in Input) flow() (map[string]*onnx.Tensor, error) {
	if in.Flow == nil {
		return nil, errors.New("sparsity: this pruner needs the network's gradient for an input of ones")
	}
	return in.Flow()
}

func (in Input) inputNorms() (map[string]*onnx.Tensor, error) {
	if in.InputNorms == nil {
		return nil, fmt.Errorf("sparsity: this pruner scores by the sizes of the layers' inputs: give it samples")
	}
	return in.InputNorms()
}
