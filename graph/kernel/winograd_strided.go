package kernel

// 3 by 3 convolutions of stride 2 fall into four of stride 1, one for each
// parity of rows and columns of x: of the 9 taps 2 by 2, 2 by 1, 1 by 2 and 1 by 1
// (Huang et al., "DWM: A Decomposable Winograd Method for Convolution
// Acceleration", 2020). In one direction, y[i] is the sum of
//
//	w[0]*even[i] + w[2]*even[i+1]   and   w[1]*odd[i]
//
// A tile of 4 results of the first takes 5 products, with the points
// ±stridedNear, ±stridedFar and infinity; one tap is two taps of which the second
// is zero, has nothing at infinity, and takes 4. In both directions this makes 81
// products, instead of 144, of 9 by 9 inputs, 5 of each line even and 4 odd, all
// added up before they are transformed to 4 by 4 results.
//
// The points' divisors are in the transform of the input, so that the transformed
// tap of the odd inputs is the tap itself at all four points: a transformed kernel
// has 6 by 6 elements, 5 of each line of two taps and one.
//
// The gradient by the input is the same with y and x exchanged: tiles of 5 by 5 of
// dy, 81 products, and a tile of 8 by 8 results. That of the weights multiplies the
// 81 elements of a tile of x with 25 of dy, and adds up to 36.
//
// The error is 2 to 4 times that of the plain sum.
const (
	stridedNear = 0.5
	stridedFar  = 1.5
)

const (
	phaseSide = tileOut + 1         // elements of one parity's tile, in each direction
	wideSide  = phaseSide + tileOut // elements of both parities
	wideStep  = 2 * tileOut         // pixels of x from one tile to the next
	tapSide   = phaseSide + 1       // elements of a transformed kernel
)

// The tiles of x and y, where they are read and where they are written.
var (
	stridedX  = tileShape{side: wideSide, extent: wideStep + 1, step: wideStep}
	stridedY  = tileShape{side: phaseSide, extent: tileOut, step: tileOut}
	stridedDX = tileShape{side: wideSide, extent: wideStep, step: wideStep}
	stridedDY = tileShape{side: phaseSide, extent: phaseSide, step: tileOut}
)

// stridedLoops are the transforms of one tiling, as in [winogradLoops].
type stridedLoops[T Float] struct {
	input  tileTransform[T]   // of x: 9x9 to 9x9
	weight tileTransform[T]   // 3x3 to 6x6
	output outputTransform[T] // 5x5 to 4x4

	inputBack  tileTransform[T]   // of dy, for the gradient by the input: 5x5 to 5x5
	mirror     tileTransform[T]   // weight, of a kernel read backwards
	outputBack outputTransform[T] // 9x9 to 8x8

	gradient tileTransform[T] // of dy, for the gradient by the weights: 4x4 to 5x5
	sum      tileTransform[T] // 6x6 to 3x3
}

// newGoStrided makes the twins of the generated transforms.
func newGoStrided[T Float]() *stridedLoops[T] {
	phase, weight, result := stridedMatrices[T]()
	return &stridedLoops[T]{
		input:      goTileTransform(bothParities(phase), goLanes),
		weight:     goTileTransform(weight, packedRow),
		output:     goOutputTransform(transposed(result), goLanes),
		inputBack:  goTileTransform(phase, goLanes),
		mirror:     goTileTransform(mirrored(weight), packedRow),
		outputBack: goOutputTransform(transposed(interleaved(result)), goLanes),
		gradient:   goTileTransform(result, goLanes),
		sum:        goTileTransform(transposed(weight), goLanes),
	}
}

// stridedMatrices returns the transforms of a tile of one parity, of three taps,
// and from tiles of results, that is, transposed, to them.
func stridedMatrices[T Float]() (phase, weight, result [][]T) {
	points := []float64{stridedNear, -stridedNear, stridedFar, -stridedFar}
	for i, p := range points {
		norm := 1.0
		for j, q := range points {
			if j != i {
				norm *= p - q
			}
		}
		var row []T
		for _, v := range append(othersPolynomial[float64](points, i), 0) {
			row = append(row, T(v/norm))
		}
		phase = append(phase, row)
		weight = append(weight, []T{1, 0, T(p)})
		result = append(result, []T{1, T(p), T(p * p), T(p * p * p)})
	}
	phase = append(phase, othersPolynomial[T](points, -1))
	weight = append(weight, []T{0, 0, 1}, []T{0, 1, 0})
	result = append(result, []T{0, 0, 0, 1})
	return phase, weight, result
}

// bothParities is the transform of a line of which phase is that of the even
// elements, the first one among them, and what is not at infinity that of the odd
// ones.
func bothParities[T Float](phase [][]T) [][]T {
	var m [][]T
	for e := range wideSide {
		row := make([]T, wideSide)
		for i, v := range phase[pointOf(e)] {
			switch {
			case e < phaseSide:
				row[2*i] = v
			case i < tileOut:
				row[2*i+1] = v
			}
		}
		m = append(m, row)
	}
	return m
}

// interleaved is the transform from a line of 8 results, even ones of the one tap
// and odd ones of two.
func interleaved[T Float](result [][]T) [][]T {
	var m [][]T
	for e := range wideSide {
		row := make([]T, wideStep)
		for i, v := range result[pointOf(e)] {
			if e < phaseSide {
				row[2*i+1] = v
			} else {
				row[2*i] = v
			}
		}
		m = append(m, row)
	}
	return m
}

// pointOf is the point of an element of a line of both parities, and tapOf the
// element of a transformed kernel's line that it is multiplied with.
func pointOf(e int) int { return e % phaseSide }
func tapOf(e int) int   { return min(e, phaseSide) }

