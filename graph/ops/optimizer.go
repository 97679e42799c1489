package ops

import (
	"fmt"

	"github.com/unprune/unprune/onnx"
)

// Optimizer names an update rule and its constants (spec of torch.optim).
type Optimizer struct {
	Kind        string  // "sgd", "adam" (weight decay as L2) or "adamw" (decoupled)
	Momentum    float64 // sgd
	Nesterov    bool    // sgd
	WeightDecay float64
	Beta1       float64 // adam, adamw; 0 stands for 0.9
	Beta2       float64 // 0 stands for 0.999
	Epsilon     float64 // 0 stands for 1e-8
}

// Slots is the number of state tensors that each parameter has.
func (o Optimizer) Slots() int {
	switch {
	case o.Kind != "sgd":
		return 2
	case o.Momentum != 0:
		return 1
	}
	return 0
}

// Check reports an optimizer that does not exist or has impossible constants.
func (o Optimizer) Check() error {
	switch o.Kind {
	case "sgd", "adam", "adamw":
	default:
		return fmt.Errorf("ops: optimizer %q: want sgd, adam or adamw", o.Kind)
	}
	if o.Momentum < 0 || o.Momentum >= 1 || o.WeightDecay < 0 {
		return fmt.Errorf("ops: optimizer %s: want momentum in [0, 1) and weight decay >= 0, have %g and %g", o.Kind, o.Momentum, o.WeightDecay)
	}
	if o.Nesterov && o.Momentum == 0 {
		return fmt.Errorf("ops: Nesterov needs a momentum above 0")
	}
	return nil
}

// Node returns the operator of our domain that performs the step, and its
// attributes.
func (o Optimizer) Node() (op string, attrs []*onnx.Attr) {
	if o.Kind == "sgd" {
		return "SGD", sgdAttrs(o)
	}
	return "Adam", adamAttrs(o)
}

func sgdAttrs(o Optimizer) []*onnx.Attr {
	nesterov := int64(0)
	if o.Nesterov {
		nesterov = 1
	}
	return []*onnx.Attr{
		onnx.AttrFloat("momentum", float32(o.Momentum)),
		onnx.AttrFloat("weight_decay", float32(o.WeightDecay)),
		onnx.AttrInt("nesterov", nesterov),
	}
}

func adamAttrs(o Optimizer) []*onnx.Attr {
	or := func(x, def float64) float32 {
		if x == 0 {
			x = def
		}
		return float32(x)
	}
	decoupled := int64(0)
	if o.Kind == "adamw" {
		decoupled = 1
	}
	return []*onnx.Attr{
		onnx.AttrFloat("beta1", or(o.Beta1, 0.9)),
		onnx.AttrFloat("beta2", or(o.Beta2, 0.999)),
		onnx.AttrFloat("epsilon", or(o.Epsilon, 1e-8)),
		onnx.AttrFloat("weight_decay", float32(o.WeightDecay)),
		onnx.AttrInt("decoupled", decoupled),
	}
}
