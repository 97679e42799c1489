package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Arithmetic on each element, with broadcasting.
func init() {
	binary := func(name string, since []int, grad func(*Builder, *graph.Node, values) (values, error)) Op {
		return Op{
			Name: name, Since: since, InPlace: []int{0, 1}, Axes: axesBroadcast,
			Infer: inferBinary, Grad: grad, Forward: forwardBinary, Beside: besideElements,
		}
	}
	variadic := func(name string, since []int, grad func(*Builder, *graph.Node, values) (values, error)) Op {
		return Op{
			Name: name, Since: since, Axes: axesBroadcast,
			Infer: inferVariadic, Grad: grad, Forward: forwardVariadic,
		}
	}
	register(
		binary("Add", []int{7, 13, 14}, gradAdd),
		binary("Sub", []int{7, 13, 14}, gradSub),
		binary("Mul", []int{7, 13, 14}, gradMul),
		binary("Div", []int{7, 13, 14}, gradDiv),
		Op{
			Name: "Pow", Since: []int{7, 12, 13, 15}, InPlace: []int{0}, Axes: axesBroadcast,
			Infer: inferPow, Grad: gradPow, Forward: forwardPow,
		},
		Op{
			Name: "Mod", Since: []int{10, 13}, InPlace: []int{0, 1}, NoGrad: "Mod is used on integers",
			Infer: inferBinary, Forward: forwardBinary,
		},
		variadic("Max", []int{6, 8, 12, 13}, gradExtremum),
		variadic("Min", []int{6, 8, 12, 13}, gradExtremum),
		variadic("Sum", []int{6, 8, 13}, gradSum),
		variadic("Mean", []int{6, 8, 13}, gradMean),
		Op{
			Name: "Where", Since: []int{9, 16}, InPlace: []int{1, 2}, Axes: axesBroadcast,
			Infer: inferWhere, Grad: gradWhere, Forward: forwardWhere,
		},
	)
}

func inferBinary(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	a, b := n.Inputs[0], n.Inputs[1]
	if err := wantType(n, 0, numbers...); err != nil {
		return err
	}
	if err := sameType(n, 0, 1); err != nil {
		return err
	}
	if n.Op == "Mod" && a.DType.IsFloat() && n.Int("fmod", 0) == 0 {
		return fmt.Errorf("operator Mod of %v needs fmod=1", a.DType)
	}
	shape, err := broadcast(a.Shape, b.Shape)
	if err != nil {
		return err
	}
	return setOutput(n, 0, a.DType, shape)
}

// walkPair plans a walk over (out, a, b) with a and b repeated as needed.
func walkPair(out, a, b *onnx.Tensor) *walk {
	return newWalk(out.Shape, nil, strides(out.Shape), repeatStrides(a.Shape, out.Shape), repeatStrides(b.Shape, out.Shape))
}

// opcode is the name of n's operator; Fmod for the C form of Mod.
func opcode(n *graph.Node) string {
	if n.Op == "Mod" && n.Int("fmod", 0) != 0 {
		return "Fmod"
	}
	return n.Op
}

func forwardBinary(c *Call) (func() error, error) {
	return applyBinary(c.Team, opcode(c.Node), c.Out[0], c.In[0], c.In[1])
}

// applyBinary prepares out = a op b.
func applyBinary(team *kernel.Team, op string, out, a, b *onnx.Tensor) (func() error, error) {
	if kind, ok := binaryKinds[op]; ok {
		switch a.DType {
		case onnx.Float32:
			return binaryKernel[float32](team, kind, out, a, b), nil
		case onnx.Float64:
			return binaryKernel[float64](team, kind, out, a, b), nil
		}
	}
	k, err := numberFor(a)
	if err != nil {
		return nil, err
	}
	return k.binary(op, out, a, b, walkPair(out, a, b))
}

var binaryKinds = map[string]kernel.BinaryKind{
	"Add": kernel.BinaryAdd, "Sum": kernel.BinaryAdd, "Mean": kernel.BinaryAdd,
	"Sub": kernel.BinarySub, "Mul": kernel.BinaryMul, "Div": kernel.BinaryDiv,
	"Pow": kernel.BinaryPow, "Min": kernel.BinaryMin, "Max": kernel.BinaryMax,
}

