package kernel

import "math"

// Winograd's convolution F(4x4, 3x3) computes a tile of 4 by 4 results of a
// 3 by 3 kernel from 6 by 6 inputs with 36 products instead of 144:
//
//	Y = A [ (G g Gᵀ) ⊙ (Bᵀ d B) ] Aᵀ
//
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016).
// Summed over channels, the 36 elementwise products are 36 matrix products.
// The gradient of the kernel is the same sum with the sides exchanged,
//
//	dg = Gᵀ [ sum over tiles of (Bᵀ d B) ⊙ (Aᵀ dY A) ] G
//
// The matrices are those of Toom and Cook for the points 0, ±winogradNear,
// ±winogradFar and infinity. Those two are exact in binary and about one in
// size, which halves the error that the customary 1 and 2 have: it is 3 to 6
// times that of the plain sum, some 1e-6 of the result. F(2x2, 3x3) would be
// little better, for 1.8 times as many products.
const (
	winogradNear = 0.75
	winogradFar  = 1.5
)

const (
	tileOut  = 4 // results of a tile, in each direction
	tileIn   = 6 // inputs of a tile
	tileArea = tileIn * tileIn
)

// tileTransform transforms n tiles of vectors, dst = m src mᵀ with the matrix
// that the function is made for. Element (i, j) of tile t is the vector at
// src[t*srcNext + i*srcRow + j*srcCol], and likewise for dst.
type tileTransform[T Float] func(n int, src []T, srcNext, srcRow, srcCol int, dst []T, dstNext, dstRow, dstCol int)

// outputTransform is a tileTransform to results, to which it adds a vector of
// biases, and raises what lies below floor.
type outputTransform[T Float] func(n int, src []T, srcNext, srcRow, srcCol int, dst []T, dstNext, dstRow, dstCol int, bias []T, floor T)

// winogradLoops are the transforms of one tiling. Those of weights work on
// vectors of packedRow elements, the others on vectors of lanes.
type winogradLoops[T Float] struct {
	lanes    int
	input    tileTransform[T]   // Bᵀ: 6x6 to 6x6
	weight   tileTransform[T]   // G: 3x3 to 6x6
	mirror   tileTransform[T]   // G, of a kernel read backwards
	gradient tileTransform[T]   // of results to 6x6: 4x4 by A, with the norms of G
	sum      tileTransform[T]   // Gᵀ without them: 6x6 to 3x3
	output   outputTransform[T] // Aᵀ: 6x6 to 4x4
}

// goLanes are the twins' lanes.
const goLanes = 8

// newGoWinograd makes the twins of the generated transforms.
func newGoWinograd[T Float]() *winogradLoops[T] {
	input, weight, result := winogradMatrices[T]()
	gradient, sum := gradientMatrices[T]()
	return &winogradLoops[T]{
		lanes:    goLanes,
		input:    goTileTransform(input, goLanes),
		weight:   goTileTransform(weight, packedRow),
		mirror:   goTileTransform(mirrored(weight), packedRow),
		gradient: goTileTransform(gradient, goLanes),
		sum:      goTileTransform(sum, goLanes),
		output:   goOutputTransform(transposed(result), goLanes),
	}
}

// winogradMatrices returns Bᵀ, G and A. The row of point p is, in Bᵀ, the
// product of (x - q) over the other points q, as a polynomial; in G and A, the
// powers of p, in G divided by the product of (p - q).
func winogradMatrices[T Float]() (input, weight, result [][]T) {
	points := []float64{0, winogradNear, -winogradNear, winogradFar, -winogradFar}
	for i, p := range points {
		input = append(input, append(othersPolynomial[T](points, i), 0))
		norm := 1.0
		for j, q := range points {
			if j != i {
				norm *= p - q
			}
		}
		weight = append(weight, []T{T(1 / norm), T(p / norm), T(p * p / norm)})
		result = append(result, []T{1, T(p), T(p * p), T(p * p * p)})
	}
	input = append(input, othersPolynomial[T](points, -1))
	weight = append(weight, []T{0, 0, 1})
	result = append(result, []T{0, 0, 0, 1})
	return input, weight, result
}

// gradientMatrices returns A and Gᵀ for the gradient by the kernel, where A is
// applied to each tile and G to each product: A has the divisors of G's rows, and
// what is left of G are powers.
func gradientMatrices[T Float]() (gradient, sum [][]T) {
	_, weight, result := winogradMatrices[float64]()
	var powers [][]T
	for i, row := range result {
		norm := weight[i][0]
		if i == len(result)-1 {
			norm = 1 // the point at infinity
		}
		gradient = append(gradient, []T{T(norm * row[0]), T(norm * row[1]), T(norm * row[2]), T(norm * row[3])})
		powers = append(powers, []T{T(row[0]), T(row[1]), T(row[2])})
	}
	powers[len(powers)-1] = []T{0, 0, 1}
	return gradient, transposed(powers)
}

// othersPolynomial is the product of (x - p) over all points but number but,
// as coefficients of rising powers.
func othersPolynomial[T Float](points []float64, but int) []T {
	c := []T{1}
	for i, p := range points {
		if i == but {
			continue
		}
		next := append([]T{0}, c...)
		for j, v := range c {
			next[j] -= T(p) * v
		}
		c = next
	}
	return c
}

func transposed[T Float](m [][]T) [][]T {
	t := make([][]T, len(m[0]))
	for i := range t {
		for j := range m {
			t[i] = append(t[i], m[j][i])
		}
	}
	return t
}

// mirrored reverses the columns.
func mirrored[T Float](m [][]T) [][]T {
	r := make([][]T, len(m))
	for i, row := range m {
		for j := range row {
			r[i] = append(r[i], row[len(row)-1-j])
		}
	}
	return r
}

// goTileTransform is a tileTransform for any matrix.
func goTileTransform[T Float](m [][]T, lanes int) tileTransform[T] {
	rows, cols := len(m), len(m[0])
	return func(n int, src []T, srcNext, srcRow, srcCol int, dst []T, dstNext, dstRow, dstCol int) {
		var half [wideSide][wideSide]T
		for at := range n * lanes {
			t, lane := at/lanes, at%lanes
			from, to := src[t*srcNext+lane:], dst[t*dstNext+lane:]
			for i := range rows {
				for j := range cols {
					half[i][j] = 0
					for k, f := range m[i] {
						half[i][j] += f * from[k*srcRow+j*srcCol]
					}
				}
			}
			for i := range rows {
				for j := range rows {
					var sum T
					for k, f := range m[j] {
						sum += f * half[i][k]
					}
					to[i*dstRow+j*dstCol] = sum
				}
			}
		}
	}
}

// goOutputTransform is an outputTransform for any matrix.
func goOutputTransform[T Float](m [][]T, lanes int) outputTransform[T] {
	transform, side := goTileTransform(m, lanes), len(m)
	return func(n int, src []T, srcNext, srcRow, srcCol int, dst []T, dstNext, dstRow, dstCol int, bias []T, floor T) {
		transform(n, src, srcNext, srcRow, srcCol, dst, dstNext, dstRow, dstCol)
		for at := range n * side * side {
			t, i, j := at/(side*side), at/side%side, at%side
			v := dst[t*dstNext+i*dstRow+j*dstCol:][:lanes]
			for i := range v {
				if v[i] += bias[i]; v[i] < floor {
					v[i] = floor
				}
			}
		}
	}
}

// floorOf is what a flag asks the output to be raised to.
func floorOf[T Float](flags int) T {
	if flags&rectify != 0 {
		return 0
	}
	return T(math.Inf(-1))
}
