package kernel

// What the tests of this package share: samples, comparisons, and a view of
// tensors by coordinates, one at a time.

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// withLoopsInUse runs f with each implementation of the loops in use.
func withLoopsInUse(f func(name string)) {
	inUse := vecInUse
	defer func() { vecInUse = inUse }()
	for _, v := range vecAvailable() {
		vecInUse = v
		f(v.name)
	}
}

// withLoops runs f as a subtest with each implementation of the loops in use.
func withLoops(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	withLoopsInUse(func(name string) { t.Run(name, f) })
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

// normal returns n standard normal numbers.
func normal[T Float](rng *rand.Rand, n int) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = T(rng.NormFloat64())
	}
	return x
}

// bernoulli returns n zeros and ones.
func bernoulli[T Float](rng *rand.Rand, n int) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = T(rng.IntN(2))
	}
	return x
}

func clone[T any](x []T) []T { return append([]T(nil), x...) }

// near compares with a tolerance relative to the largest expected value.
func near[T Float](t *testing.T, what string, got, want []T, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: length %d, want %d", what, len(got), len(want))
	}
	scale := 1e-30
	for _, w := range want {
		if a := math.Abs(float64(w)); a <= math.MaxFloat64 {
			scale = max(scale, a)
		}
	}
	for i, g := range got {
		if g != g && want[i] != want[i] {
			continue
		}
		if g != want[i] && !(math.Abs(float64(g)-float64(want[i])) <= tolerance*scale) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, g, want[i])
		}
	}
}

// widen converts to float64.
func widen[T Float](x []T) []float64 {
	if x == nil {
		return nil
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// onTeams runs f on one, two and three threads and compares the bits of what it returns.
func onTeams[T Float](t *testing.T, f func(team *Team) []T) []T {
	t.Helper()
	first := clone(f(nil))
	for _, threads := range []int{2, 3} {
		team := NewTeam(threads)
		sameBits(t, fmt.Sprintf("on %d threads", threads), f(team), first)
		team.Close()
	}
	return first
}

// noAllocs checks that run, called again and again, allocates nothing.
func noAllocs(t *testing.T, run func(team *Team)) {
	t.Helper()
	team := NewTeam(2)
	defer team.Close()
	for range 3 {
		run(team)
	}
	if n := steadyAllocs(20, func() { run(team) }); n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
}

// steadyAllocs is how often run allocates each time it is called. The runtime's
// own allocations fall into a measurement now and then, and so does the memory of a
// worker that came late to the first runs, on a busy machine above all; what run
// itself does shows in every one.
func steadyAllocs(runs int, run func()) float64 {
	least := testing.AllocsPerRun(runs, run)
	for range 5 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, run))
	}
	return least
}

// numericGradient is the central difference of f at x, element by element.
func numericGradient(x []float64, f func() float64) []float64 {
	const h = 1e-5
	g := make([]float64, len(x))
	for i, v := range x {
		x[i] = v + h
		up := f()
		x[i] = v - h
		down := f()
		x[i] = v
		g[i] = (up - down) / (2 * h)
	}
	return g
}

// dot64 is the sum of x*y.
func dot64(x, y []float64) float64 {
	var sum float64
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

// narrow converts to float32.
func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

func checkGradient(t *testing.T, what string, got, want []float64) {
	t.Helper()
	near(t, "gradient of "+what, got, want, 1e-7)
	for _, g := range got {
		if math.IsNaN(g) {
			t.Fatalf("gradient of %s is NaN", what)
		}
	}
}

// coordinates calls f for every index of a shape in row-major order.
func coordinates(shape []int, f func(flat int, at []int)) {
	at := make([]int, len(shape))
	for flat := range product(shape) {
		rest := flat
		for i := len(shape) - 1; i >= 0; i-- {
			at[i] = rest % shape[i]
			rest /= shape[i]
		}
		f(flat, at)
	}
}

// flatten is the row-major position of at; axes of size 1 are broadcast, and
// leading coordinates that the shape lacks are ignored.
func flatten(shape, at []int) int {
	at = at[len(at)-len(shape):]
	flat := 0
	for i, s := range shape {
		flat *= s
		if s > 1 {
			flat += at[i]
		}
	}
	return flat
}
