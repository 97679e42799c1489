package kernel

// A depthwise convolution has one channel in and out per group: no matrix
// product, only sums of a few terms. Its kernels bring the images of a channel
// side by side, [place][image], and follow links: which taps connect which
// places. Padding, strides and dilation are in the links alone.

// linkedLoops are the loops over a number of images, a multiple of 16.
type linkedLoops[T Float] struct {
	images int
	sum    linkedFunc[T]
	dot    linkedDotFunc[T]
}

// linkedFunc sums up, for each of some places in order and each image i,
//
//	dst[place*dstNext + i] = max(floor, start + sum over links of w[tap] * src[from + i])
//
// links holds for each place their number and then pairs (tap, from).
type linkedFunc[T Float] func(places int, links []int32, w, src, dst []T, dstNext int, start, floor T)

// linkedDotFunc adds, for each of some taps in order and each image i,
//
//	dst[16*tap + i%16] += sum over links of x[one + i] * y[other + i]
//
// links holds for each tap their number and then pairs (one, other).
type linkedDotFunc[T Float] func(taps int, links []int32, x, y, dst []T)

func linked[T Float](places int, links []int32, w, src, dst []T, dstNext int, start, floor T) {
	for p := range places {
		count := int(links[0])
		for i := range pickLanes {
			sum := start
			for l := range count {
				sum += w[links[1+2*l]] * src[int(links[2+2*l])+i]
			}
			if sum < floor {
				sum = floor
			}
			dst[p*dstNext+i] = sum
		}
		links = links[1+2*count:]
	}
}

func linkedDot[T Float](taps int, links []int32, x, y, dst []T) {
	for t := range taps {
		count := int(links[0])
		for i := range pickLanes {
			sum := dst[t*pickLanes+i]
			for l := range count {
				sum += x[int(links[1+2*l])+i] * y[int(links[2+2*l])+i]
			}
			dst[t*pickLanes+i] = sum
		}
		links = links[1+2*count:]
	}
}

// link says that a tap connects a place of x with a place of y.
type link struct{ tap, x, y int }

// links lists all links of a convolution.
func (g *ConvGeom) links() []link {
	s := g.forward()
	var list []link
	for y := range g.OH * g.OW {
		for tap, t := range s.taps {
			if x, inside := s.read(y, t); inside {
				list = append(list, link{tap, x, y})
			}
		}
	}
	return list
}

// encode groups links by what key gives, 0 to groups-1, and writes those of
// each group as linkedFunc wants them.
func encode(list []link, groups int, key, first, second func(link) int) []int32 {
	grouped := make([][]int32, groups)
	for _, l := range list {
		k := key(l)
		grouped[k] = append(grouped[k], int32(first(l)), int32(second(l)))
	}
	var code []int32
	for _, g := range grouped {
		code = append(append(code, int32(len(g)/2)), g...)
	}
	return code
}

// depthwise computes a depthwise convolution or one of its gradients, some
// channels per unit.
type depthwise[T Float] struct {
	tiling     *tiling[T]
	images     int
	channels   int
	together   int // channels of a unit
	taps       int
	pitch      int // images, rounded up to a multiple of 16
	xSize      int // places of a plane
	ySize      int
	links      []int32
	x, w, y    []T // x and y: what is read and written, or both read for the gradient of w
	bias       []T
	flags      int
	correlate  func(w *Worker, unit int)
	gradWeight func(w *Worker, unit int)
}

// depthwisePays tells whether a convolution is depthwise, with enough images
// to fill vectors.
func depthwisePays(g *ConvGeom) bool {
	const small = 1 << 16 // places and links count in int32
	return g.depthwise() && 2*g.N >= pickLanes &&
		g.H*g.W < small && g.OH*g.OW < small && g.N < 1<<12
}

func newDepthwise[T Float](tl *tiling[T], g *ConvGeom) *depthwise[T] {
	d := &depthwise[T]{
		tiling: tl, images: g.N, channels: g.C, taps: g.KH * g.KW, pitch: roundUp(g.N, pickLanes),
		xSize: g.H * g.W, ySize: g.OH * g.OW,
	}
	// Units that write to the same line of the cache would get in each other's way.
	const line, fit = 64, 24 << 10
	size := max(d.xSize, d.ySize)
	d.together = min(max(ceilDiv(line, min(d.xSize, d.ySize)), fit/(size*d.pitch)), ceilDiv(d.channels, enoughUnits))
	d.together = max(d.together, 1)
	d.correlate, d.gradWeight = d.correlateUnit, d.gradWeightUnit
	return d
}

