package evalmetrics

import (
	"fmt"
	"math"
)

// SVC is a support vector classifier for two classes with the kernel
// exp(-Gamma‖x-x'‖²), soft margin C and unweighted classes: the machine of
// Unlearn-Sparse's attack.
type SVC struct {
	C         float64 // 0: 3
	Gamma     float64 // 0: 1/width of a point
	Tolerance float64 // of the optimality conditions; 0: 1e-3
}

// A Machine is a fitted SVC. Its decision at x is Σ_i Coef_i k(x_i, x) + Bias;
// positive means member.
type Machine struct {
	Support Points
	Coef    []float64 // y_i α_i
	Bias    float64
	Gamma   float64
}

// Decide returns the decision value of every point.
func (m *Machine) Decide(x Points) []float64 {
	out := make([]float64, x.Len())
	for i := range out {
		sum := m.Bias
		for j, c := range m.Coef {
			sum += float64(c * rbf(m.Gamma, m.Support.At(j), x.At(i)))
		}
		out[i] = sum
	}
	return out
}

func rbf(gamma float64, a, b []float64) float64 {
	d := 0.0
	for i, v := range a {
		d += float64((v - b[i]) * (v - b[i]))
	}
	return math.Exp(-gamma * d)
}

// Fit separates members from others by sequential minimal optimisation with
// second-order choice of the pair (Fan, Chen & Lin 2005) and shrinking, pair by
// pair as LIBSVM does (Chang & Lin 2011): two solvers that stop at the same
// tolerance agree in their decisions only if they come the same way.
func (s SVC) Fit(members, others Points) (*Machine, error) {
	if s.C == 0 {
		s.C = 3
	}
	if s.Tolerance == 0 {
		s.Tolerance = 1e-3
	}
	if members.Width != others.Width || members.Width == 0 || members.Len() == 0 || others.Len() == 0 {
		return nil, fmt.Errorf("evalmetrics: a classifier needs points of both kinds: have %d members of width %d, %d others of width %d",
			members.Len(), members.Width, others.Len(), others.Width)
	}
	if s.Gamma == 0 {
		s.Gamma = 1 / float64(members.Width)
	}
	o := newOptimizer(s, members, others)
	for i, v := range o.x.Values {
		if v-v != 0 {
			return nil, fmt.Errorf("evalmetrics: point %d has the value %v: the model's outputs are not finite", i/o.x.Width, v)
		}
	}
	o.run()
	return o.machine(), nil
}

// machine keeps the support vectors. The bias makes the free ones lie on the
// margin; without any it is midway in what the bounds allow.
func (o *optimizer) machine() *Machine {
	m := &Machine{Support: Points{Width: o.x.Width}, Gamma: o.Gamma}
	lo, hi := math.Inf(-1), math.Inf(1)
	sum, free := 0.0, 0
	for _, i := range o.order {
		v := -o.y[i] * o.grad[i]
		switch a := o.alpha[i]; {
		case a > 0 && a < o.C:
			sum += v
			free++
		case o.up(i):
			lo = max(lo, v)
		default:
			hi = min(hi, v)
		}
	}
	for i, a := range o.alpha {
		if a > 0 {
			m.Coef = append(m.Coef, -o.y[i]*a)
			m.Support.Values = append(m.Support.Values, o.x.At(i)...)
		}
	}
	m.Bias = -(lo + hi) / 2
	if free > 0 {
		m.Bias = -sum / float64(free)
	}
	return m
}
