package kernel

import "unsafe"

// ConvMaxPool is the prepared maximum, over windows of 2 by 2 that do not overlap,
// of a convolution's result,
//
//	y[n][o][i][j] = the largest of Conv's [n][o][2i][2j], [2i][2j+1], [2i+1][2j], [2i+1][2j+1]
//
// as MaxPool takes it; a last odd row or column is left out. The convolution's
// result is only ever in a unit's memory.
type ConvMaxPool[T Float] struct {
	Geom ConvGeom

	direct  *direct[T]
	weights weightPacker[T]
	flags   int
	places  []int64 // nil: nobody asks
	body    func(w *Worker, unit int)
}

// ConvMaxPoolFits tells whether that is implemented for the convolution g, and is
// the faster way.
func ConvMaxPoolFits[T Float](g ConvGeom) bool {
	g = g.withDefaults()
	if depthwisePays(&g) || g.flat() || min(g.OH, g.OW) < 2 {
		return false
	}
	c, s := correlationOf(tilings[T]()[0], &g), g.forward()
	return !useWinograd(&c, &s, WinogradWherePays) && !plainPays(&s) && directPays(&c, &s)
}

// NewConvMaxPool prepares a convolution for which ConvMaxPoolFits holds.
func NewConvMaxPool[T Float](g ConvGeom, opt ConvOptions) *ConvMaxPool[T] {
	return newConvMaxPool(tilings[T]()[0], g, opt)
}

func newConvMaxPool[T Float](tl *tiling[T], g ConvGeom, opt ConvOptions) *ConvMaxPool[T] {
	g = g.withDefaults()
	p := &ConvMaxPool[T]{Geom: g, flags: opt.Activation.flags()}
	s, c := g.forward(), correlationOf(tl, &g)
	c.dstPlane = g.OH / 2 * (g.OW / 2)
	c.dstImage = g.OutC * c.dstPlane
	p.direct = newDirect(c, &s, g.OH/2*2, 2)
	p.weights.init(p.direct.description(), func(w []T, group, row, rows int, dst []T) {
		packConvStrip(p.direct.description(), w, group, row, rows, dst)
	})
	p.weights.fixed = opt.FixedWeights
	p.body = p.unit
	return p
}

// Run computes y and, unless places is nil, where in Conv's result each maximum
// was; bias may be nil.
func (p *ConvMaxPool[T]) Run(t *Team, x, w, bias, y []T, places []int64) {
	d, flags := p.direct, p.flags
	need(len(x), p.Geom.xSize(), "x")
	need(len(w), p.Geom.wSize(), "w")
	need(len(y), p.Geom.N*d.dstImage, "y")
	if bias != nil {
		need(len(bias), p.Geom.OutC, "bias")
		flags |= addRowBias
	}
	if places != nil {
		need(len(places), len(y), "places")
	}
	d.weights, d.src, d.bias, d.dst, d.flags, p.places = p.weights.pack(t, w), x, bias, y, flags, places
	t.For(d.units(), p.body)
	d.weights, d.src, d.bias, d.dst, p.places = nil, nil, nil, nil, nil
}

func (p *ConvMaxPool[T]) unit(w *Worker, unit int) {
	d, cols := p.direct, p.Geom.OW/2
	side := d.beside.loops.images
	p.direct.tiles(w, unit, func(block, row, first, lines int, sums []T) {
		size := lines / 2 * cols
		best, where := scratchOf[T](w, slotC, size*side), w.Int32(slotA, 2*size*side)
		for line := 0; line < lines; line += 2 {
			at := line / 2 * cols * side
			poolBeside(best[at:], where[at:], sums[line*d.cols*side:], d.cols*side, side, cols, (first+line)*d.cols, d.cols)
		}
		images := d.side(block)
		to := block*side*d.dstImage + row*d.dstPlane + first/2*cols
		d.tiling.transpose(size, images, best, side, d.dst[to:], d.dstImage)
		if p.places == nil {
			return
		}
		turned := transposeInts(d.tiling, size, images, where[:size*side], side, where[size*side:])
		for n := range images {
			image := block*side + n
			number(p.places[to+n*d.dstImage:][:size], turned[n*size:], int64((image*d.m+row)*p.Geom.OH*p.Geom.OW))
		}
	})
}

// poolBeside pools two lines of images side by side, line elements apart, as
// MaxPool does; first is the place of the first element in its plane.
func poolBeside[T Float](y []T, index []int32, x []T, line, images, cols, first, width int) {
	if x32 := asFloat32(x); x32 != nil && vecInUse.poolBeside != nil && images%8 == 0 {
		size := images * cols
		_, _, _ = y[size-1], index[size-1], x32[line+2*size-1]
		vecInUse.poolBeside(&asFloat32(y)[0], &index[0], &x32[0], line, images, cols, int32(first), int32(width))
		return
	}
	for j := range cols {
		for n := range images {
			at := 2*j*images + n
			best, where := x[at], first+2*j
			for k, v := range [...]T{x[at+images], x[at+line], x[at+line+images]} {
				if v > best || v != v {
					best, where = v, first+2*j+[...]int{1, width, width + 1}[k]
				}
			}
			y[j*images+n], index[j*images+n] = best, int32(where)
		}
	}
}

// number writes x + first.
func number(y []int64, x []int32, first int64) {
	if vecInUse.number == nil || len(y) < 8 {
		for i := range y {
			y[i] = first + int64(x[i])
		}
		return
	}
	whole, last := len(y)&^7, len(y)-8
	_ = x[len(y)-1]
	vecInUse.number(&y[0], &x[0], whole, first)
	if whole < len(y) { // some of the last 8 once more
		vecInUse.number(&y[last], &x[last], 8, first)
	}
}

// transposeInts turns rows of side integers into images rows of size, in turned,
// by the loops that move float32 where T is that.
func transposeInts[T Float](tl *tiling[T], size, images int, from []int32, side int, turned []int32) []int32 {
	if t32, ok := any(tl).(*tiling[float32]); ok {
		t32.transpose(size, images, floats(from), side, floats(turned), size)
		return turned
	}
	for n := range images {
		for i := range size {
			turned[n*size+i] = from[i*side+n]
		}
	}
	return turned
}

// floats is the memory of x as what moves as float32.
func floats(x []int32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
