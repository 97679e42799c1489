package kernel

// VolumeGeom is the geometry of a convolution over more than two spatial axes:
// the embedded one is that of the last two, as for an image, and Lead those
// before them, outermost first.
type VolumeGeom struct {
	ConvGeom
	Lead []LeadAxis
}

// LeadAxis is a spatial axis before the last two: output position o reads
// input positions o*Stride + k*Dilation - Pad for k in [0, Kernel).
type LeadAxis struct{ In, Out, Kernel, Stride, Dilation, Pad int }

// volume turns such a convolution, sample by sample, into one over images.
// Every output position along the leading axes becomes an image; its channels
// are the sample's channels at each tap of the kernel:
//
//	images[o][c][k] = x[c][o*Stride + k*Dilation - Pad]
//
// The weight [M C/Group taps KH KW] is one over images as it is.
type volume[T Float] struct {
	VolumeGeom
	in, out, taps int   // positions along the leading axes
	place         []int // of output o and tap k in x, at o*taps + k; -1 in the padding
	images        []T   // [out C*taps H W]
	turned        []T   // y as the images have it, [out M OH OW]
	turn, back    *Transpose[T]

	x          []T // of one sample
	take, give func(w *Worker, unit int)
}

// newVolume returns also the geometry of the convolution over images.
func newVolume[T Float](g VolumeGeom) (*volume[T], ConvGeom) {
	v := &volume[T]{VolumeGeom: g, in: 1, out: 1, taps: 1}
	v.ConvGeom = g.ConvGeom.withDefaults()
	for _, a := range g.Lead {
		v.in, v.out, v.taps = v.in*a.In, v.out*a.Out, v.taps*a.Kernel
	}
	v.place = make([]int, v.out*v.taps)
	for i := range v.place {
		v.place[i] = g.lead(i/v.taps, i%v.taps)
	}
	v.images = make([]T, v.out*v.C*v.taps*v.H*v.W)
	v.turned = make([]T, v.out*v.OutC*v.OH*v.OW)
	v.turn = NewTranspose[T]([]int{v.OutC, v.out, v.OH * v.OW}, []int{1, 0, 2})
	v.back = NewTranspose[T]([]int{v.out, v.OutC, v.OH * v.OW}, []int{1, 0, 2})
	v.take, v.give = v.takeUnit, v.giveUnit
	images := v.ConvGeom
	images.N, images.C = v.out, v.C*v.taps
	return v, images
}

// lead is the place in x of a tap at an output position, both counted along
// all leading axes in row-major order.
func (g *VolumeGeom) lead(out, tap int) int {
	place, step := 0, 1
	for i := len(g.Lead) - 1; i >= 0; i-- {
		a := g.Lead[i]
		at := out%a.Out*a.Stride + tap%a.Kernel*a.Dilation - a.Pad
		if at < 0 || at >= a.In {
			return -1
		}
		place += at * step
		step *= a.In
		out, tap = out/a.Out, tap/a.Kernel
	}
	return place
}

// gather fills images from one sample, scatter is its adjoint.
func (v *volume[T]) gather(t *Team, x []T) {
	v.x = x
	t.For(v.out*v.C, v.take)
	v.x = nil
}

func (v *volume[T]) scatter(t *Team, x []T) {
	v.x = x
	t.For(v.C, v.give)
	v.x = nil
}

func (v *volume[T]) takeUnit(_ *Worker, unit int) {
	size := v.H * v.W
	o, c := unit/v.C, unit%v.C
	for k, at := range v.place[o*v.taps : (o+1)*v.taps] {
		to := plane(v.images, unit*v.taps+k, size)
		if at < 0 {
			clear(to)
		} else {
			copy(to, plane(v.x, c*v.in+at, size))
		}
	}
}

func (v *volume[T]) giveUnit(_ *Worker, c int) {
	size := v.H * v.W
	clear(plane(v.x, c, v.in*size))
	for i, at := range v.place {
		if at >= 0 {
			to := plane(v.x, c*v.in+at, size)
			Add(to, to, plane(v.images, (i/v.taps*v.C+c)*v.taps+i%v.taps, size))
		}
	}
}

// sample is what of x and y belongs to sample n.
func (v *volume[T]) sample(n int, x, y []T) (xn, yn []T) {
	return plane(x, n, v.C*v.in*v.H*v.W), plane(y, n, len(v.turned))
}

// VolumeConv is Conv over more than two spatial axes.
type VolumeConv[T Float] struct {
	*volume[T]
	conv *Conv[T]
}

// NewVolumeConv prepares a convolution.
func NewVolumeConv[T Float](g VolumeGeom, opt ConvOptions) *VolumeConv[T] {
	v, images := newVolume[T](g)
	return &VolumeConv[T]{v, NewConv[T](images, opt)}
}

// Run computes y; bias may be nil.
func (c *VolumeConv[T]) Run(t *Team, x, w, bias, y []T) {
	for n := range c.N {
		xn, yn := c.sample(n, x, y)
		c.gather(t, xn)
		c.conv.Run(t, c.images, w, bias, c.turned)
		c.back.Run(t, yn, c.turned)
	}
}

// VolumeGradInput is ConvGradInput over more than two spatial axes.
type VolumeGradInput[T Float] struct {
	*volume[T]
	grad *ConvGradInput[T]
}

// NewVolumeGradInput prepares the gradient of the convolution with geometry g.
func NewVolumeGradInput[T Float](g VolumeGeom, opt ConvOptions) *VolumeGradInput[T] {
	v, images := newVolume[T](g)
	return &VolumeGradInput[T]{v, NewConvGradInput[T](images, opt)}
}

// Run computes dx.
func (c *VolumeGradInput[T]) Run(t *Team, dy, w, dx []T) {
	for n := range c.N {
		dxn, dyn := c.sample(n, dx, dy)
		c.turn.Run(t, c.turned, dyn)
		c.grad.Run(t, c.turned, w, c.images)
		c.scatter(t, dxn)
	}
}

// VolumeGradWeight is ConvGradWeight over more than two spatial axes.
type VolumeGradWeight[T Float] struct {
	*volume[T]
	grad *ConvGradWeight[T]
	part []T // what one sample adds
}

// NewVolumeGradWeight prepares the gradient of the convolution with geometry g.
func NewVolumeGradWeight[T Float](g VolumeGeom, opt ConvOptions) *VolumeGradWeight[T] {
	v, images := newVolume[T](g)
	return &VolumeGradWeight[T]{v, NewConvGradWeight[T](images, opt), make([]T, images.wSize())}
}

// Run computes dw, the sum over the samples in their order.
func (c *VolumeGradWeight[T]) Run(t *Team, x, dy, dw []T) {
	clear(dw)
	for n := range c.N {
		xn, dyn := c.sample(n, x, dy)
		c.gather(t, xn)
		c.turn.Run(t, c.turned, dyn)
		c.grad.Run(t, c.images, c.turned, c.part)
		Add(dw, dw, c.part)
	}
}
