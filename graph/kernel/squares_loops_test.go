package kernel

import (
	"fmt"
	"testing"
)

// TestSquaresLoops compares every loop with a plain sum.
func TestSquaresLoops(t *testing.T) {
	for _, tl := range tilings[float32]() {
		t.Run("f32_"+tl.name, func(t *testing.T) { testSquaresLoops(t, tl.squares) })
	}
	t.Run("f64_go", func(t *testing.T) { testSquaresLoops(t, goTiling[float64]().squares) })
}

func testSquaresLoops[T Float](t *testing.T, l *squaresLoops[T]) {
	for vectors := 1; vectors <= len(l.tiles); vectors++ {
		for _, images := range []int{1, 2, 3, 4} {
			for _, size := range [][2]int{{1, 1}, {2, 2}, {3, 3}, {1, 4}, {2, 5}, {1, 8}, {2, 11}} {
				testSquaresTile(t, l, vectors, images, size[0], size[1])
			}
		}
	}
	for vectors := 1; vectors <= len(l.products); vectors++ {
		for _, k := range []int{1, 3, 4, 9} {
			testSquaresProducts(t, l, vectors, k)
		}
	}
	sum, stridedSum := squaresMatrices[float64]()
	testSquaresSum(t, "sum", l.lanes, l.sum, sum)
	testSquaresSum(t, "stridedSum", l.lanes, l.stridedSum, stridedSum)
}

func testSquaresTile[T Float](t *testing.T, l *squaresLoops[T], vectors, images, height, width int) {
	name := fmt.Sprintf("%d vectors, %d images of %dx%d", vectors, images, height, width)
	cols := vectors * l.lanes
	xNext, xSkip, dyNext, dySkip := squaresRow+1, 3, cols+1, 5
	xLine, dyLine := width*xNext+xSkip, width*dyNext+dySkip
	xImage, dyImage, sumsRow := height*xLine+2, height*dyLine+7, cols+3
	x := newGuarded[T]((images-1)*xImage + (height-1)*xLine + (width-1)*xNext + l.tileRows)
	dy := newGuarded[T]((images-1)*dyImage + (height-1)*dyLine + (width-1)*dyNext + cols)
	sums := newGuarded[T]((l.tileRows-1)*sumsRow + cols)
	fill(x.s, 1)
	fill(dy.s, 2)
	fill(sums.s, 3)
	before := clone(sums.s)
	l.tiles[vectors-1](images, height, width, x.s, xNext, xSkip, xImage, dy.s, dyNext, dySkip, dyImage, sums.s, sumsRow)
	for at, got := range sums.s {
		i, j := at/sumsRow, at%sumsRow
		want := float64(before[at])
		for image := range images {
			g := 0.0
			for p := range height * width {
				g += float64(x.s[image*xImage+p/width*xLine+p%width*xNext+i]) * float64(dy.s[image*dyImage+p/width*dyLine+p%width*dyNext+j%cols])
			}
			if j < cols {
				want += g * g
			}
		}
		if !nearSum(got, want, images*height*width*10) {
			t.Fatalf("%s: row %d, element %d is %v, want %v", name, i, j, got, want)
		}
	}
	x.check(t, name+" x")
	dy.check(t, name+" dy")
	sums.check(t, name+" sums")
}

