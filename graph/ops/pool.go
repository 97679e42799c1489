package ops

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

func init() {
	register(
		Op{Name: "MaxPool", Since: []int{1, 8, 10, 11, 12, 22}, Axes: axesWindow, Infer: inferMaxPool, Grad: gradMaxPool,
			Forward: kernels(runMaxPool[float32], runMaxPool[float64])},
		Op{Domain: Domain, Name: "MaxPoolGrad", Infer: inferMaxPoolGrad, Body: maxPoolGradBody, Grad: gradMaxPoolGrad,
			Forward: kernels(runMaxPoolGrad[float32], runMaxPoolGrad[float64])},
		Op{Domain: Domain, Name: "MaxPoolPick", Infer: inferMaxPoolPick, Body: maxPoolPickBody, Grad: gradMaxPoolPick,
			Forward: kernels(runMaxPoolPick[float32], runMaxPoolPick[float64])},
		Op{Name: "AveragePool", Since: []int{7, 10, 11, 19, 22}, Axes: axesWindow, Infer: inferAveragePool, Grad: gradAveragePool,
			Forward: kernels(runAveragePool[float32], runAveragePool[float64])},
		Op{Domain: Domain, Name: "AveragePoolGrad", Infer: inferAveragePoolGrad, Body: averagePoolGradBody, Grad: gradAveragePoolGrad,
			Forward: kernels(runAveragePoolGrad[float32], runAveragePoolGrad[float64])},
		Op{Name: "GlobalAveragePool", Since: []int{1, 22}, Axes: axesWindow, Infer: inferGlobalPool, Body: globalPoolBody("ReduceMean")},
		Op{Name: "GlobalMaxPool", Since: []int{1, 22}, Axes: axesWindow, Infer: inferGlobalPool, Body: globalPoolBody("ReduceMax")},
	)
}

// poolWindow reads the window of a pooling node over an input of shape x.
func poolWindow(n *graph.Node, x graph.Shape) (*window, error) {
	in := x[2:]
	kernel, err := spatialInts(n, "kernel_shape", len(in), 1, -1)
	if err != nil {
		return nil, err
	}
	if kernel[0] < 0 {
		return nil, fmt.Errorf("attribute kernel_shape is missing")
	}
	r := roundDown
	if n.Int("ceil_mode", 0) != 0 {
		r = roundUp
	}
	w, err := readWindow(n, in, kernel, r)
	if err != nil {
		return nil, err
	}
	return w, w.checkReach()
}

// checkReach makes sure that every position of the window reads at least one
// input element, so that every maximum and every mean is defined.
func (w *window) checkReach() error {
	for i, size := range w.in {
		for o := 0; o < w.out[i]; o++ {
			first := o*w.stride[i] - w.begin[i]
			if first >= 0 && first < size {
				// So do all positions up to the last that starts inside.
				o = (size - 1 + w.begin[i]) / w.stride[i]
				continue
			}
			if first < 0 {
				first += ceilDiv(-first, w.dilation[i]) * w.dilation[i]
			}
			if first >= size || first > o*w.stride[i]-w.begin[i]+w.extent(i)-1 {
				return fmt.Errorf("window position %d along spatial axis %d lies in the padding; pads must be smaller than the window", o, i)
			}
		}
	}
	return nil
}

// poolAttrs are the attributes of a pooling operator with this window.
// ceil_mode is not among them: for given padding it follows from the output's
// extents, and the operators that need it add it.
func (w *window) poolAttrs(more ...*onnx.Attr) []*onnx.Attr {
	return slices.Concat(w.attrs(), []*onnx.Attr{onnx.AttrInts("kernel_shape", toInt64(w.kernel)...)}, more)
}

// keepAttrs copies attributes of n that are set.
func keepAttrs(n *graph.Node, names ...string) []*onnx.Attr {
	var out []*onnx.Attr
	for _, name := range names {
		if a := n.Attr(name); a != nil {
			out = append(out, a)
		}
	}
	return out
}

