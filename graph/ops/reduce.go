package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Reductions over axes. In the rules below y and dy have the reduced axes with
// extent 1, so that they broadcast to x.
func init() {
	type rule = func(b *Builder, x, y, dy *graph.Value) *graph.Value
	reduce := func(name string, since []int, types []onnx.DType, d rule) Op {
		return Op{Name: name, Since: since, Axes: axesReduce, Infer: inferReduce(types), Grad: gradReduce(d), Forward: forwardReduce, Beside: besideReduce}
	}
	common := []int{1, 11, 13, 18}
	register(
		reduce("ReduceSum", []int{1, 11, 13}, numbers, func(b *Builder, x, y, dy *graph.Value) *graph.Value {
			return dy
		}),
		reduce("ReduceMean", common, floats, func(b *Builder, x, y, dy *graph.Value) *graph.Value {
			return b.Mul(dy, b.Scalar(float64(y.Shape.Size())/float64(max(x.Shape.Size(), 1)), x))
		}),
		reduce("ReduceSumSquare", common, numbers, func(b *Builder, x, y, dy *graph.Value) *graph.Value {
			return b.Mul(x, b.Mul(dy, b.Scalar(2, x)))
		}),
		reduce("ReduceL1", common, numbers, func(b *Builder, x, y, dy *graph.Value) *graph.Value {
			return b.Mul(b.Op("Sign", x), dy)
		}),
		// x/y; a norm of zero counts as having gradient zero.
		reduce("ReduceL2", common, floats, func(b *Builder, x, y, dy *graph.Value) *graph.Value {
			norm := b.Op("Where", b.positive(y), y, b.Scalar(1, y))
			return b.Mul(x, b.Div(dy, norm))
		}),
		reduce("ReduceLogSum", common, floats, func(b *Builder, x, y, dy *graph.Value) *graph.Value {
			return b.Div(dy, b.Op("Exp", y))
		}),
		reduce("ReduceLogSumExp", common, floats, func(b *Builder, x, y, dy *graph.Value) *graph.Value {
			return b.Mul(b.Op("Exp", b.Sub(x, y)), dy)
		}),
		reduce("ReduceMax", []int{1, 11, 12, 13, 18, 20}, numbers, gradReduceExtremum),
		reduce("ReduceMin", []int{1, 11, 12, 13, 18, 20}, numbers, gradReduceExtremum),
		Op{
			Name: "ReduceProd", Since: common, Infer: inferReduce(numbers), Forward: forwardReduce,
			NoGrad: "the gradient of a product of elements is not implemented; write it as a sum of logarithms",
		},
	)
}

// gradReduceExtremum: elements that tie share the gradient, as in PyTorch's amax.
func gradReduceExtremum(b *Builder, x, y, dy *graph.Value) *graph.Value {
	taken := b.Cast(b.Op("Equal", x, y), x.DType)
	ties := b.ReduceSum(taken, true, repeatedAxes(y.Shape, x.Shape)...)
	return b.Mul(taken, b.Div(dy, ties))
}

// repeatedAxes lists the axes along which small is repeated to make large, of
// the same rank.
func repeatedAxes(small, large graph.Shape) []int {
	var axes []int
	for i := range small {
		if small[i] != large[i] {
			axes = append(axes, i)
		}
	}
	return axes
}

// SumsPlanes tells whether n, a ReduceSum, sums over all spatial axes of images,
// whatever else it sums over.
func SumsPlanes(n *graph.Node) bool {
	axes, _, err := reduceAxes(n)
	if err != nil {
		return false
	}
	for i := 2; i < len(n.Inputs[0].Shape); i++ {
		if !slices.Contains(axes, i) {
			return false
		}
	}
	return true
}

// reduceAxes returns the axes that n reduces, ascending, and whether they stay
// with extent 1. They are an attribute before version 13 (ReduceSum) or 18
// (the others) and an input from then on.
func reduceAxes(n *graph.Node) (axes []int, keep bool, err error) {
	since := 18
	if n.Op == "ReduceSum" {
		since = 13
	}
	list, _, err := intsAt(n, "axes", 1, since)
	if err != nil {
		return nil, false, err
	}
	rank := len(n.Inputs[0].Shape)
	if axes, err = normAxes(list, rank); err != nil {
		return nil, false, err
	}
	if len(axes) == 0 && n.Int("noop_with_empty_axes", 0) == 0 {
		for i := range rank {
			axes = append(axes, i)
		}
	}
	return axes, n.Int("keepdims", 1) != 0, nil
}

// without returns the shape after reducing axes, which stay with extent 1 or go.
func without(shape graph.Shape, axes []int, keep bool) graph.Shape {
	out := graph.Shape{}
	for i, d := range shape {
		switch {
		case len(axes) == 0 || axes[0] != i:
			out = append(out, d)
			continue
		case keep:
			out = append(out, 1)
		}
		axes = axes[1:]
	}
	return out
}

