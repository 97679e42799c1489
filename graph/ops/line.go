package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators that go along one axis: index of the extremum, sorting, running
// sums.
func init() {
	register(
		Op{Name: "ArgMax", Since: []int{1, 11, 12, 13}, NoGrad: "the result is an index", Infer: inferBest, Forward: forwardBest},
		Op{Name: "ArgMin", Since: []int{1, 11, 12, 13}, NoGrad: "the result is an index", Infer: inferBest, Forward: forwardBest},
		Op{Name: "TopK", Since: []int{1, 10, 11, 24}, Infer: inferTopK, Grad: gradTopK, Forward: forwardTopK},
		Op{Name: "CumSum", Since: []int{11, 14}, Infer: inferCumSum, Grad: gradCumSum, Forward: forwardCumSum},
	)
}

// lines are the lines of a tensor along one axis: outer times inner of them,
// of length n, neighbours inner apart.
type lines struct{ outer, n, inner int }

func linesAlong(shape []int, axis int) lines {
	return lines{product(shape[:axis]), shape[axis], product(shape[axis+1:])}
}

// start is the offset of line i in a tensor whose lines have length n.
func (l lines) start(i, n int) int { return i/l.inner*n*l.inner + i%l.inner }

// count is the number of lines.
func (l lines) count() int { return l.outer * l.inner }

func inferBest(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if err := wantType(n, 0, numbers...); err != nil {
		return err
	}
	axis, err := normAxis(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return err
	}
	if x.Shape[axis] == 0 {
		return fmt.Errorf("axis %d has no elements", axis)
	}
	return setOutput(n, 0, onnx.Int64, without(x.Shape, []int{axis}, n.Int("keepdims", 1) != 0))
}

func forwardBest(c *Call) (func() error, error) {
	axis, err := normAxis(c.Node.Int("axis", 0), len(c.In[0].Shape))
	if err != nil {
		return nil, err
	}
	k, err := numberFor(c.In[0])
	if err != nil {
		return nil, err
	}
	last := c.Node.Int("select_last_index", 0) != 0
	return k.best(c.Out[0], c.In[0], linesAlong(c.In[0].Shape, axis), c.Node.Op == "ArgMin", last), nil
}

func (numberOf[T]) best(out, in *onnx.Tensor, l lines, smallest, last bool) func() error {
	index, x := onnx.Of[int64](out), onnx.Of[T](in)
	return func() error {
		for i := range l.count() {
			at := l.start(i, l.n)
			pick, best := 0, x[at]
			for k := 1; k < l.n; k++ {
				v := x[at+k*l.inner]
				if v > best && !smallest || v < best && smallest || v == best && last {
					pick, best = k, v
				}
			}
			index[i] = int64(pick)
		}
		return nil
	}
}

// topK returns the axis and the number of elements to keep. k is an attribute
// before version 10.
func topK(n *graph.Node) (axis, k int, err error) {
	x := n.Inputs[0]
	if axis, err = normAxis(n.Int("axis", -1), len(x.Shape)); err != nil {
		return 0, 0, err
	}
	list := []int{n.Int("k", -1)}
	if n.Version >= 10 {
		if list, _, err = constInts(n, 1); err != nil {
			return 0, 0, err
		}
	}
	if len(list) != 1 || list[0] < 0 || list[0] > x.Shape[axis] {
		return 0, 0, fmt.Errorf("k is %v, want one number from 0 to %d", list, x.Shape[axis])
	}
	return axis, list[0], nil
}