// inferPool checks a pooling node whose image is input 0 and returns its window.
func inferPool(n *graph.Node, maxOut int) (*window, error) {
	if err := floatInputs(n, 1, 1, maxOut); err != nil {
		return nil, err
	}
	x := n.Inputs[0]
	if _, err := spatial(n, x); err != nil {
		return nil, err
	}
	return poolWindow(n, x.Shape)
}

// images are the leading extents, batch and channels, before spatial ones.
func images(x graph.Shape, spatial []int) graph.Shape {
	return append(graph.Shape{x[0], x[1]}, spatial...)
}

// spec is the kernel's form of the window over the last two spatial axes of x.
func (w *window) spec(n *graph.Node, x []int) kernel.PoolSpec {
	p := w.planar()
	return kernel.PoolSpec{
		Planes: x[0] * x[1], H: p.in[0], W: p.in[1], OH: p.out[0], OW: p.out[1],
		KernelH: p.kernel[0], KernelW: p.kernel[1], StrideH: p.stride[0], StrideW: p.stride[1],
		DilationH: p.dilation[0], DilationW: p.dilation[1],
		PadTop: p.begin[0], PadLeft: p.begin[1], PadBottom: p.end[0], PadRight: p.end[1],
		CountPadding: countsPadding(n),
	}
}

// countsPadding reads count_include_pad.
func countsPadding(n *graph.Node) bool { return n.Int("count_include_pad", 0) != 0 }

// MaxPool: y is the largest element under the window, the first in row-major
// order among equals. Output 1, Indices, is its place in x as a whole;
// storage_order=1 counts the last two axes column by column.

