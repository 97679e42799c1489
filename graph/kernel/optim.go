package kernel

import "math"

// SGD is stochastic gradient descent with torch's conventions:
//
//	g += WeightDecay*w
//	v  = Momentum*v + g             v is 0 before the first step
//	w -= Rate*v                     Nesterov: w -= Rate*(g + Momentum*v)
//
// then w and v are multiplied by the mask, if there is one.
type SGD struct {
	Rate, Momentum, WeightDecay float64
	Nesterov                    bool
}

// Adam is Adam (Kingma and Ba 2015) with torch's conventions; t counts steps
// from 1:
//
//	g += WeightDecay*w              Decoupled (AdamW): w -= Rate*WeightDecay*w
//	m  = Beta1*m + (1-Beta1)*g
//	s  = Beta2*s + (1-Beta2)*g^2
//	w -= Rate/(1-Beta1^t) * m / (sqrt(s)/sqrt(1-Beta2^t) + Epsilon)
//
// then w, m and s are multiplied by the mask, if there is one.
type Adam struct {
	Rate, Beta1, Beta2, Epsilon, WeightDecay float64
	Decoupled                                bool
}

// stepLoop names one pass over weights w, gradients g, mask m and state s, t.
// A loop with mask follows the one without.
type stepLoop int

const (
	stepSgd stepLoop = iota
	stepSgdMasked
	stepMomentum
	stepMomentumMasked
	stepNesterov
	stepNesterovMasked
	stepAdam
	stepAdamMasked
	stepLoops
)

// coefficients of a step, as its loops read them: rate and weight decay first,
// then momentum, or what adamCoefficients puts there.
type coefficients[T Float] [9]T

// Step updates weights. It is prepared once and run for any number of tensors.
type Step[T Float] struct {
	loop          stepLoop
	coef          coefficients[T]
	w, g, m, s, t []T
	body          func(*Worker, int)
}

// NewStep prepares optimizer steps.
func NewStep[T Float]() *Step[T] {
	s := new(Step[T])
	s.body = s.unit
	return s
}

// SGD updates w from its gradient g, and the velocity v, which may be nil when
// Momentum is 0. mask holds zeros and ones, or is nil.
func (s *Step[T]) SGD(t *Team, o SGD, w, g, mask, v []T) {
	s.prepareSGD(o, w, mask, v)
	s.run(t, g)
}

func (s *Step[T]) prepareSGD(o SGD, w, mask, v []T) {
	loop := stepMomentum
	if o.Momentum == 0 {
		loop, v = stepSgd, nil
	} else if o.Nesterov {
		loop = stepNesterov
	}
	s.coef = coefficients[T]{T(o.Rate), T(o.WeightDecay), T(o.Momentum)}
	s.prepare(loop, w, mask, v, nil)
}

// Adam makes step number count (from 1) of w from its gradient g, and of the
// moments m and v. mask holds zeros and ones, or is nil.
func (s *Step[T]) Adam(t *Team, o Adam, count int, w, g, mask, m, v []T) {
	s.coef = adamCoefficients[T](o, count)
	s.prepare(stepAdam, w, mask, m, v)
	s.run(t, g)
}

func adamCoefficients[T Float](o Adam, count int) coefficients[T] {
	correct1 := 1 - math.Pow(o.Beta1, float64(count))
	correct2 := 1 - math.Pow(o.Beta2, float64(count))
	l2, decay := o.WeightDecay, 1.0
	if o.Decoupled {
		l2, decay = 0, 1-o.Rate*o.WeightDecay
	}
	return coefficients[T]{T(o.Rate / correct1), T(l2), T(decay), T(o.Beta1), T(1 - o.Beta1),
		T(o.Beta2), T(1 - o.Beta2), T(math.Sqrt(correct2)), T(o.Epsilon)}
}

// prepare takes weights, mask and state. Missing ones are stood for by w, so
// that every slice can be cut alike; their loops do not touch them.
func (s *Step[T]) prepare(loop stepLoop, w, mask, m, v []T) {
	if mask != nil {
		loop++
	}
	s.loop, s.w = loop, w
	s.m, s.s, s.t = orElse(mask, w), orElse(m, w), orElse(v, w)
}

// run makes one pass along the gradient g.
func (s *Step[T]) run(t *Team, g []T) {
	s.g = g[:len(s.w)]
	t.For(unitsOf(len(s.w)), s.body)
	s.release()
}

