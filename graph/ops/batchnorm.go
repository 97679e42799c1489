package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
)

func init() {
	register(
		Op{Name: "BatchNormalization", Since: []int{7, 9, 14, 15}, Infer: inferBatchNorm, Grad: gradBatchNorm, Axes: axesBatchNorm, InPlace: []int{0}, Beside: besideBatchNorm,
			Forward: kernels(runBatchNorm[float32], runBatchNorm[float64])},
		Op{Domain: Domain, Name: "BatchNormalizationInferenceGrad", Infer: inferBatchNormGrad, Body: batchNormInferenceGradBody, InPlace: []int{0},
			Forward: kernels(runBatchNormInferenceGrad[float32], runBatchNormInferenceGrad[float64])},
		Op{Domain: Domain, Name: "BatchNormalizationSampleSquares", Infer: inferBatchNormSampleSquares, Body: batchNormSampleSquaresBody,
			Forward: kernels(runBatchNormSampleSquares[float32], runBatchNormSampleSquares[float64])},
		Op{Domain: Domain, Name: "BatchNormalizationTraining", Infer: inferBatchNormTraining,
			Body: batchNormTrainingBody, Grad: gradBatchNormTraining, InPlace: []int{0}, Updates: []Update{{1, 3}, {2, 4}},
			Forward: kernels(runBatchNormTraining[float32], runBatchNormTraining[float64])},
		Op{Domain: Domain, Name: "BatchNormalizationGrad", Infer: inferBatchNormGrad, Body: batchNormGradBody, InPlace: []int{0},
			Forward: kernels(runBatchNormGrad[float32], runBatchNormGrad[float64])},
	)
}

// channelsOf checks that x is [N C spatial...] (spatial axes may be missing)
// and that the inputs listed are vectors of C.
func channelsOf(n *graph.Node, x *graph.Value, vectors ...int) error {
	if len(x.Shape) < 2 {
		return fmt.Errorf("input %q has rank %d, want [N C spatial...]", x.Name, len(x.Shape))
	}
	for _, i := range vectors {
		if err := wantShape(n, i, x.Shape[1]); err != nil {
			return err
		}
	}
	_, err := epsilonOf(n)
	return err
}

// BatchNormalization(x, scale, bias, mean, var) with running statistics:
// y = (x - mean) / sqrt(var + epsilon) * scale + bias, per channel.

func inferBatchNorm(n *graph.Node) error {
	if err := floatInputs(n, 5, 5, 5); err != nil {
		return err
	}
	x := n.Inputs[0]
	if err := channelsOf(n, x, 1, 2, 3, 4); err != nil {
		return err
	}
	if n.Version < 9 && n.Int("spatial", 1) == 0 {
		return fmt.Errorf("spatial=0 (statistics per position) is not implemented")
	}
	for i := 1; i < len(n.Outputs); i++ {
		if err := setOutput(n, i, x.DType, x.Shape[1:2]); err != nil {
			return err
		}
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

// errTrainingForm is for nodes that a file exported in training mode holds.
var errTrainingForm = fmt.Errorf("is in training mode; switch the graph to inference or training with package pass first")

// checkInference makes sure that n normalises with the running statistics.
func checkInference(n *graph.Node) error {
	if n.Int("training_mode", 0) != 0 || len(n.Outputs) > 1 {
		return errTrainingForm
	}
	return nil
}

// batchNormSpec is the kernel's form of a normalisation of x.
func batchNormSpec(n *graph.Node, x []int) (kernel.BatchNormSpec, error) {
	epsilon, err := epsilonOf(n)
	if err != nil {
		return kernel.BatchNormSpec{}, err
	}
	momentum, err := momentumOf(n)
	return kernel.BatchNormSpec{N: x[0], Channels: x[1], Spatial: product(x[2:]), Epsilon: epsilon, Momentum: momentum}, err
}

func runBatchNorm[T kernel.Float](c *Call) (func() error, error) {
	if err := checkInference(c.Node); err != nil {
		return nil, err
	}
	spec, err := batchNormSpec(c.Node, c.In[0].Shape)
	if err != nil {
		return nil, err
	}
	x, y, mean, vari := slot[T](c.In, 0), slot[T](c.Out, 0), slot[T](c.In, 3), slot[T](c.In, 4)
	params := kernel.BatchNormParams[T]{Scale: slot[T](c.In, 1), Bias: slot[T](c.In, 2)}
	spec.Relu = c.Activation == kernel.Rectifier
	k := kernel.NewBatchNorm[T](spec)
	return func() error {
		k.Infer(c.Team, y, x, params, mean, vari)
		return nil
	}, nil
}

// gradBatchNorm leaves out the gradients of mean and variance when they are
// constants, as they mostly are.
func gradBatchNorm(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error) {
	if err := checkInference(n); err != nil {
		return nil, err
	}
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil, err
	}
	x, scale, mean, vari := n.Inputs[0], n.Inputs[1], n.Inputs[3], n.Inputs[4]
	in := []*graph.Value{dy[0], x, scale, mean, vari}
	dx := b.Own("BatchNormalizationInferenceGrad", 3, in, keepAttrs(n, "epsilon")...)
	if mean.Const != nil && vari.Const != nil {
		return dx, nil
	}
	// dmean = -scale*invstd*dbias, dvar = -scale*invstd^2*dscale/2
	invstd := b.inverseRoot(vari, epsilon)
	gain := b.Mul(scale, invstd)
	dmean := b.Neg(b.Mul(dx[2], gain))
	dvar := b.Mul(b.Mul(dx[1], b.Mul(gain, invstd)), b.Scalar(-0.5, x))
	return append(dx, dmean, dvar), nil
}

// BatchNormalizationInferenceGrad(dy, x, scale, mean, var) returns the
// gradients of x, scale and bias of a BatchNormalization with running
// statistics.

// batchNormInferenceGradBody: with z = (x - mean) * invstd,
// dx = dy*scale*invstd, dscale = sum(dy*z), dbias = sum(dy).
func batchNormInferenceGradBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil, err
	}
	dy, x, scale, mean := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Inputs[3]
	sp := len(x.Shape) - 2
	axes := channelReduction(x)
	invstd := b.inverseRoot(n.Inputs[4], epsilon)
	dx := b.Mul(dy, b.perChannel(b.Mul(scale, invstd), sp))
	moment := b.ReduceSum(b.Mul(dy, b.Sub(x, b.perChannel(mean, sp))), false, axes...)
	return []*graph.Value{dx, b.Mul(moment, invstd), b.ReduceSum(dy, false, axes...)}, nil
}

