package ops

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// GELU (Hendrycks and Gimpel 2016): x F(x), with F the standard normal
// distribution, or its approximation by tanh.
func init() {
	register(
		Op{
			Name: "Gelu", Since: []int{20}, Axes: axesFirst,
			Infer: inferGelu, Grad: gradGelu, Forward: kernels(forwardGelu[float32], forwardGelu[float64]),
		},
		Op{
			Domain: Domain, Name: "GeluSlope", InPlace: []int{0}, Axes: axesFirst,
			Infer: inferGeluSlope, Grad: gradGeluSlope, Body: bodyGeluSlope, Forward: kernels(forwardGelu[float32], forwardGelu[float64]),
		},
	)
}

func inferGelu(n *graph.Node) error {
	if a := n.Str("approximate", "none"); a != "none" && a != "tanh" {
		return fmt.Errorf("approximate is %q, want none or tanh", a)
	}
	return inferSame(floats...)(n)
}

// The approximation is 0.5x(1 + tanh(c(x + kx^3))).
const (
	geluC = 0.7978845608028654 // sqrt(2/pi)
	geluK = 0.044715
)

// gradGelu: with F the normal distribution and f its density, (xF)' = F + xf;
// for the approximation, with t the tanh, 0.5(1+t) + 0.5x(1-t^2)c(1+3kx^2).
func gradGelu(b *Builder, n *graph.Node, dy values) (values, error) {
	x := n.Inputs[0]
	if n.Str("approximate", "none") == "none" {
		return values{b.Mul(dy[0], b.Own("GeluSlope", 2, values{x})[1])}, nil
	}
	num := func(v float64) *graph.Value { return b.Scalar(v, x) }
	half, one := num(0.5), num(1)
	xx := b.Mul(x, x)
	inner := b.Mul(b.Mul(x, num(geluC)), b.Add(one, b.Mul(xx, num(geluK))))
	t := b.Op("Tanh", inner)
	dt := b.Mul(b.Sub(one, b.Mul(t, t)), b.Mul(num(geluC), b.Add(one, b.Mul(xx, num(3*geluK)))))
	slope := b.Add(b.Mul(half, b.Add(one, t)), b.Mul(b.Mul(half, x), dt))
	return values{b.Mul(dy[0], slope)}, nil
}

// GeluSlope(x) returns GELU and its derivative, which share what is expensive.

func inferGeluSlope(n *graph.Node) error {
	if err := floatInputs(n, 1, 1, 2); err != nil {
		return err
	}
	x := n.Inputs[0]
	if err := setOutput(n, 1, x.DType, x.Shape); err != nil {
		return err
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

// gradGeluSlope: with f the density, (xF)' is the other output, and
// (F + xf)' = (2 - x^2) f.
func gradGeluSlope(b *Builder, n *graph.Node, dy values) (values, error) {
	x := n.Inputs[0]
	var dx *graph.Value
	if dy[0] != nil {
		dx = b.Mul(dy[0], b.Outputs(n, 2)[1])
	}
	if len(dy) > 1 && dy[1] != nil {
		xx := b.Mul(x, x)
		density := b.Mul(b.Op("Exp", b.Mul(xx, b.Scalar(-0.5, x))), b.Scalar(1/math.Sqrt(2*math.Pi), x))
		dx = b.sum(dx, b.Mul(dy[1], b.Mul(b.Sub(b.Scalar(2, x), xx), density)))
	}
	return values{dx}, nil
}

// bodyGeluSlope: y = xF and F + xf.
func bodyGeluSlope(b *Builder, n *graph.Node) (values, error) {
	x := n.Inputs[0]
	num := func(v float64) *graph.Value { return b.Scalar(v, x) }
	cdf := b.Mul(num(0.5), b.Add(num(1), b.Op("Erf", b.Mul(x, num(1/math.Sqrt2)))))
	density := b.Mul(b.Op("Exp", b.Mul(b.Mul(x, x), num(-0.5))), num(1/math.Sqrt(2*math.Pi)))
	return values{b.Mul(x, cdf), b.Add(cdf, b.Mul(x, density))}, nil
}

// forwardGelu runs Gelu and GeluSlope. A result that nobody wants is written to
// scratch memory of the thread.
func forwardGelu[T kernel.Float](c *Call) (func() error, error) {
	if c.Node.Str("approximate", "none") == "tanh" {
		return mapWith(c, geluTanh[T]), nil
	}
	y, slope, x := slot[T](c.Out, 0), slot[T](c.Out, 1), onnx.Of[T](c.In[0])
	k := kernel.NewGelu[T]()
	return func() error {
		k.Run(c.Team, y, slope, x)
		return nil
	}, nil
}

// geluTanh reads x after it has written z, so it does not work in place.
func geluTanh[T kernel.Float](z, x []T) {
	kernel.Mul(z, x, x)
	kernel.Affine(z, T(geluC*geluK), z, T(geluC))
	kernel.Mul(z, z, x)
	kernel.Tanh(z, z)
	kernel.Affine(z, 0.5, z, 0.5)
	kernel.Mul(z, z, x)
}
