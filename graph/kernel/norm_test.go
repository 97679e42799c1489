package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var batchNormShapes = []BatchNormSpec{
	{N: 1, Channels: 1, Spatial: 2},
	{N: 3, Channels: 2, Spatial: 1},
	{N: 4, Channels: 3, Spatial: 5},
	{N: 1, Channels: 2, Spatial: 30},
	{N: 2, Channels: 3, Spatial: 70},
	{N: 64, Channels: 5, Spatial: 16},
	{N: 6, Channels: 70, Spatial: 16}, // several channels at once, the last unit narrower
	{N: 3, Channels: 40, Spatial: 30},
	{N: 7, Channels: 4, Spatial: 1024},
}

// batchNormCase is a random problem with its results, in precision T.
type batchNormCase[T Float] struct {
	x, dy, scale, bias, runMean, runVar                 []T
	y, mean, invStd, newMean, newVar, dx, dScale, dBias []T
}

func newBatchNormCase[T Float](s BatchNormSpec) *batchNormCase[T] {
	rng := rand.New(rand.NewPCG(1, uint64(s.Spatial)))
	n, c := s.N*s.Channels*s.Spatial, s.Channels
	k := &batchNormCase[T]{x: normal[T](rng, n), dy: normal[T](rng, n), scale: normal[T](rng, c), bias: normal[T](rng, c),
		runMean: normal[T](rng, c), runVar: normal[T](rng, c), y: make([]T, n), dx: make([]T, n)}
	for i := range k.x {
		k.x[i] = T(float32(2*k.x[i] + 3))
	}
	for i, v := range k.runVar {
		k.runVar[i] = v*v + 0.5
	}
	for _, p := range []*[]T{&k.mean, &k.invStd, &k.newMean, &k.newVar, &k.dScale, &k.dBias} {
		*p = make([]T, c)
	}
	return k
}

func (k *batchNormCase[T]) train(b *BatchNorm[T], t *Team) {
	b.Train(t, k.y, k.x, BatchNormParams[T]{k.scale, k.bias}, BatchNormRunning[T]{k.runMean, k.runVar, k.newMean, k.newVar}, k.mean, k.invStd)
}

func (k *batchNormCase[T]) infer(b *BatchNorm[T], t *Team) {
	b.Infer(t, k.y, k.x, BatchNormParams[T]{k.scale, k.bias}, k.runMean, k.runVar)
}

func (k *batchNormCase[T]) trainGrad(b *BatchNorm[T], t *Team) {
	b.TrainGrad(t, k.dx, k.dScale, k.dBias, k.dy, k.x, k.scale, k.mean, k.invStd)
}

func (k *batchNormCase[T]) inferGrad(b *BatchNorm[T], t *Team) {
	b.InferGrad(t, k.dx, k.dScale, k.dBias, k.dy, k.x, k.scale, k.runMean, k.runVar)
}

// referenceBatchNorm is y of training, and the new running statistics.
func (k *batchNormCase[T]) reference(s BatchNormSpec) (y, newMean, newVar []float64) {
	y = make([]float64, len(k.x))
	m := float64(s.N * s.Spatial)
	for c := range s.Channels {
		var sum, squares float64
		each := func(f func(at int)) {
			for i := range s.N * s.Spatial {
				f((i/s.Spatial*s.Channels+c)*s.Spatial + i%s.Spatial)
			}
		}
		each(func(at int) { sum += float64(k.x[at]) })
		mean := sum / m
		each(func(at int) { squares += (float64(k.x[at]) - mean) * (float64(k.x[at]) - mean) })
		each(func(at int) {
			y[at] = float64(k.scale[c])*(float64(k.x[at])-mean)/math.Sqrt(squares/m+s.Epsilon) + float64(k.bias[c])
			if s.Relu {
				y[at] = max(0, y[at])
			}
		})
		variance := squares / (m - 1)
		if s.BiasedRunning {
			variance = squares / m
		}
		newMean = append(newMean, s.Momentum*float64(k.runMean[c])+(1-s.Momentum)*mean)
		newVar = append(newVar, s.Momentum*float64(k.runVar[c])+(1-s.Momentum)*variance)
	}
	return y, newMean, newVar
}

func TestBatchNorm(t *testing.T) {
	for _, s := range batchNormShapes {
		for variant := range 4 {
			s.Epsilon, s.Momentum, s.BiasedRunning, s.Relu = 1e-5, 0.9, variant&1 == 1, variant&2 == 2
			t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
				k := newBatchNormCase[float64](s)
				y, newMean, newVar := k.reference(s)
				k.train(NewBatchNorm[float64](s), nil)
				near(t, "y", k.y, y, 1e-12)
				near(t, "running mean", k.newMean, newMean, 1e-13)
				near(t, "running variance", k.newVar, newVar, 1e-12)
				b := NewBatchNorm[float32](s)
				got := onTeams(t, func(team *Team) []float32 {
					k := newBatchNormCase[float32](s)
					k.train(b, team)
					return slices.Concat(k.newMean, k.newVar, k.y)
				})
				near(t, "in float32", widen(got), slices.Concat(newMean, newVar, y), 2e-6)
			})
		}
	}
}

