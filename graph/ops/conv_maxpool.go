package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// ConvMaxPool(x, w, [bias]) has Conv's attributes and rectify. It is the maximum
// pooling, by windows of 2 by 2 that do not overlap, of Conv's result, or of its
// Relu with rectify=1; outputs are those of MaxPool. The executor puts it in.
func init() {
	register(Op{Domain: Domain, Name: "ConvMaxPool", Infer: inferConvMaxPool, Body: convMaxPoolBody,
		Forward: kernels(runConvMaxPool[float32], runConvMaxPool[float64])})
}

// maxPoolAttrs are those of the pooling.
func maxPoolAttrs() []*onnx.Attr {
	return []*onnx.Attr{onnx.AttrInts("kernel_shape", 2, 2), onnx.AttrInts("strides", 2, 2)}
}

// ConvMaxPool appends what computes the MaxPool n of a Conv's result, or of its
// Relu. It returns nil where the operator does not fit, is not faster, or somebody
// else reads what would not be there.
func (b *Builder) ConvMaxPool(n *graph.Node) []*graph.Value {
	only := func(v *graph.Value) *graph.Node {
		if len(v.Uses()) != 1 || slices.Contains(b.G.Outputs, v) {
			return nil
		}
		return v.Producer()
	}
	m, rectify := only(n.Inputs[0]), int64(0)
	if m != nil && m.Domain == "" && m.Op == "Relu" {
		m, rectify = only(m.Inputs[0]), 1
	}
	if b.Err != nil || m == nil || m.Domain != "" || m.Op != "Conv" {
		return nil
	}
	c, err := convOf(m)
	if err != nil || len(c.in) != 2 || n.Int("storage_order", 0) != 0 {
		return nil
	}
	w, err := poolWindow(n, n.Inputs[0].Shape)
	if err != nil {
		return nil
	}
	if two := []int{2, 2}; !slices.Equal(w.kernel, two) || !slices.Equal(w.stride, two) || !slices.Equal(w.dilation, []int{1, 1}) ||
		!slices.Equal(w.begin, []int{0, 0}) || !slices.Equal(w.out, []int{w.in[0] / 2, w.in[1] / 2}) {
		return nil
	}
	fits := kernel.ConvMaxPoolFits[float32]
	if n.Inputs[0].DType == onnx.Float64 {
		fits = kernel.ConvMaxPoolFits[float64]
	}
	if !fits(c.geom()) {
		return nil
	}
	return b.Own("ConvMaxPool", len(n.Outputs), m.Inputs, c.attrs(onnx.AttrInt("rectify", rectify))...)
}

func inferConvMaxPool(n *graph.Node) error {
	if err := floatInputs(n, 2, 3, 2); err != nil {
		return err
	}
	if x := n.Inputs[0]; len(x.Shape) != 4 {
		return fmt.Errorf("input %q has rank %d, want images [N C H W]", x.Name, len(x.Shape))
	}
	c, err := convOf(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 2, c.channels); err != nil {
		return err
	}
	if min(c.out[0], c.out[1]) < 2 {
		return fmt.Errorf("planes of %d by %d have no window of 2 by 2", c.out[0], c.out[1])
	}
	if err := CheckSize(c.output()); err != nil {
		return fmt.Errorf("what is pooled: %w", err)
	}
	y := graph.Shape{c.batch, c.channels, c.out[0] / 2, c.out[1] / 2}
	if err := setOutput(n, 1, onnx.Int64, y); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, y)
}

func convMaxPoolBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c, err := convOf(n)
	if err != nil {
		return nil, err
	}
	y := b.OpA("Conv", c.attrs(), n.Inputs...)
	if n.Int("rectify", 0) != 0 {
		y = b.Op("Relu", y)
	}
	return b.Node("MaxPool", len(n.Outputs), values{y}, maxPoolAttrs()...), b.Err
}

func runConvMaxPool[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := convOf(c.Node)
	if err != nil {
		return nil, err
	}
	if !kernel.ConvMaxPoolFits[T](geometry.geom()) {
		return nil, fmt.Errorf("this convolution is not computed with its pooling; use Conv and MaxPool")
	}
	opt := kernel.ConvOptions{FixedWeights: c.fixed(1)}
	if c.Node.Int("rectify", 0) != 0 {
		opt.Activation = kernel.Rectifier
	}
	x, w, bias, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.Out, 0)
	var places []int64
	if len(c.Out) > 1 && c.Out[1] != nil {
		places = onnx.Of[int64](c.Out[1])
	}
	k := kernel.NewConvMaxPool[T](geometry.geom(), opt)
	return func() error {
		k.Run(c.Team, x, w, bias, y, places)
		return nil
	}, nil
}
