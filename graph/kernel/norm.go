package kernel

import "math"

// BatchNormSpec describes a batch normalisation over x of shape (N, Channels,
// Spatial).
type BatchNormSpec struct {
	N, Channels, Spatial int
	Epsilon              float64
	Momentum             float64 // running = Momentum*running + (1-Momentum)*batch
	BiasedRunning        bool    // the running variance takes the biased one, as ONNX says; else m/(m-1) times it, as PyTorch does
	Relu                 bool    // the forward passes end with max(0, y)
}

// BatchNorm normalises every channel:
//
//	y = scale (x - mean) invStd + bias       invStd = 1/sqrt(variance + Epsilon)
//
// with mean and biased variance of the batch (Train) or running ones (Infer).
// A channel is one unit; sums of its rows are added in float64. Where the rows
// of a channel are short, several channels are one; see norm_short.go.
type BatchNorm[T Float] struct {
	spec                                      BatchNormSpec
	together                                  int // channels of a unit
	params                                    BatchNormParams[T]
	running                                   BatchNormRunning[T]
	mean, invStd, y, x, dy, dx, dScale, dBias []T

	squares [2][]T // SampleSquares' results

	train, infer, trainGrad, inferGrad, sampleSquares func(*Worker, int)
}

// BatchNormParams are the learnt parameters, one number per channel.
type BatchNormParams[T Float] struct{ Scale, Bias []T }

// BatchNormRunning are the running statistics and where their update goes,
// which may be the same slices. Nil NewMean and NewVar means no update.
type BatchNormRunning[T Float] struct{ Mean, Var, NewMean, NewVar []T }

// NewBatchNorm prepares the normalisation.
func NewBatchNorm[T Float](spec BatchNormSpec) *BatchNorm[T] {
	b := &BatchNorm[T]{spec: spec}
	b.train, b.infer, b.trainGrad, b.inferGrad = b.trainUnit, b.inferUnit, b.trainGradUnit, b.inferGradUnit
	b.sampleSquares = b.sampleSquaresUnit
	b.together = 1
	if spec.Spatial < shortRow && spec.Channels*spec.Spatial >= wideRow || spec.Spatial <= tinyRow && spec.Channels >= manyChannels {
		b.together = max(wideRow/max(spec.Spatial, 1), 1)
		b.train, b.infer, b.trainGrad, b.inferGrad = b.trainShort, b.inferShort, b.trainGradShort, b.inferGradShort
	}
	return b
}

// Train writes y, the batch's mean and inverse standard deviation, and updates
// the running statistics. y may be x.
func (b *BatchNorm[T]) Train(t *Team, y, x []T, p BatchNormParams[T], running BatchNormRunning[T], mean, invStd []T) {
	b.y, b.x, b.params, b.running, b.mean, b.invStd = y, x, p, running, mean, invStd
	t.For(b.units(), b.train)
	b.release()
}

// Infer writes y from the running statistics mean and variance. y may be x.
func (b *BatchNorm[T]) Infer(t *Team, y, x []T, p BatchNormParams[T], mean, variance []T) {
	b.y, b.x, b.params, b.mean, b.running.Var = y, x, p, mean, variance
	t.For(b.units(), b.infer)
	b.release()
}

// TrainGrad is the gradient of Train (without Relu) for mean and invStd as it saved them:
//
//	dBias  = sum dy
//	dScale = sum dy (x - mean) invStd
//	dx     = scale invStd (dy - dBias/m - (x - mean) invStd dScale/m)
//
// with m = N*Spatial. dx may be dy.
func (b *BatchNorm[T]) TrainGrad(t *Team, dx, dScale, dBias, dy, x, scale, mean, invStd []T) {
	b.dx, b.dScale, b.dBias, b.dy, b.x, b.params.Scale, b.mean, b.invStd = dx, dScale, dBias, dy, x, scale, mean, invStd
	t.For(b.units(), b.trainGrad)
	b.release()
}

