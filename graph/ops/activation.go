package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Activation functions.
func init() {
	activation := func(name string, since []int, d func(b *Builder, n *graph.Node, dy *graph.Value) *graph.Value) Op {
		return Op{
			Name: name, Since: since, InPlace: []int{0}, Axes: axesFirst, Infer: inferSame(floats...), Beside: besideElements,
			Grad: func(b *Builder, n *graph.Node, dy values) (values, error) {
				return values{d(b, n, dy[0])}, nil
			},
			Forward: forwardActivation,
		}
	}
	register(
		activation("Relu", []int{6, 13, 14}, func(b *Builder, n *graph.Node, dy *graph.Value) *graph.Value {
			return b.reluGrad(dy, n.Outputs[0])
		}),
		activation("LeakyRelu", []int{6, 16}, func(b *Builder, n *graph.Node, dy *graph.Value) *graph.Value {
			slope := b.Scalar(n.Float("alpha", 0.01), dy)
			return b.Op("Where", b.positive(n.Inputs[0]), dy, b.Mul(dy, slope))
		}),
		// d/dx a(exp(x)-1) = y + a below zero.
		activation("Elu", []int{6, 22}, func(b *Builder, n *graph.Node, dy *graph.Value) *graph.Value {
			slope := b.Add(n.Outputs[0], b.Scalar(n.Float("alpha", 1), dy))
			return b.Op("Where", b.positive(n.Inputs[0]), dy, b.Mul(dy, slope))
		}),
		activation("HardSigmoid", []int{6, 22}, func(b *Builder, n *graph.Node, dy *graph.Value) *graph.Value {
			slope := b.Mul(dy, b.Scalar(n.Float("alpha", 0.2), dy))
			return b.inside(n.Outputs[0], b.Scalar(0, dy), b.Scalar(1, dy), slope)
		}),
		activation("Softplus", []int{1, 22}, func(b *Builder, n *graph.Node, dy *graph.Value) *graph.Value {
			return b.Mul(dy, b.Op("Sigmoid", n.Inputs[0]))
		}),
		Op{
			Name: "HardSwish", Since: []int{14, 22}, Axes: axesFirst,
			Infer: inferSame(floats...), Forward: forwardActivation, Body: bodyHardSwish, Beside: besideElements,
		},
		Op{
			Name: "PRelu", Since: []int{7, 9, 16}, Axes: axesBroadcast,
			Infer: inferPRelu, Grad: gradPRelu, Forward: forwardPRelu,
		},
		Op{
			Name: "Clip", Since: []int{6, 11, 12, 13}, InPlace: []int{0}, Axes: axesFirst,
			Infer: inferClip, Grad: gradClip, Forward: forwardClip, Beside: besideElements,
		},
		Op{
			Domain: Domain, Name: "ReluGrad", InPlace: []int{0},
			Infer: inferReluGrad, Grad: gradReluGrad, Forward: forwardReluGrad, Body: bodyReluGrad,
		},
	)
}

// positive is x > 0.
func (b *Builder) positive(x *graph.Value) *graph.Value {
	return b.Op("Greater", x, b.Scalar(0, x))
}

// reluGrad is dy where y > 0, else 0. What comes from a max pooling of y is looked
// at before it is spread: the pooled value is y's where it goes to.
func (b *Builder) reluGrad(dy, y *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	if spread := dy.Producer(); spread != nil && spread.Domain == Domain && spread.Op == "MaxPoolGrad" {
		places := spread.Inputs[1]
		if pool := places.Producer(); pool != nil && pool.Op == "MaxPool" && pool.Inputs[0] == y {
			return b.maxPoolGrad(b.reluGrad(spread.Inputs[0], pool.Outputs[0]), places, y.Shape)
		}
	}
	return b.Own("ReluGrad", 1, values{dy, y})[0]
}

// inside is dy where low < y < high, else 0; a bound that is nil does not
// count. It takes two of ReLU's gradients: their kernel is several times
// faster than comparisons that go through truth values.
func (b *Builder) inside(y, low, high, dy *graph.Value) *graph.Value {
	if low != nil {
		dy = b.reluGrad(dy, b.Sub(y, low))
	}
	if high != nil {
		dy = b.reluGrad(dy, b.Sub(high, y))
	}
	return dy
}

func forwardActivation(c *Call) (func() error, error) {
	return byFloat(c, forwardActivationOf[float32], forwardActivationOf[float64])
}

func forwardActivationOf[T kernel.Float](c *Call) (func() error, error) {
	f := activationKernel[T](c.Node)
	if f == nil {
		return nil, fmt.Errorf("%s has no kernel", c.Node.Op)
	}
	return mapWith(c, f), nil
}

