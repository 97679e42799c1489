package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var binaryReference = map[BinaryKind]func(x, y float64) float64{
	BinaryAdd: func(x, y float64) float64 { return x + y },
	BinarySub: func(x, y float64) float64 { return x - y },
	BinaryMul: func(x, y float64) float64 { return x * y },
	BinaryDiv: func(x, y float64) float64 { return x / y },
	BinaryPow: math.Pow,
	BinaryMin: math.Min,
	BinaryMax: math.Max,
}

func TestBinary(t *testing.T) {
	for _, c := range []struct {
		name    string
		x, y, z []int
	}{
		{"same", []int{3, 5, 7}, []int{3, 5, 7}, []int{3, 5, 7}},
		{"large", []int{40000}, []int{40000}, []int{40000}},
		{"scalar right", []int{40000}, []int{}, []int{40000}},
		{"scalar left", []int{1}, []int{33, 1100}, []int{33, 1100}},
		{"both scalar", []int{}, []int{1}, []int{1, 1}},
		{"channel", []int{2, 6, 5, 5}, []int{6, 1, 1}, []int{2, 6, 5, 5}},
		{"channel left", []int{1, 6, 1, 1}, []int{2, 6, 5, 5}, []int{2, 6, 5, 5}},
		{"large channel", []int{2, 3, 20000}, []int{3, 1}, []int{2, 3, 20000}},
		{"row", []int{9, 31}, []int{31}, []int{9, 31}},
		{"column", []int{9, 31}, []int{9, 1}, []int{9, 31}},
		{"outer", []int{9, 1}, []int{1, 31}, []int{9, 31}},
		{"expand", []int{3, 1}, []int{3, 1}, []int{3, 4}},
		{"mixed", []int{4, 1, 3, 1, 2}, []int{1, 5, 3, 7, 1}, []int{4, 5, 3, 7, 2}},
		{"empty", []int{0, 3}, []int{3}, []int{0, 3}},
	} {
		for kind, want := range binaryReference {
			t.Run(fmt.Sprintf("%s/%d", c.name, kind), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(kind)))
				x, y := normal[float32](rng, product(c.x)), normal[float32](rng, product(c.y))
				if kind == BinaryPow {
					Abs(x, x)
				}
				b := NewBinary[float32](kind, c.x, c.y, c.z)
				got := onTeams(t, func(team *Team) []float32 {
					z := make([]float32, product(c.z))
					b.Run(team, z, x, y)
					return z
				})
				coordinates(c.z, func(flat int, at []int) {
					w := float32(want(float64(x[flatten(c.x, at)]), float64(y[flatten(c.y, at)])))
					if math.Abs(float64(got[flat]-w)) > 1e-6*math.Abs(float64(w)) {
						t.Fatalf("element %v is %v, want %v", at, got[flat], w)
					}
				})
			})
		}
	}
}

func TestBinarySpecialValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	run := func(kind BinaryKind, x, y float32) float32 {
		z := []float32{0}
		NewBinary[float32](kind, nil, nil, nil).Run(nil, z, []float32{x}, []float32{y})
		return z[0]
	}
	sameBits(t, "special values", []float32{
		run(BinaryMax, nan, 1), run(BinaryMax, 1, nan), run(BinaryMin, nan, 1), run(BinaryMin, 1, nan),
		run(BinaryPow, -2, 2), run(BinaryPow, -inf, 2), run(BinaryDiv, 1, 0),
	}, []float32{nan, nan, nan, nan, 4, inf, inf})
}

func TestBinaryRefusesShapes(t *testing.T) {
	for _, c := range [][3][]int{{{2}, {3}, {3}}, {{2, 2}, {2}, {2}}, {{4}, {1}, {1}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("shapes %v were taken", c)
				}
			}()
			NewBinary[float32](BinaryAdd, c[0], c[1], c[2])
		}()
	}
}

func TestUnaryAndZip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, y := samples(rng, 3*unitSize+5), samples(rng, 3*unitSize+5)
	relu, grad := NewUnary(Relu[float32]), NewZip(ReluGrad[float32])
	z := onTeams(t, func(team *Team) []float32 { z := make([]float32, len(x)); relu.Run(team, z, x); return z })
	d := onTeams(t, func(team *Team) []float32 { d := make([]float32, len(x)); grad.Run(team, d, y, x); return d })
	for i, v := range x {
		wantZ, wantD := v, y[i]
		if v <= 0 {
			wantZ = max(v, 0)
		}
		if !(v > 0) {
			wantD = 0
		}
		if wantZ != z[i] && v == v {
			t.Fatalf("relu(%v) = %v", v, z[i])
		}
		if wantD != d[i] && y[i] == y[i] {
			t.Fatalf("gradient of relu at %v for %v is %v", v, y[i], d[i])
		}
	}
	noAllocs(t, func(team *Team) { relu.Run(team, z, x); grad.Run(team, z, x, y) })
	b := NewBinary[float32](BinaryAdd, []int{3, unitSize}, []int{3, 1}, []int{3, unitSize})
	noAllocs(t, func(team *Team) { b.Run(team, z, x, y) })
}

func BenchmarkBinary(b *testing.B) {
	for _, c := range []struct {
		name string
		x, y []int
	}{
		{"residual-64x64x32x32", []int{64, 64, 32, 32}, []int{64, 64, 32, 32}},
		{"bias-64x64x32x32", []int{64, 64, 32, 32}, []int{64, 1, 1}},
		{"bias-64x512x4x4", []int{64, 512, 4, 4}, []int{512, 1, 1}},
		{"row-64x512", []int{64, 512}, []int{512}},
	} {
		b.Run(c.name, func(b *testing.B) {
			x, y, z := make([]float32, product(c.x)), make([]float32, product(c.y)), make([]float32, product(c.x))
			k := NewBinary[float32](BinaryAdd, c.x, c.y, c.x)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				k.Run(nil, z, x, y)
			}
		})
	}
}