func inferMaxPool(n *graph.Node) error {
	w, err := inferPool(n, 2)
	if err != nil {
		return err
	}
	if so := n.Int("storage_order", 0); so != 0 && so != 1 {
		return fmt.Errorf("attribute storage_order is %d, want 0 or 1", so)
	}
	shape := images(n.Inputs[0].Shape, w.out)
	if err := setOutput(n, 1, onnx.Int64, shape); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

func runMaxPool[T kernel.Float](c *Call) (func() error, error) {
	w, err := poolWindow(c.Node, c.In[0].Shape)
	if err != nil {
		return nil, err
	}
	if w.isVolume() {
		return runVolumeMaxPool[T](c, w)
	}
	x, y := slot[T](c.In, 0), slot[T](c.Out, 0)
	spec := w.spec(c.Node, c.In[0].Shape)
	k := kernel.NewMaxPool[T](spec)
	if len(c.Out) < 2 || c.Out[1] == nil {
		return func() error {
			k.Forward(c.Team, y, nil, x)
			return nil
		}, nil
	}
	index, places := make([]int32, len(y)), onnx.Of[int64](c.Out[1])
	byColumns := len(w.in) == 2 && c.Node.Int("storage_order", 0) == 1
	number := eachPlane(c.Team, spec.Planes, spec.OH*spec.OW, func(image int) {
		size, first := spec.OH*spec.OW, int64(image*spec.H*spec.W)
		from := index[image*size : (image+1)*size]
		to := places[image*size:][:len(from)]
		for i, at := range from {
			to[i] = first + int64(at)
		}
		if byColumns {
			for i, at := range from {
				to[i] = first + int64(int(at)%spec.W*spec.H+int(at)/spec.W)
			}
		}
	})
	return func() error {
		k.Forward(c.Team, y, index, x)
		number()
		return nil
	}, nil
}

// eachPlane returns what calls body for every plane of so many elements. Small
// planes are handed out some at a time.
func eachPlane(team *kernel.Team, planes, size int, body func(plane int)) func() {
	each := max(1, unitElements/max(1, size))
	unit := func(_ *kernel.Worker, unit int) {
		for plane := unit * each; plane < min((unit+1)*each, planes); plane++ {
			body(plane)
		}
	}
	return func() { team.For((planes+each-1)/each, unit) }
}

// gradMaxPool asks the forward node for Indices: measured on 2x2 windows,
// finding the maxima takes four times as long as going back to them.
func gradMaxPool(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error) {
	if n.Int("storage_order", 0) != 0 {
		return nil, fmt.Errorf("the gradient with storage_order 1 is not implemented")
	}
	places := b.Outputs(n, 2)[1]
	return []*graph.Value{b.maxPoolGrad(dy[0], places, n.Inputs[0].Shape)}, nil
}

func (b *Builder) maxPoolGrad(dy, places *graph.Value, x graph.Shape) *graph.Value {
	return b.Own("MaxPoolGrad", 1, []*graph.Value{dy, places}, onnx.AttrInts("input_shape", toInt64(x)...))[0]
}

// MaxPoolGrad(dy, indices) with input_shape, the shape of x, adds every dy at
// the place in x that the index names, which lies in the same image and
// channel.

func inferMaxPoolGrad(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	dy := n.Inputs[0]
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := wantType(n, 1, onnx.Int64); err != nil {
		return err
	}
	if err := wantShape(n, 1, dy.Shape...); err != nil {
		return err
	}
	x, err := inputShape(n, dy)
	if err != nil {
		return err
	}
	return setOutput(n, 0, dy.DType, x)
}

// inputShape reads input_shape, the shape of the images that dy is the pooled
// form's gradient of.
func inputShape(n *graph.Node, dy *graph.Value) (graph.Shape, error) {
	x := graph.Shape(n.Ints("input_shape"))
	if len(x) != len(dy.Shape) || len(x) < 3 || x[0] != dy.Shape[0] || x[1] != dy.Shape[1] {
		return nil, fmt.Errorf("attribute input_shape is %v, want [%v spatial...] as input %q has", []int(x), dy.Shape[:min(2, len(dy.Shape))], dy.Name)
	}
	if err := CheckSize(x); err != nil {
		return nil, fmt.Errorf("attribute input_shape: %w", err)
	}
	return x, nil
}

func maxPoolGradBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	if v := b.G.Opsets[""]; v < 16 {
		return nil, fmt.Errorf("needs operator set 16 or newer (ScatterElements that adds), the graph has %d", v)
	}
	dy, places, x := n.Inputs[0], n.Inputs[1], graph.Shape(n.Ints("input_shape"))
	zeros := b.Fill(0, dy, x.Size())
	dx := b.OpA("ScatterElements", []*onnx.Attr{onnx.AttrInt("axis", 0), onnx.AttrString("reduction", "add")},
		zeros, b.flat(places), b.flat(dy))
	return []*graph.Value{b.Reshape(dx, x...)}, nil
}

// gradMaxPoolGrad takes what lies at the indices.
func gradMaxPoolGrad(b *Builder, n *graph.Node, d []*graph.Value) ([]*graph.Value, error) {
	return []*graph.Value{b.maxPoolPick(d[0], n.Inputs[1]), nil}, nil
}

// MaxPoolPick(x, indices) is what lies in x at the indices, which name places in
// the same image and channel.

func (b *Builder) maxPoolPick(x, places *graph.Value) *graph.Value {
	return b.Own("MaxPoolPick", 1, []*graph.Value{x, places})[0]
}

func inferMaxPoolPick(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := wantType(n, 1, onnx.Int64); err != nil {
		return err
	}
	x, places := n.Inputs[0].Shape, n.Inputs[1].Shape
	if len(x) < 3 || len(places) != len(x) || !slices.Equal(x[:2], places[:2]) {
		return fmt.Errorf("images %v with indices %v: want one rank, batch and number of channels", []int(x), []int(places))
	}
	return setOutput(n, 0, n.Inputs[0].DType, places)
}

func maxPoolPickBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	x, places := n.Inputs[0], n.Inputs[1]
	picked := b.OpA("GatherElements", []*onnx.Attr{onnx.AttrInt("axis", 0)}, b.flat(x), b.flat(places))
	return []*graph.Value{b.Reshape(picked, places.Shape...)}, nil
}

func gradMaxPoolPick(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error) {
	return []*graph.Value{b.maxPoolGrad(dy[0], n.Inputs[1], n.Inputs[0].Shape), nil}, nil
}

