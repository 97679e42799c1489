package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// lengths covers every remainder, all passes of the loops, and one large size.
func lengths() []int {
	var all []int
	for n := range 131 {
		all = append(all, n)
	}
	return append(all, 1000, 16384+7)
}

func TestElementwiseLoops(t *testing.T) {
	withLoops(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for k := range elementwiseLoops {
			for _, n := range lengths() {
				const guard = 3 // also makes the slices unaligned
				x, y := samples(rng, n+guard)[guard:], samples(rng, n+guard)[guard:]
				z := samples(rng, n+2*guard)
				want := append([]float32(nil), z...)
				a, b, c := float32(rng.NormFloat64()), float32(rng.NormFloat64()), float32(rng.NormFloat64())
				each(k, z[guard:n+guard], x, y, a, b, c)
				second := clone(y)
				eachTwin(k, want[guard:n+guard], x, y, a, b, c)
				sameBits(t, fmt.Sprintf("loop %d", k), z, want)
				sameBits(t, fmt.Sprintf("second result of loop %d", k), second, y)
				each(k, x, x, y, a, b, c)
				sameBits(t, fmt.Sprintf("loop %d over x", k), x, want[guard:n+guard])
			}
		}
	})
}

func TestRowLoops(t *testing.T) {
	withLoops(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for k := range rowLoops {
			for _, n := range lengths() {
				const guard = 3
				x, y, u := samples(rng, n+guard)[guard:], samples(rng, n+guard)[guard:], samples(rng, n+guard)[guard:]
				z := samples(rng, n+2*guard)
				want := append([]float32(nil), z...)
				eachRow(k, z[guard:n+guard], x, y, u)
				rowTwin(k, want[guard:n+guard], x, y, u)
				sameBits(t, fmt.Sprintf("row loop %d", k), z, want)
			}
		}
	})
}

func TestReductionLoops(t *testing.T) {
	withLoops(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for k := range reductionLoops {
			for _, n := range lengths() {
				x, y := make([]float32, n+1)[1:], make([]float32, n+1)[1:]
				for i := range x {
					x[i], y[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
				}
				if n > 0 && k >= loopMax && n%3 == 0 {
					x[rng.IntN(n)] = float32(math.Inf(1 - 2*(n%2)))
				}
				if n > 0 && k == loopMaxAbs && n%5 == 0 {
					x[rng.IntN(n)] = float32(math.NaN())
				}
				a := float32(rng.NormFloat64())
				got := reduce(k, x, y, a)
				inUse := vecInUse
				vecInUse = vecLoops{}
				want := reduce(k, x, y, a)
				vecInUse = inUse
				sameBits(t, fmt.Sprintf("loop %d, length %d", k, n), []float32{got}, []float32{want})
				exact := exactReduction(k, x, y, a)
				if exact == exact && !math.IsInf(exact, 0) && math.Abs(float64(got)-exact) > 1e-6*float64(n+1) {
					t.Fatalf("loop %d, length %d: %v, want about %v", k, n, got, exact)
				}
			}
		}
	})
}

// exactReduction is the definition in float64.
func exactReduction(k reduction, x, y []float32, a float32) float64 {
	acc := reductionStart[float64](k)
	for i := range x {
		v, d := float64(x[i]), float64(x[i])-float64(a)
		switch k {
		case loopSum:
			acc += v
		case loopSumAbs:
			acc += math.Abs(v)
		case loopSumSquares:
			acc += d * d
		case loopDot:
			acc += d * float64(y[i])
		case loopMax:
			acc = max(acc, v)
		case loopMin:
			acc = min(acc, v)
		case loopMaxAbs:
			acc = max(acc, math.Abs(v))
		}
	}
	return acc
}

