package ops

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Functions that are defined by a few other operators.
func init() {
	composed := func(name string, since []int, body func(b *Builder, n *graph.Node, x *graph.Value) *graph.Value) Op {
		return Op{
			Name: name, Since: since, Axes: axesZero, Infer: inferSame(floats...),
			Body: func(b *Builder, n *graph.Node) (values, error) {
				return values{body(b, n, n.Inputs[0])}, nil
			},
		}
	}
	register(
		composed("Softsign", []int{1, 22}, func(b *Builder, n *graph.Node, x *graph.Value) *graph.Value {
			return b.Div(x, b.Add(b.Op("Abs", x), b.Scalar(1, x)))
		}),
		// gamma (x above zero, alpha (exp(x) - 1) below).
		composed("Selu", []int{6, 22}, func(b *Builder, n *graph.Node, x *graph.Value) *graph.Value {
			alpha := onnx.AttrFloat("alpha", float32(n.Float("alpha", 1.67326319217681884765625)))
			gamma := n.Float("gamma", 1.05070102214813232421875)
			return b.Mul(b.OpA("Elu", []*onnx.Attr{alpha}, x), b.Scalar(gamma, x))
		}),
		// x above zero, alpha (exp(x/alpha) - 1) below.
		composed("Celu", []int{12}, func(b *Builder, n *graph.Node, x *graph.Value) *graph.Value {
			alpha := b.Scalar(n.Float("alpha", 1), x)
			return b.Mul(b.Op("Elu", b.Div(x, alpha)), alpha)
		}),
		composed("ThresholdedRelu", []int{10, 22}, func(b *Builder, n *graph.Node, x *graph.Value) *graph.Value {
			above := b.Op("Greater", x, b.Scalar(n.Float("alpha", 1), x))
			return b.Op("Where", above, x, b.Scalar(0, x))
		}),
		composed("Mish", []int{18, 22}, func(b *Builder, n *graph.Node, x *graph.Value) *graph.Value {
			return b.Mul(x, b.Op("Tanh", b.Op("Softplus", x)))
		}),
		composed("Swish", []int{24}, func(b *Builder, n *graph.Node, x *graph.Value) *graph.Value {
			return b.Mul(x, b.Op("Sigmoid", b.Mul(x, b.Scalar(n.Float("alpha", 1), x))))
		}),
		Op{Name: "SwiGLU", Since: []int{28}, Infer: inferSwiGLU, Body: swiGLUBody},
		Op{Name: "Shrink", Since: []int{9}, Axes: axesFirst, Infer: inferSame(numbers...), Body: shrinkBody},
		Op{
			Name: "Hardmax", Since: []int{1, 11, 13}, NoGrad: "the result is a position, constant in pieces",
			Infer: inferSoftmax, Body: hardmaxBody,
		},
		Op{Name: "MeanVarianceNormalization", Since: []int{9, 13}, Infer: inferMeanVariance, Body: meanVarianceBody},
		Op{Name: "LpPool", Since: []int{2, 11, 18, 22}, Infer: inferLpPool, Body: lpPoolBody},
		Op{Name: "GlobalLpPool", Since: []int{2, 22}, Infer: inferGlobalLpPool, Body: globalLpPoolBody},
	)
}

func inferSwiGLU(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	if err := wantShape(n, 1, n.Inputs[0].Shape...); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, n.Inputs[0].Shape)
}

// swiGLUBody: Swish(a) b.
func swiGLUBody(b *Builder, n *graph.Node) (values, error) {
	x := n.Inputs[0]
	gate := b.Op("Sigmoid", b.Mul(x, b.Scalar(n.Float("alpha", 1), x)))
	return values{b.Mul(b.Mul(x, gate), n.Inputs[1])}, nil
}

// shrinkBody: x + bias below -lambd, x - bias above lambd, 0 between.
func shrinkBody(b *Builder, n *graph.Node) (values, error) {
	x := n.Inputs[0]
	num := func(v float64) *graph.Value { return b.Cast(b.Const(onnx.FromSlice([]float64{v})), x.DType) }
	lambda, bias := n.Float("lambd", 0.5), num(n.Float("bias", 0))
	low := b.Op("Less", x, num(-lambda))
	high := b.Op("Greater", x, num(lambda))
	y := b.Op("Where", high, b.Sub(x, bias), num(0))
	return values{b.Op("Where", low, b.Add(x, bias), y)}, nil
}

// hardmaxBody: one at the first of the largest elements, zero elsewhere.
func hardmaxBody(b *Builder, n *graph.Node) (values, error) {
	x := n.Inputs[0]
	first, end, err := softmaxAxes(n)
	if err != nil {
		return nil, err
	}
	outer, middle, inner := product(x.Shape[:first]), product(x.Shape[first:end]), product(x.Shape[end:])
	flat := b.Reshape(x, outer, middle, inner)
	best := b.OpA("ArgMax", []*onnx.Attr{onnx.AttrInt("axis", 1), onnx.AttrInt("keepdims", 0)}, flat)
	ends := b.floatConst([]float64{0, 1}, x.DType, 2)
	hot := b.OpA("OneHot", []*onnx.Attr{onnx.AttrInt("axis", 1)}, best, b.Int(middle), ends)
	return values{b.Reshape(hot, x.Shape...)}, nil
}

