package ops

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Convolutions of which few weights are kept, over one or two spatial axes. The
// attribute kept numbers them in w [M C/group ...], in rising order, and they are
// all that there is of w; outputs is M and kernel_shape the extents of the kernel.
// The other attributes are Conv's. As Conv and its gradients, these are each
// other's derivatives:
//
//	SparseConv(x, values, [bias])     Conv(x, w, bias)
//	SparseConvGradInput(dy, values)   ConvGradInput(dy, w)
//	SparseConvGradWeight(x, dy)       what is kept of ConvGradWeight(x, dy)
func init() {
	register(
		Op{Domain: Domain, Name: "SparseConv", Infer: inferSparseConv, Grad: gradSparseConv, Body: sparseConvBody,
			Forward: kernels(runSparseConv[float32], runSparseConv[float64])},
		Op{Domain: Domain, Name: "SparseConvGradInput", Infer: inferSparseConvGradInput, Grad: gradSparseConvGradInput, Body: sparseConvGradInputBody,
			Forward: kernels(runSparseConvGradInput[float32], runSparseConvGradInput[float64])},
		Op{Domain: Domain, Name: "SparseConvGradWeight", Infer: inferSparseConvGradWeight, Grad: gradSparseConvGradWeight, Body: sparseConvGradWeightBody,
			Forward: kernels(runSparseConvGradWeight[float32], runSparseConvGradWeight[float64])},
	)
}

// sparseConv is the geometry of a convolution and the numbers of its weights that
// are kept.
type sparseConv struct {
	*conv
	kept []int64
}

// newSparseConv reads the attributes of n for the given shape of x.
func newSparseConv(n *graph.Node, x graph.Shape, outputs int) (*sparseConv, error) {
	group, kernel := n.Int("group", 1), n.Ints("kernel_shape")
	if len(x) != 3 && len(x) != 4 || len(kernel) != len(x)-2 {
		return nil, fmt.Errorf("input of rank %d and kernel_shape %v, want one or two spatial axes", len(x), kernel)
	}
	if group < 1 {
		return nil, fmt.Errorf("attribute group is %d", group)
	}
	c, err := newConv(n, x, append(graph.Shape{outputs, x[1] / group}, kernel...))
	if err != nil {
		return nil, err
	}
	s := &sparseConv{c, attrInt64s(n, "kept")}
	if err := CheckSize(c.weight()); err != nil {
		return nil, err
	}
	size := int64(c.weight().Size())
	for i, at := range s.kept {
		if at < 0 || at >= size || i > 0 && at <= s.kept[i-1] {
			return nil, fmt.Errorf("attribute kept: entry %d is %d, want rising numbers below %d", i, at, size)
		}
	}
	if s.elements() > math.MaxInt32 {
		return nil, fmt.Errorf("images of %v are too large", []int(x))
	}
	return s, nil
}

// elements bounds what the kernel lays out side by side.
func (c *sparseConv) elements() float64 {
	const samples = 64
	size := float64(max(c.inputs, c.channels)) * samples
	for i := range c.in {
		size *= float64(c.in[i] + c.begin[i] + c.end[i] + c.extent(i) + c.stride[i] + samples)
	}
	return size
}

// sparseAttrs spells everything out.
func (c *sparseConv) sparseAttrs(more ...*onnx.Attr) []*onnx.Attr {
	return c.attrs(append(more, c.kernelShape(), onnx.AttrInt("outputs", int64(c.channels)), onnx.AttrInts("kept", c.kept...))...)
}

// SparseConvPays tells whether n, a Conv of known shapes, takes less time for a
// training step with so many of its weights kept.
func SparseConvPays(n *graph.Node, kept int) bool {
	c, err := convOf(n)
	return err == nil && !c.isVolume() && c.geom().SparsePays(kept)
}

func (b *Builder) sparseConv(c *sparseConv, x, values *graph.Value) *graph.Value {
	return b.Own("SparseConv", 1, []*graph.Value{x, values}, c.sparseAttrs()...)[0]
}

func (b *Builder) sparseConvGradInput(c *sparseConv, dy, values *graph.Value) *graph.Value {
	shape := onnx.AttrInts("input_shape", toInt64(c.input())...)
	return b.Own("SparseConvGradInput", 1, []*graph.Value{dy, values}, c.sparseAttrs(shape)...)[0]
}

func (b *Builder) sparseConvGradWeight(c *sparseConv, x, dy *graph.Value) *graph.Value {
	return b.Own("SparseConvGradWeight", 1, []*graph.Value{x, dy}, c.sparseAttrs()...)[0]
}

// dense appends w with values at the kept places.
func (c *sparseConv) dense(b *Builder, values *graph.Value) *graph.Value {
	w := c.weight()
	flat := b.OpA("ScatterElements", []*onnx.Attr{onnx.AttrInt("axis", 0)}, b.Fill(0, values, w.Size()), c.places(b), values)
	return b.Reshape(flat, w...)
}

