package kernel

// ConvGradInput is the prepared gradient of a convolution by its input,
//
//	dx[n][c][h][w] = sum over o, kh, kw of dy[n][o][oh][ow] * w[o][c][kh][kw]
//	where oh*StrideH + kh*DilH = h + PadT, and likewise for the width.
//
// With strides, x falls into as many phases as the strides have remainders,
// and each is a convolution of dy with some of the kernel. Winograd's transforms
// compute all phases at once.
type ConvGradInput[T Float] struct {
	Geom ConvGeom

	depthwise *depthwise[T]          // instead of what follows, for such a convolution
	flat      *Gemm[T]               // likewise
	scattered *scatteredGradInput[T] // likewise, where dy lets it; nil: it never does
	parts     []*gradInputPart[T]
	more      weightPacker[T] // of a gradient that is joined
	empty     bool            // some pixels of x reach no y, and have gradient zero
}

// gradInputPart computes the pixels of one phase, or of all.
type gradInputPart[T Float] struct {
	geom    *ConvGeom
	kernel  []int // kernel element of each tap; not read if there is a tap for each
	method  method[T]
	weights weightPacker[T]
}

// NewConvGradInput prepares the gradient of the convolution with geometry g.
func NewConvGradInput[T Float](g ConvGeom, opt ConvOptions) *ConvGradInput[T] {
	return newConvGradInput(tilings[T]()[0], g, opt)
}

func newConvGradInput[T Float](tl *tiling[T], g ConvGeom, opt ConvOptions) *ConvGradInput[T] {
	cg := &ConvGradInput[T]{Geom: g.withDefaults()}
	if depthwisePays(&cg.Geom) {
		cg.depthwise = newDepthwiseGradInput(tl, &cg.Geom)
		return cg
	}
	if cg.Geom.flat() {
		cg.flat = newFlatGradInput(tl, &cg.Geom)
		return cg
	}
	cg.scattered = newScatteredGradInput(tl, &cg.Geom)
	if useStridedGradInput(tl, &cg.Geom, opt.Winograd) {
		cg.addPart(newStridedGradInput(tl, &cg.Geom), nil)
		return cg
	}
	for _, p := range cg.Geom.phases() {
		if len(p.taps) == 0 {
			cg.empty = true
			continue
		}
		cg.addPart(newGradInputMethod(tl, &cg.Geom, p, opt), p.kernel)
	}
	return cg
}

func (cg *ConvGradInput[T]) addPart(m method[T], kernel []int) {
	part := &gradInputPart[T]{geom: &cg.Geom, kernel: kernel, method: m}
	part.weights.init(m.description(), part.packStrip)
	cg.parts = append(cg.parts, part)
}

func newGradInputMethod[T Float](tl *tiling[T], g *ConvGeom, p phase, opt ConvOptions) method[T] {
	place := func(pixel int) int {
		return (p.h+pixel/p.cols*g.StrideH)*g.W + p.w + pixel%p.cols*g.StrideW
	}
	if g.StrideH == 1 && g.StrideW == 1 {
		place = nil
	}
	return newMethod(gradInputCorrelation(tl, g), p.sampling, place, opt.Winograd)
}

func gradInputCorrelation[T Float](tl *tiling[T], g *ConvGeom) correlation[T] {
	return correlation[T]{
		tiling: tl, groups: g.Group, m: g.C / g.Group, channels: g.OutC / g.Group, images: g.N,
		srcImage: g.OutC * g.OH * g.OW, srcPlane: g.OH * g.OW,
		dstImage: g.C * g.H * g.W, dstPlane: g.H * g.W,
	}
}

// Run computes dx.
func (cg *ConvGradInput[T]) Run(t *Team, dy, w, dx []T) {
	need(len(dy), cg.Geom.ySize(), "dy")
	need(len(w), cg.Geom.wSize(), "w")
	need(len(dx), cg.Geom.xSize(), "dx")
	if cg.depthwise != nil {
		cg.depthwise.runCorrelation(t, dy, w, nil, dx, 0)
		return
	}
	if cg.flat != nil {
		cg.flat.Run(t, dy, w, dx)
		return
	}
	if cg.scattered.run(t, dy, w, dx) {
		return
	}
	if cg.empty {
		clear(dx[:cg.Geom.xSize()])
	}
	for _, part := range cg.parts {
		run(part.method, t, part.weights.pack(t, w), dy, nil, dx, 0)
	}
}

// packStrip packs the weights of some input channels: rows of the product are
// channels of x, columns are channels of y and taps.
func (part *gradInputPart[T]) packStrip(w []T, group, row, rows int, dst []T) {
	p, kernel := part.method.description(), part.geom.KH*part.geom.KW
	if kernel == 1 { // the weights are a matrix
		p.tiling.copyRows(p.channels, w[group*p.channels*p.m+row:], p.m, dst, packedRow, rows)
		return
	}
	for o := range p.channels {
		from := w[((group*p.channels+o)*p.m+row)*kernel:]
		to := dst[o*p.taps*packedRow:]
		if p.taps == kernel {
			p.tiling.transpose(rows, kernel, from, kernel, to, packedRow)
			continue
		}
		for t, element := range part.kernel {
			for i := range rows {
				to[t*packedRow+i] = from[i*kernel+element]
			}
		}
	}
}