// mvnAxes are the axes that are normalised together; by default all but the
// channels'.
func mvnAxes(n *graph.Node) ([]int, error) {
	axes := n.Ints("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	return normAxes(axes, len(n.Inputs[0].Shape))
}

func inferMeanVariance(n *graph.Node) error {
	if err := inferSame(floats...)(n); err != nil {
		return err
	}
	_, err := mvnAxes(n)
	return err
}

// meanVarianceBody: (x - mean) / (standard deviation + 1e-9).
func meanVarianceBody(b *Builder, n *graph.Node) (values, error) {
	x := n.Inputs[0]
	axes, err := mvnAxes(n)
	if err != nil || len(axes) == 0 {
		return values{b.Op("Identity", x)}, err
	}
	d := b.Sub(x, b.mean(x, axes...))
	deviation := b.Op("Sqrt", b.mean(b.Mul(d, d), axes...))
	return values{b.Div(d, b.Add(deviation, b.Scalar(1e-9, x)))}, nil
}

// LpPool is the p-norm of every window.

func inferLpPool(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	if n.Int("p", 2) < 1 {
		return fmt.Errorf("attribute p is %d, want at least 1", n.Int("p", 2))
	}
	if n.Int("ceil_mode", 0) != 0 {
		return fmt.Errorf("ceil_mode of LpPool is not implemented")
	}
	w, err := inferPool(n, 1)
	if err != nil {
		return err
	}
	x := n.Inputs[0]
	return setOutput(n, 0, x.DType, append(x.Shape[:2:2], w.out...))
}

// lpPoolBody takes the sum of powers as their average, padding counted, times
// the size of the window.
func lpPoolBody(b *Builder, n *graph.Node) (values, error) {
	x, p := n.Inputs[0], float64(n.Int("p", 2))
	size := product(n.Ints("kernel_shape"))
	attrs := []*onnx.Attr{onnx.AttrInt("count_include_pad", 1)}
	for _, a := range n.Attrs {
		if a.Name != "p" {
			attrs = append(attrs, a)
		}
	}
	mean := b.OpA("AveragePool", attrs, b.Op("Pow", b.Op("Abs", x), b.Scalar(p, x)))
	sum := b.Mul(mean, b.Scalar(float64(size), x))
	return values{b.Op("Pow", sum, b.Scalar(1/p, x))}, nil
}

func inferGlobalLpPool(n *graph.Node) error {
	if err := floatInputs(n, 1, 1, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if len(x.Shape) < 3 || n.Int("p", 2) < 1 {
		return fmt.Errorf("input %q has shape %v and p is %d, want [N C spatial...] and at least 1", x.Name, []int(x.Shape), n.Int("p", 2))
	}
	out := x.Shape.Clone()
	for i := range out[2:] {
		out[2+i] = 1
	}
	return setOutput(n, 0, x.DType, out)
}

func globalLpPoolBody(b *Builder, n *graph.Node) (values, error) {
	x, p := n.Inputs[0], float64(n.Int("p", 2))
	sum := b.ReduceSum(b.Op("Pow", b.Op("Abs", x), b.Scalar(p, x)), true, sequence(2, len(x.Shape)-2)...)
	return values{b.Op("Pow", sum, b.Scalar(1/p, x))}, nil
}

// windowFunction is one of the windows of signal processing: a sum of cosines
// whose period is size, or size-1 when it is not periodic.
func windowFunction(coefficients ...float64) Op {
	value := func(i int, period float64) (w float64) {
		for k, c := range coefficients {
			w += c * math.Cos(2*math.Pi*float64(k)*float64(i)/period)
		}
		return w
	}
	return Op{
		NoGrad: "the result is a constant", Since: []int{17},
		Infer: func(n *graph.Node) error {
			if err := arity(n, 1, 1, 1); err != nil {
				return err
			}
			size, _, err := constInts(n, 0)
			if err != nil {
				return err
			}
			dt := onnx.DType(n.Int("output_datatype", int(onnx.Float32)))
			if len(size) != 1 || dt != onnx.Float32 && dt != onnx.Float64 {
				return fmt.Errorf("size is %v and output_datatype %v, want one number and float32 or float64", size, dt)
			}
			return setOutput(n, 0, dt, graph.Shape{size[0]})
		},
		Forward: func(c *Call) (func() error, error) {
			size := c.Out[0].Len()
			period := float64(size)
			if c.Node.Int("periodic", 1) == 0 {
				period--
			}
			data := make([]float64, size)
			for i := range data {
				data[i] = value(i, period)
			}
			return castTensor(c.Out[0], onnx.FromSlice(data, size))
		},
	}
}

func init() {
	for name, op := range map[string]Op{
		"HannWindow": windowFunction(0.5, -0.5), "HammingWindow": windowFunction(25.0/46, -21.0/46),
		"BlackmanWindow": windowFunction(0.42, -0.5, 0.08),
	} {
		op.Name = name
		register(op)
	}
}