func (s *Step[T]) release() { s.w, s.g, s.m, s.s, s.t = nil, nil, nil, nil, nil }

func orElse[T Float](x, w []T) []T {
	if x == nil {
		x = w
	}
	return x[:len(w)]
}

func (s *Step[T]) unit(_ *Worker, unit int) {
	lo, hi := unitRange(unit, len(s.w))
	s.along(lo, s.g[lo:hi])
}

// along makes the step of the weights from first on for which g has gradients.
func (s *Step[T]) along(first int, g []T) {
	end := first + len(g)
	step(s.loop, s.w[first:end], g, s.m[first:end], s.s[first:end], s.t[first:end], &s.coef)
}

// step updates one slice of weights.
func step[T Float](k stepLoop, w, g, m, s, t []T, coef *coefficients[T]) {
	done := 0
	if f := vecInUse.step[k]; f != nil && len(w) >= vecBlock {
		if w32 := asFloat32(w); w32 != nil {
			c := any(coef).(*coefficients[float32])
			done = len(w) &^ (vecBlock - 1)
			f(&w32[0], &asFloat32(g)[0], &asFloat32(m)[0], &asFloat32(s)[0], &asFloat32(t)[0], done, &c[0])
		}
	}
	stepTwin(k, w[done:], g[done:], m[done:], s[done:], t[done:], coef)
}

// stepTwin is step in plain Go.
func stepTwin[T Float](k stepLoop, w, g, m, s, t []T, c *coefficients[T]) {
	masked := k&1 == 1
	for i := range w {
		switch k &^ 1 {
		case stepSgd:
			w[i] -= T(c[0] * (g[i] + T(c[1]*w[i])))
		case stepMomentum:
			s[i] = T(c[2]*s[i]) + (g[i] + T(c[1]*w[i]))
			w[i] -= T(c[0] * s[i])
		case stepNesterov:
			d := g[i] + T(c[1]*w[i])
			s[i] = T(c[2]*s[i]) + d
			w[i] -= T(c[0] * (d + T(c[2]*s[i])))
		case stepAdam:
			w[i], s[i], t[i] = adamTwin(w[i], g[i], s[i], t[i], c)
		}
		if masked {
			maskTwin(k, i, w, m, s, t)
		}
	}
}

func adamTwin[T Float](w, g, s, t T, c *coefficients[T]) (T, T, T) {
	rate, l2, decay, beta1, rest1, beta2, rest2, root2, eps := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
	g += T(l2 * w)
	s = T(beta1*s) + T(rest1*g)
	t = T(beta2*t) + T(rest2*T(g*g))
	denom := T(math.Sqrt(float64(t)))/root2 + eps
	return T(decay*w) - T(rate*s)/denom, s, t
}

// maskTwin multiplies the weight and whatever state loop k has by the mask.
func maskTwin[T Float](k stepLoop, i int, w, m, s, t []T) {
	mask := m[i]
	w[i] *= mask
	if k >= stepMomentum {
		s[i] *= mask
	}
	if k >= stepAdam {
		t[i] *= mask
	}
}

// Norm adds up squares over any number of tensors, for clipping by global norm.
type Norm[T Float] struct {
	x        []T
	partials []float64
	body     func(*Worker, int)
}

// NewNorm prepares norms of tensors with at most size elements.
func NewNorm[T Float](size int) *Norm[T] {
	n := &Norm[T]{partials: make([]float64, unitsOf(size))}
	n.body = func(_ *Worker, unit int) {
		lo, hi := unitRange(unit, len(n.x))
		n.partials[unit] = float64(SumSquares(n.x[lo:hi], 0))
	}
	return n
}

// SumSquares returns the sum of the squares of x.
func (n *Norm[T]) SumSquares(t *Team, x []T) float64 {
	n.x = x
	t.For(unitsOf(len(x)), n.body)
	n.x = nil
	var sum float64
	for _, p := range n.partials[:unitsOf(len(x))] {
		sum += p
	}
	return sum
}

// ClipFactor is what to multiply all gradients by so that their global norm,
// the root of sumSquares, is at most limit (torch's clip_grad_norm_).
func ClipFactor(sumSquares, limit float64) float64 {
	return min(1, limit/(math.Sqrt(sumSquares)+1e-6))
}