func inferReduce(types []onnx.DType) func(n *graph.Node) error {
	return func(n *graph.Node) error {
		if err := arity(n, 1, 2, 1); err != nil {
			return err
		}
		if err := wantType(n, 0, types...); err != nil {
			return err
		}
		axes, keep, err := reduceAxes(n)
		if err != nil {
			return err
		}
		return setOutput(n, 0, n.Inputs[0].DType, without(n.Inputs[0].Shape, axes, keep))
	}
}

func gradReduce(rule func(b *Builder, x, y, dy *graph.Value) *graph.Value) func(*Builder, *graph.Node, values) (values, error) {
	return func(b *Builder, n *graph.Node, dy values) (values, error) {
		axes, _, err := reduceAxes(n)
		if err != nil {
			return nil, err
		}
		x := n.Inputs[0]
		kept := without(x.Shape, axes, true)
		dx := rule(b, x, b.Reshape(n.Outputs[0], kept...), b.Reshape(dy[0], kept...))
		grads := make(values, len(n.Inputs))
		grads[0] = b.Expand(dx, x.Shape)
		return grads, nil
	}
}

// reduceKinds are the reductions that have a kernel for floating-point types.
var reduceKinds = map[string]kernel.ReduceKind{
	"ReduceSum": kernel.ReduceSum, "ReduceMean": kernel.ReduceMean, "ReduceSumSquare": kernel.ReduceSumSquare,
	"ReduceL1": kernel.ReduceL1, "ReduceL2": kernel.ReduceL2, "ReduceMax": kernel.ReduceMax,
	"ReduceMin": kernel.ReduceMin, "ReduceProd": kernel.ReduceProd, "ReduceLogSumExp": kernel.ReduceLogSumExp,
	"ReduceLogSum": kernel.ReduceSum, // and the logarithm of the result
}

func forwardReduce(c *Call) (func() error, error) {
	if c.In[0].DType == onnx.Float32 || c.In[0].DType == onnx.Float64 {
		return byFloat(c, forwardReduceOf[float32], forwardReduceOf[float64])
	}
	axes, _, err := reduceAxes(c.Node)
	if err != nil {
		return nil, err
	}
	k, err := numberFor(c.In[0])
	if err != nil {
		return nil, err
	}
	shape := c.In[0].Shape
	w := newWalk(shape, nil, repeatStrides(without(shape, axes, true), shape), strides(shape))
	return k.reduce(c.Node.Op, c.Out[0], c.In[0], w)
}

func forwardReduceOf[T kernel.Float](c *Call) (func() error, error) {
	axes, _, err := reduceAxes(c.Node)
	if err != nil {
		return nil, err
	}
	y, x := onnx.Of[T](c.Out[0]), onnx.Of[T](c.In[0])
	k := kernel.NewReduce[T](reduceKinds[c.Node.Op], c.In[0].Shape, axes)
	logarithm := c.Node.Op == "ReduceLogSum"
	return func() error {
		k.Run(c.Team, y, x)
		if logarithm {
			kernel.Log(y, y)
		}
		return nil
	}, nil
}

// reduce folds integers; the walk has stride 0 in out along reduced axes.
func (numberOf[T]) reduce(op string, out, in *onnx.Tensor, w *walk) (func() error, error) {
	start, f, err := folding[T](op)
	if err != nil {
		return nil, err
	}
	y, x := onnx.Of[T](out), onnx.Of[T](in)
	length, step := w.row()
	return func() error {
		for i := range y {
			y[i] = start
		}
		for ok := w.reset(); ok; ok = w.next() {
			o, i := w.at[0], w.at[1]
			for range length {
				y[o] = f(y[o], x[i])
				o += step[0]
				i += step[1]
			}
		}
		return nil
	}, nil
}

// folding returns the start value and the step of a reduction of integers.
func folding[T real](op string) (start T, f func(acc, x T) T, err error) {
	switch op {
	case "ReduceSum":
		return 0, func(acc, x T) T { return acc + x }, nil
	case "ReduceProd":
		return 1, func(acc, x T) T { return acc * x }, nil
	case "ReduceSumSquare":
		return 0, func(acc, x T) T { return acc + x*x }, nil
	case "ReduceL1":
		abs := function[T]("Abs")
		return 0, func(acc, x T) T { return acc + abs(x) }, nil
	case "ReduceMax":
		least, _ := limits[T]()
		return least, func(acc, x T) T { return max(acc, x) }, nil
	case "ReduceMin":
		_, most := limits[T]()
		return most, func(acc, x T) T { return min(acc, x) }, nil
	}
	return 0, nil, fmt.Errorf("%s is not defined for integers", op)
}

// limits returns the smallest and the largest number of type T.
func limits[T real]() (least, most T) {
	if isFloat[T]() {
		return T(math.Inf(-1)), T(math.Inf(1))
	}
	zero := T(0)
	if zero-1 > zero { // unsigned
		return 0, zero - 1
	}
	most = 1
	for most*2+1 > most { // 1, 3, 7, ... until it wraps
		most = most*2 + 1
	}
	return -most - 1, most
}