// NormGradFactors returns, by channel, what a BatchNormalizationInferenceGrad multiplies
// dy with.
func (b *Builder) NormGradFactors(n *graph.Node) *graph.Value {
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil
	}
	return b.Mul(n.Inputs[2], b.inverseRoot(n.Inputs[4], epsilon))
}

func runBatchNormInferenceGrad[T kernel.Float](c *Call) (func() error, error) {
	if !c.unread(1) || !c.unread(2) {
		return batchNormGrads(c, (*kernel.BatchNorm[T]).InferGrad)
	}
	return batchNormGrads(c, func(k *kernel.BatchNorm[T], t *kernel.Team, dx, _, _, dy, x, scale, mean, variance []T) {
		k.InferGrad(t, dx, nil, nil, dy, x, scale, mean, variance)
	})
}

func runBatchNormGrad[T kernel.Float](c *Call) (func() error, error) {
	return batchNormGrads(c, (*kernel.BatchNorm[T]).TrainGrad)
}

// batchNormGrads runs one of the two gradients, which have the same inputs up
// to the last.
func batchNormGrads[T kernel.Float](c *Call, grad func(k *kernel.BatchNorm[T], t *kernel.Team, dx, dscale, dbias, dy, x, scale, mean, spread []T)) (func() error, error) {
	spec, err := batchNormSpec(c.Node, c.In[1].Shape)
	if err != nil {
		return nil, err
	}
	dy, x, scale := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2)
	mean, spread := slot[T](c.In, 3), slot[T](c.In, 4)
	dx, dscale, dbias := slot[T](c.Out, 0), orScratch[T](c.Out, 1, spec.Channels), orScratch[T](c.Out, 2, spec.Channels)
	k := kernel.NewBatchNorm[T](spec)
	return func() error {
		grad(k, c.Team, dx, dscale, dbias, dy, x, scale, mean, spread)
		return nil
	}, nil
}

// BatchNormalizationSampleSquares(dy, x, mean, var) returns sums over the batch
// of squared gradients of single samples by the scale of a BatchNormalization
// with running statistics, and by the bias.

// BatchNormSampleSquares appends these sums for n, given the gradient dy of its
// output.
func (b *Builder) BatchNormSampleSquares(n *graph.Node, dy *graph.Value) (scale, bias *graph.Value) {
	out := b.Own("BatchNormalizationSampleSquares", 2, []*graph.Value{dy, n.Inputs[0], n.Inputs[3], n.Inputs[4]}, keepAttrs(n, "epsilon")...)
	if b.Err != nil {
		return nil, nil
	}
	return out[0], out[1]
}

