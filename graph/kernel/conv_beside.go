package kernel

import "math"

// BesideImages is how many images lie side by side in a block of them.
const BesideImages = pickLanes

// BesideConv is a prepared convolution of blocks of images side by side,
//
//	x [N/16 H W C 16]    y [N/16 OH OW OutC 16]
//
// What a pixel reads at one tap is a matrix of channels by images as it lies,
// and so is what it becomes: nothing is laid out first, no vector is short, and
// taps that would read padding are left out. A unit computes some channels of
// some pixels.
type BesideConv[T Float] struct {
	Geom ConvGeom

	tiling     *tiling[T]
	activation Activation
	reach      [][]reached // of each pixel
	m, k       int         // rows of a group, and channels read at a tap
	taps       int
	together   []reached // so few channels that those of all taps are gathered, as of one
	apart      int       // of what neighbouring pixels read, if each reads it as a whole; or 0
	rows       int       // of a tile
	deep       int       // channels summed at once
	pixels     int       // of a unit
	across     int       // strips of a unit; channels, of a depthwise convolution

	fixed, packed bool
	weights       []T       // [group][strip][tap][channel][packedRow]
	links         [][]int32 // of each pixel of a depthwise convolution, see besideTapsFunc
	noBias        []T

	x, w, bias, y    []T
	packing, summing func(w *Worker, unit int)
}

// besideTapsFunc sums up, for each of some channels in order and 16 images,
//
//	y[channel*16 + i] = bias[channel] + sum over links of w[channel*taps + tap] * x[channel*16 + from + i]
//
// and clips. links holds pairs (tap, from).
type besideTapsFunc[T Float] func(channels int, links []int32, w []T, taps int, x, bias, y []T, low, high T)

const (
	// besidePixels is how many pixels share a strip of weights while it is in
	// the first-level cache.
	besidePixels = 4
	// besideFew is the number of channels below which those of all taps are
	// gathered.
	besideFew = 16
)

// BesideFits tells whether BesideConv is for such a convolution: if images fill
// blocks and no transform is faster.
func (g ConvGeom) BesideFits() bool {
	g = g.withDefaults()
	if g.N == 0 || g.N%BesideImages != 0 {
		return false
	}
	c, s := correlationOf(tilings[float32]()[0], &g), g.forward()
	return g.depthwise() || !useWinograd(&c, &s, WinogradWherePays)
}

// Moves is how many elements Conv brings side by side and back.
func (g ConvGeom) Moves() int {
	g = g.withDefaults()
	c, s := correlationOf(tilings[float32]()[0], &g), g.forward()
	switch {
	case depthwisePays(&g):
	case g.flat() || plainPays(&s) || directPays(&c, &s):
		return 0
	case g.pointwise() || pixelwisePays(&c, &s):
	default:
		return 0
	}
	return g.xSize() + g.ySize()
}

// few tells whether so few channels are read that all taps together are what a
// tile sums at once.
func (g *ConvGeom) few() bool { return g.Group == 1 && g.C < besideFew && g.C*g.KH*g.KW <= maxDepth }

// depthwise tells whether every channel is convolved by itself.
func (g *ConvGeom) depthwise() bool { return g.Group > 1 && g.Group == g.C && g.C == g.OutC }

// pointwise tells whether every pixel of y is made of the same pixel of x.
func (g *ConvGeom) pointwise() bool {
	return g.KH*g.KW == 1 && g.StrideH*g.StrideW == 1 && g.PadT+g.PadL+g.PadB+g.PadR == 0
}

// NewBesideConv prepares a convolution of blocks of BesideImages images.
func NewBesideConv[T Float](g ConvGeom, opt ConvOptions) *BesideConv[T] {
	return newBesideConv(tilings[T]()[0], g, opt)
}

func newBesideConv[T Float](tl *tiling[T], g ConvGeom, opt ConvOptions) *BesideConv[T] {
	g = g.withDefaults()
	c := &BesideConv[T]{
		Geom: g, tiling: tl, activation: opt.Activation, fixed: opt.FixedWeights,
		taps: g.KH * g.KW, m: g.OutC / g.Group, k: g.C / g.Group,
	}
	s := g.forward()
	c.reach = s.reach()
	c.packing = c.packUnit
	all := g.N / BesideImages * g.OH * g.OW
	if g.depthwise() {
		c.noBias = make([]T, g.OutC)
		for _, list := range c.reach {
			links := make([]int32, 0, 2*len(list))
			for _, r := range list {
				links = append(links, int32(r.tap), int32(r.place*g.C*BesideImages))
			}
			c.links = append(c.links, links)
		}
		c.pixels, c.across = besideSplit(all, g.C, c.taps*BesideImages)
		c.summing = c.depthwiseUnit
		return c
	}
	if g.few() {
		c.k, c.taps, c.together = c.k*c.taps, 1, []reached{{}}
		c.apart = c.k * BesideImages
	} else if g.pointwise() {
		c.apart = g.C * BesideImages
	}
	c.rows = even(c.m, tl.rows)
	c.deep = even(c.k, maxDepth)
	c.pixels, c.across = besideSplit(all, g.Group*c.strips(), c.rows*c.k*c.taps*BesideImages)
	c.weights = alignedSlice[T](g.Group * c.strips() * c.taps * c.k * packedRow)
	c.summing = c.productUnit
	return c
}

