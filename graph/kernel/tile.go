package kernel

import "sync"

//go:generate go -C _asm/gemm run . -out ../../gemm_amd64.s -stubs ../../gemm_amd64.go -pkg kernel

// tileFunc computes one tile of C = A·B while it stays in registers:
//
//	C[i][j] = sum over p < k of a[i*aRow + p*aCol] * b[p*bRow + j]
//
// for a number of rows i that the function is made for and j < cols, and then
// does what the flags say. Both strides of A are free, so that a row-major
// matrix, a transposed one and a packed panel all serve. c and b may end right
// after their last element; bias may be nil without its flags.
type tileFunc[T Float] func(k int, a []T, aRow, aCol int, b []T, bRow int, c []T, cRow int, cols int, bias []T, flags int)

// stripsFunc computes n tiles, one below the other, from n strips of A and a
// panel of B that are packed and whole:
//
//	C[i][j] = sum over p < k of a[(strip*k + p)*packedRow + i%rows] * b[p*cols + j]
//
// with the tiling's rows and cols, and does what the flags say but addRowBias.
// next is the panel of the next call, which is brought into the cache meanwhile.
type stripsFunc[T Float] func(n, k int, a, b, next, c []T, cRow int, bias []T, flags int)

// columnFunc computes n whole tiles of C, one below the other, each the sum of the
// products of factors that begin at the given places of a and b:
//
//	C[i][j] = sum over (x, y) in of, over p < k, of a[x + i*aRow + p*aCol] * b[y + p*bRow + j]
//
// Of the flags it minds addC. It fetches the columns of B that lie bNext further.
type columnFunc[T Float] func(n, k int, of [][2]int, a []T, aRow, aCol int, b []T, bRow, bNext int, c []T, cRow, flags int)

// pairsFunc computes n pairs of tiles of all rows of the tiling and pickLanes columns,
// from a packed strip of A and one B after the other, bNext apart, like the tiles:
//
//	c[t*cNext + i*pickLanes + j] = sum over p < k of a[p*packedRow + i] * b[t*bNext + p*pickLanes + j]
//
// and does what the flags say but addColBias.
type pairsFunc[T Float] func(n, k int, a, b []T, bNext int, c []T, cNext int, bias []T, flags int)

// momentumFunc computes n whole tiles of a gradient, one beside the other, from a
// packed strip of A and columns of B,
//
//	g[i][j] = sum over p < k of a[p*packedRow + i] * b[j/cols*bNext + p*bRow + j%cols]
//
// and takes the step of stepMomentum with weights w[i*row + j] and velocities
// v[i*row + j]. coef points to the step's coefficients.
type momentumFunc[T Float] func(n, k int, a, b []T, bRow, bNext int, w, v []T, row int, coef *T)

// momentumRestFunc is momentumFunc for one tile of cols columns, up to pickLanes, of
// which w, v and the rows of B have no more.
type momentumRestFunc[T Float] func(cols, k int, a, b []T, bRow int, w, v []T, row int, coef *T)

// What a tileFunc does after summing, in this order. The generator has the
// same constants.
const (
	addC       = 1 << iota // add what C holds; without it C is not read
	addRowBias             // add bias[i]
	addColBias             // add bias[j]
	rectify                // replace what is below 0 by 0; a NaN stays
	wholeRows              // rows of B may be read up to a multiple of pickLanes, which can be faster
)

// tiling is one implementation of the tile: functions for every height up to
// rows and, in steps of lanes, for every width up to cols.
type tiling[T Float] struct {
	name       string
	rows, cols int
	lanes      int
	tiles      [][]tileFunc[T] // [height-1][(width-1)/lanes]

	strips   stripsFunc[T]   // nil: tile by tile
	pairs    pairsFunc[T]    // likewise
	columns  []columnFunc[T] // [columns/pickLanes-1]; where there is none, product by product
	momentum momentumFunc[T] // nil: step after summing

	momentumRest momentumRestFunc[T] // likewise
	gaps         *gapsLoops[T]       // nil: zeros are multiplied like all else

	// What brings matrices into the order that tiles read; see the twins of
	// the same names.
	copyRows       func(rows int, src []T, srcRow int, dst []T, dstRow, cols int)
	transpose      func(rows, cols int, src []T, srcRow int, dst []T, dstRow int)
	transposeLines func(lines, rows, cols int, src []T, srcRow, srcLine int, dst []T, dstRow, dstLine int)
	// The same, but free to write rows of dst up to a multiple of 8 elements.
	copyWhole      func(rows int, src []T, srcRow int, dst []T, dstRow, cols int)
	transposeWhole func(rows, cols int, src []T, srcRow int, dst []T, dstRow int)
	window         func(picks []pick, src []T, base, planes, srcPlane int, dst []T, dstRow, dstPlane int)

	winograd   *winogradLoops[T]
	strided    *stridedLoops[T]
	direct     *directLoops[T]
	scattered  *scatteredLoops[T]
	squares    *squaresLoops[T]
	linked     []linkedLoops[T] // those over more images first
	besideTaps besideTapsFunc[T]
}