func inferBatchNormSampleSquares(n *graph.Node) error {
	if err := floatInputs(n, 4, 4, 4); err != nil {
		return err
	}
	x := n.Inputs[1]
	if err := channelsOf(n, x, 2, 3); err != nil {
		return err
	}
	if err := wantShape(n, 0, x.Shape...); err != nil {
		return err
	}
	if perChannelCount(x.Shape) == 0 {
		return fmt.Errorf("input %q of shape %v is empty", x.Name, []int(x.Shape))
	}
	for i := range n.Outputs {
		if err := setOutput(n, i, x.DType, x.Shape[1:2]); err != nil {
			return err
		}
	}
	return nil
}

// batchNormSampleSquaresBody: with z = (x - mean) * invstd, a sample's gradients
// are sum(dy*z) and sum(dy) over the places of its channels.
func batchNormSampleSquaresBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil, err
	}
	dy, x := n.Inputs[0], n.Inputs[1]
	sp, axes := len(x.Shape)-2, channelReduction(x)[1:]
	z := b.Mul(b.Sub(x, b.perChannel(n.Inputs[2], sp)), b.perChannel(b.inverseRoot(n.Inputs[3], epsilon), sp))
	var out []*graph.Value
	for _, v := range []*graph.Value{b.Mul(dy, z), dy} {
		single := b.ReduceSum(v, false, axes...)
		out = append(out, b.ReduceSum(b.Mul(single, single), false, 0))
	}
	return out, b.Err
}

func runBatchNormSampleSquares[T kernel.Float](c *Call) (func() error, error) {
	spec, err := batchNormSpec(c.Node, c.In[1].Shape)
	if err != nil {
		return nil, err
	}
	dy, x, mean, vari := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.In, 3)
	scale, bias := orScratch[T](c.Out, 0, spec.Channels), orScratch[T](c.Out, 1, spec.Channels)
	k := kernel.NewBatchNorm[T](spec)
	return func() error {
		k.SampleSquares(c.Team, scale, bias, dy, x, mean, vari)
		return nil
	}, nil
}

// BatchNormalizationTraining(x, scale, bias, running_mean, running_var)
// normalises with the mean and the biased variance of the batch. Outputs: y,
// the new running statistics momentum*running + (1-momentum)*batch, for which
// the variance is the unbiased one, and the batch's mean and 1/sqrt(variance +
// epsilon), which the gradient uses. momentum is ONNX's: 1 minus PyTorch's.

// momentumOf reads momentum.
func momentumOf(n *graph.Node) (float64, error) {
	m := n.Float("momentum", 0.9)
	if !(m >= 0 && m <= 1) {
		return 0, fmt.Errorf("attribute momentum is %v, want between 0 and 1", m)
	}
	return m, nil
}

// perChannelCount is how many values each channel has in x.
func perChannelCount(x graph.Shape) int { return x[0] * product(x[2:]) }

