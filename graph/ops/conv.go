package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Convolution is bilinear in x and w, and so are its two gradients; each of the
// three derivatives is one of the three operators again:
//
//	Conv(x, w)            y[n,m,o]  = sum over c,k of x[n,c,o*s+k*d-p] w[m,c,k]
//	ConvGradInput(dy, w)  dx[n,c,i] = sum over m,o,k with o*s+k*d-p = i of dy[n,m,o] w[m,c,k]
//	ConvGradWeight(x, dy) dw[m,c,k] = sum over n,o of x[n,c,o*s+k*d-p] dy[n,m,o]
//
// with stride s, dilation d, padding p, and in groups as ONNX has them: x is
// [N C ...], w is [M C/group ...], y and dy are [N M ...].
func init() {
	register(
		Op{Name: "Conv", Since: []int{1, 11, 22}, Infer: inferConv, Grad: gradConv, Axes: axesConv, Beside: besideConv,
			Forward: kernels(runConv[float32], runConv[float64])},
		Op{Name: "ConvTranspose", Since: []int{1, 11, 22}, Infer: inferConvTranspose, Axes: axesConvTranspose, Body: convTransposeBody},
		Op{Domain: Domain, Name: "ConvGradInput", Infer: inferConvGradInput, Grad: gradConvGradInput,
			Body: convGradInputBody, Forward: kernels(runConvGradInput[float32], runConvGradInput[float64])},
		Op{Domain: Domain, Name: "ConvGradWeight", Infer: inferConvGradWeight, Grad: gradConvGradWeight,
			Body: convGradWeightBody, Forward: kernels(runConvGradWeight[float32], runConvGradWeight[float64])},
	)
}

// A conv is the geometry of a convolution.
type conv struct {
	*window
	batch, group     int
	inputs, channels int // C and M
}

// input, weight and output are the shapes of x, w and y.
func (c *conv) input() graph.Shape { return append(graph.Shape{c.batch, c.inputs}, c.in...) }
func (c *conv) output() graph.Shape {
	return append(graph.Shape{c.batch, c.channels}, c.out...)
}
func (c *conv) weight() graph.Shape {
	return append(graph.Shape{c.channels, c.inputs / c.group}, c.kernel...)
}

// attrs spells everything out that the shapes do not tell, for the operators
// of our own and for Conv.
func (c *conv) attrs(more ...*onnx.Attr) []*onnx.Attr {
	return append(append(c.window.attrs(), onnx.AttrInt("group", int64(c.group))), more...)
}

// newConv reads the attributes of n for the given shapes of x and w.
func newConv(n *graph.Node, x, w graph.Shape) (*conv, error) {
	if len(w) != len(x) {
		return nil, fmt.Errorf("weight has rank %d, input has rank %d", len(w), len(x))
	}
	c := &conv{batch: x[0], inputs: x[1], channels: w[0], group: n.Int("group", 1)}
	if c.group < 1 || c.channels%c.group != 0 {
		return nil, fmt.Errorf("%d output channels do not divide into %d groups", c.channels, c.group)
	}
	if c.inputs%c.group != 0 || w[1] != c.inputs/c.group {
		return nil, fmt.Errorf("weight %v: want %d/%d input channels (channels / group) along axis 1, have %d",
			[]int(w), c.inputs, c.group, w[1])
	}
	if c.inputs == 0 || c.channels == 0 {
		return nil, fmt.Errorf("a convolution of %d to %d channels", c.inputs, c.channels)
	}
	if k := n.Ints("kernel_shape"); len(k) > 0 && !slices.Equal(k, w[2:]) {
		return nil, fmt.Errorf("attribute kernel_shape is %v, the weight has %v", k, []int(w[2:]))
	}
	var err error
	c.window, err = readWindow(n, x[2:], w[2:], roundDown)
	return c, err
}

// convOf is the geometry of a Conv node.
func convOf(n *graph.Node) (*conv, error) {
	return newConv(n, n.Inputs[0].Shape, n.Inputs[1].Shape)
}

func inferConv(n *graph.Node) error {
	if err := floatInputs(n, 2, 3, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	c, err := convOf(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 2, c.channels); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.output())
}