// tile returns the function for a tile of the given size.
func (t *tiling[T]) tile(rows, cols int) tileFunc[T] {
	return t.tiles[rows-1][(cols-1)/t.lanes]
}

// sumColumn is a columnFunc for any number of rows and up to the tiling's columns.
func (t *tiling[T]) sumColumn(rows, cols, k int, of [][2]int, a []T, aRow, aCol int, b []T, bRow, bNext int, c []T, cRow, flags int) {
	height, i := even(rows, t.rows), 0
	if n := rows / t.rows; cols%pickLanes == 0 && cols/pickLanes <= len(t.columns) && height == t.rows && n > 0 && k > 0 {
		t.columns[cols/pickLanes-1](n, k, of, a, aRow, aCol, b, bRow, bNext, c, cRow, flags)
		i = n * t.rows
	}
	for ; i < rows; i += height {
		tile, add := t.tile(min(height, rows-i), cols), flags
		for _, p := range of {
			tile(k, a[p[0]+i*aRow:], aRow, aCol, b[p[1]:], bRow, c[i*cRow:], cRow, cols, nil, add)
			add |= addC
		}
	}
}

// tilings lists what this processor can run, fastest first.
func tilings[T Float]() []*tiling[T] {
	var list []*tiling[T]
	for _, t := range tilingsF32 {
		if t, ok := any(t).(*tiling[T]); ok {
			list = append(list, t)
		}
	}
	return append(list, goTiling[T]())
}

var (
	goTilingF32 = sync.OnceValue(newGoTiling[float32])
	goTilingF64 = sync.OnceValue(newGoTiling[float64])
)

func goTiling[T Float]() *tiling[T] {
	if t, ok := any(goTilingF32()).(*tiling[T]); ok {
		return t
	}
	return any(goTilingF64()).(*tiling[T])
}

func newGoTiling[T Float]() *tiling[T] {
	t := &tiling[T]{
		name: "4x16_go", rows: 4, cols: 16, lanes: 16,
		copyRows: copyRows[T], transpose: transpose[T], transposeLines: transposeLines[T], copyWhole: copyRows[T], transposeWhole: transpose[T], window: window[T],
		winograd: newGoWinograd[T](), strided: newGoStrided[T](), direct: newGoDirect[T](), scattered: newGoScattered[T](), squares: newGoSquares[T](),
		linked:     []linkedLoops[T]{{pickLanes, linked[T], linkedDot[T]}},
		besideTaps: besideTaps[T],
	}
	for rows := 1; rows <= t.rows; rows++ {
		t.tiles = append(t.tiles, []tileFunc[T]{
			func(k int, a []T, aRow, aCol int, b []T, bRow int, c []T, cRow int, cols int, bias []T, flags int) {
				goTile(rows, k, a, aRow, aCol, b, bRow, c, cRow, cols, bias, flags)
			},
		})
	}
	return t
}

// goTile is the twin of the generated tiles, for any number of rows and columns.
func goTile[T Float](rows, k int, a []T, aRow, aCol int, b []T, bRow int, c []T, cRow int, cols int, bias []T, flags int) {
	for i := range rows {
		row := c[i*cRow : i*cRow+cols]
		var j int
		for ; j+4 <= cols; j += 4 {
			sums := goSums4(k, a, i*aRow, aCol, b, j, bRow)
			goEpilogue(row[j:j+4], sums[:], bias, i, j, flags)
		}
		for ; j < cols; j++ {
			var sum [1]T
			for p := range k {
				sum[0] += a[i*aRow+p*aCol] * b[p*bRow+j]
			}
			goEpilogue(row[j:j+1], sum[:], bias, i, j, flags)
		}
	}
}

// goSums4 is four neighbours of a row of C, their sums in registers.
func goSums4[T Float](k int, a []T, aAt, aCol int, b []T, bAt, bRow int) [4]T {
	var s0, s1, s2, s3 T
	for p := range k {
		v, r := a[aAt+p*aCol], b[bAt+p*bRow:bAt+p*bRow+4]
		s0 += v * r[0]
		s1 += v * r[1]
		s2 += v * r[2]
		s3 += v * r[3]
	}
	return [4]T{s0, s1, s2, s3}
}

// goEpilogue finishes sums, which begin at row i and column j of the tile.
func goEpilogue[T Float](c, sums, bias []T, i, j, flags int) {
	for at, v := range sums {
		if flags&addC != 0 {
			v += c[at]
		}
		if flags&addRowBias != 0 {
			v += bias[i]
		}
		if flags&addColBias != 0 {
			v += bias[j+at]
		}
		if flags&rectify != 0 && v < 0 {
			v = 0
		}
		c[at] = v
	}
}
