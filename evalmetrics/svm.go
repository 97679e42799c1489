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
// second-order choice of the pair (Fan, Chen & Lin 2005), the method of
// LIBSVM, whose solution is reached within the tolerance.
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
	for {
		i, j := o.pair()
		if j < 0 {
			break
		}
		o.step(i, j)
	}
	return o.machine(), nil
}

// An optimizer minimises ½αᵀQα - Σα over 0 <= α <= C, yᵀα = 0, Q_ij = y_i y_j
// k(x_i, x_j).
type optimizer struct {
	SVC
	x     Points
	y     []float64 // +1 member, -1 other
	alpha []float64
	grad  []float64 // Qα - 1
	rows  *rowCache
}

func newOptimizer(s SVC, members, others Points) *optimizer {
	n := members.Len() + others.Len()
	o := &optimizer{SVC: s, x: Points{Width: members.Width}, y: make([]float64, n), alpha: make([]float64, n), grad: make([]float64, n)}
	o.x.Values = append(append(o.x.Values, members.Values...), others.Values...)
	for i := range n {
		o.grad[i], o.y[i] = -1, -1
		if i < members.Len() {
			o.y[i] = 1
		}
	}
	o.rows = newRowCache(n, func(i int, row []float64) {
		a := o.x.At(i)
		for j := range row {
			row[j] = rbf(s.Gamma, a, o.x.At(j))
		}
	})
	return o
}

// up and low say in which direction y_i α_i can still move.
func (o *optimizer) up(i int) bool {
	return o.y[i] > 0 && o.alpha[i] < o.C || o.y[i] < 0 && o.alpha[i] > 0
}

func (o *optimizer) low(i int) bool {
	return o.y[i] > 0 && o.alpha[i] > 0 || o.y[i] < 0 && o.alpha[i] < o.C
}

// minCurvature replaces the curvature of a pair of equal points, which is 0.
const minCurvature = 1e-12

// pair chooses the most violating i, and the j that promises the largest
// decrease with it; j is -1 at the optimum.
func (o *optimizer) pair() (i, j int) {
	i, j = -1, -1
	top := math.Inf(-1)
	for t, y := range o.y {
		if v := -y * o.grad[t]; o.up(t) && v >= top {
			i, top = t, v
		}
	}
	if i < 0 {
		return i, j
	}
	row := o.rows.get(i)
	bottom, best := math.Inf(1), math.Inf(1)
	for t, y := range o.y {
		if !o.low(t) {
			continue
		}
		v := -y * o.grad[t]
		bottom = min(bottom, v)
		if diff := top - v; diff > 0 {
			if gain := -diff * diff / max(2-2*row[t], minCurvature); gain <= best {
				j, best = t, gain
			}
		}
	}
	if top-bottom < o.Tolerance {
		return i, -1
	}
	return i, j
}

// step moves α_i and α_j to the minimum along their line inside the box.
func (o *optimizer) step(i, j int) {
	ri, rj := o.rows.get(i), o.rows.get(j)
	move := (-o.y[i]*o.grad[i] + o.y[j]*o.grad[j]) / max(2-2*ri[j], minCurvature)
	room := func(t int, direction float64) float64 { // of α_t along ±y_t
		if o.y[t]*direction > 0 {
			return o.C - o.alpha[t]
		}
		return o.alpha[t]
	}
	roomI, roomJ := room(i, 1), room(j, -1)
	move = min(move, roomI, roomJ)
	o.shift(i, o.y[i]*move, move == roomI)
	o.shift(j, -o.y[j]*move, move == roomJ)
	for t, y := range o.y {
		o.grad[t] += float64(y * move * (ri[t] - rj[t]))
	}
}

// shift changes α_t; one that reaches its bound is set to it exactly.
func (o *optimizer) shift(t int, by float64, bound bool) {
	o.alpha[t] += by
	if bound && by > 0 {
		o.alpha[t] = o.C
	} else if bound {
		o.alpha[t] = 0
	}
}

// machine keeps the support vectors. The bias makes the free ones lie on the
// margin; without any it is midway in what the bounds allow.
func (o *optimizer) machine() *Machine {
	m := &Machine{Support: Points{Width: o.x.Width}, Gamma: o.Gamma}
	lo, hi := math.Inf(-1), math.Inf(1)
	sum, free := 0.0, 0
	for i, a := range o.alpha {
		v := -o.y[i] * o.grad[i]
		switch {
		case a > 0 && a < o.C:
			sum += v
			free++
		case o.up(i):
			lo = max(lo, v)
		default:
			hi = min(hi, v)
		}
		if a > 0 {
			m.Coef = append(m.Coef, o.y[i]*a)
			m.Support.Values = append(m.Support.Values, o.x.At(i)...)
		}
	}
	m.Bias = (lo + hi) / 2
	if free > 0 {
		m.Bias = sum / float64(free)
	}
	return m
}

// A rowCache keeps the rows of the kernel matrix that were used last, as many
// as fit.
type rowCache struct {
	fill  func(i int, row []float64)
	rows  map[int]*cachedRow
	limit int
	n     int
	clock int
}

type cachedRow struct {
	values []float64
	used   int
}

// cacheBytes is the memory for kernel rows.
const cacheBytes = 256 << 20

func newRowCache(n int, fill func(i int, row []float64)) *rowCache {
	return &rowCache{fill: fill, n: n, rows: map[int]*cachedRow{}, limit: max(2, cacheBytes/(8*n))}
}

func (c *rowCache) get(i int) []float64 {
	c.clock++
	r := c.rows[i]
	if r == nil {
		r = c.room()
		c.fill(i, r.values)
		c.rows[i] = r
	}
	r.used = c.clock
	return r.values
}

// room is a new row, or the memory of the one not used for longest.
func (c *rowCache) room() *cachedRow {
	if len(c.rows) < c.limit {
		return &cachedRow{values: make([]float64, c.n)}
	}
	oldest := -1
	for i, r := range c.rows {
		if oldest < 0 || r.used < c.rows[oldest].used {
			oldest = i
		}
	}
	r := c.rows[oldest]
	delete(c.rows, oldest)
	return r
}