func TestBatchNormGradients(t *testing.T) {
	for _, s := range batchNormShapes {
		s.Epsilon = 1e-3
		for name, modes := range map[string][2]func(k *batchNormCase[float64], b *BatchNorm[float64], t *Team){
			"train": {(*batchNormCase[float64]).train, (*batchNormCase[float64]).trainGrad},
			"infer": {(*batchNormCase[float64]).infer, (*batchNormCase[float64]).inferGrad},
		} {
			t.Run(fmt.Sprintf("%s/%+v", name, s), func(t *testing.T) {
				k, b := newBatchNormCase[float64](s), NewBatchNorm[float64](s)
				modes[0](k, b, nil)
				modes[1](k, b, nil)
				loss := func() float64 { modes[0](k, b, nil); return dot64(k.y, k.dy) }
				checkGradient(t, "scale", k.dScale, numericGradient(k.scale, loss))
				checkGradient(t, "bias", k.dBias, numericGradient(k.bias, loss))
				if len(k.x) <= 200 {
					near(t, "gradient of x", k.dx, numericGradient(k.x, loss), 1e-6)
				}
				single := NewBatchNorm[float32](s)
				got := onTeams(t, func(team *Team) []float32 {
					k := newBatchNormCase[float32](s)
					if name == "train" {
						k.train(single, team)
						k.trainGrad(single, team)
					} else {
						k.inferGrad(single, team)
					}
					return slices.Concat(k.dScale, k.dBias, k.dx)
				})
				near(t, "in float32", widen(got), slices.Concat(k.dScale, k.dBias, k.dx), 1e-5)
			})
		}
	}
}

// TestBatchNormSampleSquares compares with the gradients of one image at a time.
func TestBatchNormSampleSquares(t *testing.T) {
	for _, s := range batchNormShapes {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			k := newBatchNormCase[float64](s)
			alone, image := NewBatchNorm[float64](BatchNormSpec{N: 1, Channels: s.Channels, Spatial: s.Spatial}), s.Channels*s.Spatial
			want := make([]float64, 2*s.Channels)
			for n := range s.N {
				at, end := n*image, (n+1)*image
				alone.InferGrad(nil, k.dx[at:end], k.dScale, k.dBias, k.dy[at:end], k.x[at:end], k.scale, k.runMean, k.runVar)
				for c := range s.Channels {
					want[c] += k.dScale[c] * k.dScale[c]
					want[s.Channels+c] += k.dBias[c] * k.dBias[c]
				}
			}
			single := NewBatchNorm[float32](s)
			got := onTeams(t, func(team *Team) []float32 {
				k := newBatchNormCase[float32](s)
				out := make([]float32, 2*s.Channels)
				single.SampleSquares(team, out[:s.Channels], out[s.Channels:], k.dy, k.x, k.runMean, k.runVar)
				return out
			})
			near(t, "in float32", widen(got), want, 1e-5)
		})
	}
}

