package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

func init() {
	register(
		Op{Name: "LayerNormalization", Since: []int{17}, Axes: axesNorm, Infer: inferLayerNorm, Grad: gradLayerNorm, InPlace: []int{0},
			Forward: kernels(runLayerNorm[float32], runLayerNorm[float64])},
		Op{Domain: Domain, Name: "LayerNormalizationGrad", Infer: inferLayerNormGrad, Body: layerNormGradBody, InPlace: []int{0},
			Forward: kernels(runLayerNormGrad[float32], runLayerNormGrad[float64])},
		Op{Name: "RMSNormalization", Since: []int{23}, Axes: axesNorm, Infer: inferRMSNorm, Body: rmsNormBody},
		Op{Name: "GroupNormalization", Since: []int{18, 21}, Axes: axesNorm, Infer: inferGroupNorm, Body: groupNormBody},
		Op{Name: "InstanceNormalization", Since: []int{1, 6, 22}, Axes: axesNorm, Infer: inferInstanceNorm, Body: instanceNormBody},
		Op{Name: "LpNormalization", Since: []int{1, 22}, Infer: inferLpNorm, Body: lpNormBody},
		Op{Name: "LRN", Since: []int{1, 13}, Infer: inferLRN, Body: lrnBody},
	)
}

// centred is what normalisation over some axes computes, all with these axes
// kept at extent 1 but the first.
type centred struct {
	x      *graph.Value // x - mean
	mean   *graph.Value
	vari   *graph.Value // biased variance
	invstd *graph.Value // 1/sqrt(variance + epsilon)
}

// normalise computes mean and variance of x over axes.
func (b *Builder) normalise(x *graph.Value, epsilon float64, axes ...int) centred {
	var c centred
	c.mean = b.mean(x, axes...)
	c.x = b.Sub(x, c.mean)
	c.vari = b.mean(b.Mul(c.x, c.x), axes...)
	c.invstd = b.inverseRoot(c.vari, epsilon)
	return c
}

// inverseRoot is 1/sqrt(v + epsilon).
func (b *Builder) inverseRoot(v *graph.Value, epsilon float64) *graph.Value {
	if b.Err != nil {
		return nil
	}
	return b.Op("Reciprocal", b.Op("Sqrt", b.Add(v, b.Scalar(epsilon, v))))
}

// epsilonOf reads epsilon, which must keep square roots away from zero.
func epsilonOf(n *graph.Node) (float64, error) {
	e := n.Float("epsilon", 1e-5)
	if !(e >= 0 && e < 1e30) {
		return 0, fmt.Errorf("attribute epsilon is %v, want a number from 0 on", e)
	}
	return e, nil
}

// LayerNormalization(x, scale, [bias]) normalises over the axes from axis on:
// y = (x - mean) * invstd * scale + bias. Outputs 1 and 2 are mean and invstd.

// rowsOf splits the shape of x at axis: rows normalised, each of size columns.
func rowsOf(n *graph.Node, x graph.Shape, def int) (axis, rows, columns int, err error) {
	if axis, err = normAxis(n.Int("axis", def), len(x)); err != nil {
		return 0, 0, 0, err
	}
	rows, columns = product(x[:axis]), product(x[axis:])
	if columns == 0 {
		return 0, 0, 0, fmt.Errorf("nothing to normalise in shape %v from axis %d on", []int(x), axis)
	}
	return axis, rows, columns, nil
}

// rowStatistic is the shape of one number per row.
func rowStatistic(x graph.Shape, axis int) graph.Shape {
	shape := x.Clone()
	for i := axis; i < len(shape); i++ {
		shape[i] = 1
	}
	return shape
}

// wantScale checks that input i, when given, has one entry per normalised
// element. ONNX lets it broadcast to x; that is implemented only for leading
// extents of 1.
func wantScale(n *graph.Node, i int, normalised graph.Shape) error {
	v := n.Input(i)
	if v == nil {
		return nil
	}
	shape := v.Shape
	for len(shape) > len(normalised) && shape[0] == 1 {
		shape = shape[1:]
	}
	if len(shape) != len(normalised) || product(shape) != product(normalised) {
		return fmt.Errorf("input %d, %q, has shape %v, want the normalised extents %v", i, v.Name, []int(v.Shape), []int(normalised))
	}
	for k, d := range shape {
		if d != normalised[k] {
			return fmt.Errorf("input %d, %q, has shape %v, want the normalised extents %v", i, v.Name, []int(v.Shape), []int(normalised))
		}
	}
	return nil
}