func gradConv(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error) {
	c, err := convOf(n)
	if err != nil {
		return nil, err
	}
	x, w := n.Inputs[0], n.Inputs[1]
	dx := []*graph.Value{b.convGradInput(c, dy[0], w), b.convGradWeight(c, x, dy[0])}
	if n.Input(2) != nil {
		dx = append(dx, b.ReduceSum(dy[0], false, channelReduction(dy[0])...))
	}
	return dx, nil
}

func (b *Builder) conv(c *conv, x, w *graph.Value) *graph.Value {
	return b.OpA("Conv", c.attrs(), x, w)
}

func (b *Builder) convGradInput(c *conv, dy, w *graph.Value) *graph.Value {
	shape := onnx.AttrInts("input_shape", toInt64(c.input())...)
	return b.Own("ConvGradInput", 1, []*graph.Value{dy, w}, c.attrs(shape)...)[0]
}

func (b *Builder) convGradWeight(c *conv, x, dy *graph.Value) *graph.Value {
	return b.Own("ConvGradWeight", 1, []*graph.Value{x, dy}, c.attrs(c.kernelShape())...)[0]
}

func (c *conv) kernelShape() *onnx.Attr { return onnx.AttrInts("kernel_shape", toInt64(c.kernel)...) }

// ConvSampleGrads appends the gradient of n's weight for each sample of the
// batch alone, [N ...w], given the gradient dy of n's output. Samples do not
// mix, so it is the gradient of one convolution in which the samples are groups
// side by side in the channels.
func (b *Builder) ConvSampleGrads(n *graph.Node, dy *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	c, err := convOf(n)
	if err != nil {
		b.Fail("ops: %v", err)
		return nil
	}
	return b.sampleGrads(c, n.Inputs[0], dy)
}

func (b *Builder) sampleGrads(c *conv, x, dy *graph.Value) *graph.Value {
	weight, batch := c.weight(), c.batch
	wide := *c
	wide.batch, wide.group, wide.inputs, wide.channels = 1, batch*c.group, batch*c.inputs, batch*c.channels
	all := b.convGradWeight(&wide, b.Reshape(x, wide.input()...), b.Reshape(dy, wide.output()...))
	return b.Reshape(all, append([]int{batch}, weight...)...)
}

// ConvGradInput(dy, w) has Conv's attributes and input_shape, the shape of x.

func convOfGradInput(n *graph.Node) (*conv, error) {
	x, w := n.Ints("input_shape"), n.Inputs[1].Shape
	if len(x) != len(n.Inputs[0].Shape) {
		return nil, fmt.Errorf("attribute input_shape is %v, want rank %d", x, len(n.Inputs[0].Shape))
	}
	if err := CheckSize(x); err != nil {
		return nil, fmt.Errorf("attribute input_shape: %w", err)
	}
	return newConv(n, x, w)
}

func inferConvGradInput(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	c, err := convOfGradInput(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 0, c.output()...); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.input())
}

func gradConvGradInput(b *Builder, n *graph.Node, d []*graph.Value) ([]*graph.Value, error) {
	c, err := convOfGradInput(n)
	if err != nil {
		return nil, err
	}
	dy, w := n.Inputs[0], n.Inputs[1]
	return []*graph.Value{b.conv(c, d[0], w), b.convGradWeight(c, d[0], dy)}, nil
}

func convGradInputBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c, err := convOfGradInput(n)
	if err != nil {
		return nil, err
	}
	attrs := append(c.transposeAttrs(), onnx.AttrInt("group", int64(c.group)))
	return []*graph.Value{b.OpA("ConvTranspose", attrs, n.Inputs[0], n.Inputs[1])}, nil
}

// ConvGradWeight(x, dy) has Conv's attributes; kernel_shape tells the spatial
// extents of w.

func convOfGradWeight(n *graph.Node) (*conv, error) {
	x, dy := n.Inputs[0].Shape, n.Inputs[1].Shape
	kernel := n.Ints("kernel_shape")
	group := n.Int("group", 1)
	if len(dy) != len(x) || len(kernel) != len(x)-2 {
		return nil, fmt.Errorf("input of rank %d, gradient of rank %d, kernel_shape %v do not belong together", len(x), len(dy), kernel)
	}
	if group < 1 {
		return nil, fmt.Errorf("attribute group is %d", group)
	}
	return newConv(n, x, append(graph.Shape{dy[1], x[1] / group}, kernel...))
}

func inferConvGradWeight(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	c, err := convOfGradWeight(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 1, c.output()...); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.weight())
}