func binaryKernel[T kernel.Float](team *kernel.Team, kind kernel.BinaryKind, out, a, b *onnx.Tensor) func() error {
	if out.Len() == 0 {
		return func() error { return nil }
	}
	k := kernel.NewBinary[T](kind, a.Shape, b.Shape, out.Shape)
	z, x, y := onnx.Of[T](out), onnx.Of[T](a), onnx.Of[T](b)
	return func() error {
		k.Run(team, z, x, y)
		return nil
	}
}

// gradAdd: d(a+b) = da + db.
func gradAdd(b *Builder, n *graph.Node, dy values) (values, error) {
	return values{b.Unbroadcast(dy[0], n.Inputs[0].Shape), b.Unbroadcast(dy[0], n.Inputs[1].Shape)}, nil
}

// gradSub: d(a-b) = da - db.
func gradSub(b *Builder, n *graph.Node, dy values) (values, error) {
	return values{
		b.Unbroadcast(dy[0], n.Inputs[0].Shape),
		b.Neg(b.Unbroadcast(dy[0], n.Inputs[1].Shape)),
	}, nil
}

// gradMul: d(ab) = b da + a db.
func gradMul(b *Builder, n *graph.Node, dy values) (values, error) {
	x, y := n.Inputs[0], n.Inputs[1]
	return values{
		b.Unbroadcast(b.Mul(dy[0], y), x.Shape),
		b.Unbroadcast(b.Mul(dy[0], x), y.Shape),
	}, nil
}

// gradDiv: d(a/b) = da/b - (a/b) db/b.
func gradDiv(b *Builder, n *graph.Node, dy values) (values, error) {
	x, y := n.Inputs[0], n.Inputs[1]
	dx := b.Div(dy[0], y)
	return values{
		b.Unbroadcast(dx, x.Shape),
		b.Neg(b.Unbroadcast(b.Mul(dx, n.Outputs[0]), y.Shape)),
	}, nil
}

