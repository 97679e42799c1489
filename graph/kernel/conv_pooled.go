package kernel

import "fmt"

// Pooled is the gradient dy [N OutC OH OW] of a convolution's result as the
// gradient of a max pooling of it has it: some elements for each plane, and the
// place of each in dy as a whole. Elements of one place add up; what is not named
// is zero. Such a dy need not be written out.
type Pooled[T Float] struct {
	Elements []T
	Places   []int64
}

// pooledPlane bounds the planes of dy, and of x with its padding, that are taken
// pooled: the elements do not tell how large they are.
const pooledPlane = 1 << 20

// PooledFits tells whether gradients of the convolution g can be computed from a
// Pooled with so many elements a plane, in less time than from dy.
func PooledFits[T Float](g ConvGeom, elements int) bool {
	g = g.withDefaults()
	if max(g.OH, g.H+g.PadT+g.PadB) > pooledPlane/max(g.OW, g.W+g.PadL+g.PadR, 1) {
		return false
	}
	s := newScattered(tilings[T]()[0], &g)
	return s != nil && s.pays(elements, len(s.places))
}

// PooledGradWeight is ConvGradWeight for a Pooled.
type PooledGradWeight[T Float] struct{ *scatteredGradWeight[T] }

// NewPooledGradWeight prepares the gradient of a convolution with geometry g, for
// which PooledFits holds.
func NewPooledGradWeight[T Float](g ConvGeom) PooledGradWeight[T] {
	g = g.withDefaults()
	return PooledGradWeight[T]{newScatteredGradWeight(tilings[T]()[0], &g)}
}

// Run computes dw. It is an error if a place lies outside of its plane.
func (p PooledGradWeight[T]) Run(t *Team, x []T, dy Pooled[T], dw []T) error {
	need(len(x), p.geom.xSize(), "x")
	need(len(dw), p.geom.wSize(), "dw")
	p.give(dy)
	p.compute(t, x, dy.Elements, dw)
	return p.drop()
}

// PooledGradInput is ConvGradInput for a Pooled.
type PooledGradInput[T Float] struct{ *scatteredGradInput[T] }

// NewPooledGradInput prepares the gradient of a convolution with geometry g, for
// which PooledFits holds.
func NewPooledGradInput[T Float](g ConvGeom) PooledGradInput[T] {
	g = g.withDefaults()
	return PooledGradInput[T]{newScatteredGradInput(tilings[T]()[0], &g)}
}

// Run computes dx. It is an error if a place lies outside of its plane.
func (p PooledGradInput[T]) Run(t *Team, dy Pooled[T], w, dx []T) error {
	need(len(w), p.geom.wSize(), "w")
	need(len(dx), p.geom.xSize(), "dx")
	p.give(dy)
	p.compute(t, dy.Elements, w, dx)
	return p.drop()
}

// PooledSampleSquares is ConvSampleSquares for a Pooled.
type PooledSampleSquares[T Float] struct{ *scatteredSquares[T] }

// NewPooledSampleSquares prepares the sums of a convolution with geometry g, for
// which PooledFits holds.
func NewPooledSampleSquares[T Float](g ConvGeom) PooledSampleSquares[T] {
	g = g.withDefaults()
	return PooledSampleSquares[T]{newScatteredSquares(tilings[T]()[0], &g)}
}

// Run computes the sums. It is an error if a place lies outside of its plane.
func (p PooledSampleSquares[T]) Run(t *Team, x []T, dy Pooled[T], squares []T) error {
	need(len(x), p.geom.xSize(), "x")
	need(len(squares), p.geom.wSize(), "squares")
	p.give(dy)
	p.compute(t, x, dy.Elements, squares)
	return p.drop()
}

// ConvTerm is what one convolution of a sum reads.
type ConvTerm[T Float] struct{ X, W []T }

// ConvAt is a sum of convolutions of one geometry, at some places alone: the change
// that reaches a max pooling along a direction,
//
//	y[n][o][i] = (bias[o] + sum over terms of Conv(x, w)) at place[n][o][i], where open[n][o][i] > 0, else 0
type ConvAt[T Float] struct {
	*scattered[T]
	w [][]T // kernels of each term, laid out

	terms         []ConvTerm[T]
	bias, open, y []T
	body          func(w *Worker, image int)
}

// NewConvAt prepares a sum of so many convolutions with geometry g, for which
// PooledFits holds.
func NewConvAt[T Float](g ConvGeom, terms int) *ConvAt[T] {
	g = g.withDefaults()
	return newConvAt(tilings[T]()[0], g, terms)
}

func newConvAt[T Float](tl *tiling[T], g ConvGeom, terms int) *ConvAt[T] {
	c := &ConvAt[T]{scattered: newScattered(tl, &g)}
	for range terms {
		c.w = append(c.w, alignedSlice[T](c.kernels()))
	}
	c.body = c.unit
	return c
}