// TestVectorFunctions checks what the exported names promise, which loop each
// takes included.
func TestVectorFunctions(t *testing.T) {
	x, y := []float64{-2, -0.5, 0, 0.25, 3}, []float64{1, -4, 0.5, 2, -1}
	for _, c := range []struct {
		name string
		run  func(z []float64)
		want func(x, y float64) float64
	}{
		{"Add", func(z []float64) { Add(z, x, y) }, func(x, y float64) float64 { return x + y }},
		{"Sub", func(z []float64) { Sub(z, x, y) }, func(x, y float64) float64 { return x - y }},
		{"Mul", func(z []float64) { Mul(z, x, y) }, func(x, y float64) float64 { return x * y }},
		{"Div", func(z []float64) { Div(z, x, y) }, func(x, y float64) float64 { return x / y }},
		{"Scale", func(z []float64) { Scale(z, 3, x) }, func(x, _ float64) float64 { return 3 * x }},
		{"Shift", func(z []float64) { Shift(z, x, 3) }, func(x, _ float64) float64 { return x + 3 }},
		{"Axpy", func(z []float64) { copy(z, y); Axpy(z, 3, x) }, func(x, y float64) float64 { return 3*x + y }},
		{"Affine", func(z []float64) { Affine(z, 3, x, 1) }, func(x, _ float64) float64 { return 3*x + 1 }},
		{"AffineRelu", func(z []float64) { AffineRelu(z, 3, x, 1) }, func(x, _ float64) float64 { return max(0, 3*x+1) }},
		{"Combine", func(z []float64) { Combine(z, 3, x, 5, y, 1) }, func(x, y float64) float64 { return 3*x + 5*y + 1 }},
		{"Relu", func(z []float64) { Relu(z, x) }, func(x, _ float64) float64 { return max(0, x) }},
		{"ReluGrad", func(z []float64) { ReluGrad(z, y, x) }, func(x, y float64) float64 {
			if x > 0 {
				return y
			}
			return 0
		}},
		{"Clip", func(z []float64) { Clip(z, x, -1, 1) }, func(x, _ float64) float64 { return max(-1, min(1, x)) }},
		{"Abs", func(z []float64) { Abs(z, x) }, func(x, _ float64) float64 { return math.Abs(x) }},
		{"Sqrt", func(z []float64) { Sqrt(z, x) }, func(x, _ float64) float64 { return math.Sqrt(x) }},
		{"Reciprocal", func(z []float64) { Reciprocal(z, x) }, func(x, _ float64) float64 { return 1 / x }},
		{"Exp", func(z []float64) { Exp(z, x) }, func(x, _ float64) float64 { return math.Exp(x) }},
		{"Log", func(z []float64) { Log(z, x) }, func(x, _ float64) float64 { return math.Log(x) }},
		{"Sigmoid", func(z []float64) { Sigmoid(z, x) }, func(x, _ float64) float64 { return 1 / (1 + math.Exp(-x)) }},
		{"Tanh", func(z []float64) { Tanh(z, x) }, func(x, _ float64) float64 { return math.Tanh(x) }},
		{"Erf", func(z []float64) { Erf(z, x) }, func(x, _ float64) float64 { return math.Erf(x) }},
	} {
		z, want := make([]float64, len(x)), make([]float64, len(x))
		c.run(z)
		for i := range x {
			want[i] = c.want(x[i], y[i])
		}
		near(t, c.name, z, want, 1e-15)
	}
	positive := make([]bool, len(x))
	Positive(positive, x)
	if want := []bool{false, false, false, true, true}; !slices.Equal(positive, want) {
		t.Errorf("Positive gives %v, want %v", positive, want)
	}
}

func TestExtremesSeeNaN(t *testing.T) {
	withLoops(t, func(t *testing.T) {
		for _, n := range []int{1, 16, 17, 64, 100, 200} {
			for at := range n {
				x := make([]float32, n)
				x[at] = float32(math.NaN())
				if m, l := Max(x), Min(x); m == m || l == l {
					t.Fatalf("NaN at %d of %d: maximum %v, minimum %v", at, n, m, l)
				}
				if AllFinite(x) {
					t.Fatalf("NaN at %d of %d not seen", at, n)
				}
				x[at] = float32(math.Inf(-1))
				if AllFinite(x) {
					t.Fatalf("infinity at %d of %d not seen", at, n)
				}
				x[at] = 0
				if !AllFinite(x) {
					t.Fatalf("%d zeros are not finite", n)
				}
			}
		}
	})
}

// TestTranscendental measures the float32 functions against float64 over the
// whole range of float32, in units in the last place.
func TestTranscendental(t *testing.T) {
	for _, c := range []struct {
		name  string
		got   func(z, x []float32)
		want  func(float64) float64
		limit float64
	}{
		{"exp", Exp[float32], math.Exp, 1},
		{"log", Log[float32], math.Log, 1},
		{"sigmoid", Sigmoid[float32], sigmoid[float64], 2.5},
		{"tanh", Tanh[float32], math.Tanh, 2},
		{"erf", Erf[float32], math.Erf, 2.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x []float32
			for b := uint64(0); b < 1<<32; b += 4999 {
				x = append(x, math.Float32frombits(uint32(b)))
			}
			for i := range 1 << 18 { // where the functions are curved
				x = append(x, -20+float32(i)*(40.0/(1<<18)))
			}
			x = append(x, special...)
			z := make([]float32, len(x))
			c.got(z, x)
			worst, at := 0.0, float32(0)
			for i, v := range x {
				want := c.want(float64(v))
				if e := ulps(z[i], want); e > worst || e != e {
					worst, at = e, v
				}
			}
			t.Logf("worst error %.3f ulp at %v", worst, at)
			if !(worst <= c.limit) {
				t.Errorf("error %.3f ulp at %v, want at most %v", worst, at, c.limit)
			}
		})
	}
}

