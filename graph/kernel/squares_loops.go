package kernel

import "slices"

// The sums of squared gradients of single samples add the square of a gradient
// while it is in registers, a tile at a time: rows neighbouring channels of x
// by some vectors of channels of dy.

// squaresTile computes, for one image after the other, a tile of the gradient,
//
//	g[i][j] = sum over height lines of width pixels of x[place of x + i] * dy[place of dy + j]
//
// and adds its square to the sums, whose row i begins at i*sumsRow. From a pixel to the next a place moves by
// xNext or dyNext, behind a line by xSkip or dySkip more, and from an image to the
// next by xImage or dyImage. Images, height and width are above zero.
type squaresTile[T Float] func(images, height, width int, x []T, xNext, xSkip, xImage int, dy []T, dyNext, dySkip, dyImage int, sums []T, sumsRow int)

// squaresProducts computes such tiles of products of matrices, each the sum over
// k > 0 pixels, and sums of such products, as the pairs say, for blocks > 0 of rows
// that follow each other, without a gap between the rows of a tile:
//
//	dst[e*dstArea + b*dstBlock + i*columns + j] = sum over the pairs of e, and over p, of
//	    x[pair[0] + p*xNext + b*rows + i] * dy[pair[1] + p*dyNext + j]
//
// There is at least one pair, and the last one has no more.
type squaresProducts[T Float] func(pairs []squaresPair, blocks, k int, x []T, xNext int, dy []T, dyNext int, dst []T, dstArea, dstBlock int)

// squaresPair is where two matrices begin that are multiplied, in x and in dy, and
// how many more are added to their product: those of the next pairs.
type squaresPair = [3]int

// squaresSum is a tileTransform from 6x6 to 3x3, but adds the squares of the results
// to sums that follow each other, as [tile][element][lane]. The rows of its matrix
// are divided by their first elements, as unitRows does.
type squaresSum[T Float] func(n int, src []T, srcNext, srcRow, srcCol int, sums []T)

// squaresLoops are the loops of one tiling.
type squaresLoops[T Float] struct {
	lanes       int
	tileRows    int                  // at most squaresRow
	tiles       []squaresTile[T]     // [vectors-1]
	productRows int                  // of which lanes is a multiple
	products    []squaresProducts[T] // [vectors-1]
	sum         squaresSum[T]        // by the matrix of winogradLoops.sum
	stridedSum  squaresSum[T]        // by that of stridedLoops.sum
}

// squaresRow is the distance of pixels in a strip of channels of x.
const squaresRow = 4

// newGoSquares makes the twins.
func newGoSquares[T Float]() *squaresLoops[T] {
	const rows, lanes, most = 4, goLanes, 2
	l := &squaresLoops[T]{lanes: lanes, tileRows: rows, productRows: rows}
	for vectors := 1; vectors <= most; vectors++ {
		l.tiles = append(l.tiles, func(images, height, width int, x []T, xNext, xSkip, xImage int, dy []T, dyNext, dySkip, dyImage int, sums []T, sumsRow int) {
			goSquaresTile(rows, vectors*lanes, images, height, width, x, xNext, xSkip, xImage, dy, dyNext, dySkip, dyImage, sums, sumsRow)
		})
		l.products = append(l.products, func(pairs []squaresPair, blocks, k int, x []T, xNext int, dy []T, dyNext int, dst []T, dstArea, dstBlock int) {
			cols := vectors * lanes
			for b := range blocks {
				e, flags := 0, 0
				for _, p := range pairs {
					goTile(rows, k, x[p[0]+b*rows:], 1, xNext, dy[p[1]:], dyNext, dst[e*dstArea+b*dstBlock:], cols, cols, nil, flags)
					flags = addC
					if p[2] == 0 {
						e, flags = e+1, 0
					}
				}
			}
		})
	}
	sum, stridedSum := squaresMatrices[T]()
	sum, _ = unitRows(sum)
	stridedSum, _ = unitRows(stridedSum)
	l.sum, l.stridedSum = goSquaresSum(sum), goSquaresSum(stridedSum)
	return l
}

// squaresMatrices are those of winogradLoops.sum and stridedLoops.sum.
func squaresMatrices[T Float]() (sum, stridedSum [][]T) {
	_, sum = gradientMatrices[T]()
	_, weight, _ := stridedMatrices[T]()
	return sum, transposed(weight)
}

// unitRows divides each row by its first element that is not zero, which it returns
// too.
func unitRows[T Float](m [][]T) (unit [][]T, first []T) {
	for _, row := range m {
		at := slices.IndexFunc(row, func(v T) bool { return v != 0 })
		var u []T
		for _, v := range row {
			u = append(u, v/row[at])
		}
		unit, first = append(unit, u), append(first, row[at])
	}
	return unit, first
}

// goSquaresSum is a squaresSum for any matrix.
func goSquaresSum[T Float](m [][]T) squaresSum[T] {
	transform := goTileTransform(m, goLanes)
	return func(n int, src []T, srcNext, srcRow, srcCol int, sums []T) {
		var g [9 * goLanes]T
		for t := range n {
			transform(1, src[t*srcNext:], 0, srcRow, srcCol, g[:], 0, 3*goLanes, goLanes)
			goAddSquares(g[:], sums[t*len(g):])
		}
	}
}

// goAddSquares adds the squares of g to sums.
func goAddSquares[T Float](g, sums []T) {
	for i, v := range g {
		sums[i] += v * v
	}
}

func goSquaresTile[T Float](rows, cols, images, height, width int, x []T, xNext, xSkip, xImage int, dy []T, dyNext, dySkip, dyImage int, sums []T, sumsRow int) {
	g := make([]T, cols)
	for image := range images {
		for i := range rows {
			clear(g)
			atX, atDY := image*xImage+i, image*dyImage
			for range height {
				for range width {
					for j, v := range dy[atDY : atDY+cols] {
						g[j] += x[atX] * v
					}
					atX, atDY = atX+xNext, atDY+dyNext
				}
				atX, atDY = atX+xSkip, atDY+dySkip
			}
			goAddSquares(g, sums[i*sumsRow:])
		}
	}
}
