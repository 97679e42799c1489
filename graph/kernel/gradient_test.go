package kernel

import (
	"math"
	"testing"
)

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
