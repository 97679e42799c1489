package kernel

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

// squaresProducts computes such tiles of n > 0 products of matrices, each the
// sum over k > 0 pixels, for blocks > 0 of rows that follow each other, without a
// gap between the rows of a tile:
//
//	dst[e*dstArea + b*dstBlock + i*columns + j] = sum over p of x[e*xArea + p*xNext + b*rows + i] * dy[e*dyArea + p*dyNext + j]
type squaresProducts[T Float] func(n, blocks, k int, x []T, xNext, xArea int, dy []T, dyNext, dyArea int, dst []T, dstArea, dstBlock int)

// squaresLoops are the loops of one tiling.
type squaresLoops[T Float] struct {
	lanes       int
	tileRows    int                  // at most squaresRow
	tiles       []squaresTile[T]     // [vectors-1]
	productRows int                  // of which lanes is a multiple
	products    []squaresProducts[T] // [vectors-1]

	// sum is winogradLoops.sum, but adds the squares of the results to sums that
	// follow each other, as [tile][element][lane].
	sum func(n int, src []T, srcNext, srcRow, srcCol int, sums []T)
}

// squaresRow is the distance of pixels in a strip of channels of x.
const squaresRow = 4

// newGoSquares makes the twins.
func newGoSquares[T Float]() *squaresLoops[T] {
	const rows, lanes, most = 4, 8, 2
	l := &squaresLoops[T]{lanes: lanes, tileRows: rows, productRows: rows}
	for vectors := 1; vectors <= most; vectors++ {
		l.tiles = append(l.tiles, func(images, height, width int, x []T, xNext, xSkip, xImage int, dy []T, dyNext, dySkip, dyImage int, sums []T, sumsRow int) {
			goSquaresTile(rows, vectors*lanes, images, height, width, x, xNext, xSkip, xImage, dy, dyNext, dySkip, dyImage, sums, sumsRow)
		})
		l.products = append(l.products, func(n, blocks, k int, x []T, xNext, xArea int, dy []T, dyNext, dyArea int, dst []T, dstArea, dstBlock int) {
			cols := vectors * lanes
			for e := range n {
				for b := range blocks {
					goTile(rows, k, x[e*xArea+b*rows:], 1, xNext, dy[e*dyArea:], dyNext, dst[e*dstArea+b*dstBlock:], cols, cols, nil, 0)
				}
			}
		})
	}
	_, powers := gradientMatrices[T]()
	sum := goTileTransform(powers, lanes)
	l.sum = func(n int, src []T, srcNext, srcRow, srcCol int, sums []T) {
		var g [9 * lanes]T
		for t := range n {
			sum(1, src[t*srcNext:], 0, srcRow, srcCol, g[:], 0, 3*lanes, lanes)
			goAddSquares(g[:], sums[t*len(g):])
		}
	}
	return l
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
