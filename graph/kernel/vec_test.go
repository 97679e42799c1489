package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// withLoops runs f with each implementation of the loops in use.
func withLoops(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	inUse := vecInUse
	defer func() { vecInUse = inUse }()
	for _, v := range vecAvailable() {
		vecInUse = v
		t.Run(v.name, f)
	}
}

// special are values that element-wise functions treat apart.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 2, 0.5, 1e-45, -1e-45, 1e-39, 1.1754944e-38, 88, 88.73, 89, 90,
	-87, -88, -103, -104, -105, 3e38, -3e38, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0.624, 0.626, 0.999, 1.001, 4, 5}

// samples are random values with special ones strewn in.
func samples(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 3)
		if rng.IntN(6) == 0 {
			x[i] = special[rng.IntN(len(special))]
		}
	}
	return x
}

// sameBits compares with all NaNs being one.
func sameBits[T Float](t *testing.T, what string, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: length %d, want %d", what, len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g != g && w != w {
			continue
		}
		if g != w || math.Signbit(float64(g)) != math.Signbit(float64(w)) {
			t.Fatalf("%s: element %d of %d is %v, want %v", what, i, len(got), g, w)
		}
	}
}

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
				eachTwin(k, want[guard:n+guard], x, y, a, b, c)
				sameBits(t, fmt.Sprintf("loop %d", k), z, want)
				each(k, x, x, y, a, b, c)
				sameBits(t, fmt.Sprintf("loop %d over x", k), x, want[guard:n+guard])
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
	inUse := vecInUse
	defer func() { vecInUse = inUse }()
	for _, v := range vecAvailable() {
		vecInUse = v
		for name, k := range map[string]elementwise{"add": loopAdd, "exp": loopExp, "log": loopLog, "tanh": loopTanh, "erf": loopErf} {
			b.Run(name+"/"+v.name, func(b *testing.B) {
				b.SetBytes(4 * unitSize)
				for b.Loop() {
					each(k, z, x, y, 0, 0, 0)
				}
			})
		}
		b.Run("sum/"+v.name, func(b *testing.B) {
			b.SetBytes(4 * unitSize)
			for b.Loop() {
				Sum(x)
			}
		})
	}
}