func inferLayerNorm(n *graph.Node) error {
	if err := floatInputs(n, 2, 3, 3); err != nil {
		return err
	}
	x := n.Inputs[0]
	axis, _, _, err := rowsOf(n, x.Shape, -1)
	if err != nil {
		return err
	}
	if _, err := epsilonOf(n); err != nil {
		return err
	}
	for i := 1; i <= 2; i++ {
		if err := wantScale(n, i, x.Shape[axis:]); err != nil {
			return err
		}
		if err := setOutput(n, i, x.DType, rowStatistic(x.Shape, axis)); err != nil {
			return err
		}
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

func runLayerNorm[T kernel.Float](c *Call) (func() error, error) {
	_, rows, columns, err := rowsOf(c.Node, c.In[0].Shape, -1)
	if err != nil {
		return nil, err
	}
	epsilon, err := epsilonOf(c.Node)
	if err != nil {
		return nil, err
	}
	x, scale, bias, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.Out, 0)
	mean, invstd := orScratch[T](c.Out, 1, rows), orScratch[T](c.Out, 2, rows)
	k := kernel.NewLayerNorm[T](rows, columns, epsilon)
	return func() error {
		k.Forward(c.Team, y, x, scale, bias, mean, invstd)
		return nil
	}, nil
}

// gradLayerNorm goes through mean and invstd as outputs of the forward node.
func gradLayerNorm(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error) {
	_, _, columns, err := rowsOf(n, n.Inputs[0].Shape, -1)
	if err != nil {
		return nil, err
	}
	x, scale := n.Inputs[0], n.Inputs[1]
	out := b.Outputs(n, 3)
	mean, invstd := out[1], out[2]
	dx := make([]*graph.Value, 3)
	if dy[0] != nil {
		in := []*graph.Value{dy[0], x, scale, mean, invstd}
		dx = b.Own("LayerNormalizationGrad", 3, in, keepAttrs(n, "axis")...)
	}
	dy = append(slices.Clone(dy), nil, nil)
	dx[0] = b.sum(dx[0], b.momentGrad(x, mean, dy[1], b.varianceGrad(invstd, dy[2]), columns))
	return dx[:len(n.Inputs)], nil
}

// varianceGrad turns the gradient of invstd = (var + epsilon)^(-1/2) into that
// of var; nil stands for zero.
func (b *Builder) varianceGrad(invstd, dinvstd *graph.Value) *graph.Value {
	if dinvstd == nil || b.Err != nil {
		return nil
	}
	cube := b.Mul(invstd, b.Mul(invstd, invstd))
	return b.Mul(b.Mul(dinvstd, cube), b.Scalar(-0.5, invstd))
}

// momentGrad is the gradient of x from those of the mean and of the biased
// variance of count elements each, either of which may be nil for zero. Both
// must broadcast to x.
func (b *Builder) momentGrad(x, mean, dmean, dvar *graph.Value, count int) *graph.Value {
	if b.Err != nil {
		return nil
	}
	share := b.Scalar(1/float64(count), x)
	var dx *graph.Value
	if dmean != nil {
		dx = b.Expand(b.Mul(dmean, share), x.Shape)
	}
	if dvar != nil {
		twice := b.Mul(b.Sub(x, mean), b.Scalar(2, x))
		dx = b.sum(dx, b.Mul(twice, b.Mul(dvar, share)))
	}
	return dx
}

// LayerNormalizationGrad(dy, x, scale, mean, invstd) with
// LayerNormalization's axis returns the gradients of x, scale and bias.

func inferLayerNormGrad(n *graph.Node) error {
	if err := floatInputs(n, 5, 5, 3); err != nil {
		return err
	}
	x, scale := n.Inputs[1], n.Inputs[2]
	axis, _, _, err := rowsOf(n, x.Shape, -1)
	if err != nil {
		return err
	}
	if err := wantShape(n, 0, x.Shape...); err != nil {
		return err
	}
	if err := wantScale(n, 2, x.Shape[axis:]); err != nil {
		return err
	}
	for i := 3; i <= 4; i++ {
		if err := wantShape(n, i, rowStatistic(x.Shape, axis)...); err != nil {
			return err
		}
	}
	for i, v := range []*graph.Value{x, scale, scale} {
		if err := setOutput(n, i, x.DType, v.Shape); err != nil {
			return err
		}
	}
	return nil
}

func runLayerNormGrad[T kernel.Float](c *Call) (func() error, error) {
	_, rows, columns, err := rowsOf(c.Node, c.In[1].Shape, -1)
	if err != nil {
		return nil, err
	}
	dy, x, scale, dx := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.Out, 0)
	mean, invstd := slot[T](c.In, 3), slot[T](c.In, 4)
	dscale, dbias := orScratch[T](c.Out, 1, columns), orScratch[T](c.Out, 2, columns)
	k := kernel.NewLayerNorm[T](rows, columns, 0) // epsilon is in invstd
	return func() error {
		k.Backward(c.Team, dx, dscale, dbias, dy, x, scale, mean, invstd)
		return nil
	}, nil
}