// InferGrad is the gradient of Infer (without Relu): dBias and dScale as in
// TrainGrad, unless both are nil, dx = scale invStd dy. dx may be dy.
func (b *BatchNorm[T]) InferGrad(t *Team, dx, dScale, dBias, dy, x, scale, mean, variance []T) {
	b.dx, b.dScale, b.dBias, b.dy, b.x, b.params.Scale, b.mean, b.running.Var = dx, dScale, dBias, dy, x, scale, mean, variance
	t.For(b.units(), b.inferGrad)
	b.release()
}

// SampleSquares sums, over the images, the squares of what one image alone gives
// as gradients of scale and bias of Infer.
func (b *BatchNorm[T]) SampleSquares(t *Team, scale, bias, dy, x, mean, variance []T) {
	b.squares = [2][]T{scale, bias}
	b.dy, b.x, b.mean, b.running.Var = dy, x, mean, variance
	t.For(b.units(), b.sampleSquares)
	b.squares = [2][]T{}
	b.release()
}

// units is one per channel, or for several together, and none when there is no
// element.
func (b *BatchNorm[T]) units() int {
	if b.spec.N*b.spec.Spatial == 0 {
		return 0
	}
	return ceilDiv(b.spec.Channels, b.together)
}

// release forgets the slices of a run.
func (b *BatchNorm[T]) release() {
	b.params, b.running = BatchNormParams[T]{}, BatchNormRunning[T]{}
	b.mean, b.invStd, b.y, b.x, b.dy, b.dx, b.dScale, b.dBias = nil, nil, nil, nil, nil, nil, nil, nil
}

// channel is one channel of a tensor as rows of the same width.
type channel[T Float] struct {
	data          []T
	rows, width   int
	stride, first int
}

func (c *channel[T]) row(i int) []T {
	at := c.first + i*c.stride
	return c.data[at : at+c.width]
}

// of is one channel of x.
func (b *BatchNorm[T]) of(x []T, c int) channel[T] {
	s := &b.spec
	return channel[T]{x, s.N, s.Spatial, s.Channels * s.Spatial, c * s.Spatial}
}

func (b *BatchNorm[T]) trainUnit(_ *Worker, c int) {
	x := b.of(b.x, c)
	mean, variance := moments(&x)
	invStd := b.keepMoments(c, mean, variance)
	b.normalise(&x, c, mean, invStd)
}

// keepMoments stores the moments of a channel and updates its running
// statistics.
func (b *BatchNorm[T]) keepMoments(c int, mean, variance float64) (invStd float64) {
	invStd = 1 / math.Sqrt(variance+b.spec.Epsilon)
	b.mean[c], b.invStd[c] = T(mean), T(invStd)
	if b.running.NewMean != nil {
		keep, m := b.spec.Momentum, float64(b.spec.N*b.spec.Spatial)
		if !b.spec.BiasedRunning {
			variance *= m / max(1, m-1)
		}
		b.running.NewMean[c] = T(keep*float64(b.running.Mean[c]) + (1-keep)*mean)
		b.running.NewVar[c] = T(keep*float64(b.running.Var[c]) + (1-keep)*variance)
	}
	return invStd
}

func (b *BatchNorm[T]) inferUnit(_ *Worker, c int) {
	x := b.of(b.x, c)
	b.normalise(&x, c, float64(b.mean[c]), b.inverse(c))
}

// inverse is invStd of channel c from the running variance.
func (b *BatchNorm[T]) inverse(c int) float64 {
	return 1 / math.Sqrt(float64(b.running.Var[c])+b.spec.Epsilon)
}

// affine is the normalisation of a channel as factor*x + offset.
func (b *BatchNorm[T]) affine(c int, mean, invStd float64) (factor, offset float64) {
	factor = float64(b.params.Scale[c]) * invStd
	return factor, float64(b.params.Bias[c]) - mean*factor
}

