package kernel

// ConvOptions are what a convolution does beyond the sum, and how.
type ConvOptions struct {
	Activation Activation // the Rectifier or none; not for gradients
	Winograd   Winograd

	// FixedWeights promises that every Run has the same weights: they are packed
	// once. Only the convolution itself looks at it.
	FixedWeights bool
}

// Winograd says where a convolution may use Winograd's transforms, whose
// rounding error is 3 to 6 times that of the plain sum, about 1e-6 of the result.
type Winograd int

const (
	WinogradWherePays Winograd = iota // for float32, where it is faster
	WinogradNever
	WinogradWhereFits // whatever the sizes, so that tests meet all of them
)

// Conv is a prepared convolution
//
//	y[n][o][oh][ow] = bias[o] + sum over c, kh, kw of
//	    w[o][c][kh][kw] * x[n][c][oh*StrideH - PadT + kh*DilH][ow*StrideW - PadL + kw*DilW]
//
// where c runs over the channels of o's group and x is zero outside the image.
// It is computed as a matrix product of the weights with samples of x.
type Conv[T Float] struct {
	Geom ConvGeom

	flags     int
	depthwise *depthwise[T] // instead of what follows, for such a convolution
	flat      [2]*Gemm[T]   // likewise: without and with bias
	method    method[T]
	weights   weightPacker[T]
	more      weightPacker[T] // of a convolution that is joined
}

// NewConv prepares a convolution.
func NewConv[T Float](g ConvGeom, opt ConvOptions) *Conv[T] {
	return newConv(tilings[T]()[0], g, opt)
}

func newConv[T Float](tl *tiling[T], g ConvGeom, opt ConvOptions) *Conv[T] {
	g = g.withDefaults()
	c := &Conv[T]{Geom: g, flags: opt.Activation.flags()}
	if depthwisePays(&g) {
		c.depthwise = newDepthwiseConv(tl, &g)
		return c
	}
	if g.flat() {
		for i, bias := range []Bias{NoBias, BiasPerColumn} {
			c.flat[i] = newFlatConv(tl, &g, bias, opt.Activation)
		}
		return c
	}
	c.method = newMethod(correlationOf(tl, &g), g.forward(), nil, opt.Winograd)
	c.weights.init(c.method.description(), c.packStrip)
	c.weights.fixed = opt.FixedWeights
	return c
}

func correlationOf[T Float](tl *tiling[T], g *ConvGeom) correlation[T] {
	return correlation[T]{
		tiling: tl, groups: g.Group, m: g.OutC / g.Group, channels: g.C / g.Group, images: g.N,
		srcImage: g.C * g.H * g.W, srcPlane: g.H * g.W,
		dstImage: g.OutC * g.OH * g.OW, dstPlane: g.OH * g.OW,
		taps: g.KH * g.KW,
	}
}

// Run computes y; bias may be nil.
func (c *Conv[T]) Run(t *Team, x, w, bias, y []T) {
	need(len(x), c.Geom.xSize(), "x")
	need(len(w), c.Geom.wSize(), "w")
	need(len(y), c.Geom.ySize(), "y")
	flags := c.flags
	if bias != nil {
		need(len(bias), c.Geom.OutC, "bias")
		flags |= addRowBias
	}
	if c.depthwise != nil {
		c.depthwise.runCorrelation(t, x, w, bias, y, flags)
		return
	}
	if c.flat[0] != nil {
		if bias == nil {
			c.flat[0].Run(t, x, w, y)
		} else {
			c.flat[1].RunBias(t, x, w, y, bias)
		}
		return
	}
	run(c.method, t, c.weights.pack(t, w), x, bias, y, flags)
}

// packStrip packs rows of w, which are those of the product.
func (c *Conv[T]) packStrip(w []T, group, row, rows int, dst []T) {
	packConvStrip(c.method.description(), w, group, row, rows, dst)
}

func packConvStrip[T Float](p *correlation[T], w []T, group, row, rows int, dst []T) {
	k := p.channels * p.taps
	p.tiling.pack(rows, k, w[(group*p.m+row)*k:], k, 1, dst, packedRow, 1)
}
