package bound

import (
	"fmt"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/unprune/unprune/unprune"
)

// A Spectrum is the extreme eigenvalues of a symmetric matrix as seen from
// inside: Highest is at most the true one, Lowest at least.
type Spectrum struct{ Highest, Lowest float64 }

// Lanczos estimates the extreme eigenvalues of an n x n matrix that is known by
// its products, from a random start, keeping all directions orthogonal.
func Lanczos(n, iterations int, rng *rand.Rand, product func(unprune.Vector) (unprune.Vector, error)) (Spectrum, error) {
	v := make(unprune.Vector, n)
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	var basis []unprune.Vector
	var diagonal, off []float64
	for len(basis) < min(iterations, n) {
		norm := v.Norm()
		if len(basis) > 0 {
			if norm <= 1e-12*scale(diagonal, off) {
				break // the directions seen span an invariant space
			}
			off = append(off, norm)
		}
		v.Scale(1 / norm)
		basis = append(basis, v)
		w, err := product(v)
		if err != nil {
			return Spectrum{}, err
		}
		diagonal = append(diagonal, v.Dot(w))
		v = make(unprune.Vector, n)
		copy(v, w)
		for range 2 { // once more for what rounding left
			for _, b := range basis {
				v.Axpy(-b.Dot(v), b)
			}
		}
	}
	return extremes(diagonal, off)
}

// scale is the size of the entries of the tridiagonal matrix.
func scale(diagonal, off []float64) float64 {
	top := 0.0
	for _, list := range [][]float64{diagonal, off} {
		for _, x := range list {
			top = max(top, x, -x)
		}
	}
	return top
}

func extremes(diagonal, off []float64) (Spectrum, error) {
	k := len(diagonal)
	t := mat.NewSymDense(k, nil)
	for i, d := range diagonal {
		t.SetSym(i, i, d)
		if i+1 < k {
			t.SetSym(i, i+1, off[i])
		}
	}
	var e mat.EigenSym
	if k == 0 || !e.Factorize(t, false) {
		return Spectrum{}, fmt.Errorf("bound: the eigenvalues of the Hessian did not converge; the weights or data may be extreme")
	}
	values := e.Values(nil)
	return Spectrum{Highest: values[k-1], Lowest: values[0]}, nil
}