func runMaxPoolPick[T kernel.Float](c *Call) (func() error, error) {
	x, places, y := slot[T](c.In, 0), onnx.Of[int64](c.In[1]), slot[T](c.Out, 0)
	images := c.Out[0].Shape[0] * c.Out[0].Shape[1]
	if images == 0 {
		return func() error { return nil }, nil
	}
	size, pooled := len(x)/images, len(y)/images
	var strays atomic.Int64
	pick := eachPlane(c.Team, images, pooled, func(image int) {
		from, first := x[image*size:(image+1)*size], int64(image*size)
		for i := image * pooled; i < (image+1)*pooled; i++ {
			at := places[i] - first
			if uint64(at) >= uint64(len(from)) {
				strays.Add(1)
				continue
			}
			y[i] = from[at]
		}
	})
	return func() error {
		strays.Store(0)
		pick()
		if n := strays.Load(); n > 0 {
			return fmt.Errorf("%d of the indices lie outside of their image", n)
		}
		return nil
	}, nil
}

func runMaxPoolGrad[T kernel.Float](c *Call) (func() error, error) {
	dy, places, dx := slot[T](c.In, 0), onnx.Of[int64](c.In[1]), slot[T](c.Out, 0)
	images := c.Out[0].Shape[0] * c.Out[0].Shape[1]
	if images == 0 {
		return func() error { return nil }, nil
	}
	size, pooled := len(dx)/images, len(dy)/images
	var strays atomic.Int64
	scatter := eachPlane(c.Team, images, size, func(image int) {
		to, first := dx[image*size:(image+1)*size], int64(image*size)
		clear(to)
		for i := image * pooled; i < (image+1)*pooled; i++ {
			if at := places[i] - first; at >= 0 && at < int64(size) {
				to[at] += dy[i]
			} else {
				strays.Add(1)
			}
		}
	})
	return func() error {
		strays.Store(0)
		scatter()
		if n := strays.Load(); n > 0 {
			return fmt.Errorf("%d of the indices lie outside of their image", n)
		}
		return nil
	}, nil
}

// AveragePool: y is the mean under the window, over the elements of x only or,
// with count_include_pad, over padding too. What ceil_mode lets the window
// cover beyond the padding never counts.

func inferAveragePool(n *graph.Node) error {
	w, err := inferPool(n, 1)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, images(n.Inputs[0].Shape, w.out))
}

func runAveragePool[T kernel.Float](c *Call) (func() error, error) {
	w, err := poolWindow(c.Node, c.In[0].Shape)
	if err != nil {
		return nil, err
	}
	if w.isVolume() {
		return runVolumeAveragePool[T](c, w)
	}
	x, y := slot[T](c.In, 0), slot[T](c.Out, 0)
	k := kernel.NewAveragePool[T](w.spec(c.Node, c.In[0].Shape))
	return func() error {
		k.Forward(c.Team, y, x)
		return nil
	}, nil
}

func gradAveragePool(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error) {
	x := n.Inputs[0].Shape
	w, err := poolWindow(n, x)
	if err != nil {
		return nil, err
	}
	shape := onnx.AttrInts("input_shape", toInt64(x)...)
	attrs := w.poolAttrs(append(keepAttrs(n, "ceil_mode", "count_include_pad"), shape)...)
	return b.Own("AveragePoolGrad", 1, dy[:1], attrs...), nil
}

// AveragePoolGrad(dy) has AveragePool's attributes and input_shape, the shape
// of x.

func inferAveragePoolGrad(n *graph.Node) error {
	if err := floatInputs(n, 1, 1, 1); err != nil {
		return err
	}
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return err
	}
	x, err := inputShape(n, n.Inputs[0])
	if err != nil {
		return err
	}
	w, err := poolWindow(n, x)
	if err != nil {
		return err
	}
	if err := wantShape(n, 0, images(x, w.out)...); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, x)
}