// inferPow: the exponent may have another type than the base.
func inferPow(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	for i := range 2 {
		if err := wantType(n, i, numbers...); err != nil {
			return err
		}
	}
	shape, err := broadcast(n.Inputs[0].Shape, n.Inputs[1].Shape)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

func forwardPow(c *Call) (func() error, error) {
	x, e := c.In[0], c.In[1]
	if e.DType == x.DType {
		return forwardBinary(c)
	}
	same := onnx.NewTensor(x.DType, e.Shape...)
	toType, err := castTensor(same, e)
	if err != nil {
		return nil, err
	}
	pow, err := applyBinary(c.Team, "Pow", c.Out[0], x, same)
	if err != nil {
		return nil, err
	}
	return inOrder([]func() error{toType, pow}), nil
}

// gradPow: d(a^e) = e a^(e-1) da + a^e log(a) de; the second term counts as
// zero where a is not positive.
func gradPow(b *Builder, n *graph.Node, dy values) (values, error) {
	x, e := n.Inputs[0], n.Inputs[1]
	grads := values{nil, nil}
	if p, ok := constScalar(e); ok {
		grads[0] = b.Unbroadcast(b.Mul(dy[0], b.power(x, p)), x.Shape)
		return grads, nil
	}
	same := e
	if e.DType != x.DType {
		same = b.Cast(e, x.DType)
	}
	one := b.Scalar(1, x)
	grads[0] = b.Unbroadcast(b.Mul(dy[0], b.Mul(same, b.Op("Pow", x, b.Sub(same, one)))), x.Shape)
	if e.DType.IsFloat() {
		positive := b.Op("Greater", x, b.Scalar(0, x))
		logx := b.Op("Log", b.Op("Where", positive, x, one))
		de := b.Unbroadcast(b.Mul(dy[0], b.Mul(n.Outputs[0], logx)), e.Shape)
		if e.DType != x.DType {
			de = b.Cast(de, e.DType)
		}
		grads[1] = de
	}
	return grads, nil
}

// power is p x^(p-1), the derivative of x^p.
func (b *Builder) power(x *graph.Value, p float64) *graph.Value {
	switch p {
	case 0:
		return b.Scalar(0, x)
	case 1:
		return b.Scalar(1, x)
	case 2:
		return b.Mul(x, b.Scalar(2, x))
	}
	return b.Mul(b.Op("Pow", x, b.Scalar(p-1, x)), b.Scalar(p, x))
}

// constScalar is the number that a constant of one element holds.
func constScalar(v *graph.Value) (float64, bool) {
	if v.Const == nil || v.Shape.Size() != 1 {
		return 0, false
	}
	wide := onnx.NewTensor(onnx.Float64, v.Shape...)
	run, err := castTensor(wide, v.Const)
	if err != nil || run() != nil {
		return 0, false
	}
	return onnx.Of[float64](wide)[0], true
}

func inferVariadic(n *graph.Node) error {
	if err := arity(n, max(len(n.Inputs), 1), anyNumber, 1); err != nil {
		return err
	}
	shapes := make([]graph.Shape, len(n.Inputs))
	for i, v := range n.Inputs {
		if err := wantType(n, i, numbers...); err != nil {
			return err
		}
		if err := sameType(n, 0, i); err != nil {
			return err
		}
		shapes[i] = v.Shape
	}
	if n.Op == "Mean" {
		if err := wantType(n, 0, floats...); err != nil {
			return err
		}
	}
	shape, err := broadcast(shapes...)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

// forwardVariadic folds the inputs from left to right.
func forwardVariadic(c *Call) (func() error, error) {
	var steps []func() error
	if len(c.In) == 1 {
		return copyAll(c.Out[0], c.In[0])
	}
	sum := c.In[0]
	for _, x := range c.In[1:] {
		step, err := applyBinary(c.Team, c.Node.Op, c.Out[0], sum, x)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
		sum = c.Out[0]
	}
	if c.Node.Op == "Mean" {
		step, err := byFloat(c, meanStep[float32], meanStep[float64])
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return inOrder(steps), nil
}

// meanStep divides the output by the number of inputs.
func meanStep[T kernel.Float](c *Call) (func() error, error) {
	out, count := onnx.Of[T](c.Out[0]), T(len(c.In))
	return func() error {
		for i := range out {
			out[i] /= count
		}
		return nil
	}, nil
}

func gradSum(b *Builder, n *graph.Node, dy values) (values, error) {
	grads := make(values, len(n.Inputs))
	for i, x := range n.Inputs {
		grads[i] = b.Unbroadcast(dy[0], x.Shape)
	}
	return grads, nil
}

func gradMean(b *Builder, n *graph.Node, dy values) (values, error) {
	part := b.Mul(dy[0], b.Scalar(1/float64(len(n.Inputs)), dy[0]))
	return gradSum(b, n, values{part})
}

// gradExtremum gives the gradient to the input that was taken; inputs that tie
// share it equally, as PyTorch's maximum does.
func gradExtremum(b *Builder, n *graph.Node, dy values) (values, error) {
	if len(n.Inputs) == 1 {
		return values{dy[0]}, nil
	}
	y := n.Outputs[0]
	taken := make(values, len(n.Inputs))
	for i, x := range n.Inputs {
		taken[i] = b.Cast(b.Op("Equal", x, y), y.DType)
	}
	share := b.Div(dy[0], b.Op("Sum", taken...))
	grads := make(values, len(n.Inputs))
	for i, x := range n.Inputs {
		grads[i] = b.Unbroadcast(b.Mul(share, taken[i]), x.Shape)
	}
	return grads, nil
}

func inferWhere(n *graph.Node) error {
	if err := arity(n, 3, 3, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, onnx.Bool); err != nil {
		return err
	}
	if err := sameType(n, 1, 2); err != nil {
		return err
	}
	shape, err := broadcast(n.Inputs[0].Shape, n.Inputs[1].Shape, n.Inputs[2].Shape)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[1].DType, shape)
}

// gradWhere: each element of dy goes to the input it was taken from.
func gradWhere(b *Builder, n *graph.Node, dy values) (values, error) {
	cond, x, y := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	zero := b.Scalar(0, dy[0])
	return values{
		nil,
		b.Unbroadcast(b.Op("Where", cond, dy[0], zero), x.Shape),
		b.Unbroadcast(b.Op("Where", cond, zero, dy[0]), y.Shape),
	}, nil
}

func forwardWhere(c *Call) (func() error, error) {
	e, err := elementFor(c.Out[0])
	if err != nil {
		return nil, err
	}
	shape := c.Out[0].Shape
	w := newWalk(shape, nil, strides(shape), repeatStrides(c.In[0].Shape, shape),
		repeatStrides(c.In[1].Shape, shape), repeatStrides(c.In[2].Shape, shape))
	return e.choose(c.Out[0], c.In[0], c.In[1], c.In[2], w), nil
}
