package ops

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Comparisons and logic: results are bool, so there are no gradients.
func init() {
	truth := func(name string, since []int, infer func(*graph.Node) error, forward func(*Call) (func() error, error)) Op {
		return Op{Name: name, Since: since, NoGrad: "the result is a truth value", Infer: infer, Forward: forward}
	}
	register(
		truth("Equal", []int{7, 11, 13, 19}, inferCompare(append([]onnx.DType{onnx.Bool}, numbers...)...), forwardCompare),
		truth("Less", []int{7, 9, 13}, inferCompare(numbers...), forwardCompare),
		truth("LessOrEqual", []int{12, 16}, inferCompare(numbers...), forwardCompare),
		truth("Greater", []int{7, 9, 13}, inferCompare(numbers...), forwardCompare),
		truth("GreaterOrEqual", []int{12, 16}, inferCompare(numbers...), forwardCompare),
		truth("And", []int{7}, inferCompare(onnx.Bool), forwardLogic),
		truth("Or", []int{7}, inferCompare(onnx.Bool), forwardLogic),
		truth("Xor", []int{7}, inferCompare(onnx.Bool), forwardLogic),
		truth("Not", []int{1}, inferSame(onnx.Bool), forwardNot),
		truth("IsNaN", []int{9, 13, 20}, inferTest, forwardTest),
		truth("IsInf", []int{10, 20}, inferTest, forwardTest),
	)
}

func inferCompare(types ...onnx.DType) func(n *graph.Node) error {
	return func(n *graph.Node) error {
		if err := arity(n, 2, 2, 1); err != nil {
			return err
		}
		if err := wantType(n, 0, types...); err != nil {
			return err
		}
		if err := sameType(n, 0, 1); err != nil {
			return err
		}
		shape, err := broadcast(n.Inputs[0].Shape, n.Inputs[1].Shape)
		if err != nil {
			return err
		}
		return setOutput(n, 0, onnx.Bool, shape)
	}
}

func forwardCompare(c *Call) (func() error, error) {
	if c.In[0].DType == onnx.Bool {
		return forwardLogic(c)
	}
	k, err := numberFor(c.In[0])
	if err != nil {
		return nil, err
	}
	return k.compare(c.Node.Op, c.Out[0], c.In[0], c.In[1], walkPair(c.Out[0], c.In[0], c.In[1]))
}

func forwardLogic(c *Call) (func() error, error) {
	f := map[string]func(a, b bool) bool{
		"Equal": func(a, b bool) bool { return a == b },
		"And":   func(a, b bool) bool { return a && b },
		"Or":    func(a, b bool) bool { return a || b },
		"Xor":   func(a, b bool) bool { return a != b },
	}[c.Node.Op]
	if f == nil {
		return nil, fmt.Errorf("%s is not defined for bool", c.Node.Op)
	}
	out, x, y := onnx.Of[bool](c.Out[0]), onnx.Of[bool](c.In[0]), onnx.Of[bool](c.In[1])
	return zip(out, x, y, walkPair(c.Out[0], c.In[0], c.In[1]), f), nil
}

func forwardNot(c *Call) (func() error, error) {
	out, in := onnx.Of[bool](c.Out[0]), onnx.Of[bool](c.In[0])
	return func() error {
		for i, x := range in {
			out[i] = !x
		}
		return nil
	}, nil
}

func inferTest(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	return setOutput(n, 0, onnx.Bool, n.Inputs[0].Shape)
}

func forwardTest(c *Call) (func() error, error) {
	return byFloat(c, forwardTestOf[float32], forwardTestOf[float64])
}

func forwardTestOf[T kernel.Float](c *Call) (func() error, error) {
	test := func(x float64) bool { return x != x }
	if c.Node.Op == "IsInf" {
		positive, negative := c.Node.Int("detect_positive", 1) != 0, c.Node.Int("detect_negative", 1) != 0
		test = func(x float64) bool { return positive && math.IsInf(x, 1) || negative && math.IsInf(x, -1) }
	}
	out, in := onnx.Of[bool](c.Out[0]), onnx.Of[T](c.In[0])
	return func() error {
		for i, x := range in {
			out[i] = test(float64(x))
		}
		return nil
	}, nil
}