// stridedPairs lists the 81 products by what they add to. An element of the
// wide side meets one of a kernel and one of the narrow side.
func stridedPairs(sums int, of func(wide, narrow, kernel int) (sum int, p pair)) [][]pair {
	pairs := make([][]pair, sums)
	for i := range wideSide {
		for j := range wideSide {
			sum, p := of(i*wideSide+j, pointOf(i)*phaseSide+pointOf(j), tapOf(i)*tapSide+tapOf(j))
			pairs[sum] = append(pairs[sum], p)
		}
	}
	return pairs
}

var (
	stridedForward = stridedPairs(phaseSide*phaseSide, func(wide, narrow, kernel int) (int, pair) { return narrow, pair{wide, kernel} })
	stridedByInput = stridedPairs(wideSide*wideSide, func(wide, narrow, kernel int) (int, pair) { return wide, pair{narrow, kernel} })
	stridedByTaps  = stridedPairs(tapSide*tapSide, func(wide, narrow, kernel int) (int, pair) { return kernel, pair{wide, narrow} })
)

// stridedPays is winogradPays for them; to transform an element and to move it to
// and fro takes the time of perElement products. It holds for all three kernels:
// what a gradient reads and writes is what the convolution writes and reads.
func stridedPays[T Float](tl *tiling[T], t *tiles, outs, channels, perPair, plain int) bool {
	const products, perElement = wideSide * wideSide, 17
	_, single := any(tl).(*tiling[float32])
	lanes := tl.winograd.lanes
	elements := stridedX.area()*roundUp(channels, lanes) + stridedY.area()*roundUp(outs, lanes)
	cost := t.lines()*t.perLine*(products*outs*channels+perElement*elements) + perPair*outs*channels
	return single && cost < plain
}

// useStridedGradInput tells whether to compute the gradient by the input so. To
// put a pixel of a phase in its place, as plain sums must, takes the time of
// perPixel products.
func useStridedGradInput[T Float](tl *tiling[T], g *ConvGeom, wish Winograd) bool {
	const perPixel = 100
	c, s := correlationOf(tl, g), g.forward()
	step, _ := tapsOf3x3(&s)
	if step != 2 || g.Group != 1 || g.N == 0 || wish == WinogradNever {
		return false
	}
	t := newTiles(g.N, g.OH, g.OW)
	return wish == WinogradWhereFits || stridedPays(tl, &t, g.OutC, g.C, weightTransform, c.products(&s)+perPixel*g.xSize())
}

// newStrided prepares a convolution of stride 2.
func newStrided[T Float](c correlation[T], s *sampling) *winograd[T] {
	l, t := c.tiling.strided, newTiles(c.images, s.rows, s.cols)
	wg := &winograd[T]{
		correlation: c, input: l.input, weight: l.weight, output: l.output, pairs: stridedForward,
		in:  newPlanes(c.tiling, t, c.channels, c.srcImage, s.planeH, s.planeW, stridedX, s.originH, s.originW),
		out: newPlanes(c.tiling, t, c.m, c.dstImage, s.rows, s.cols, stridedY, 0, 0),
	}
	wg.init()
	return wg
}

// newStridedGradInput prepares its gradient by the input. The first row of a tile
// of results is one that the middle tap reaches, so that with an even padding the
// first tiles begin above and left of dx.
func newStridedGradInput[T Float](tl *tiling[T], g *ConvGeom) *winograd[T] {
	c, l := gradInputCorrelation(tl, g), tl.strided
	c.taps = 9
	h, w := -(g.PadT+1)%2, -(g.PadL+1)%2
	t := newTiles(g.N, ceilDiv(g.H-h, 2), ceilDiv(g.W-w, 2))
	wg := &winograd[T]{
		correlation: c, input: l.inputBack, weight: l.mirror, output: l.outputBack, pairs: stridedByInput,
		in:  newPlanes(tl, t, c.channels, c.srcImage, g.OH, g.OW, stridedDY, (h+g.PadT-1)/2, (w+g.PadL-1)/2),
		out: newPlanes(tl, t, c.m, c.dstImage, g.H, g.W, stridedDX, h, w),
	}
	wg.init()
	return wg
}

// newStridedGradWeight prepares its gradient by the weights.
func newStridedGradWeight[T Float](tl *tiling[T], g *ConvGeom, s *sampling) *winogradGradWeight[T] {
	l, t := tl.strided, newTiles(g.N, g.OH, g.OW)
	wg := &winogradGradWeight[T]{
		tiling: tl, input: l.input, gradient: l.gradient, sum: l.sum, pairs: stridedByTaps,
		x:  newPlanes(tl, t, g.C, g.C*g.H*g.W, g.H, g.W, stridedX, s.originH, s.originW),
		dy: newPlanes(tl, t, g.OutC, g.OutC*g.OH*g.OW, g.OH, g.OW, stridedY, 0, 0),
	}
	wg.init()
	return wg
}

// newStridedSquares prepares the sums of its squared gradients by the weights.
func newStridedSquares[T Float](tl *tiling[T], g *ConvGeom, s *sampling) *winogradSquares[T] {
	l, t := tl.strided, newTiles(g.N, g.OH, g.OW)
	q := &winogradSquares[T]{
		tiling: tl, input: l.input, gradient: l.gradient, sum: tl.squares.stridedSum,
		x:  newPlanes(tl, t, g.C, g.C*g.H*g.W, g.H, g.W, stridedX, s.originH, s.originW),
		dy: newPlanes(tl, t, g.OutC, g.OutC*g.OH*g.OW, g.OH, g.OW, stridedY, 0, 0),
	}
	_, sum := squaresMatrices[T]()
	q.init(stridedByTaps, sum)
	return q
}
