package kernel

// Joined is what a convolution, or the gradient of one by its input, takes along,
// so that it is done while results are in a near cache:
//
//	y = activation(conv(x, w) + bias + conv(X, W) + Addend) where Mask > 0, else 0
//
// Each may be left out. The second convolution has the geometry of the first. What
// Winograd's transforms or matrix products with images as they lie compute takes
// others along: two convolutions are summed before they are transformed back, or
// while products are.
type Joined[T Float] struct {
	X, W   []T
	Addend []T // may be the memory of the results
	Mask   []T
}

// finish writes results that belong at an element of dst, which have their bias.
func (j *Joined[T]) finish(dst, results []T, at, flags int) {
	end := at + len(results)
	dst = dst[at:end]
	if j.Addend != nil {
		Add(dst, results, j.Addend[at:end])
		if results = dst; flags&rectify != 0 {
			Relu(dst, dst)
		}
	}
	if j.Mask != nil {
		ReluGrad(dst, results, j.Mask[at:end])
	}
}

// check panics unless sizes are those of results, and of images and weights for the
// second convolution.
func (j *Joined[T]) check(x, w, y int) {
	if j.X != nil {
		need(len(j.X), x, "X")
		need(len(j.W), w, "W")
	}
	if j.Addend != nil {
		need(len(j.Addend), y, "Addend")
	}
	if j.Mask != nil {
		need(len(j.Mask), y, "Mask")
	}
}

// ConvJoins tells whether a convolution that uses Winograd's transforms where wish
// says can take something along.
func ConvJoins[T Float](g ConvGeom, wish Winograd) bool {
	g = g.withDefaults()
	c, s := correlationOf(tilings[T]()[0], &g), g.forward()
	return joins(&g, &c, &s, wish)
}

// ConvGradInputJoins is ConvJoins for the gradient by the input.
func ConvGradInputJoins[T Float](g ConvGeom, wish Winograd) bool {
	g = g.withDefaults()
	if g.StrideH != 1 || g.StrideW != 1 {
		return useStridedGradInput(tilings[T]()[0], &g, wish)
	}
	c, s := gradInputCorrelation(tilings[T]()[0], &g), g.phases()[0].sampling
	return joins(&g, &c, &s, wish)
}

func joins[T Float](g *ConvGeom, c *correlation[T], s *sampling, wish Winograd) bool {
	return !depthwisePays(g) && !g.flat() && (useWinograd(c, s, wish) || plainPays(s))
}

// RunJoined is Run with what is joined to it, for a convolution of which ConvJoins
// holds with the Winograd of its options.
func (c *Conv[T]) RunJoined(t *Team, x, w, bias, y []T, j Joined[T]) {
	g := &c.Geom
	need(len(x), g.xSize(), "x")
	need(len(w), g.wSize(), "w")
	need(len(y), g.ySize(), "y")
	j.check(g.xSize(), g.wSize(), g.ySize())
	flags := c.flags
	if bias != nil {
		need(len(bias), g.OutC, "bias")
		flags |= addRowBias
	}
	if j.X != nil {
		j.W = c.more.packBeside(t, &c.weights, j.W)
	}
	runJoined(c.method, t, c.weights.pack(t, w), x, bias, y, flags, j)
}

// RunJoined is Conv.RunJoined, and needs ConvGradInputJoins.
func (cg *ConvGradInput[T]) RunJoined(t *Team, dy, w, dx []T, j Joined[T]) {
	g, part := &cg.Geom, cg.parts[0]
	need(len(dy), g.ySize(), "dy")
	need(len(w), g.wSize(), "w")
	need(len(dx), g.xSize(), "dx")
	j.check(g.ySize(), g.wSize(), g.xSize())
	if j.X != nil {
		j.W = cg.more.packBeside(t, &part.weights, j.W)
	}
	runJoined(part.method, t, part.weights.pack(t, w), dy, nil, dx, 0, j)
}