// TestBatchNormFarFromZero: a mean much larger than the deviation must not
// spoil the variance.
func TestBatchNormFarFromZero(t *testing.T) {
	s := BatchNormSpec{N: 16, Channels: 1, Spatial: 256, Epsilon: 1e-5}
	k := newBatchNormCase[float32](s)
	for i := range k.x {
		k.x[i] = 1000 + k.x[i]/8
	}
	k.train(NewBatchNorm[float32](s), nil)
	var mean, squares float64
	for _, v := range k.x {
		mean += float64(v) / float64(len(k.x))
	}
	for _, v := range k.x {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	want := 1 / math.Sqrt(squares/float64(len(k.x))+s.Epsilon)
	if got := float64(k.invStd[0]); math.Abs(got/want-1) > 1e-6 {
		t.Errorf("inverse standard deviation %v, want %v", got, want)
	}
}

func TestLayerNorm(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {3, 5}, {4, 16}, {2, 100}, {700, 64}, {0, 4}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			rows, width := c[0], c[1]
			rng := rand.New(rand.NewPCG(3, 4))
			x, dy := normal[float64](rng, rows*width), normal[float64](rng, rows*width)
			scale, bias := normal[float64](rng, width), normal[float64](rng, width)
			y, dx := make([]float64, rows*width), make([]float64, rows*width)
			mean, invStd, dScale, dBias := make([]float64, rows), make([]float64, rows), make([]float64, width), make([]float64, width)
			l := NewLayerNorm[float64](rows, width, 1e-3)
			run := func() float64 { l.Forward(nil, y, x, scale, bias, mean, invStd); return dot64(y, dy) }
			run()
			for row := range rows {
				reference := referenceLayerNorm(x[row*width:(row+1)*width], scale, bias)
				near(t, "y", y[row*width:(row+1)*width], reference, 1e-12)
			}
			l.Backward(nil, dx, dScale, dBias, dy, x, scale, mean, invStd)
			if rows*width <= 200 && width > 1 {
				near(t, "gradient of x", dx, numericGradient(x, run), 1e-6)
				checkGradient(t, "scale", dScale, numericGradient(scale, run))
				checkGradient(t, "bias", dBias, numericGradient(bias, run))
			}
			single := NewLayerNorm[float32](rows, width, 1e-3)
			got := onTeams(t, func(team *Team) []float32 {
				y, dx := make([]float32, rows*width), make([]float32, rows*width)
				mean, invStd, dScale, dBias := make([]float32, rows), make([]float32, rows), make([]float32, width), make([]float32, width)
				single.Forward(team, y, narrow(x), narrow(scale), narrow(bias), mean, invStd)
				single.Backward(team, dx, dScale, dBias, narrow(dy), narrow(x), narrow(scale), mean, invStd)
				return slices.Concat(y, dx, dScale, dBias)
			})
			near(t, "in float32", widen(got), slices.Concat(y, dx, dScale, dBias), 1e-5)
		})
	}
}

func referenceLayerNorm(x, scale, bias []float64) []float64 {
	var mean, variance float64
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = scale[i]*(v-mean)/math.Sqrt(variance+1e-3) + bias[i]
	}
	return y
}

// TestNormInPlace: y may be x, and dx may be dy.
func TestNormInPlace(t *testing.T) {
	for _, s := range batchNormShapes {
		s.Epsilon = 1e-3
		apart, b := newBatchNormCase[float32](s), NewBatchNorm[float32](s)
		apart.train(b, nil)
		apart.trainGrad(b, nil)
		within := newBatchNormCase[float32](s)
		within.y, within.dx = within.x, within.dy
		x := clone(within.x)
		within.train(b, nil)
		sameBits(t, "y", within.y, apart.y)
		copy(within.x, x)
		within.trainGrad(b, nil)
		sameBits(t, "dx", within.dx, apart.dx)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	const rows, width = 9, 40
	x, dy, w := normal[float32](rng, rows*width), normal[float32](rng, rows*width), normal[float32](rng, width)
	y, dx, mean, invStd, dw := make([]float32, rows*width), make([]float32, rows*width), make([]float32, rows), make([]float32, rows), make([]float32, width)
	l := NewLayerNorm[float32](rows, width, 1e-5)
	l.Forward(nil, y, x, w, w, mean, invStd)
	l.Backward(nil, dx, dw, clone(dw), dy, x, w, mean, invStd)
	l.Backward(nil, dy, dw, clone(dw), dy, x, w, mean, invStd)
	l.Forward(nil, x, x, w, w, mean, invStd)
	sameBits(t, "y of rows", x, y)
	sameBits(t, "dx of rows", dy, dx)
}

func TestNormAllocs(t *testing.T) {
	for _, s := range batchNormShapes {
		k, b := newBatchNormCase[float32](s), NewBatchNorm[float32](s)
		noAllocs(t, func(team *Team) { k.train(b, team); k.trainGrad(b, team); k.infer(b, team); k.inferGrad(b, team) })
	}
	l, x, r, w := NewLayerNorm[float32](50, 1000, 1e-5), make([]float32, 50000), make([]float32, 50), make([]float32, 1000)
	noAllocs(t, func(team *Team) { l.Forward(team, x, x, w, w, r, r); l.Backward(team, x, w, w, x, x, w, r, r) })
}

func BenchmarkBatchNorm(b *testing.B) {
	for _, s := range []BatchNormSpec{{N: 64, Channels: 64, Spatial: 1024}, {N: 64, Channels: 256, Spatial: 64}, {N: 64, Channels: 512, Spatial: 16}} {
		k, n := newBatchNormCase[float32](s), NewBatchNorm[float32](s)
		b.Run(fmt.Sprintf("train-%dx%dx%d", s.N, s.Channels, s.Spatial), func(b *testing.B) {
			b.SetBytes(int64(4 * len(k.x)))
			for b.Loop() {
				k.train(n, nil)
			}
		})
		b.Run(fmt.Sprintf("grad-%dx%dx%d", s.N, s.Channels, s.Spatial), func(b *testing.B) {
			b.SetBytes(int64(4 * len(k.x)))
			for b.Loop() {
				k.trainGrad(n, nil)
			}
		})
	}
}