func inferBatchNormTraining(n *graph.Node) error {
	if err := floatInputs(n, 5, 5, 5); err != nil {
		return err
	}
	x := n.Inputs[0]
	if err := channelsOf(n, x, 1, 2, 3, 4); err != nil {
		return err
	}
	if _, err := momentumOf(n); err != nil {
		return err
	}
	if count := perChannelCount(x.Shape); count < 2 {
		return fmt.Errorf("training needs more than %d value per channel; use a larger batch", count)
	}
	for i := 1; i < len(n.Outputs); i++ {
		if err := setOutput(n, i, x.DType, x.Shape[1:2]); err != nil {
			return err
		}
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

func runBatchNormTraining[T kernel.Float](c *Call) (func() error, error) {
	spec, err := batchNormSpec(c.Node, c.In[0].Shape)
	if err != nil {
		return nil, err
	}
	x, y := slot[T](c.In, 0), slot[T](c.Out, 0)
	params := kernel.BatchNormParams[T]{Scale: slot[T](c.In, 1), Bias: slot[T](c.In, 2)}
	spec.Relu = c.Activation == kernel.Rectifier
	running := kernel.BatchNormRunning[T]{
		Mean: slot[T](c.In, 3), Var: slot[T](c.In, 4),
		NewMean: orScratch[T](c.Out, 1, spec.Channels), NewVar: orScratch[T](c.Out, 2, spec.Channels),
	}
	mean, invstd := orScratch[T](c.Out, 3, spec.Channels), orScratch[T](c.Out, 4, spec.Channels)
	k := kernel.NewBatchNorm[T](spec)
	return func() error {
		k.Train(c.Team, y, x, params, running, mean, invstd)
		return nil
	}, nil
}

func batchNormTrainingBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	epsilon, err := epsilonOf(n)
	if err != nil {
		return nil, err
	}
	momentum, err := momentumOf(n)
	if err != nil {
		return nil, err
	}
	x := n.Inputs[0]
	c := b.normalise(x, epsilon, channelReduction(x)...)
	y := b.affine(b.Mul(c.x, c.invstd), n.Inputs[1], n.Inputs[2])
	channels, count := x.Shape[1], float64(perChannelCount(x.Shape))
	mean, vari := b.Reshape(c.mean, channels), b.Reshape(c.vari, channels)
	blend := func(old, batch *graph.Value, share float64) *graph.Value {
		return b.Add(b.Mul(old, b.Scalar(momentum, x)), b.Mul(batch, b.Scalar(share, x)))
	}
	return []*graph.Value{
		y,
		blend(n.Inputs[3], mean, 1-momentum),
		blend(n.Inputs[4], vari, (1-momentum)*count/(count-1)),
		mean,
		b.Reshape(c.invstd, channels),
	}, nil
}

// gradBatchNormTraining: the gradient of y goes through BatchNormalizationGrad.
// Those of the statistics, which a second differentiation asks for, follow from
// mean = sum(x)/m, var = sum((x-mean)^2)/m and invstd = (var+epsilon)^(-1/2).
func gradBatchNormTraining(b *Builder, n *graph.Node, d []*graph.Value) ([]*graph.Value, error) {
	d = append(slices.Clone(d), make([]*graph.Value, 5-len(d))...)
	momentum, err := momentumOf(n)
	if err != nil {
		return nil, err
	}
	x, scale := n.Inputs[0], n.Inputs[1]
	out := b.Outputs(n, 5)
	mean, invstd := out[3], out[4]
	var dx, dscale, dbias, doldMean, doldVar *graph.Value
	if d[0] != nil {
		attrs := keepAttrs(n, "epsilon")
		out := b.Own("BatchNormalizationGrad", 3, []*graph.Value{d[0], x, scale, mean, invstd}, attrs...)
		dx, dscale, dbias = out[0], out[1], out[2]
	}
	times := func(v *graph.Value, f float64) *graph.Value {
		if v == nil || b.Err != nil {
			return nil
		}
		return b.Mul(v, b.Scalar(f, x))
	}
	count := float64(perChannelCount(x.Shape))
	doldMean, doldVar = times(d[1], momentum), times(d[2], momentum)
	dmean := b.sum(times(d[1], 1-momentum), d[3])
	dvar := b.sum(times(d[2], (1-momentum)*count/(count-1)), b.varianceGrad(invstd, d[4]))
	sp := len(x.Shape) - 2
	dx = b.sum(dx, b.momentGrad(x, b.perChannel(mean, sp), b.perChannel(dmean, sp), b.perChannel(dvar, sp), int(count)))
	return []*graph.Value{dx, dscale, dbias, doldMean, doldVar}, nil
}

// BatchNormalizationGrad(dy, x, scale, mean, invstd) returns the gradients of
// x, scale and bias of a BatchNormalizationTraining, through the statistics
// too.

func inferBatchNormGrad(n *graph.Node) error {
	if err := floatInputs(n, 5, 5, 3); err != nil {
		return err
	}
	x := n.Inputs[1]
	if err := channelsOf(n, x, 2, 3, 4); err != nil {
		return err
	}
	if err := wantShape(n, 0, x.Shape...); err != nil {
		return err
	}
	if perChannelCount(x.Shape) == 0 {
		return fmt.Errorf("input %q of shape %v is empty", x.Name, []int(x.Shape))
	}
	for i := 1; i < len(n.Outputs); i++ {
		if err := setOutput(n, i, x.DType, x.Shape[1:2]); err != nil {
			return err
		}
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

// batchNormGradBody: with z = (x - mean) * invstd and m values per channel,
// dbias = sum(dy), dscale = sum(dy*z),
// dx = scale * invstd * (dy - dbias/m - z*dscale/m).
func batchNormGradBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	dy, x, scale, mean, invstd := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Inputs[3], n.Inputs[4]
	sp := len(x.Shape) - 2
	axes := channelReduction(x)
	z := b.Mul(b.Sub(x, b.perChannel(mean, sp)), b.perChannel(invstd, sp))
	dbias := b.ReduceSum(dy, false, axes...)
	dscale := b.ReduceSum(b.Mul(dy, z), false, axes...)
	share := b.Scalar(1/float64(perChannelCount(x.Shape)), x)
	rest := b.Add(b.perChannel(b.Mul(dbias, share), sp), b.Mul(z, b.perChannel(b.Mul(dscale, share), sp)))
	dx := b.Mul(b.Sub(dy, rest), b.perChannel(b.Mul(scale, invstd), sp))
	return []*graph.Value{dx, dscale, dbias}, nil
}