func runAveragePoolGrad[T kernel.Float](c *Call) (func() error, error) {
	w, err := poolWindow(c.Node, c.Out[0].Shape)
	if err != nil {
		return nil, err
	}
	if w.isVolume() {
		return runVolumeAveragePoolGrad[T](c, w)
	}
	dy, dx := slot[T](c.In, 0), slot[T](c.Out, 0)
	k := kernel.NewAveragePool[T](w.spec(c.Node, c.Out[0].Shape))
	return func() error {
		k.Backward(c.Team, dx, dy)
		return nil
	}, nil
}

func gradAveragePoolGrad(b *Builder, n *graph.Node, d []*graph.Value) ([]*graph.Value, error) {
	w, err := poolWindow(n, n.Ints("input_shape"))
	if err != nil {
		return nil, err
	}
	attrs := w.poolAttrs(keepAttrs(n, "ceil_mode", "count_include_pad")...)
	return []*graph.Value{b.OpA("AveragePool", attrs, d[0])}, nil
}

// averagePoolGradBody spreads dy/count with a transposed convolution, one
// channel per group, whose kernel is all ones.
func averagePoolGradBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	x := graph.Shape(n.Ints("input_shape"))
	w, err := poolWindow(n, x)
	if err != nil {
		return nil, err
	}
	dy := n.Inputs[0]
	share := w.shares(countsPadding(n))
	scaled := b.Mul(dy, b.floatConst(share, dy.DType, append([]int{1, 1}, w.out...)...))
	ones := b.Fill(1, dy, append([]int{x[1], 1}, w.kernel...)...)
	attrs := append(w.transposeAttrs(), onnx.AttrInt("group", int64(x[1])))
	return []*graph.Value{b.OpA("ConvTranspose", attrs, scaled, ones)}, nil
}

// shares returns 1/count for every window position, row-major.
func (w *window) shares(includePad bool) []float64 {
	counts := []float64{1}
	for i := range w.in {
		axis := w.axisCounts(i, includePad)
		next := make([]float64, 0, len(counts)*len(axis))
		for _, c := range counts {
			for _, a := range axis {
				next = append(next, c*a)
			}
		}
		counts = next
	}
	for i, c := range counts {
		counts[i] = 1 / c
	}
	return counts
}

// axisCounts returns how many places the window counts at each position along
// axis i.
func (w *window) axisCounts(i int, includePad bool) []float64 {
	lo, hi := 0, w.in[i]
	if includePad {
		lo, hi = -w.begin[i], w.in[i]+w.end[i]
	}
	counts := make([]float64, w.out[i])
	for o := range counts {
		first := o*w.stride[i] - w.begin[i]
		from := max(ceilDiv(lo-first, w.dilation[i]), 0)
		to := min(ceilDiv(hi-first, w.dilation[i]), w.kernel[i])
		counts[o] = float64(max(to-from, 0))
	}
	return counts
}

// ceilDiv is a/b rounded up, for positive b.
func ceilDiv(a, b int) int {
	if a <= 0 {
		return a / b
	}
	return (a + b - 1) / b
}

// GlobalAveragePool and GlobalMaxPool reduce the spatial axes to extent 1.

func inferGlobalPool(n *graph.Node) error {
	if err := floatInputs(n, 1, 1, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if len(x.Shape) < 3 {
		return fmt.Errorf("input %q has rank %d, want [N C spatial...]", x.Name, len(x.Shape))
	}
	if slices.Contains(x.Shape[2:], 0) {
		return fmt.Errorf("input %q of shape %v has nothing to pool", x.Name, []int(x.Shape))
	}
	return setOutput(n, 0, x.DType, images(x.Shape, slices.Repeat([]int{1}, len(x.Shape)-2)))
}

// globalPoolBody reduces with op.
func globalPoolBody(op string) func(*Builder, *graph.Node) ([]*graph.Value, error) {
	return func(b *Builder, n *graph.Node) ([]*graph.Value, error) {
		x := n.Inputs[0]
		return []*graph.Value{b.reduce(op, x, sequence(2, len(x.Shape)-2)...)}, nil
	}
}