// besideSplit says how many of some pixels and of some parts of each, which
// cost so many products, make a unit.
func besideSplit(pixels, parts, products int) (pixelsOfUnit, partsOfUnit int) {
	blocks := ceilDiv(pixels, besidePixels)
	partsOfUnit = even(parts, max(ceilDiv(parts*blocks, enoughUnits), 1))
	most := max(pixels*ceilDiv(parts, partsOfUnit)/enoughUnits, 1)
	return roundUp(min(max(blockProducts/max(partsOfUnit*products, 1), 1), most), besidePixels), partsOfUnit
}

// strips is how many strips of rows one group has.
func (c *BesideConv[T]) strips() int { return ceilDiv(c.m, c.rows) }

// Run computes y; bias may be nil.
func (c *BesideConv[T]) Run(t *Team, x, w, bias, y []T) {
	g := &c.Geom
	need(len(x), g.xSize(), "x")
	need(len(w), g.wSize(), "w")
	need(len(y), g.ySize(), "y")
	if bias != nil {
		need(len(bias), g.OutC, "bias")
	}
	c.x, c.w, c.bias, c.y = x, w, bias, y
	parts := g.OutC
	if c.links == nil {
		parts = g.Group * c.strips()
		if !c.packed {
			t.For(parts, c.packing)
			c.packed = c.fixed
		}
	}
	t.For(ceilDiv(g.N/BesideImages*g.OH*g.OW, c.pixels)*ceilDiv(parts, c.across), c.summing)
	c.x, c.w, c.bias, c.y = nil, nil, nil, nil
}

// packUnit packs a strip of weights.
func (c *BesideConv[T]) packUnit(_ *Worker, strip int) {
	g := &c.Geom
	i, taps, channels := strip%c.strips()*c.rows, g.KH*g.KW, g.C/g.Group
	rows := min(c.rows, c.m-i)
	w, dst := c.w[(strip/c.strips()*c.m+i)*taps*channels:], c.weights[strip*taps*channels*packedRow:]
	if taps == 1 {
		c.tiling.pack(rows, channels, w, channels, 1, dst, packedRow, 1)
		return
	}
	for tap := range taps {
		for p := range channels {
			for r := range rows {
				dst[(tap*channels+p)*packedRow+r] = w[(r*channels+p)*taps+tap]
			}
		}
	}
}

// span is what a unit computes: pixels of all blocks counted through, and parts.
func (c *BesideConv[T]) span(unit, parts int) (p0, p1, from, to int) {
	g := &c.Geom
	across := ceilDiv(parts, c.across)
	p0, from = unit/across*c.pixels, unit%across*c.across
	return p0, min(p0+c.pixels, g.N/BesideImages*g.OH*g.OW), from, min(from+c.across, parts)
}

func (c *BesideConv[T]) productUnit(w *Worker, unit int) {
	p0, p1, s0, s1 := c.span(unit, c.Geom.Group*c.strips())
	first, end := c.row(s0), c.row(s1)
	for p := p0; p < p1; p += besidePixels {
		few := min(p+besidePixels, p1)
		c.product(w, p, few, s0, s1)
		for q := p; q < few; q++ {
			activateRest(c.activation, c.result(q, first, end))
		}
	}
}

// row is the channel of y with which a strip begins.
func (c *BesideConv[T]) row(strip int) int {
	return strip/c.strips()*c.m + strip%c.strips()*c.rows
}

// result is where some channels of a pixel go.
func (c *BesideConv[T]) result(p, first, end int) []T {
	at := p * c.Geom.OutC
	return c.y[(at+first)*BesideImages : (at+end)*BesideImages]
}

// besidePixel is what a pixel reads, counted through from its block's first
// element or, where channels of all taps were gathered, from the first of those.
type besidePixel[T Float] struct {
	x     []T
	reach []reached
}

