package ops_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

var nan, inf = float32(math.NaN()), float32(math.Inf(1))

// flags is a tensor of truth values.
func flags(shape ...int) input { return asType(coins(shape...), onnx.Bool) }

var _ = addCases(
	Case{Op: "Constant", Attrs: attrs(onnx.AttrTensor("value", onnx.FromSlice([]float32{1, 2, 3}, 3, 1)))},
	Case{Op: "Constant", Name: "float", Attrs: attrs(onnx.AttrFloat("value_float", 0.5))},
	Case{Op: "Constant", Name: "floats", Attrs: attrs(onnx.AttrFloats("value_floats", 0.5, 2))},
	Case{Op: "Constant", Name: "int", Attrs: attrs(onnx.AttrInt("value_int", 7))},
	Case{Op: "Constant", Name: "ints", Attrs: attrs(onnx.AttrInts("value_ints", 7, -1))},
	Case{Op: "ConstantOfShape", In: []input{ints(2, 3)}},
	Case{Op: "ConstantOfShape", Name: "value", Attrs: attrs(onnx.AttrTensor("value", onnx.FromSlice([]int64{5}, 1))), In: []input{ints(2, 0, 3)}},
	Case{Op: "ConstantOfShape", Name: "scalar", Attrs: attrs(onnx.AttrTensor("value", onnx.FromSlice([]bool{true}, 1))), In: []input{ints()}},
	Case{Op: "Range", In: []input{intScalar(2), intScalar(11), intScalar(3)}},
	Case{Op: "Range", Name: "down", In: []input{intScalar(5), intScalar(0), intScalar(-2)}},
	Case{Op: "Range", Name: "floats", In: []input{fixed(scalarOf(0)), fixed(scalarOf(1)), fixed(scalarOf(0.25))}},
	Case{Op: "Range", Name: "empty", In: []input{intScalar(5), intScalar(0), intScalar(2)}},
	Case{Op: "EyeLike", In: []input{normal(3, 4)}},
	Case{Op: "EyeLike", Name: "int64 above", Attrs: attrs(onnx.AttrInt("k", 1), onnx.AttrInt("dtype", int64(onnx.Int64))), In: []input{normal(3, 4)}},
	Case{Op: "EyeLike", Name: "below", Attrs: attrs(onnx.AttrInt("k", -1)), In: []input{normal(3, 4)}},
	Case{Op: "OneHot", In: []input{indices(-6, 6, 2, 3), intScalar(4), numbersOf([]float32{-1, 2}, 2)}},
	Case{Op: "OneHot", Name: "axis 1", Attrs: attrs(onnx.AttrInt("axis", 1)), In: []input{indices(0, 4, 2, 3), ints(4), numbersOf([]float32{0, 1}, 2)}},
	Case{Op: "NonZero", In: []input{fixed(numbersOf([]float32{0, 1, 2, 0, 0, 3}, 2, 3))}},

	Case{Op: "Cast", Name: "to float", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Float32))), In: []input{indices(-5, 5, 4)}},
	Case{Op: "Cast", Name: "to int64", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Int64))), In: []input{uniform(-5, 5, 6)}},
	Case{Op: "Cast", Name: "to int32", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Int32))), In: []input{uniform(-5, 5, 6)}},
	Case{Op: "Cast", Name: "to bool", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Bool))), In: []input{coins(6)}},
	Case{Op: "Cast", Name: "from bool", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Float32))), In: []input{flags(6)}},
	Case{Op: "Cast", Name: "to double", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Float64))), In: []input{normal(6)}, Diff: []int{0}},
	Case{Op: "Cast", Name: "from half", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Float32))), In: []input{asType(normal(9), onnx.Float16)}},
	Case{Op: "Cast", Name: "from bfloat16", Attrs: attrs(onnx.AttrInt("to", int64(onnx.Float32))), In: []input{asType(normal(9), onnx.BFloat16)}},
	Case{Op: "CastLike", In: []input{indices(-5, 5, 4), normal(1)}},
	Case{Op: "CastLike", Name: "floats", In: []input{normal(4), normal(1)}, Diff: []int{0}},
)

// asType is in, made of zeros and ones as truth values, or rounded to half
// precision (as an initializer).
func asType(in input, dt onnx.DType) input {
	return input{fixed: dt != onnx.Bool, make: func(rng *rand.Rand, _ onnx.DType) *onnx.Tensor {
		x := in.make(rng, onnx.Float32)
		data := onnx.Of[float32](x)
		if dt == onnx.Bool {
			out := make([]bool, len(data))
			for i, v := range data {
				out[i] = v != 0
			}
			return onnx.FromSlice(out, x.Shape...)
		}
		half, err := onnx.Convert(x, dt)
		if err != nil {
			panic(err)
		}
		return half
	}}
}

// distinctBy is distinct with numbers scale times as far apart.
func distinctBy(scale float32, shape ...int) input {
	in := distinct(shape...)
	return input{make: func(rng *rand.Rand, dt onnx.DType) *onnx.Tensor {
		x := onnx.Of[float32](in.make(rng, onnx.Float32))
		for i := range x {
			x[i] *= scale / 0.05
		}
		return floats(x, dt, shape)
	}}
}

// TestCastToHalf rounds as onnx.Convert does.
func TestCastToHalf(t *testing.T) {
	for _, dt := range []onnx.DType{onnx.Float16, onnx.BFloat16} {
		x := uniform(-7e4, 7e4, 500).make(stream("half"), onnx.Float32)
		for i := range 250 { // half of them small, a quarter of these subnormal
			onnx.Of[float32](x)[i] *= float32(math.Exp2(-float64(i) / 6))
		}
		want, err := onnx.Convert(x, dt)
		if err != nil {
			t.Fatal(err)
		}
		g := graph.New("cast", defaultOpset)
		b := ops.NewBuilder(g)
		y := b.Cast(b.Const(x), dt)
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		got, err := ops.Eval(y.Producer())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(onnx.Of[uint16](got[0]), onnx.Of[uint16](want)) {
			t.Errorf("%v: bits differ from onnx.Convert", dt)
		}
	}
}