func testSquaresProducts[T Float](t *testing.T, l *squaresLoops[T], vectors, k int) {
	const n, blocks = 3, 2 // sums of one, two and one product of five matrices
	name := fmt.Sprintf("%d vectors, %d terms", vectors, k)
	rows, cols := l.productRows, vectors*l.lanes
	xNext, dyNext := blocks*rows+2, cols+1
	xArea, dyArea, dstArea := k*xNext+5, k*dyNext+3, rows*cols+9
	pairs := []squaresPair{{0, 4 * dyArea, 0}, {4 * xArea, dyArea, 1}, {3 * xArea, 2 * dyArea, 0}, {xArea, 0, 0}}
	sums := [n][]squaresPair{pairs[:1], pairs[1:3], pairs[3:]}
	dstBlock := n*dstArea + 4
	x := newGuarded[T](4*xArea + (k-1)*xNext + blocks*rows)
	dy := newGuarded[T](4*dyArea + (k-1)*dyNext + cols)
	dst := newGuarded[T]((blocks-1)*dstBlock + (n-1)*dstArea + rows*cols)
	fill(x.s, 1)
	fill(dy.s, 2)
	l.products[vectors-1](pairs, blocks, k, x.s, xNext, dy.s, dyNext, dst.s, dstArea, dstBlock)
	for at, got := range dst.s {
		b, e, i, j := at/dstBlock, at%dstBlock/dstArea, at%dstBlock%dstArea/cols, at%dstBlock%dstArea%cols
		if e >= n || i >= rows {
			if got == got {
				t.Fatalf("%s: wrote between products, at %d", name, at)
			}
			continue
		}
		want := 0.0
		for _, pair := range sums[e] {
			for p := range k {
				want += float64(x.s[pair[0]+p*xNext+b*rows+i]) * float64(dy.s[pair[1]+p*dyNext+j])
			}
		}
		if !nearSum(got, want, 2*k) {
			t.Fatalf("%s: element (%d, %d) of block %d of product %d is %v, want %v", name, i, j, b, e, got, want)
		}
	}
	x.check(t, name+" x")
	dy.check(t, name+" dy")
	dst.check(t, name+" products")
}

func testSquaresSum[T Float](t *testing.T, name string, lanes int, run squaresSum[T], m [][]float64) {
	const n = 3
	m, _ = unitRows(m)
	col := lanes + 1
	row, next := tileIn*col, tileIn*tileIn*col+2
	src, sums := newGuarded[T](n*next), newGuarded[T](n*9*lanes)
	fill(src.s, 1)
	fill(sums.s, 2)
	before := clone(sums.s)
	run(n, src.s, next, row, col, sums.s)
	for at, got := range sums.s {
		tile, element, lane := at/(9*lanes), at/lanes%9, at%lanes
		g := 0.0
		for k := range tileArea {
			g += m[element/3][k/tileIn] * m[element%3][k%tileIn] * float64(src.s[tile*next+k/tileIn*row+k%tileIn*col+lane])
		}
		want := float64(before[at]) + g*g
		if !nearSum(got, want, 1000) {
			t.Fatalf("%s: tile %d, element %d, lane %d is %v, want %v", name, tile, element, lane, got, want)
		}
	}
	src.check(t, name+" src")
	sums.check(t, name+" sums")
}

// BenchmarkSquaresLoops times the loops with everything in the first cache.
func BenchmarkSquaresLoops(b *testing.B) {
	for _, tl := range tilings[float32]() {
		l := tl.squares
		vectors := len(l.tiles)
		width := vectors * l.lanes
		// Different places within a page, so that no store meets a load.
		x, dy, sums := fill(make([]float32, 1<<15), 1)[16:], fill(make([]float32, 1<<15), 2)[400:], make([]float32, 1<<15)[704:]
		for _, size := range [][2]int{{3, 3}, {4, 4}, {8, 8}} {
			h, w := size[0], size[1]
			const images = 12
			b.Run(fmt.Sprintf("%s/tile%dx%d", tl.name, h, w), func(b *testing.B) {
				for b.Loop() {
					l.tiles[vectors-1](images, h, w, x, squaresRow, 0, h*w*squaresRow, dy, width, 0, h*w*width, sums, 9*width)
				}
				reportGFLOPS(b, images*2*h*w*l.tileRows*width)
			})
		}
		vectors = len(l.products)
		width = vectors * l.lanes
		for _, k := range []int{1, 4, 16} {
			b.Run(fmt.Sprintf("%s/products%d", tl.name, k), func(b *testing.B) {
				var pairs []squaresPair
				for e := range tileArea {
					pairs = append(pairs, squaresPair{e * k * l.lanes, e * k * width, 0})
				}
				for b.Loop() {
					l.products[vectors-1](pairs, l.lanes/l.productRows, k, x, l.lanes, dy, width, sums, l.productRows*width, tileArea*l.productRows*width)
				}
				reportGFLOPS(b, tileArea*2*k*l.lanes*width)
			})
		}
		for name, sum := range map[string]squaresSum[float32]{"sum": l.sum, "stridedSum": l.stridedSum} {
			b.Run(tl.name+"/"+name, func(b *testing.B) {
				n := l.productRows
				for b.Loop() {
					sum(n, x, width, 6*n*width, n*width, sums)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/tile")
			})
		}
	}
}
