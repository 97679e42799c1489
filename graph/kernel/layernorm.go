package kernel

import "math"

// LayerNorm normalises every row of x, of shape (rows, width), by its own mean
// and biased variance:
//
//	y = scale (x - mean) invStd + bias       invStd = 1/sqrt(variance + epsilon)
type LayerNorm[T Float] struct {
	rows, width, group int // group: rows per unit
	epsilon            float64
	partials           []T // per unit: dScale, dBias

	y, x, scale, bias, mean, invStd, dx, dy []T
	forward, backward                       func(*Worker, int)
}

// NewLayerNorm prepares the normalisation of rows of width elements.
func NewLayerNorm[T Float](rows, width int, epsilon float64) *LayerNorm[T] {
	l := &LayerNorm[T]{rows: rows, width: width, epsilon: epsilon, group: max(1, 2*unitSize/max(1, width))}
	l.partials = make([]T, 2*l.units()*width)
	l.forward, l.backward = l.forwardUnit, l.backwardUnit
	return l
}

func (l *LayerNorm[T]) units() int {
	if l.width == 0 {
		return 0
	}
	return ceilDiv(l.rows, l.group)
}

// Forward writes y and, per row, mean and invStd. bias may be nil; y may be x.
func (l *LayerNorm[T]) Forward(t *Team, y, x, scale, bias, mean, invStd []T) {
	l.y, l.x, l.scale, l.bias, l.mean, l.invStd = y, x, scale, bias, mean, invStd
	t.For(l.units(), l.forward)
	l.release()
}

// Backward writes the gradients, for mean and invStd as Forward saved them:
//
//	dBias  = sum dy                          over rows
//	dScale = sum dy (x - mean) invStd
//	dx     = invStd (g - mean(g) - (x - mean) invStd^2 mean(g (x - mean)))
//
// with g = dy scale and means over the row. dx may be dy.
func (l *LayerNorm[T]) Backward(t *Team, dx, dScale, dBias, dy, x, scale, mean, invStd []T) {
	l.dx, l.dy, l.x, l.scale, l.mean, l.invStd = dx, dy, x, scale, mean, invStd
	t.For(l.units(), l.backward)
	Fill(dScale, 0)
	Fill(dBias, 0)
	for u := range l.units() {
		s, b := l.partial(u)
		Add(dScale, dScale, s)
		Add(dBias, dBias, b)
	}
	l.release()
}

func (l *LayerNorm[T]) release() {
	l.y, l.x, l.scale, l.bias, l.mean, l.invStd, l.dx, l.dy = nil, nil, nil, nil, nil, nil, nil, nil
}

func (l *LayerNorm[T]) partial(unit int) (dScale, dBias []T) {
	at := 2 * unit * l.width
	return l.partials[at : at+l.width], l.partials[at+l.width : at+2*l.width]
}

func (l *LayerNorm[T]) forwardUnit(_ *Worker, unit int) {
	for row := unit * l.group; row < min((unit+1)*l.group, l.rows); row++ {
		lo, hi := row*l.width, (row+1)*l.width
		x := channel[T]{l.x, 1, l.width, 0, lo}
		mean, variance := moments(&x)
		invStd := 1 / math.Sqrt(variance+l.epsilon)
		l.mean[row], l.invStd[row] = T(mean), T(invStd)
		y := l.y[lo:hi]
		Affine(y, T(invStd), l.x[lo:hi], T(-mean*invStd))
		Mul(y, y, l.scale)
		if l.bias != nil {
			Add(y, y, l.bias)
		}
	}
}

func (l *LayerNorm[T]) backwardUnit(w *Worker, unit int) {
	dScale, dBias := l.partial(unit)
	Fill(dScale, 0)
	Fill(dBias, 0)
	g := scratchOf[T](w, 0, l.width)
	for row := unit * l.group; row < min((unit+1)*l.group, l.rows); row++ {
		lo, hi := row*l.width, (row+1)*l.width
		x, dy, mean, invStd := l.x[lo:hi], l.dy[lo:hi], l.mean[row], l.invStd[row]
		Affine(g, invStd, x, -mean*invStd)
		Mul(g, g, dy)
		Add(dScale, dScale, g)
		Add(dBias, dBias, dy)

		Mul(g, dy, l.scale)
		inv, width := float64(invStd), float64(l.width)
		slope := -inv * inv * inv * float64(Dot(x, g, mean)) / width
		offset := -inv*float64(Sum(g))/width - slope*float64(mean)
		Combine(l.dx[lo:hi], invStd, g, T(slope), x, T(offset))
	}
}
