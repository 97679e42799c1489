package ops

import (
	"math"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// A derivative is the rule of a function of one number: it returns dy f'(x),
// from x and y = f(x).
type derivative func(b *Builder, dy, x, y *graph.Value) *graph.Value

// Functions of one number, element by element.
func init() {
	unary := func(name string, since []int, types []onnx.DType, d derivative) Op {
		return Op{
			Name: name, Since: since, InPlace: []int{0}, Axes: axesFirst,
			Infer: inferSame(types...), Grad: gradUnary(d), Forward: forwardUnary, Beside: besideElements,
		}
	}
	// zero is the derivative almost everywhere of what is constant in pieces.
	zero := func(*Builder, *graph.Value, *graph.Value, *graph.Value) *graph.Value { return nil }
	signed := numbers[:6]
	register(
		unary("Neg", []int{6, 13}, signed, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Neg(dy)
		}),
		unary("Abs", []int{6, 13}, numbers, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, b.Op("Sign", x))
		}),
		unary("Sign", []int{9, 13}, numbers, zero),
		unary("Floor", []int{6, 13}, floats, zero),
		unary("Ceil", []int{6, 13}, floats, zero),
		unary("Round", []int{11, 22}, floats, zero),
		unary("Sqrt", []int{6, 13}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Div(b.Mul(dy, b.Scalar(0.5, x)), y)
		}),
		unary("Exp", []int{6, 13}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, y)
		}),
		unary("Log", []int{6, 13}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Div(dy, x)
		}),
		unary("Reciprocal", []int{6, 13}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Neg(b.Mul(dy, b.Mul(y, y)))
		}),
		unary("Sin", []int{7, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, b.Op("Cos", x))
		}),
		unary("Cos", []int{7, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Neg(b.Mul(dy, b.Op("Sin", x)))
		}),
		unary("Erf", []int{9, 13}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			bell := b.Op("Exp", b.Neg(b.Mul(x, x)))
			return b.Mul(dy, b.Mul(bell, b.Scalar(2/math.SqrtPi, x)))
		}),
		unary("Tanh", []int{6, 13}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, b.Sub(b.Scalar(1, x), b.Mul(y, y)))
		}),
		unary("Sigmoid", []int{6, 13}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, b.Sub(y, b.Mul(y, y)))
		}),
		unary("Tan", []int{7, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, b.Add(b.Scalar(1, x), b.Mul(y, y)))
		}),
		unary("Asin", []int{7, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Div(dy, b.Op("Sqrt", b.Sub(b.Scalar(1, x), b.Mul(x, x))))
		}),
		unary("Acos", []int{7, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Neg(b.Div(dy, b.Op("Sqrt", b.Sub(b.Scalar(1, x), b.Mul(x, x)))))
		}),
		unary("Atan", []int{7, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Div(dy, b.Add(b.Scalar(1, x), b.Mul(x, x)))
		}),
		unary("Sinh", []int{9, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, b.Op("Cosh", x))
		}),
		unary("Cosh", []int{9, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Mul(dy, b.Op("Sinh", x))
		}),
		unary("Asinh", []int{9, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Div(dy, b.Op("Sqrt", b.Add(b.Mul(x, x), b.Scalar(1, x))))
		}),
		unary("Acosh", []int{9, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Div(dy, b.Op("Sqrt", b.Sub(b.Mul(x, x), b.Scalar(1, x))))
		}),
		unary("Atanh", []int{9, 22}, floats, func(b *Builder, dy, x, y *graph.Value) *graph.Value {
			return b.Div(dy, b.Sub(b.Scalar(1, x), b.Mul(x, x)))
		}),
	)
}

func gradUnary(d derivative) func(*Builder, *graph.Node, values) (values, error) {
	return func(b *Builder, n *graph.Node, dy values) (values, error) {
		return values{d(b, dy[0], n.Inputs[0], n.Outputs[0])}, nil
	}
}

func forwardUnary(c *Call) (func() error, error) {
	if f := vector[float32](c.Node.Op); f != nil && c.In[0].DType == onnx.Float32 {
		return mapWith(c, f), nil
	}
	if f := vector[float64](c.Node.Op); f != nil && c.In[0].DType == onnx.Float64 {
		return mapWith(c, f), nil
	}
	k, err := numberFor(c.In[0])
	if err != nil {
		return nil, err
	}
	return k.unary(c.Node.Op, c.Out[0], c.In[0])
}

// vector returns the kernel of a function, nil where there is none.
func vector[T kernel.Float](op string) func(z, x []T) {
	return map[string]func(z, x []T){
		"Abs": kernel.Abs[T], "Sqrt": kernel.Sqrt[T], "Exp": kernel.Exp[T], "Log": kernel.Log[T],
		"Reciprocal": kernel.Reciprocal[T], "Erf": kernel.Erf[T], "Tanh": kernel.Tanh[T],
		"Sigmoid": kernel.Sigmoid[T], "Neg": func(z, x []T) { kernel.Scale(z, -1, x) },
	}[op]
}

// mapWith runs a kernel with one input over output 0, on all threads.
func mapWith[T kernel.Float](c *Call, f func(z, x []T)) func() error {
	z, x, k := onnx.Of[T](c.Out[0]), onnx.Of[T](c.In[0]), kernel.NewUnary(f)
	return func() error {
		k.Run(c.Team, z, x)
		return nil
	}
}