func inferTopK(n *graph.Node) error {
	if err := arity(n, 1, 2, 2); err != nil {
		return err
	}
	if err := wantType(n, 0, numbers...); err != nil {
		return err
	}
	axis, k, err := topK(n)
	if err != nil {
		return err
	}
	shape := n.Inputs[0].Shape.Clone()
	shape[axis] = k
	if err := setOutput(n, 1, onnx.Int64, shape); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

// gradTopK puts the gradients of the values back to where they were taken.
func gradTopK(b *Builder, n *graph.Node, dy values) (values, error) {
	grads := make(values, len(n.Inputs))
	if dy[0] == nil {
		return grads, nil
	}
	axis, _, err := topK(n)
	if err != nil {
		return nil, err
	}
	x, index := n.Inputs[0], n.Output(1)
	if index == nil {
		index = b.Node("TopK", 2, n.Inputs, n.Attrs...)[1]
	}
	attrs := []*onnx.Attr{onnx.AttrInt("axis", int64(axis))}
	grads[0] = b.OpA("ScatterElements", attrs, b.Zeros(x), index, dy[0])
	return grads, nil
}

func forwardTopK(c *Call) (func() error, error) {
	axis, _, err := topK(c.Node)
	if err != nil {
		return nil, err
	}
	k, err := numberFor(c.In[0])
	if err != nil {
		return nil, err
	}
	index := onnx.NewTensor(onnx.Int64, c.Out[0].Shape...)
	if len(c.Out) > 1 && c.Out[1] != nil {
		index = c.Out[1]
	}
	smallest := c.Node.Version >= 11 && c.Node.Int("largest", 1) == 0
	return k.top(c.Out[0], index, c.In[0], linesAlong(c.In[0].Shape, axis), smallest), nil
}

// top sorts by value, elements that tie by index.
func (numberOf[T]) top(values, index, in *onnx.Tensor, l lines, smallest bool) func() error {
	y, at, x := onnx.Of[T](values), onnx.Of[int64](index), onnx.Of[T](in)
	k := 0
	if l.count() > 0 {
		k = len(y) / l.count()
	}
	order, start := make([]int, l.n), 0
	compare := func(i, j int) int {
		a, b := x[start+i*l.inner], x[start+j*l.inner]
		switch {
		case a == b:
			return i - j
		case (a < b) == smallest:
			return -1
		}
		return 1
	}
	return func() error {
		for i := range l.count() {
			start = l.start(i, l.n)
			for j := range order {
				order[j] = j
			}
			slices.SortFunc(order, compare)
			to := l.start(i, k)
			for j, from := range order[:k] {
				y[to+j*l.inner] = x[start+from*l.inner]
				at[to+j*l.inner] = int64(from)
			}
		}
		return nil
	}
}

func cumSumAxis(n *graph.Node) (int, error) {
	list, _, err := constInts(n, 1)
	if err != nil {
		return 0, err
	}
	if len(list) != 1 {
		return 0, fmt.Errorf("axis is %v, want one number", list)
	}
	return normAxis(list[0], len(n.Inputs[0].Shape))
}

func inferCumSum(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, numbers...); err != nil {
		return err
	}
	if _, err := cumSumAxis(n); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, n.Inputs[0].Shape)
}

// gradCumSum sums dy from the other end.
func gradCumSum(b *Builder, n *graph.Node, dy values) (values, error) {
	attrs := []*onnx.Attr{
		onnx.AttrInt("exclusive", int64(n.Int("exclusive", 0))),
		onnx.AttrInt("reverse", int64(1-min(1, n.Int("reverse", 0)))),
	}
	return values{b.OpA("CumSum", attrs, dy[0], n.Inputs[1]), nil}, nil
}

func forwardCumSum(c *Call) (func() error, error) {
	axis, err := cumSumAxis(c.Node)
	if err != nil {
		return nil, err
	}
	k, err := numberFor(c.In[0])
	if err != nil {
		return nil, err
	}
	exclusive, reverse := c.Node.Int("exclusive", 0) != 0, c.Node.Int("reverse", 0) != 0
	return k.cumulate(c.Out[0], c.In[0], linesAlong(c.In[0].Shape, axis), exclusive, reverse), nil
}

func (numberOf[T]) cumulate(out, in *onnx.Tensor, l lines, exclusive, reverse bool) func() error {
	y, x := onnx.Of[T](out), onnx.Of[T](in)
	return func() error {
		for i := range l.count() {
			at, step := l.start(i, l.n), l.inner
			if reverse {
				at, step = at+(l.n-1)*l.inner, -l.inner
			}
			sum := T(0)
			for range l.n {
				next := sum + x[at]
				if exclusive {
					y[at] = sum
				} else {
					y[at] = next
				}
				sum, at = next, at+step
			}
		}
		return nil
	}
}