// activationKernel returns what applies n's function to a slice. z may be x,
// except for those operators whose entry has no InPlace.
func activationKernel[T kernel.Float](n *graph.Node) func(z, x []T) {
	switch n.Op {
	case "Relu":
		return kernel.Relu[T]
	case "LeakyRelu":
		alpha := T(n.Float("alpha", 0.01))
		return func(z, x []T) {
			for i, v := range x {
				if v < 0 {
					v *= alpha
				}
				z[i] = v
			}
		}
	case "Elu":
		alpha := T(n.Float("alpha", 1))
		return pointwise(func(x T) T {
			if x > 0 {
				return x
			}
			return alpha * T(math.Expm1(float64(x)))
		})
	case "HardSigmoid":
		alpha, beta := T(n.Float("alpha", 0.2)), T(n.Float("beta", 0.5))
		return func(z, x []T) {
			kernel.Affine(z, alpha, x, beta)
			kernel.Clip(z, z, 0, 1)
		}
	case "HardSwish":
		return func(z, x []T) {
			kernel.Affine(z, 1.0/6, x, 0.5)
			kernel.Clip(z, z, 0, 1)
			kernel.Mul(z, z, x)
		}
	case "Softplus":
		return pointwise(func(x T) T {
			return max(x, 0) + T(math.Log1p(math.Exp(-math.Abs(float64(x)))))
		})
	}
	return nil
}

// pointwise applies f to each element.
func pointwise[T kernel.Float](f func(T) T) func(z, x []T) {
	return func(z, x []T) {
		for i, v := range x {
			z[i] = f(v)
		}
	}
}

// bodyHardSwish: x times x/6 + 1/2 cut off at 0 and 1.
func bodyHardSwish(b *Builder, n *graph.Node) (values, error) {
	x := n.Inputs[0]
	line := b.Add(b.Mul(x, b.Scalar(1.0/6, x)), b.Scalar(0.5, x))
	return values{b.Mul(x, b.Op("Clip", line, b.Scalar(0, x), b.Scalar(1, x)))}, nil
}

