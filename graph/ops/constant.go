package ops

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators that make tensors from attributes, shapes and scalars.
func init() {
	constant := func(name string, since []int, infer func(*graph.Node) error, forward func(*Call) (func() error, error)) Op {
		return Op{Name: name, Since: since, NoGrad: "the result is a constant", Infer: infer, Forward: forward}
	}
	register(
		constant("Constant", []int{1, 9, 11, 12, 13, 19, 21, 23, 24}, inferConstant, forwardConstant),
		constant("ConstantOfShape", []int{9, 20, 21, 23, 24}, inferConstantOfShape, forwardConstantOfShape),
		constant("Range", []int{11}, inferRange, forwardRange),
		constant("EyeLike", []int{9, 22}, inferEyeLike, forwardEyeLike),
		Op{
			Name: "OneHot", Since: []int{9, 11}, NoGrad: "the result depends on indices alone, the two values are constants",
			Infer: inferOneHot, Forward: forwardOneHot,
		},
		Op{
			Name: "NonZero", Since: []int{9, 13}, NoGrad: "the result is a list of indices",
			Infer: inferNonZero, Forward: forwardNonZero,
		},
	)
}

// constantTensor is what a Constant node holds.
func constantTensor(n *graph.Node) (*onnx.Tensor, error) {
	for _, a := range n.Attrs {
		switch a.Name {
		case "value":
			if a.T == nil || a.T.Data == nil {
				return nil, fmt.Errorf("attribute value holds no tensor")
			}
			return a.T, nil
		case "value_float":
			return onnx.FromSlice([]float32{a.F}), nil
		case "value_floats":
			return onnx.FromSlice(a.Floats, len(a.Floats)), nil
		case "value_int":
			return onnx.FromSlice([]int64{a.I}), nil
		case "value_ints":
			return onnx.FromSlice(a.Ints, len(a.Ints)), nil
		case "value_string":
			return onnx.FromSlice([]string{string(a.S)}), nil
		case "value_strings":
			list := make([]string, len(a.Strings))
			for i, s := range a.Strings {
				list[i] = string(s)
			}
			return onnx.FromSlice(list, len(list)), nil
		case "sparse_value":
			return nil, fmt.Errorf("sparse constants are not implemented; store the tensor as an initializer")
		}
	}
	return nil, fmt.Errorf("no value among the attributes")
}

func inferConstant(n *graph.Node) error {
	if err := arity(n, 0, 0, 1); err != nil {
		return err
	}
	t, err := constantTensor(n)
	if err != nil {
		return err
	}
	return setOutput(n, 0, t.DType, t.Shape)
}

func forwardConstant(c *Call) (func() error, error) {
	t, err := constantTensor(c.Node)
	if err != nil {
		return nil, err
	}
	return copyAll(c.Out[0], t)
}

// fillValue is the tensor of one element that ConstantOfShape repeats.
func fillValue(n *graph.Node) (*onnx.Tensor, error) {
	a := n.Attr("value")
	if a == nil {
		return onnx.FromSlice([]float32{0}), nil
	}
	if a.T == nil || a.T.Data == nil || CheckSize(a.T.Shape) != nil || a.T.Len() != 1 {
		return nil, fmt.Errorf("attribute value must be a tensor of one element")
	}
	return a.T, nil
}

func inferConstantOfShape(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	value, err := fillValue(n)
	if err != nil {
		return err
	}
	shape, _, err := constInts(n, 0)
	if err != nil {
		return err
	}
	return setOutput(n, 0, value.DType, shape)
}

func forwardConstantOfShape(c *Call) (func() error, error) {
	value, err := fillValue(c.Node)
	if err != nil {
		return nil, err
	}
	e, err := elementFor(value)
	if err != nil {
		return nil, err
	}
	return e.fill(c.Out[0], value), nil
}

func inferRange(n *graph.Node) error {
	if err := arity(n, 3, 3, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, onnx.Float32, onnx.Float64, onnx.Int16, onnx.Int32, onnx.Int64); err != nil {
		return err
	}
	if err := sameType(n, 0, 1, 2); err != nil {
		return err
	}
	for i, v := range n.Inputs {
		if v.Const == nil {
			return &ConstError{Input: i, Value: v}
		}
		if v.Shape.Size() != 1 {
			return fmt.Errorf("input %d, %q, has shape %v, want one element", i, v.Name, []int(v.Shape))
		}
	}
	start, limit, delta := n.Inputs[0].Const, n.Inputs[1].Const, n.Inputs[2].Const
	size, err := numberTypes[start.DType].rangeLen(start, limit, delta)
	if err != nil {
		return err
	}
	return setOutput(n, 0, start.DType, graph.Shape{size})
}

func forwardRange(c *Call) (func() error, error) {
	k, err := numberFor(c.Out[0])
	if err != nil {
		return nil, err
	}
	return k.sequence(c.Out[0], c.In[0], c.In[2]), nil
}

func (numberOf[T]) rangeLen(start, limit, delta *onnx.Tensor) (int, error) {
	from, to, step := onnx.Of[T](start)[0], onnx.Of[T](limit)[0], onnx.Of[T](delta)[0]
	size := math.Ceil((float64(to) - float64(from)) / float64(step))
	if !(size <= maxElements) { // NaN included
		return 0, fmt.Errorf("range from %v to %v by %v has no length within %d", from, to, step, maxElements)
	}
	return max(int(size), 0), nil
}