// TestGelu compares both results with their formulas, in absolute terms: in the
// tails what counts is how much is added to other numbers.
func TestGelu(t *testing.T) {
	withLoops(t, func(t *testing.T) {
		const n = 1 << 18
		x := make([]float32, n)
		for i := range x {
			x[i] = -16 + float32(i)*(32.0/n)
		}
		y, slope := make([]float32, n), make([]float32, n)
		Gelu(y, slope, x)
		for i, v := range x {
			a := float64(v)
			cdf := 0.5 * math.Erfc(-a/math.Sqrt2)
			if e := math.Abs(float64(y[i]) - a*cdf); !(e <= 4e-7*max(1, math.Abs(a))) {
				t.Fatalf("gelu(%v) = %v is off by %g", v, y[i], e)
			}
			want := cdf + a*math.Exp(-a*a/2)/math.Sqrt(2*math.Pi)
			if e := math.Abs(float64(slope[i]) - want); !(e <= 6e-7) {
				t.Fatalf("the slope of gelu at %v, %v, is off by %g", v, slope[i], e)
			}
		}
	})
}

// ulps is the distance of got from want in units in the last place of float32.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	switch {
	case want != want:
		if got != got {
			return 0
		}
		return math.NaN()
	case math.IsInf(float64(w), 0) || math.IsInf(float64(got), 0):
		if got == w {
			return 0
		}
		return math.Inf(1)
	}
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

func BenchmarkLoops(b *testing.B) {
	x, y, z := make([]float32, unitSize), make([]float32, unitSize), make([]float32, unitSize)
	for i := range x {
		x[i], y[i] = float32(i%97)/97+0.5, 2
	}
	withLoopsInUse(func(impl string) {
		for name, k := range map[string]elementwise{"add": loopAdd, "exp": loopExp, "log": loopLog, "tanh": loopTanh, "erf": loopErf, "gelu": loopGelu} {
			b.Run(name+"/"+impl, func(b *testing.B) {
				b.SetBytes(4 * unitSize)
				for b.Loop() {
					each(k, z, x, y, 0, 0, 0)
				}
			})
		}
		b.Run("sum/"+impl, func(b *testing.B) {
			b.SetBytes(4 * unitSize)
			for b.Loop() {
				Sum(x)
			}
		})
	})
}

// FuzzElementwise compares every loop with its twin on arbitrary bits.
func FuzzElementwise(f *testing.F) {
	f.Add(make([]byte, 200), uint8(0))
	f.Add([]byte("\x00\x00\x80\x7f\x00\x00\x80\xff\x00\x00\xc0\x7f\x01\x00\x00\x00\x00\x00\x80\x00"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, skip uint8) {
		x := make([]float32, len(data)/4)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		x = x[min(int(skip), len(x)):]
		y := clone(x)
		slices.Reverse(y)
		a, b, c := first(x, 1), first(y, 2), first(x[len(x)/2:], 3)
		got, want := make([]float32, len(x)), make([]float32, len(x))
		withLoopsInUse(func(name string) {
			for k := range elementwiseLoops {
				each(k, got, x, y, a, b, c)
				eachTwin(k, want, x, y, a, b, c)
				sameBits(t, fmt.Sprintf("%s loop %d", name, k), got, want)
			}
		})
	})
}

func first(x []float32, otherwise float32) float32 {
	if len(x) == 0 {
		return otherwise
	}
	return x[0]
}

// FuzzReduction compares every reduction with its twin on arbitrary bits.
func FuzzReduction(f *testing.F) {
	f.Add(make([]byte, 500))
	f.Fuzz(func(t *testing.T, data []byte) {
		x := make([]float32, len(data)/4)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		y := clone(x)
		slices.Reverse(y)
		var want [reductionLoops]float32
		withLoopsInUse(func(name string) { // the twins come last
			for k := range reductionLoops {
				want[k] = reduce(k, x, y, 1)
			}
		})
		withLoopsInUse(func(name string) {
			for k := range reductionLoops {
				sameBits(t, fmt.Sprintf("%s loop %d", name, k), []float32{reduce(k, x, y, 1)}, want[k:k+1])
			}
		})
	})
}