// inferPRelu: the slope broadcasts to x, not the other way round.
func inferPRelu(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	x, slope := n.Inputs[0], n.Inputs[1]
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := sameType(n, 0, 1); err != nil {
		return err
	}
	shape, err := broadcast(x.Shape, slope.Shape)
	if err != nil || len(slope.Shape) > len(x.Shape) || shape.Size() != x.Shape.Size() {
		return fmt.Errorf("slope of shape %v does not fit x of shape %v", []int(slope.Shape), []int(x.Shape))
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

func gradPRelu(b *Builder, n *graph.Node, dy values) (values, error) {
	x, slope := n.Inputs[0], n.Inputs[1]
	up := b.positive(x)
	dslope := b.Op("Where", up, b.Scalar(0, x), b.Mul(dy[0], x))
	return values{
		b.Op("Where", up, dy[0], b.Mul(dy[0], slope)),
		b.Unbroadcast(dslope, slope.Shape),
	}, nil
}

func forwardPRelu(c *Call) (func() error, error) {
	return byFloat(c, forwardPReluOf[float32], forwardPReluOf[float64])
}

func forwardPReluOf[T kernel.Float](c *Call) (func() error, error) {
	x, slope := onnx.Of[T](c.In[0]), onnx.Of[T](c.In[1])
	return zip(onnx.Of[T](c.Out[0]), x, slope, walkPair(c.Out[0], c.In[0], c.In[1]), func(x, slope T) T {
		if x > 0 {
			return x
		}
		return x * slope
	}), nil
}

// inferClip: bounds are attributes before version 11, scalar inputs from then
// on; without them nothing is cut off.
func inferClip(n *graph.Node) error {
	if err := arity(n, 1, 3, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, numbers...); err != nil {
		return err
	}
	inputs := n.Version >= 11
	if inputs && (n.Attr("min") != nil || n.Attr("max") != nil) || !inputs && len(n.Inputs) > 1 {
		return fmt.Errorf("bounds are attributes before version 11 and inputs from then on")
	}
	for i := 1; i < len(n.Inputs); i++ {
		if err := sameType(n, 0, i); err != nil {
			return err
		}
		if v := n.Inputs[i]; v != nil && v.Shape.Size() != 1 {
			return fmt.Errorf("bound %q has shape %v, want a scalar", v.Name, []int(v.Shape))
		}
	}
	return setOutput(n, 0, n.Inputs[0].DType, n.Inputs[0].Shape)
}

// Activation is what n does to its input, for a kernel that can do it to its
// results: the zero value if there is no such kernel, or bounds are not fixed.
func Activation(n *graph.Node, fixed func(*graph.Value) bool) kernel.Activation {
	switch {
	case n.Domain != "":
		return kernel.Activation{}
	case n.Op == "Relu":
		return kernel.Rectifier
	case n.Op != "Clip" || !n.Inputs[0].DType.IsFloat():
		return kernel.Activation{}
	}
	a := kernel.Activation{Kind: kernel.ClipActivation, Low: n.Float("min", math.Inf(-1)), High: n.Float("max", math.Inf(1))}
	for i, bound := range []*float64{&a.Low, &a.High} {
		if n.Input(1+i) == nil {
			continue
		}
		list, err := constFloats(n, 1+i)
		if err != nil || len(list) != 1 || !fixed(n.Input(1+i)) || math.IsNaN(list[0]) {
			return kernel.Activation{}
		}
		*bound = list[0]
	}
	return a
}

// clipBounds returns the bounds as scalars, nil where there is none.
func clipBounds(b *Builder, n *graph.Node) (low, high *graph.Value) {
	if n.Version >= 11 {
		scalar := func(v *graph.Value) *graph.Value {
			if v == nil {
				return nil
			}
			return b.Reshape(v) // shape [1], which files have too, could add an axis
		}
		return scalar(n.Input(1)), scalar(n.Input(2))
	}
	if n.Attr("min") != nil {
		low = b.Scalar(n.Float("min", 0), n.Inputs[0])
	}
	if n.Attr("max") != nil {
		high = b.Scalar(n.Float("max", 0), n.Inputs[0])
	}
	return low, high
}

// gradClip: dy strictly between the bounds, as PyTorch's relu6 and hardtanh
// have it. The bounds get no gradient.
func gradClip(b *Builder, n *graph.Node, dy values) (values, error) {
	x := n.Inputs[0]
	low, high := clipBounds(b, n)
	grads := make(values, len(n.Inputs))
	grads[0] = b.inside(x, low, high, dy[0])
	return grads, nil
}

func forwardClip(c *Call) (func() error, error) {
	if !c.In[0].DType.IsFloat() {
		return forwardClipInt(c)
	}
	return byFloat(c, forwardClipOf[float32], forwardClipOf[float64])
}

// bound returns where Clip's bound is read from: its input, or a tensor made
// of the attribute (before version 11) or of def.
func bound[T kernel.Float](c *Call, i int, attr string, def T) []T {
	if c.Node.Version < 11 {
		return []T{T(c.Node.Float(attr, float64(def)))}
	}
	if i < len(c.In) && c.In[i] != nil {
		return onnx.Of[T](c.In[i])
	}
	return []T{def}
}

func forwardClipOf[T kernel.Float](c *Call) (func() error, error) {
	low := bound(c, 1, "min", T(math.Inf(-1)))
	high := bound(c, 2, "max", T(math.Inf(1)))
	return mapWith(c, func(z, x []T) { kernel.Clip(z, x, low[0], high[0]) }), nil
}

// forwardClipInt clips integers by Max and Min.
func forwardClipInt(c *Call) (func() error, error) {
	src := c.In[0]
	var steps []func() error
	for i, op := range []string{"Max", "Min"} {
		if i+1 >= len(c.In) || c.In[i+1] == nil {
			continue
		}
		step, err := applyBinary(c.Team, op, c.Out[0], src, &onnx.Tensor{DType: c.In[i+1].DType, Data: c.In[i+1].Data})
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
		src = c.Out[0]
	}
	if len(steps) == 0 {
		return copyAll(c.Out[0], c.In[0])
	}
	return inOrder(steps), nil
}

func inferReluGrad(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	dy, y := n.Inputs[0], n.Inputs[1]
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := sameType(n, 0, 1); err != nil {
		return err
	}
	if !slices.Equal(dy.Shape, y.Shape) {
		return fmt.Errorf("dy has shape %v, y %v", []int(dy.Shape), []int(y.Shape))
	}
	return setOutput(n, 0, dy.DType, dy.Shape)
}

// bodyReluGrad: dy where y > 0, else 0. y is ReLU's output (or input).
func bodyReluGrad(b *Builder, n *graph.Node) (values, error) {
	dy, y := n.Inputs[0], n.Inputs[1]
	return values{b.Op("Where", b.positive(y), dy, b.Scalar(0, dy))}, nil
}

// gradReluGrad: linear in dy; constant in pieces in y.
func gradReluGrad(b *Builder, n *graph.Node, g values) (values, error) {
	return values{b.reluGrad(g[0], n.Inputs[1]), nil}, nil
}

func forwardReluGrad(c *Call) (func() error, error) {
	return byFloat(c, forwardReluGradOf[float32], forwardReluGradOf[float64])
}

func forwardReluGradOf[T kernel.Float](c *Call) (func() error, error) {
	dx, dy, y := onnx.Of[T](c.Out[0]), onnx.Of[T](c.In[0]), onnx.Of[T](c.In[1])
	k := kernel.NewZip(kernel.ReluGrad[T])
	return func() error {
		k.Run(c.Team, dx, dy, y)
		return nil
	}, nil
}
