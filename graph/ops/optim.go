package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

const noGradStep = "an optimizer's step is not differentiated"

// Both optimizers follow PyTorch's conventions. A mask (1 kept, 0 pruned)
// multiplies the new weight and the new state, so that pruned weights stay
// exactly zero and carry no momentum.
func init() {
	register(
		Op{Domain: Domain, Name: "SGD", Infer: inferSGD, Body: sgdBody, NoGrad: noGradStep,
			Forward: kernels(runSGD[float32], runSGD[float64]), Updates: []Update{{0, 1}, {1, 3}}},
		Op{Domain: Domain, Name: "GemmSGD", Infer: inferGemmSGD, Body: gemmSGDBody, NoGrad: noGradStep,
			Forward: kernels(runGemmSGD[float32], runGemmSGD[float64]), Updates: []Update{{0, 1}, {1, 4}}},
		Op{Domain: Domain, Name: "Adam", Infer: inferAdam, Body: adamBody, NoGrad: noGradStep,
			Forward: kernels(runAdam[float32], runAdam[float64]), Updates: []Update{{0, 2}, {1, 4}, {2, 5}}},
	)
}

// SGD(rate, w, g, [v], [mask]), with attributes momentum, weight_decay and
// nesterov, returns the new w and, when there is a momentum, the new v:
//
//	g += weight_decay*w
//	v  = momentum*v + g             v is 0 before the first step
//	w -= rate*v                     nesterov: w -= rate*(g + momentum*v)

func inferSGD(n *graph.Node) error {
	if err := floatInputs(n, 3, 5, 2); err != nil {
		return err
	}
	if err := checkConstants(n, "momentum", "weight_decay"); err != nil {
		return err
	}
	if momentum := n.Float("momentum", 0); (momentum == 0) != (n.Input(3) == nil) {
		return fmt.Errorf("attribute momentum is %v: a momentum needs the velocity, input 3, and the velocity a momentum", momentum)
	}
	if n.Input(3) == nil && n.Output(1) != nil {
		return fmt.Errorf("has output 1 but no input 3, whose new value it would be")
	}
	return inferStep(n, 1, []int{0}, []int{2, 3, 4})
}

// inferStep checks an optimizer's inputs: scalars, and tensors of the shape of
// the weight w, which the outputs have too.
func inferStep(n *graph.Node, w int, scalars, alike []int) error {
	for _, i := range scalars {
		if err := wantShape(n, i); err != nil {
			return err
		}
	}
	shape := n.Inputs[w].Shape
	for _, i := range alike {
		if err := wantShape(n, i, shape...); err != nil {
			return err
		}
	}
	for i := range n.Outputs {
		if err := setOutput(n, i, n.Inputs[w].DType, shape); err != nil {
			return err
		}
	}
	return nil
}

// checkConstants makes sure that attributes are finite and not negative.
func checkConstants(n *graph.Node, names ...string) error {
	for _, name := range names {
		if v := n.Float(name, 0); !(v >= 0 && v < 1e30) {
			return fmt.Errorf("attribute %s is %v, want a number from 0 on", name, v)
		}
	}
	return nil
}

func sgdBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	rate, w, g, v, mask := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Input(3), n.Input(4)
	g = b.decay(g, w, n.Float("weight_decay", 0))
	step := g
	if v != nil {
		momentum := b.Scalar(n.Float("momentum", 0), w)
		v = b.Add(b.Mul(v, momentum), g)
		step = v
		if n.Int("nesterov", 0) != 0 {
			step = b.Add(g, b.Mul(v, momentum))
		}
	}
	w = b.Sub(w, b.Mul(rate, step))
	out := []*graph.Value{b.masked(w, mask)}
	if v != nil {
		out = append(out, b.masked(v, mask))
	}
	return out, nil
}

// decay is g + rate*w.
func (b *Builder) decay(g, w *graph.Value, rate float64) *graph.Value {
	if rate == 0 {
		return g
	}
	return b.Add(g, b.Mul(w, b.Scalar(rate, w)))
}

// masked is v*mask, or v when there is no mask.
func (b *Builder) masked(v, mask *graph.Value) *graph.Value {
	if mask == nil {
		return v
	}
	return b.Mul(v, mask)
}

