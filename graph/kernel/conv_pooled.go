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

// PooledFits tells whether gradients of the convolution g can be computed from a
// Pooled with so many elements a plane, in less time than from dy.
func PooledFits[T Float](g ConvGeom, elements int) bool {
	g = g.withDefaults()
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

// Run computes both sums. It is an error if a place lies outside of its plane.
func (p PooledSampleSquares[T]) Run(t *Team, x []T, dy Pooled[T], squares, total []T) error {
	need(len(x), p.geom.xSize(), "x")
	need(len(squares), p.geom.wSize(), "squares")
	need(len(total), p.geom.wSize(), "total")
	p.give(dy)
	p.compute(t, x, dy.Elements, squares, total)
	return p.drop()
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
	index, first, n := s.index[number*s.pooled:], int64(number*len(s.places)), 0
	for i, v := range s.dy[number*s.pooled:][:s.pooled] {
		place := index[i] - first
		if uint64(place) >= uint64(len(s.places)) {
			s.strays.Add(1)
			continue
		}
		at[n], values[n] = s.places[place], v
		if v != 0 {
			n++
		}
	}
	return at[:n], values[:n]
}