// layerNormGradBody: with z = (x - mean) * invstd and g = dy * scale,
// dx = invstd * (g - mean(g) - z * mean(g*z)).
func layerNormGradBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	dy, x, scale, mean, invstd := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Inputs[3], n.Inputs[4]
	axis, _, _, err := rowsOf(n, x.Shape, -1)
	if err != nil {
		return nil, err
	}
	axes := sequence(axis, len(x.Shape)-axis)
	z := b.Mul(b.Sub(x, mean), invstd)
	g := b.Mul(dy, scale)
	rest := b.Add(b.mean(g, axes...), b.Mul(z, b.mean(b.Mul(g, z), axes...)))
	dx := b.Mul(invstd, b.Sub(g, rest))
	dscale, dbias := b.Mul(dy, z), b.Op("Identity", dy)
	if axis > 0 {
		dscale = b.ReduceSum(dscale, false, sequence(0, axis)...)
		dbias = b.ReduceSum(dy, false, sequence(0, axis)...)
	}
	return []*graph.Value{dx, b.Reshape(dscale, scale.Shape...), b.Reshape(dbias, scale.Shape...)}, nil
}

// RMSNormalization(x, scale): y = x / sqrt(mean(x*x) + epsilon) * scale over
// the axes from axis on.

func inferRMSNorm(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	axis, _, _, err := rowsOf(n, x.Shape, -1)
	if err != nil {
		return err
	}
	if _, err := epsilonOf(n); err != nil {
		return err
	}
	if err := wantScale(n, 1, x.Shape[axis:]); err != nil {
		return err
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

func rmsNormBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	x, scale := n.Inputs[0], n.Inputs[1]
	axis, _, _, err := rowsOf(n, x.Shape, -1)
	if err != nil {
		return nil, err
	}
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil, err
	}
	axes := sequence(axis, len(x.Shape)-axis)
	inv := b.inverseRoot(b.mean(b.Mul(x, x), axes...), epsilon)
	return []*graph.Value{b.Mul(b.Mul(x, inv), scale)}, nil
}