func (numberOf[T]) sequence(out, start, delta *onnx.Tensor) func() error {
	dst, from, step := onnx.Of[T](out), onnx.Of[T](start), onnx.Of[T](delta)
	return func() error {
		for i := range dst {
			dst[i] = from[0] + T(i)*step[0]
		}
		return nil
	}
}

func inferEyeLike(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if len(x.Shape) != 2 {
		return fmt.Errorf("input has shape %v, want two axes", []int(x.Shape))
	}
	dt := x.DType
	if n.Attr("dtype") != nil {
		dt = onnx.DType(n.Int("dtype", 0))
	}
	if numberTypes[dt] == nil {
		return fmt.Errorf("cannot make %v", dt)
	}
	return setOutput(n, 0, dt, x.Shape)
}

func forwardEyeLike(c *Call) (func() error, error) {
	out := c.Out[0]
	k, err := numberFor(out)
	if err != nil {
		return nil, err
	}
	rows, cols, diagonal := out.Shape[0], out.Shape[1], c.Node.Int("k", 0)
	zero := elements[out.DType].fill(out, nil)
	return func() error {
		if err := zero(); err != nil {
			return err
		}
		if diagonal <= -rows || diagonal >= cols {
			return nil
		}
		for r := max(0, -diagonal); r < rows && r+diagonal < cols; r++ {
			k.one(out, r*cols+r+diagonal)
		}
		return nil
	}, nil
}

func (numberOf[T]) one(out *onnx.Tensor, at int) { onnx.Of[T](out)[at] = 1 }

// oneHotAxis is where OneHot puts its new axis, and how long that is.
func oneHotAxis(n *graph.Node) (axis, depth int, err error) {
	if n.Inputs[1].Const == nil {
		return 0, 0, &ConstError{Input: 1, Value: n.Inputs[1]}
	}
	d, ok := constScalar(n.Inputs[1])
	if !ok {
		return 0, 0, fmt.Errorf("depth has shape %v, want one number", []int(n.Inputs[1].Shape))
	}
	if !(d >= 0 && d <= maxElements) {
		return 0, 0, fmt.Errorf("depth %v is out of range", d)
	}
	axis, err = normAxis(n.Int("axis", -1), len(n.Inputs[0].Shape)+1)
	return axis, int(d), err
}

func inferOneHot(n *graph.Node) error {
	if err := arity(n, 3, 3, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, numbers...); err != nil {
		return err
	}
	if s := n.Inputs[2].Shape; len(s) != 1 || s[0] != 2 {
		return fmt.Errorf("values have shape %v, want [2] (off, on)", []int(s))
	}
	axis, depth, err := oneHotAxis(n)
	if err != nil {
		return err
	}
	shape := n.Inputs[0].Shape.Clone()
	shape = append(shape[:axis:axis], append(graph.Shape{depth}, shape[axis:]...)...)
	return setOutput(n, 0, n.Inputs[2].DType, shape)
}

// forwardOneHot: an index outside [-depth, depth) has off everywhere.
func forwardOneHot(c *Call) (func() error, error) {
	axis, depth, err := oneHotAxis(c.Node)
	if err != nil {
		return nil, err
	}
	e, err := elementFor(c.Out[0])
	if err != nil {
		return nil, err
	}
	index := onnx.NewTensor(onnx.Int64, c.In[0].Shape...)
	read, err := castTensor(index, c.In[0])
	if err != nil {
		return nil, err
	}
	hot, inner := onnx.Of[int64](index), product(c.In[0].Shape[axis:])
	from := make([]int, c.Out[0].Len()) // 0: off, 1: on
	choose := e.gather(c.Out[0], c.In[2], 1, from)
	return func() error {
		if err := read(); err != nil {
			return err
		}
		clear(from)
		for i, h := range hot {
			if h < 0 {
				h += int64(depth)
			}
			if h >= 0 && h < int64(depth) {
				from[(i/inner*depth+int(h))*inner+i%inner] = 1
			}
		}
		choose()
		return nil
	}, nil
}

// nonZero is the positions of x's elements that are not zero, ascending.
func nonZero(x *onnx.Tensor) ([]int, error) {
	truth := onnx.NewTensor(onnx.Bool, x.Shape...)
	test, err := castTensor(truth, x)
	if err != nil {
		return nil, err
	}
	if err := test(); err != nil {
		return nil, err
	}
	var at []int
	for i, t := range onnx.Of[bool](truth) {
		if t {
			at = append(at, i)
		}
	}
	return at, nil
}

// inferNonZero: the size of the result depends on the values, so they must be
// known when the graph is prepared.
func inferNonZero(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if x.Const == nil {
		return &ConstError{Input: 0, Value: x}
	}
	at, err := nonZero(x.Const)
	if err != nil {
		return err
	}
	return setOutput(n, 0, onnx.Int64, graph.Shape{len(x.Shape), len(at)})
}

func forwardNonZero(c *Call) (func() error, error) {
	out, step := onnx.Of[int64](c.Out[0]), strides(c.In[0].Shape)
	at, err := nonZero(c.In[0])
	if err != nil {
		return nil, err
	}
	return func() error {
		for i, p := range at {
			for axis, s := range step {
				out[axis*len(at)+i] = int64(p / s % c.In[0].Shape[axis])
			}
		}
		return nil
	}, nil
}