// newDepthwiseConv prepares y from x.
func newDepthwiseConv[T Float](tl *tiling[T], g *ConvGeom) *depthwise[T] {
	d := newDepthwise(tl, g)
	d.links = encode(g.links(), d.ySize,
		func(l link) int { return l.y }, func(l link) int { return l.tap }, func(l link) int { return l.x * d.pitch })
	return d
}

// newDepthwiseGradInput prepares dx from dy; x and y change sides.
func newDepthwiseGradInput[T Float](tl *tiling[T], g *ConvGeom) *depthwise[T] {
	d := newDepthwise(tl, g)
	d.links = encode(g.links(), d.xSize,
		func(l link) int { return l.x }, func(l link) int { return l.tap }, func(l link) int { return l.y * d.pitch })
	d.xSize, d.ySize = d.ySize, d.xSize
	return d
}

// newDepthwiseGradWeight prepares dw from x and dy.
func newDepthwiseGradWeight[T Float](tl *tiling[T], g *ConvGeom) *depthwise[T] {
	d := newDepthwise(tl, g)
	d.links = encode(g.links(), d.taps,
		func(l link) int { return l.tap }, func(l link) int { return l.x * d.pitch }, func(l link) int { return l.y * d.pitch })
	return d
}

func (d *depthwise[T]) runCorrelation(t *Team, x, w, bias, y []T, flags int) {
	d.x, d.w, d.bias, d.y, d.flags = x, w, bias, y, flags
	t.For(ceilDiv(d.channels, d.together), d.correlate)
	d.x, d.w, d.bias, d.y = nil, nil, nil, nil
}

func (d *depthwise[T]) runGradWeight(t *Team, x, y, w []T) {
	d.x, d.w, d.y = x, w, y
	t.For(ceilDiv(d.channels, d.together), d.gradWeight)
	d.x, d.w, d.y = nil, nil, nil
}

// loops are the widest ones for up to so many images, a multiple of 16.
func (d *depthwise[T]) loops(images int) *linkedLoops[T] {
	all := d.tiling.linked
	for i := range all {
		if all[i].images <= images {
			return &all[i]
		}
	}
	return nil
}

// span returns the channels of a unit.
func (d *depthwise[T]) span(unit int) (first, end int) {
	first = unit * d.together
	return first, min(first+d.together, d.channels)
}

// beside lays out some channels of src as [channel][place][image], with zeros
// for the images that fill up the last vector.
func (d *depthwise[T]) beside(w *Worker, slot int, src []T, first, end, size int) []T {
	places := (end - first) * size
	out := scratchOf[T](w, slot, places*d.pitch)
	if d.pitch != d.images {
		for p := range places {
			clear(out[p*d.pitch+d.images : (p+1)*d.pitch])
		}
	}
	d.tiling.transpose(d.images, places, src[first*size:], d.channels*size, out, d.pitch)
	return out
}

func (d *depthwise[T]) correlateUnit(w *Worker, unit int) {
	first, end := d.span(unit)
	in := d.beside(w, slotA, d.x, first, end, d.xSize)
	out := scratchOf[T](w, slotB, (end-first)*d.ySize*d.pitch)
	for channel := first; channel < end; channel++ {
		var start T
		if d.bias != nil {
			start = d.bias[channel]
		}
		weights := d.w[channel*d.taps : (channel+1)*d.taps]
		from, to := in[(channel-first)*d.xSize*d.pitch:], out[(channel-first)*d.ySize*d.pitch:]
		for n := 0; n < d.pitch; {
			l := d.loops(d.pitch - n)
			l.sum(d.ySize, d.links, weights, from[n:], to[n:], d.pitch, start, floorOf[T](d.flags))
			n += l.images
		}
	}
	d.tiling.transpose((end-first)*d.ySize, d.images, out, d.pitch, d.y[first*d.ySize:], d.channels*d.ySize)
}

func (d *depthwise[T]) gradWeightUnit(w *Worker, unit int) {
	first, end := d.span(unit)
	x := d.beside(w, slotA, d.x, first, end, d.xSize)
	y := d.beside(w, slotB, d.y, first, end, d.ySize)
	sums := scratchOf[T](w, slotC, d.taps*pickLanes)
	for channel := first; channel < end; channel++ {
		clear(sums)
		from, to := x[(channel-first)*d.xSize*d.pitch:], y[(channel-first)*d.ySize*d.pitch:]
		for n := 0; n < d.pitch; {
			l := d.loops(d.pitch - n)
			l.dot(d.taps, d.links, from[n:], to[n:], sums)
			n += l.images
		}
		for tap := range d.taps {
			var sum T
			for _, v := range sums[tap*pickLanes : (tap+1)*pickLanes] {
				sum += v
			}
			d.w[channel*d.taps+tap] = sum
		}
	}
}
