package ops_test

import (
	"hash/fnv"
	"math/rand/v2"

	"github.com/unprune/unprune/onnx"
)

// An input makes the value of one input of a case. The zero input is left out.
type input struct {
	make  func(rng *rand.Rand, dt onnx.DType) *onnx.Tensor
	fixed bool // an initializer, not fed
}

// omit leaves an optional input out.
var omit = input{}

// uniform has numbers between lo and hi.
func uniform(lo, hi float64, shape ...int) input {
	return input{make: func(rng *rand.Rand, dt onnx.DType) *onnx.Tensor {
		data := make([]float32, onnx.Size(shape))
		for i := range data {
			data[i] = float32(lo + (hi-lo)*rng.Float64())
		}
		return floats(data, dt, shape)
	}}
}

// normal has numbers with mean 0 and standard deviation 1.
func normal(shape ...int) input {
	return input{make: func(rng *rand.Rand, dt onnx.DType) *onnx.Tensor {
		data := make([]float32, onnx.Size(shape))
		for i := range data {
			data[i] = float32(rng.NormFloat64())
		}
		return floats(data, dt, shape)
	}}
}

// distinct has numbers at least 0.05 apart from each other and from zero, for
// operators with kinks: finite differences never step over one.
func distinct(shape ...int) input {
	return input{make: func(rng *rand.Rand, dt onnx.DType) *onnx.Tensor {
		data := make([]float32, onnx.Size(shape))
		for i, p := range rng.Perm(len(data)) {
			data[i] = 0.05 * (float32(p-len(data)/2) + 0.5)
		}
		return floats(data, dt, shape)
	}}
}

// numbersOf has exactly these numbers.
func numbersOf(data []float32, shape ...int) input {
	return input{make: func(_ *rand.Rand, dt onnx.DType) *onnx.Tensor { return floats(data, dt, shape) }}
}

// scalarOf is a scalar with exactly this value.
func scalarOf(x float32) input { return numbersOf([]float32{x}) }

// tensorOf feeds exactly t, whatever the precision.
func tensorOf(t *onnx.Tensor) input {
	return input{make: func(*rand.Rand, onnx.DType) *onnx.Tensor { return t }}
}

// fixed makes an initializer of in.
func fixed(in input) input { return input{make: in.make, fixed: true} }

// ints is an int64 vector as an initializer.
func ints(list ...int64) input { return fixed(tensorOf(onnx.FromSlice(list, len(list)))) }

// intScalar is an int64 scalar as an initializer.
func intScalar(i int64) input { return fixed(tensorOf(onnx.FromSlice([]int64{i}))) }

// indices is an int64 tensor of the given shape with numbers in [lo, hi).
func indices(lo, hi int64, shape ...int) input {
	return input{make: func(rng *rand.Rand, _ onnx.DType) *onnx.Tensor {
		data := make([]int64, onnx.Size(shape))
		for i := range data {
			data[i] = lo + rng.Int64N(hi-lo)
		}
		return onnx.FromSlice(data, shape...)
	}}
}

// coins is a tensor of zeros and ones of float type.
func coins(shape ...int) input {
	return input{make: func(rng *rand.Rand, dt onnx.DType) *onnx.Tensor {
		data := make([]float32, onnx.Size(shape))
		for i := range data {
			data[i] = float32(rng.IntN(2))
		}
		return floats(data, dt, shape)
	}}
}

func floats(data []float32, dt onnx.DType, shape []int) *onnx.Tensor {
	if dt == onnx.Float32 {
		return onnx.FromSlice(data, shape...)
	}
	wide := make([]float64, len(data))
	for i, v := range data {
		wide[i] = float64(v)
	}
	return onnx.FromSlice(wide, shape...)
}

// stream is the random stream of that name.
func stream(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// attrs lists attributes.
func attrs(a ...*onnx.Attr) []*onnx.Attr { return a }