// inferChannelNorm checks a normalisation of [N C spatial...] with scale and
// bias of length want(C).
func inferChannelNorm(n *graph.Node, want func(channels int) (int, error)) error {
	if err := floatInputs(n, 3, 3, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if len(x.Shape) < 3 {
		return fmt.Errorf("input %q has rank %d, want [N C spatial...]", x.Name, len(x.Shape))
	}
	if product(x.Shape[1:]) == 0 {
		return fmt.Errorf("input %q of shape %v has nothing to normalise", x.Name, []int(x.Shape))
	}
	if _, err := epsilonOf(n); err != nil {
		return err
	}
	size, err := want(x.Shape[1])
	if err != nil {
		return err
	}
	for i := 1; i <= 2; i++ {
		if err := wantShape(n, i, size); err != nil {
			return err
		}
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

// GroupNormalization(x, scale, bias) normalises over groups of neighbouring
// channels. scale and bias have an entry per channel, before operator set 21
// an entry per group.

func inferGroupNorm(n *graph.Node) error {
	return inferChannelNorm(n, func(channels int) (int, error) {
		groups := n.Int("num_groups", 0)
		if groups < 1 || channels%groups != 0 {
			return 0, fmt.Errorf("%d channels do not divide into num_groups %d", channels, groups)
		}
		if n.Version < 21 {
			return groups, nil
		}
		return channels, nil
	})
}

func groupNormBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	x := n.Inputs[0]
	groups := n.Int("num_groups", 0)
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil, err
	}
	c := b.normalise(b.Reshape(x, x.Shape[0], groups, product(x.Shape[1:])/groups), epsilon, 2)
	z := b.Mul(c.x, c.invstd)
	scale, bias := n.Inputs[1], n.Inputs[2]
	if n.Version < 21 {
		z = b.Add(b.Mul(z, b.perChannel(scale, 1)), b.perChannel(bias, 1))
		return []*graph.Value{b.Reshape(z, x.Shape...)}, nil
	}
	return []*graph.Value{b.affine(b.Reshape(z, x.Shape...), scale, bias)}, nil
}

// affine is x*scale + bias per channel.
func (b *Builder) affine(x, scale, bias *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	spatial := len(x.Shape) - 2
	return b.Add(b.Mul(x, b.perChannel(scale, spatial)), b.perChannel(bias, spatial))
}

// InstanceNormalization(x, scale, bias) normalises every image and channel.

func inferInstanceNorm(n *graph.Node) error {
	return inferChannelNorm(n, func(channels int) (int, error) { return channels, nil })
}

func instanceNormBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	x := n.Inputs[0]
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil, err
	}
	c := b.normalise(x, epsilon, sequence(2, len(x.Shape)-2)...)
	return []*graph.Value{b.affine(b.Mul(c.x, c.invstd), n.Inputs[1], n.Inputs[2])}, nil
}

// LpNormalization divides by the 1-norm or 2-norm along an axis.

func inferLpNorm(n *graph.Node) error {
	if err := floatInputs(n, 1, 1, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if _, err := normAxis(n.Int("axis", -1), len(x.Shape)); err != nil {
		return err
	}
	if p := n.Int("p", 2); p != 1 && p != 2 {
		return fmt.Errorf("attribute p is %d, want 1 or 2", p)
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

func lpNormBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	x := n.Inputs[0]
	axis, err := normAxis(n.Int("axis", -1), len(x.Shape))
	if err != nil {
		return nil, err
	}
	var norm *graph.Value
	if n.Int("p", 2) == 1 {
		norm = b.ReduceSum(b.Op("Abs", x), true, axis)
	} else {
		norm = b.Op("Sqrt", b.ReduceSum(b.Mul(x, x), true, axis))
	}
	zero := b.Op("Equal", norm, b.Scalar(0, x)) // zeros stay zeros
	return []*graph.Value{b.Div(x, b.Op("Where", zero, b.Scalar(1, x), norm))}, nil
}

// LRN (AlexNet's local response normalisation):
// y = x / (bias + alpha/size * sum of squares over size channels around)^beta.

func inferLRN(n *graph.Node) error {
	if err := floatInputs(n, 1, 1, 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if len(x.Shape) < 3 {
		return fmt.Errorf("input %q has rank %d, want [N C spatial...]", x.Name, len(x.Shape))
	}
	if size := n.Int("size", 0); size < 1 || size > maxWindow {
		return fmt.Errorf("attribute size is %d, want between 1 and %d", size, maxWindow)
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

// lrnBody takes the sum over channels as an average pool with the channels as
// the rows of an image; padding counts, so it is the sum over size.
func lrnBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	x, size := n.Inputs[0], n.Int("size", 0)
	image := []int{x.Shape[0], 1, x.Shape[1], product(x.Shape[2:])}
	squares := b.Reshape(b.Mul(x, x), image...)
	mean := b.OpA("AveragePool", []*onnx.Attr{
		onnx.AttrInts("kernel_shape", int64(size), 1),
		onnx.AttrInts("pads", int64((size-1)/2), 0, int64(size/2), 0),
		onnx.AttrInt("count_include_pad", 1),
	}, squares)
	if b.Err != nil {
		return nil, b.Err
	}
	alpha, beta, bias := n.Float("alpha", 1e-4), n.Float("beta", 0.75), n.Float("bias", 1)
	base := b.Add(b.Mul(b.Reshape(mean, x.Shape...), b.Scalar(alpha, x)), b.Scalar(bias, x))
	return []*graph.Value{b.Div(x, b.Op("Pow", base, b.Scalar(beta, x)))}, nil
}