// Adam(rate, t, w, g, m, s, [mask]), with attributes beta1, beta2, epsilon,
// weight_decay and decoupled (1: AdamW), makes step number t, counted from 1,
// and returns the new w, m and s:
//
//	g += weight_decay*w             decoupled: w -= rate*weight_decay*w
//	m  = beta1*m + (1-beta1)*g
//	s  = beta2*s + (1-beta2)*g^2
//	w -= rate/(1-beta1^t) * m / (sqrt(s)/sqrt(1-beta2^t) + epsilon)

// adamOf reads Adam's attributes.
func adamOf(n *graph.Node) kernel.Adam {
	return kernel.Adam{
		Beta1: n.Float("beta1", 0.9), Beta2: n.Float("beta2", 0.999),
		Epsilon: n.Float("epsilon", 1e-8), WeightDecay: n.Float("weight_decay", 0),
		Decoupled: n.Int("decoupled", 0) != 0,
	}
}

func inferAdam(n *graph.Node) error {
	if err := floatInputs(n, 6, 7, 3); err != nil {
		return err
	}
	if err := checkConstants(n, "beta1", "beta2", "epsilon", "weight_decay"); err != nil {
		return err
	}
	if c := adamOf(n); c.Beta1 >= 1 || c.Beta2 >= 1 {
		return fmt.Errorf("attributes beta1 %v and beta2 %v must be less than 1", c.Beta1, c.Beta2)
	}
	return inferStep(n, 2, []int{0, 1}, []int{3, 4, 5, 6})
}

func adamBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c := adamOf(n)
	rate, t, w, g, m, s, mask := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Inputs[3], n.Inputs[4], n.Inputs[5], n.Input(6)
	if c.Decoupled {
		w = b.Sub(w, b.Mul(b.Mul(rate, b.Scalar(c.WeightDecay, w)), w))
	} else {
		g = b.decay(g, w, c.WeightDecay)
	}
	blend := func(old, x *graph.Value, beta float64) *graph.Value {
		return b.Add(b.Mul(old, b.Scalar(beta, old)), b.Mul(x, b.Scalar(1-beta, old)))
	}
	m = blend(m, g, c.Beta1)
	s = blend(s, b.Mul(g, g), c.Beta2)
	scale := b.Div(rate, b.correction(c.Beta1, t))
	denom := b.Add(b.Div(b.Op("Sqrt", s), b.Op("Sqrt", b.correction(c.Beta2, t))), b.Scalar(c.Epsilon, w))
	w = b.Sub(w, b.Div(b.Mul(m, scale), denom))
	return []*graph.Value{b.masked(w, mask), b.masked(m, mask), b.masked(s, mask)}, nil
}

// correction is 1 - beta^t, in double precision until it is done: in single,
// 1 - 0.999 keeps four digits.
func (b *Builder) correction(beta float64, t *graph.Value) *graph.Value {
	wide := b.Cast(t, onnx.Float64)
	power := b.Op("Pow", b.Scalar(beta, wide), wide)
	return b.Cast(b.Sub(b.Scalar(1, wide), power), t.DType)
}

// sgdOf reads SGD's attributes.
func sgdOf(n *graph.Node) kernel.SGD {
	return kernel.SGD{
		Momentum: n.Float("momentum", 0), WeightDecay: n.Float("weight_decay", 0),
		Nesterov: n.Int("nesterov", 0) != 0,
	}
}

func runSGD[T kernel.Float](c *Call) (func() error, error) {
	o := sgdOf(c.Node)
	w, beginW := inPlace[T](c, 0, 1)
	v, beginV := inPlace[T](c, 1, 3)
	rate, g, mask := slot[T](c.In, 0), slot[T](c.In, 2), slot[T](c.In, 4)
	step := kernel.NewStep[T]()
	return func() error {
		beginW()
		beginV()
		o.Rate = float64(rate[0])
		step.SGD(c.Team, o, w, g, mask, v)
		return nil
	}, nil
}

func runAdam[T kernel.Float](c *Call) (func() error, error) {
	o := adamOf(c.Node)
	w, beginW := inPlace[T](c, 0, 2)
	m, beginM := inPlace[T](c, 1, 4)
	s, beginS := inPlace[T](c, 2, 5)
	rate, t := slot[T](c.In, 0), slot[T](c.In, 1)
	g, mask := slot[T](c.In, 3), slot[T](c.In, 6)
	step := kernel.NewStep[T]()
	return func() error {
		beginW()
		beginM()
		beginS()
		o.Rate = float64(rate[0])
		step.Adam(c.Team, o, int(t[0]), w, g, mask, m, s)
		return nil
	}, nil
}