// Run computes y; bias may be nil, as may be open, for everywhere. It is an error
// if a place lies outside of its plane.
func (c *ConvAt[T]) Run(t *Team, terms []ConvTerm[T], bias []T, places []int64, open, y []T) error {
	for k, term := range terms {
		need(len(term.X), c.geom.xSize(), "x")
		need(len(term.W), c.geom.wSize(), "w")
		for o, size := 0, c.kernel(); o < c.geom.OutC; o++ {
			c.fill(c.w[k][o*size:(o+1)*size], term.W[o*c.geom.C*c.geom.KH*c.geom.KW:])
		}
	}
	if bias != nil {
		need(len(bias), c.geom.OutC, "bias")
	}
	if open != nil {
		need(len(open), len(y), "open")
	}
	c.give(Pooled[T]{y, places})
	c.terms, c.bias, c.open, c.y = terms, bias, open, y
	t.For(c.geom.N, c.body)
	c.terms, c.bias, c.open, c.y = nil, nil, nil, nil
	return c.drop()
}

// unit computes one image.
func (c *ConvAt[T]) unit(w *Worker, image int) {
	size, laid := c.kernel(), c.laid()
	x := scratchOf[T](w, slotA, len(c.terms)*laid)
	clear(x)
	for k, term := range c.terms {
		c.lay(term.X, image, x[k*laid:(k+1)*laid])
	}
	for o := range c.geom.OutC {
		number := image*c.geom.OutC + o
		at, numbers := c.listOpen(w, number)
		sums := scratchOf[T](w, slotB, len(at))
		var bias T
		if c.bias != nil {
			bias = c.bias[o]
		}
		Fill(sums, bias)
		for k := range c.terms {
			c.loops.at(c.rows, at, c.planes, c.w[k][o*size:(o+1)*size], x[k*laid:(k+1)*laid], c.planeNext, c.rowNext, sums)
		}
		y := c.y[number*c.pooled:][:c.pooled]
		clear(y)
		for i, to := range numbers {
			y[to] = sums[i]
		}
	}
}

// listOpen lists what is open of a plane: where it reads, filled up to a multiple
// of 4, and the numbers.
func (c *ConvAt[T]) listOpen(w *Worker, number int) (at, numbers []int32) {
	at, numbers = w.Int32(slotA, c.pooled+3), w.Int32(slotB, c.pooled)
	index, first := c.index[number*c.pooled:][:c.pooled], int64(number*len(c.places))
	var open []T
	n, done := 0, 0
	if c.open != nil {
		open = c.open[number*c.pooled:][:c.pooled]
		if whole := c.pooled &^ (scatteredLanes - 1); whole > 0 && c.byLine && c.loops.open != nil {
			if listed, ok := c.loops.open(open[:whole], index, first, int64(len(c.places)-1), &c.line, at, numbers); ok {
				n, done = listed, whole
			}
		}
	}
	for i := done; i < c.pooled; i++ {
		place, ok := c.place(index[i] - first)
		at[n], numbers[n] = place, int32(i)
		if ok && (open == nil || open[i] > 0) {
			n++
		}
	}
	for i := n; i < roundUp(n, 4); i++ {
		at[i] = at[0]
	}
	return at[:roundUp(n, 4)], numbers[:n]
}

// give takes the places of a dy.
func (s *scattered[T]) give(dy Pooled[T]) {
	need(len(dy.Places), len(dy.Elements), "places")
	s.pooled = len(dy.Elements) / max(s.geom.N*s.geom.OutC, 1)
	s.index = dy.Places
	s.strays.Store(0)
}

// drop forgets them.
func (s *scattered[T]) drop() error {
	s.index = nil
	if n := s.strays.Load(); n > 0 {
		return fmt.Errorf("%d of the places lie outside of their image", n)
	}
	return nil
}

// listPooled is list for a plane of a Pooled.
func (s *scattered[T]) listPooled(w *Worker, number int) (at []int32, values []T) {
	at, values = w.Int32(slotA, s.pooled), scratchOf[T](w, slotB, s.pooled)
	plane, index, first := s.dy[number*s.pooled:][:s.pooled], s.index[number*s.pooled:][:s.pooled], int64(number*len(s.places))
	n, done := 0, 0
	if whole := s.pooled &^ (scatteredLanes - 1); whole > 0 && s.byLine && s.loops.pooled != nil {
		if listed, ok := s.loops.pooled(plane[:whole], index, first, int64(len(s.places)-1), &s.line, at, values); ok {
			n, done = listed, whole
		}
	}
	for i, v := range plane[done:] {
		place, ok := s.place(index[done+i] - first)
		at[n], values[n] = place, v
		if v != 0 && ok {
			n++
		}
	}
	return at[:n], values[:n]
}

// place is where a place of a plane of dy begins to read; if it lies outside, that
// is counted.
func (s *scattered[T]) place(place int64) (at int32, ok bool) {
	if uint64(place) >= uint64(len(s.places)) {
		s.strays.Add(1)
		return 0, false
	}
	return s.places[place], true
}
