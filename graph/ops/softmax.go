package ops

import (
	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

func init() {
	since := []int{1, 11, 13}
	register(
		Op{Name: "Softmax", Since: since, InPlace: []int{0}, Axes: axesSoftmax, Infer: inferSoftmax, Grad: gradSoftmax, Forward: forwardSoftmax},
		Op{Name: "LogSoftmax", Since: since, InPlace: []int{0}, Axes: axesSoftmax, Infer: inferSoftmax, Grad: gradLogSoftmax, Forward: forwardSoftmax},
	)
}

// softmaxAxes returns the axes that are normalised together: one from version
// 13 on, before that the given one and all behind it.
func softmaxAxes(n *graph.Node) (first, end int, err error) {
	rank := len(n.Inputs[0].Shape)
	if n.Version >= 13 {
		first, err = normAxis(n.Int("axis", -1), rank)
		return first, first + 1, err
	}
	if rank == 0 {
		return 0, 0, nil
	}
	first, err = normAxis(n.Int("axis", min(1, rank-1)), rank)
	return first, rank, err
}

func inferSoftmax(n *graph.Node) error {
	if err := inferSame(floats...)(n); err != nil {
		return err
	}
	_, _, err := softmaxAxes(n)
	return err
}

func forwardSoftmax(c *Call) (func() error, error) {
	return byFloat(c, forwardSoftmaxOf[float32], forwardSoftmaxOf[float64])
}

func forwardSoftmaxOf[T kernel.Float](c *Call) (func() error, error) {
	first, end, err := softmaxAxes(c.Node)
	if err != nil {
		return nil, err
	}
	s := c.In[0].Shape
	k := kernel.NewSoftmax[T](product(s[:first]), product(s[first:end]), product(s[end:]), c.Node.Op == "LogSoftmax")
	y, x := onnx.Of[T](c.Out[0]), onnx.Of[T](c.In[0])
	return func() error {
		k.Forward(c.Team, y, x)
		return nil
	}, nil
}

// sumSoftmax sums v over the axes that n normalises.
func (b *Builder) sumSoftmax(n *graph.Node, v *graph.Value) *graph.Value {
	first, end, err := softmaxAxes(n)
	if err != nil && b.Err == nil {
		b.Err = err
	}
	var axes []int
	for a := first; a < end; a++ {
		axes = append(axes, a)
	}
	return b.ReduceSum(v, true, axes...)
}

// gradSoftmax: dx = y (dy - sum dy y). (A kernel for all of it in one node was
// measured to be no faster on attention's sizes.)
func gradSoftmax(b *Builder, n *graph.Node, dy values) (values, error) {
	y := n.Outputs[0]
	return values{b.Mul(y, b.Sub(dy[0], b.sumSoftmax(n, b.Mul(dy[0], y))))}, nil
}

// gradLogSoftmax: dx = dy - exp(y) sum dy.
func gradLogSoftmax(b *Builder, n *graph.Node, dy values) (values, error) {
	p := b.Op("Exp", n.Outputs[0])
	return values{b.Sub(dy[0], b.Mul(p, b.sumSoftmax(n, dy[0])))}, nil
}