// product computes strips of weights for few pixels.
func (c *BesideConv[T]) product(w *Worker, p0, p1, s0, s1 int) {
	g := &c.Geom
	var list [besidePixels]besidePixel[T]
	for p := p0; p < p1; p++ {
		block, pixel := p/len(c.reach), p%len(c.reach)
		list[p-p0] = besidePixel[T]{c.x[block*g.H*g.W*g.C*BesideImages:], c.reach[pixel]}
	}
	if c.together != nil {
		c.gather(w, list[:p1-p0])
	}
	for d := 0; d < c.k; d += c.deep {
		for s := s0; s < s1; s++ {
			c.strip(list[:p1-p0], c.y[(p0*g.OutC+c.row(s))*BesideImages:], s, d)
		}
	}
}

// gather brings the channels of all taps of some pixels together, with zeros
// for padding.
func (c *BesideConv[T]) gather(w *Worker, list []besidePixel[T]) {
	size := c.Geom.C * BesideImages
	all := scratchOf[T](w, slotB, len(list)*c.k*BesideImages)
	for i := range list {
		p, to := &list[i], all[i*c.k*BesideImages:]
		for tap := range c.Geom.KH * c.Geom.KW {
			at := to[tap*size : (tap+1)*size]
			if len(p.reach) == 0 || p.reach[0].tap != tap {
				clear(at)
				continue
			}
			copy(at, p.x[p.reach[0].place*size:])
			p.reach = p.reach[1:]
		}
		p.x, p.reach = to, c.together
	}
}

// strip adds the products of one strip of weights with channels from d on, for
// some pixels; y is where the first goes.
func (c *BesideConv[T]) strip(list []besidePixel[T], y []T, s, d int) {
	g := &c.Geom
	group, i := s/c.strips(), s%c.strips()*c.rows
	tile := c.tiling.tile(min(c.rows, c.m-i), BesideImages)
	depth := min(c.deep, c.k-d)
	last := 0 // flags of the last product
	var bias []T
	if d+depth == c.k {
		last = c.activation.flags()
		if c.bias != nil {
			last |= addRowBias
			bias = c.bias[group*c.m+i:]
		}
	}
	size := c.k * packedRow // of a tap's weights
	weights, from := c.weights[s*c.taps*size+d*packedRow:], (group*c.k+d)*BesideImages
	paired := 0
	if n := len(list) / 2; c.tiling.pairs != nil && c.apart > 0 && n > 0 && min(c.rows, c.m-i) == c.tiling.rows {
		flags := last
		if d > 0 {
			flags |= addC
		}
		x := list[0].x[list[0].reach[0].place*g.C*BesideImages+from:]
		c.tiling.pairs(n, depth, weights, x, c.apart, y, g.OutC*BesideImages, bias, flags)
		paired = 2 * n
	}
	for at := paired; at < len(list); at++ {
		p, y := &list[at], y[at*g.OutC*BesideImages:]
		if len(p.reach) == 0 { // only padding
			tile(0, nil, 0, 0, nil, 0, y, BesideImages, BesideImages, bias, last)
			continue
		}
		flags := 0
		if d > 0 {
			flags = addC
		}
		for i, r := range p.reach {
			if i == len(p.reach)-1 {
				flags |= last
			}
			tile(depth, weights[r.tap*size:], 1, packedRow, p.x[r.place*g.C*BesideImages+from:], BesideImages,
				y, BesideImages, BesideImages, bias, flags)
			flags = addC
		}
	}
}

func (c *BesideConv[T]) depthwiseUnit(_ *Worker, unit int) {
	g := &c.Geom
	p0, p1, first, end := c.span(unit, g.C)
	bias, low, high := c.noBias, T(math.Inf(-1)), T(math.Inf(1))
	if c.bias != nil {
		bias = c.bias
	}
	if c.activation.Kind == ClipActivation {
		low, high = T(c.activation.Low), T(c.activation.High)
	}
	for p := p0; p < p1; p++ {
		block, pixel := p/len(c.links), p%len(c.links)
		x, y := c.x[(block*g.H*g.W*g.C+first)*BesideImages:], c.result(p, first, end)
		c.tiling.besideTaps(end-first, c.links[pixel], c.w[first*c.taps:], c.taps, x, bias[first:], y, low, high)
	}
}

func besideTaps[T Float](channels int, links []int32, w []T, taps int, x, bias, y []T, low, high T) {
	for c := range channels {
		for i := range BesideImages {
			sum := bias[c]
			for l := 0; l < len(links); l += 2 {
				sum += w[c*taps+int(links[l])] * x[c*BesideImages+int(links[l+1])+i]
			}
			if sum < low {
				sum = low
			}
			if sum > high {
				sum = high
			}
			y[c*BesideImages+i] = sum
		}
	}
}
