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
// A channel is one unit; sums of its rows are added in float64.
type BatchNorm[T Float] struct {
	spec                                      BatchNormSpec
	tiling                                    *tiling[T] // for its copyRows
	params                                    BatchNormParams[T]
	running                                   BatchNormRunning[T]
	mean, invStd, y, x, dy, dx, dScale, dBias []T

	train, infer, trainGrad, inferGrad func(*Worker, int)
}

// BatchNormParams are the learnt parameters, one number per channel.
type BatchNormParams[T Float] struct{ Scale, Bias []T }

// BatchNormRunning are the running statistics and where their update goes,
// which may be the same slices. Nil NewMean and NewVar means no update.
type BatchNormRunning[T Float] struct{ Mean, Var, NewMean, NewVar []T }

// NewBatchNorm prepares the normalisation.
func NewBatchNorm[T Float](spec BatchNormSpec) *BatchNorm[T] {
	b := &BatchNorm[T]{spec: spec, tiling: tilings[T]()[0]}
	b.train, b.infer, b.trainGrad, b.inferGrad = b.trainUnit, b.inferUnit, b.trainGradUnit, b.inferGradUnit
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
// TrainGrad, dx = scale invStd dy. dx may be dy.
func (b *BatchNorm[T]) InferGrad(t *Team, dx, dScale, dBias, dy, x, scale, mean, variance []T) {
	b.dx, b.dScale, b.dBias, b.dy, b.x, b.params.Scale, b.mean, b.running.Var = dx, dScale, dBias, dy, x, scale, mean, variance
	t.For(b.units(), b.inferGrad)
	b.release()
}

// units is one per channel, and none when there is no element.
func (b *BatchNorm[T]) units() int {
	if b.spec.N*b.spec.Spatial == 0 {
		return 0
	}
	return b.spec.Channels
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

// Rows shorter than shortRow are copied into one long one first.
const shortRow = 64

func (b *BatchNorm[T]) isShort() bool { return b.spec.Spatial < shortRow && b.spec.N > 1 }

// in is channel c of x for reading, in scratch slot if its rows are short.
func (b *BatchNorm[T]) in(w *Worker, slot int, x []T, c int) channel[T] {
	s := &b.spec
	v := channel[T]{x, s.N, s.Spatial, s.Channels * s.Spatial, c * s.Spatial}
	if !b.isShort() {
		return v
	}
	long := scratchOf[T](w, slot, s.N*s.Spatial)
	b.tiling.copyRows(s.N, x[v.first:], v.stride, long, s.Spatial, s.Spatial)
	return channel[T]{long, 1, len(long), 0, 0}
}

// out is channel c of y for writing; done must follow.
func (b *BatchNorm[T]) out(w *Worker, slot int, y []T, c int) channel[T] {
	s := &b.spec
	if b.isShort() {
		n := s.N * s.Spatial
		return channel[T]{scratchOf[T](w, slot, n), 1, n, 0, 0}
	}
	return channel[T]{y, s.N, s.Spatial, s.Channels * s.Spatial, c * s.Spatial}
}

// done puts what was written to out into y.
func (b *BatchNorm[T]) done(v channel[T], y []T, c int) {
	if !b.isShort() {
		return
	}
	s := &b.spec
	b.tiling.copyRows(s.N, v.data, s.Spatial, y[c*s.Spatial:], s.Channels*s.Spatial, s.Spatial)
}

func (b *BatchNorm[T]) trainUnit(w *Worker, c int) {
	x := b.in(w, 0, b.x, c)
	mean, variance := moments(&x)
	invStd := 1 / math.Sqrt(variance+b.spec.Epsilon)
	b.mean[c], b.invStd[c] = T(mean), T(invStd)
	if b.running.NewMean != nil {
		keep, m := b.spec.Momentum, float64(b.spec.N*b.spec.Spatial)
		if !b.spec.BiasedRunning {
			variance *= m / max(1, m-1)
		}
		b.running.NewMean[c] = T(keep*float64(b.running.Mean[c]) + (1-keep)*mean)
		b.running.NewVar[c] = T(keep*float64(b.running.Var[c]) + (1-keep)*variance)
	}
	b.normalise(w, &x, c, mean, invStd)
}

func (b *BatchNorm[T]) inferUnit(w *Worker, c int) {
	x := b.in(w, 0, b.x, c)
	b.normalise(w, &x, c, float64(b.mean[c]), b.inverse(c))
}

// inverse is invStd of channel c from the running variance.
func (b *BatchNorm[T]) inverse(c int) float64 {
	return 1 / math.Sqrt(float64(b.running.Var[c])+b.spec.Epsilon)
}

func (b *BatchNorm[T]) normalise(w *Worker, x *channel[T], c int, mean, invStd float64) {
	factor := float64(b.params.Scale[c]) * invStd
	offset := float64(b.params.Bias[c]) - mean*factor
	y := b.out(w, 0, b.y, c)
	for i := range x.rows {
		if b.spec.Relu {
			AffineRelu(y.row(i), T(factor), x.row(i), T(offset))
		} else {
			Affine(y.row(i), T(factor), x.row(i), T(offset))
		}
	}
	b.done(y, b.y, c)
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

func (b *BatchNorm[T]) trainGradUnit(w *Worker, c int) {
	x, dy := b.in(w, 0, b.x, c), b.in(w, 1, b.dy, c)
	mean, invStd := float64(b.mean[c]), float64(b.invStd[c])
	bias, scale := b.gradSums(&x, &dy, c, invStd)
	m := float64(b.spec.N * b.spec.Spatial)
	a := float64(b.params.Scale[c]) * invStd
	slope := -a * invStd * scale / m
	offset := -a*bias/m - slope*mean
	dx := b.out(w, 1, b.dx, c)
	for i := range x.rows {
		Combine(dx.row(i), T(a), dy.row(i), T(slope), x.row(i), T(offset))
	}
	b.done(dx, b.dx, c)
}

func (b *BatchNorm[T]) inferGradUnit(w *Worker, c int) {
	x, dy := b.in(w, 0, b.x, c), b.in(w, 1, b.dy, c)
	invStd := b.inverse(c)
	b.gradSums(&x, &dy, c, invStd)
	dx := b.out(w, 1, b.dx, c)
	for i := range x.rows {
		Scale(dx.row(i), T(float64(b.params.Scale[c])*invStd), dy.row(i))
	}
	b.done(dx, b.dx, c)
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