func gradConvGradWeight(b *Builder, n *graph.Node, d []*graph.Value) ([]*graph.Value, error) {
	c, err := convOfGradWeight(n)
	if err != nil {
		return nil, err
	}
	x, dy := n.Inputs[0], n.Inputs[1]
	return []*graph.Value{b.convGradInput(c, dy, d[0]), b.conv(c, x, d[0])}, nil
}

// convGradWeightBody is a convolution of x with dy as the kernel. The batch
// takes the place of the input channels, so both are turned; stride and
// dilation change roles. Of x, channel c of a group becomes the batch axis and
// the groups stay side by side.
func convGradWeightBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c, err := convOfGradWeight(n)
	if err != nil {
		return nil, err
	}
	x, dy := n.Inputs[0], n.Inputs[1]
	perGroup := c.inputs / c.group
	grouped := b.Reshape(x, append([]int{c.batch, c.group, perGroup}, c.in...)...)
	turned := b.Transpose(grouped, append([]int{2, 1, 0}, sequence(3, len(c.in))...)...)
	turned = b.Reshape(turned, append([]int{perGroup, c.group * c.batch}, c.in...)...)
	kernel := b.Transpose(dy, append([]int{1, 0}, sequence(2, len(c.in))...)...)
	end := make([]int, len(c.in))
	for i := range end {
		// What makes exactly c.kernel[i] positions; less is cut off below.
		end[i] = max((c.out[i]-1)*c.stride[i]+c.extent(i)-c.in[i]-c.begin[i], 0)
	}
	dw := b.OpA("Conv", []*onnx.Attr{
		onnx.AttrInts("strides", toInt64(c.dilation)...),
		onnx.AttrInts("dilations", toInt64(c.stride)...),
		onnx.AttrInts("pads", toInt64(slices.Concat(c.begin, end))...),
		onnx.AttrInt("group", int64(c.group)),
	}, turned, kernel)
	if b.Err != nil {
		return nil, b.Err
	}
	if !slices.Equal(dw.Shape[2:], graph.Shape(c.kernel)) {
		axes := sequence(2, len(c.in))
		dw = b.Op("Slice", dw, b.Ints(make([]int, len(axes))...), b.Ints(c.kernel...), b.Ints(axes...))
	}
	return []*graph.Value{b.Transpose(dw, append([]int{1, 0}, sequence(2, len(c.in))...)...)}, nil
}

// ConvTranspose(x, w, bias) is ConvGradInput with x in the place of dy: its
// output has the shape of the input of the convolution it transposes.

// convOfTranspose returns that convolution.
func convOfTranspose(n *graph.Node) (*conv, error) {
	x, w := n.Inputs[0].Shape, n.Inputs[1].Shape
	if len(w) != len(x) {
		return nil, fmt.Errorf("weight has rank %d, input has rank %d", len(w), len(x))
	}
	group := n.Int("group", 1)
	if group < 1 || group > maxElements || x[1] != w[0] || x[1]%group != 0 || x[1] == 0 || w[1] == 0 {
		return nil, fmt.Errorf("weight %v: want %d channels along axis 0, in %d groups", []int(w), x[1], group)
	}
	if k := n.Ints("kernel_shape"); len(k) > 0 && !slices.Equal(k, w[2:]) {
		return nil, fmt.Errorf("attribute kernel_shape is %v, the weight has %v", k, []int(w[2:]))
	}
	win, err := readTransposed(n, x[2:], w[2:])
	if err != nil {
		return nil, err
	}
	c := &conv{window: win, batch: x[0], group: group, inputs: w[1] * group, channels: x[1]}
	return c, CheckSize(c.input())
}

// readTransposed is readWindow for ConvTranspose, whose input extents are the
// window's output extents (ONNX, ConvTranspose, output_shape and auto_pad).
func readTransposed(n *graph.Node, out, kernel []int) (*window, error) {
	w := &window{out: out, kernel: kernel, in: slices.Clone(out)}
	if err := w.readSteps(n); err != nil {
		return nil, err
	}
	extra, err := spatialInts(n, "output_padding", len(kernel), 0, 0)
	if err != nil {
		return nil, err
	}
	full := make([]int, len(out)) // output extents without padding
	for i := range out {
		if extra[i] >= w.stride[i] {
			return nil, fmt.Errorf("attribute output_padding %v must be less than strides %v", extra, w.stride)
		}
		full[i] = (out[i]-1)*w.stride[i] + w.extent(i) + extra[i]
	}
	if err := w.readCrop(n, full); err != nil {
		return nil, err
	}
	for i := range out {
		if w.in[i] = full[i] - w.begin[i] - w.end[i]; out[i] < 1 || w.in[i] < 1 {
			return nil, fmt.Errorf("output extent %d along spatial axis %d", w.in[i], i)
		}
	}
	return w, nil
}

