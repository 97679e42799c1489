package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// referenceReduce reduces in float64, element by element.
func referenceReduce[T Float](kind ReduceKind, shape, axes []int, x []T) []float64 {
	kept := slices.Clone(shape)
	for _, a := range axes {
		kept[a] = 1
	}
	terms := make([][]float64, product(kept))
	coordinates(shape, func(flat int, at []int) {
		out := flatten(kept, at)
		terms[out] = append(terms[out], float64(x[flat]))
	})
	y := make([]float64, len(terms))
	for i, list := range terms {
		y[i] = referenceReduction(kind, list)
	}
	return y
}

func referenceReduction(kind ReduceKind, x []float64) float64 {
	var sum, squares, abs, exps float64
	top, bottom, prod := math.Inf(-1), math.Inf(1), 1.0
	for _, v := range x {
		sum, squares, abs, exps, prod = sum+v, squares+v*v, abs+math.Abs(v), exps+math.Exp(v), prod*v
		top, bottom = max(top, v), min(bottom, v)
	}
	return map[ReduceKind]float64{ReduceSum: sum, ReduceMean: sum / float64(len(x)), ReduceSumSquare: squares, ReduceL1: abs,
		ReduceL2: math.Sqrt(squares), ReduceMax: top, ReduceMin: bottom, ReduceProd: prod, ReduceLogSumExp: math.Log(exps)}[kind]
}

var reduceCases = []struct{ shape, axes []int }{
	{[]int{}, nil},
	{[]int{7}, nil},
	{[]int{7}, []int{0}},
	{[]int{100000}, []int{0}},
	{[]int{300, 10}, []int{1}},
	{[]int{300, 10}, []int{0}},
	{[]int{9000, 10}, []int{0}},
	{[]int{500, 1500}, []int{0}},
	{[]int{4, 6, 9, 9}, []int{0, 2, 3}},
	{[]int{3, 2, 150, 150}, []int{0, 2, 3}},
	{[]int{4, 6, 9, 9}, []int{1}},
	{[]int{4, 6, 9, 9}, []int{0, 2}},
	{[]int{4, 6, 9, 9}, []int{1, 3}},
	{[]int{2, 3, 2, 3, 2, 3}, []int{0, 2, 4}},
	{[]int{2, 3, 2, 3, 2, 3}, []int{1, 3, 5}},
	{[]int{2, 1, 3}, []int{1}},
	{[]int{0, 3}, []int{0}},
	{[]int{3, 0}, []int{0}},
}

func TestReduce(t *testing.T) {
	for _, c := range reduceCases {
		for kind := ReduceSum; kind <= ReduceLogSumExp; kind++ {
			t.Run(fmt.Sprintf("%v/%v/%d", c.shape, c.axes, kind), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(kind)))
				x := normal[float32](rng, product(c.shape))
				if kind == ReduceProd { // keep the product of many in range
					for i := range x {
						x[i] = 0.5 + x[i]/10000
					}
				}
				for i := range x { // a sum without cancellation
					x[i] += 0.5
				}
				want := referenceReduce(kind, c.shape, c.axes, x)
				got := onTeams(t, func(team *Team) []float32 {
					y := make([]float32, len(want))
					NewReduce[float32](kind, c.shape, c.axes).Run(team, y, x)
					return y
				})
				near(t, "reduced", widen(got), want, 2e-6)
				y := make([]float64, len(want))
				NewReduce[float64](kind, c.shape, c.axes).Run(nil, y, widen(x))
				near(t, "reduced", y, want, 1e-12)
			})
		}
	}
}

func TestReduceSpecialValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		kind ReduceKind
		x    []float32
		want float32
	}{
		{ReduceMax, []float32{1, nan, 2}, nan},
		{ReduceMin, []float32{1, nan, 2}, nan},
		{ReduceLogSumExp, []float32{-inf, -inf}, -inf},
		{ReduceLogSumExp, []float32{1, inf}, inf},
		{ReduceLogSumExp, []float32{1000, 1000}, 1000 + math.Ln2},
		{ReduceLogSumExp, []float32{1, nan}, nan},
	} {
		for axis, shape := range [][]int{{2, 1}, {1, 2}} {
			shape[axis] = len(c.x)
			y := make([]float32, 1)
			NewReduce[float32](c.kind, shape, []int{0, 1}).Run(nil, y, c.x)
			sameBits(t, fmt.Sprintf("kind %d of %v", c.kind, c.x), y, []float32{c.want})
		}
		both := slices.Concat(c.x, c.x) // two equal columns
		for i := range c.x {
			both[2*i], both[2*i+1] = c.x[i], c.x[i]
		}
		y := make([]float32, 2)
		NewReduce[float32](c.kind, []int{len(c.x), 2}, []int{0}).Run(nil, y, both)
		sameBits(t, fmt.Sprintf("kind %d of columns of %v", c.kind, c.x), y, []float32{c.want, c.want})
	}
}

func TestReduceAllocs(t *testing.T) {
	x, y := make([]float32, 40*2000), make([]float32, 2000)
	for _, axes := range [][]int{{0}, {1}, {0, 1}} {
		for kind := ReduceSum; kind <= ReduceLogSumExp; kind++ {
			r := NewReduce[float32](kind, []int{40, 2000}, axes)
			noAllocs(t, func(team *Team) { r.Run(team, y, x) })
		}
	}
}

func BenchmarkReduce(b *testing.B) {
	for _, c := range []struct {
		name        string
		shape, axes []int
	}{
		{"all-4M", []int{4 << 20}, []int{0}},
		{"channels-64x64x32x32", []int{64, 64, 32, 32}, []int{0, 2, 3}},
		{"channels-64x512x4x4", []int{64, 512, 4, 4}, []int{0, 2, 3}},
		{"bias-64x4096", []int{64, 4096}, []int{0}},
		{"bias-64x300", []int{64, 300}, []int{0}},
		{"bias-64x10", []int{64, 10}, []int{0}},
		{"rows-64x1000", []int{64, 1000}, []int{1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			x, y := make([]float32, product(c.shape)), make([]float32, product(c.shape))
			r := NewReduce[float32](ReduceSum, c.shape, c.axes)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				r.Run(nil, y[:r.outputLen()], x)
			}
		})
	}
}