func (b *BatchNorm[T]) normalise(x *channel[T], c int, mean, invStd float64) {
	factor, offset := b.affine(c, mean, invStd)
	y := b.of(b.y, c)
	for i := range x.rows {
		if b.spec.Relu {
			AffineRelu(y.row(i), T(factor), x.row(i), T(offset))
		} else {
			Affine(y.row(i), T(factor), x.row(i), T(offset))
		}
	}
}

// moments is the mean and the biased variance of a channel, in two passes. The
// squares are taken about the mean rounded to T, and corrected for that.
func moments[T Float](x *channel[T]) (mean, variance float64) {
	m := float64(x.rows * x.width)
	var sum, squares float64
	for i := range x.rows {
		sum += float64(Sum(x.row(i)))
	}
	mean = sum / m
	for i := range x.rows {
		squares += float64(SumSquares(x.row(i), T(mean)))
	}
	d := mean - float64(T(mean))
	return mean, max(0, squares/m-d*d)
}

func (b *BatchNorm[T]) trainGradUnit(_ *Worker, c int) {
	x, dy := b.of(b.x, c), b.of(b.dy, c)
	bias, scale := b.gradSums(&x, &dy, c, float64(b.invStd[c]))
	a, slope, offset := b.gradFactors(c, bias, scale)
	dx := b.of(b.dx, c)
	for i := range x.rows {
		Combine(dx.row(i), T(a), dy.row(i), T(slope), x.row(i), T(offset))
	}
}

// gradFactors writes the gradient of x as a*dy + slope*x + offset, for the
// gradients of bias and scale.
func (b *BatchNorm[T]) gradFactors(c int, bias, scale float64) (a, slope, offset float64) {
	m := float64(b.spec.N * b.spec.Spatial)
	invStd := float64(b.invStd[c])
	a = float64(b.params.Scale[c]) * invStd
	slope = -a * invStd * scale / m
	return a, slope, -a*bias/m - slope*float64(b.mean[c])
}

func (b *BatchNorm[T]) inferGradUnit(_ *Worker, c int) {
	x, dy := b.of(b.x, c), b.of(b.dy, c)
	invStd := b.inverse(c)
	if b.dScale != nil {
		b.gradSums(&x, &dy, c, invStd)
	}
	dx := b.of(b.dx, c)
	for i := range x.rows {
		Scale(dx.row(i), T(float64(b.params.Scale[c])*invStd), dy.row(i))
	}
}

// gradSums writes and returns the gradients of bias and scale.
func (b *BatchNorm[T]) gradSums(x, dy *channel[T], c int, invStd float64) (bias, scale float64) {
	for i := range x.rows {
		bias += float64(Sum(dy.row(i)))
		scale += float64(Dot(x.row(i), dy.row(i), b.mean[c]))
	}
	scale *= invStd
	b.dBias[c], b.dScale[c] = T(bias), T(scale)
	return bias, scale
}

// sampleSquaresUnit goes through the images once for all of its channels.
func (b *BatchNorm[T]) sampleSquaresUnit(w *Worker, unit int) {
	s := &b.spec
	first := unit * b.together
	last := min(first+b.together, s.Channels)
	sums := w.Float64(0, 2*(last-first))
	clear(sums)
	for i := range s.N {
		for c := first; c < last; c++ {
			at := (i*s.Channels + c) * s.Spatial
			x, dy := b.x[at:at+s.Spatial], b.dy[at:at+s.Spatial]
			scale, bias := float64(Dot(x, dy, b.mean[c])), float64(Sum(dy))
			sums[2*(c-first)] += scale * scale
			sums[2*(c-first)+1] += bias * bias
		}
	}
	for c := first; c < last; c++ {
		inverse := b.inverse(c)
		b.squares[0][c], b.squares[1][c] = T(sums[2*(c-first)]*inverse*inverse), T(sums[2*(c-first)+1])
	}
}