func (c *sparseConv) places(b *Builder) *graph.Value {
	list := make([]int, len(c.kept))
	for i, at := range c.kept {
		list[i] = int(at)
	}
	return b.Ints(list...)
}

func sparseConvOf(n *graph.Node) (*sparseConv, error) {
	return newSparseConv(n, n.Inputs[0].Shape, n.Int("outputs", 0))
}

func inferSparseConv(n *graph.Node) error {
	if err := floatInputs(n, 2, 3, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	c, err := sparseConvOf(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 1, len(c.kept)); err != nil {
		return err
	}
	if err := wantShape(n, 2, c.channels); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.output())
}

func gradSparseConv(b *Builder, n *graph.Node, dy values) (values, error) {
	c, err := sparseConvOf(n)
	if err != nil {
		return nil, err
	}
	d := values{b.sparseConvGradInput(c, dy[0], n.Inputs[1]), b.sparseConvGradWeight(c, n.Inputs[0], dy[0])}
	if n.Input(2) != nil {
		d = append(d, b.ReduceSum(dy[0], false, channelReduction(dy[0])...))
	}
	return d, nil
}

func sparseConvBody(b *Builder, n *graph.Node) (values, error) {
	c, err := sparseConvOf(n)
	if err != nil {
		return nil, err
	}
	return values{b.OpA("Conv", c.attrs(), n.Inputs[0], c.dense(b, n.Inputs[1]), n.Input(2))}, nil
}

func runSparseConv[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := sparseConvOf(c.Node)
	if err != nil {
		return nil, err
	}
	x, v, bias, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.Out, 0)
	s := kernel.NewSparseConv[T](geometry.geom(), geometry.kept)
	return func() error {
		s.Run(c.Team, x, v, bias, y)
		return nil
	}, nil
}

func sparseConvOfGradInput(n *graph.Node) (*sparseConv, error) {
	x := n.Ints("input_shape")
	if len(x) < 2 {
		return nil, fmt.Errorf("attribute input_shape is %v", x)
	}
	if err := CheckSize(x); err != nil {
		return nil, fmt.Errorf("attribute input_shape: %w", err)
	}
	return newSparseConv(n, x, n.Int("outputs", 0))
}

func inferSparseConvGradInput(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	c, err := sparseConvOfGradInput(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 0, c.output()...); err != nil {
		return err
	}
	if err := wantShape(n, 1, len(c.kept)); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.input())
}

func gradSparseConvGradInput(b *Builder, n *graph.Node, d values) (values, error) {
	c, err := sparseConvOfGradInput(n)
	if err != nil {
		return nil, err
	}
	return values{b.sparseConv(c, d[0], n.Inputs[1]), b.sparseConvGradWeight(c, d[0], n.Inputs[0])}, nil
}

func sparseConvGradInputBody(b *Builder, n *graph.Node) (values, error) {
	c, err := sparseConvOfGradInput(n)
	if err != nil {
		return nil, err
	}
	return values{b.convGradInput(c.conv, n.Inputs[0], c.dense(b, n.Inputs[1]))}, nil
}

func runSparseConvGradInput[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := sparseConvOfGradInput(c.Node)
	if err != nil {
		return nil, err
	}
	dy, v, dx := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	s := kernel.NewSparseConvGradInput[T](geometry.geom(), geometry.kept)
	return func() error {
		s.Run(c.Team, dy, v, nil, dx)
		return nil
	}, nil
}

func sparseConvOfGradWeight(n *graph.Node) (*sparseConv, error) {
	dy := n.Inputs[1].Shape
	if len(dy) < 2 {
		return nil, fmt.Errorf("gradient of rank %d", len(dy))
	}
	c, err := newSparseConv(n, n.Inputs[0].Shape, dy[1])
	if err != nil {
		return nil, err
	}
	return c, wantShape(n, 1, c.output()...)
}

func inferSparseConvGradWeight(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	c, err := sparseConvOfGradWeight(n)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{len(c.kept)})
}

func gradSparseConvGradWeight(b *Builder, n *graph.Node, d values) (values, error) {
	c, err := sparseConvOfGradWeight(n)
	if err != nil {
		return nil, err
	}
	return values{b.sparseConvGradInput(c, n.Inputs[1], d[0]), b.sparseConv(c, n.Inputs[0], d[0])}, nil
}

func sparseConvGradWeightBody(b *Builder, n *graph.Node) (values, error) {
	c, err := sparseConvOfGradWeight(n)
	if err != nil {
		return nil, err
	}
	dw := b.convGradWeight(c.conv, n.Inputs[0], n.Inputs[1])
	return values{b.OpA("Gather", []*onnx.Attr{onnx.AttrInt("axis", 0)}, b.Reshape(dw, c.weight().Size()), c.places(b))}, nil
}

func runSparseConvGradWeight[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := sparseConvOfGradWeight(c.Node)
	if err != nil {
		return nil, err
	}
	x, dy, v := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	s := kernel.NewSparseConvGradWeight[T](geometry.geom(), geometry.kept)
	return func() error {
		s.Run(c.Team, x, dy, v)
		return nil
	}, nil
}