// readCrop sets the padding of a transposed window: from pads, from
// output_shape, or from auto_pad, which makes the output stride times the
// input.
func (w *window) readCrop(n *graph.Node, full []int) error {
	auto := n.Str("auto_pad", "NOTSET")
	same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
	target, err := spatialInts(n, "output_shape", len(full), 1, -1)
	if err != nil {
		return err
	}
	if target[0] < 0 && !same {
		return w.readPads(n)
	}
	w.begin, w.end = make([]int, len(full)), make([]int, len(full))
	for i := range full {
		want := target[i]
		if want < 0 {
			want = w.out[i] * w.stride[i]
		}
		total := full[i] - want
		if -total >= w.stride[i] {
			return fmt.Errorf("output extent %d along spatial axis %d is more than the %d that the kernel reaches with output_padding", want, i, full[i]+w.stride[i]-1)
		}
		full[i] = max(full[i], want) // positions that nothing reaches, as output_padding makes them
		w.begin[i], w.end[i] = split(max(total, 0), auto == "SAME_UPPER")
	}
	return nil
}

func inferConvTranspose(n *graph.Node) error {
	if err := floatInputs(n, 2, 3, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	c, err := convOfTranspose(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 2, c.inputs); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.input())
}

// convTransposeBody goes through our own operator: it has the kernel and the
// gradient.
func convTransposeBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c, err := convOfTranspose(n)
	if err != nil {
		return nil, err
	}
	y := b.convGradInput(c, n.Inputs[0], n.Inputs[1])
	if bias := n.Input(2); bias != nil {
		y = b.Add(y, b.perChannel(bias, len(c.in)))
	}
	return []*graph.Value{y}, nil
}

// geom is the kernel's form of the geometry of the last two spatial axes.
func (c *conv) geom() kernel.ConvGeom {
	w := c.planar()
	return kernel.ConvGeom{
		N: c.batch, C: c.inputs, H: w.in[0], W: w.in[1],
		OutC: c.channels, KH: w.kernel[0], KW: w.kernel[1], OH: w.out[0], OW: w.out[1],
		StrideH: w.stride[0], StrideW: w.stride[1], DilH: w.dilation[0], DilW: w.dilation[1],
		PadT: w.begin[0], PadL: w.begin[1], PadB: w.end[0], PadR: w.end[1],
		Group: c.group,
	}
}

func runConv[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := convOf(c.Node)
	if err != nil {
		return nil, err
	}
	if geometry.isVolume() {
		return runVolumeConv[T](c, geometry)
	}
	x, w, bias, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.Out, 0)
	k := kernel.NewConv[T](geometry.geom(), kernel.ConvOptions{Winograd: c.Winograd, Activation: c.Activation, FixedWeights: c.fixed(1)})
	return func() error {
		k.Run(c.Team, x, w, bias, y)
		return nil
	}, nil
}

func runConvGradInput[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := convOfGradInput(c.Node)
	if err != nil {
		return nil, err
	}
	if geometry.isVolume() {
		return runVolumeGradInput[T](c, geometry)
	}
	dy, w, dx := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	k := kernel.NewConvGradInput[T](geometry.geom(), kernel.ConvOptions{Winograd: c.Winograd})
	return func() error {
		k.Run(c.Team, dy, w, dx)
		return nil
	}, nil
}

func runConvGradWeight[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := convOfGradWeight(c.Node)
	if err != nil {
		return nil, err
	}
	if geometry.isVolume() {
		return runVolumeGradWeight[T](c, geometry)
	}
	x, dy, dw := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	k := kernel.NewConvGradWeight[T](geometry.geom(), kernel.ConvOptions{Winograd: c.Winograd})
	return func() error {
		k.Run(c.Team, x, dy, dw)
		return nil
	}, nil
}
