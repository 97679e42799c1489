package evalmetrics

import "math"

// An optimizer minimises ½αᵀQα - Σα over 0 <= α <= C, yᵀα = 0, Q_ij = y_i y_j
// k(x_i, x_j). Others come first and have y = +1, members y = -1, as LIBSVM
// orders the classes 0 and 1.
//
// Points that seem to have come to rest at a bound are set aside (shrunk) and
// looked at again in the end. order lists all points, the active ones first;
// of equally good pairs the last in this order is taken.
type optimizer struct {
	SVC
	x     Points
	y     []float64
	alpha []float64
	grad  []float64 // Qα - 1, of active points
	bound []float64 // the share of Qα that comes from points at C
	order []int
	n     int // active points
	rows  *rowCache

	looked bool // all points were looked at near the end
}

// minCurvature replaces the curvature of a pair of equal points, which is 0.
const minCurvature = 1e-12

func newOptimizer(s SVC, members, others Points) *optimizer {
	n := members.Len() + others.Len()
	o := &optimizer{
		SVC: s, x: Points{Width: members.Width}, n: n, y: make([]float64, n), alpha: make([]float64, n),
		grad: make([]float64, n), bound: make([]float64, n), order: make([]int, n),
	}
	o.x.Values = append(append(o.x.Values, others.Values...), members.Values...)
	for i := range n {
		o.order[i], o.grad[i], o.y[i] = i, -1, 1
		if i >= others.Len() {
			o.y[i] = -1
		}
	}
	o.rows = newRowCache(n, func(i int, row []float32) { // in single precision, as LIBSVM keeps them
		a := o.x.At(i)
		for j := range row {
			row[j] = float32(rbf(s.Gamma, a, o.x.At(j)))
		}
	})
	return o
}

// active lists the points that are not set aside.
func (o *optimizer) active() []int { return o.order[:o.n] }

// up and low say in which direction y_i α_i can still move.
func (o *optimizer) up(i int) bool {
	return o.y[i] > 0 && o.alpha[i] < o.C || o.y[i] < 0 && o.alpha[i] > 0
}

func (o *optimizer) low(i int) bool {
	return o.y[i] > 0 && o.alpha[i] > 0 || o.y[i] < 0 && o.alpha[i] < o.C
}

// run moves pair after pair until no pair violates the conditions of the
// optimum by more than the tolerance.
func (o *optimizer) run() {
	every := min(len(o.y), 1000)
	for left := every; ; left-- {
		if left == 0 {
			left = every
			o.shrink()
		}
		i, j := o.pair()
		if j < 0 {
			o.restore()
			if i, j = o.pair(); j < 0 {
				return
			}
			left = 1
		}
		o.step(i, j)
	}
}

// pair chooses the most violating i, and the j that promises the largest
// decrease with it; j is -1 at the optimum.
func (o *optimizer) pair() (i, j int) {
	i, j = -1, -1
	top := math.Inf(-1)
	for _, t := range o.active() {
		if v := -o.y[t] * o.grad[t]; o.up(t) && v >= top {
			i, top = t, v
		}
	}
	if i < 0 {
		return i, j
	}
	row := o.rows.get(i)
	bottom, best := math.Inf(1), math.Inf(1)
	for _, t := range o.active() {
		if !o.low(t) {
			continue
		}
		v := -o.y[t] * o.grad[t]
		bottom = min(bottom, v)
		if diff := top - v; diff > 0 {
			if gain := -diff * diff / curvature(row[t]); gain <= best {
				j, best = t, gain
			}
		}
	}
	if top-bottom < o.Tolerance {
		return i, -1
	}
	return i, j
}

// curvature is that of the objective along a pair with this kernel value.
func curvature(k float32) float64 {
	if c := 2 - 2*float64(k); c > 0 {
		return c
	}
	return minCurvature
}

// step moves α_i and α_j to the minimum along their line inside the box.
func (o *optimizer) step(i, j int) {
	ri, rj := o.rows.get(i), o.rows.get(j)
	wasI, wasJ := o.alpha[i], o.alpha[j]
	if o.y[i] != o.y[j] {
		o.moveTogether(i, j, curvature(ri[j]))
	} else {
		o.moveApart(i, j, curvature(ri[j]))
	}
	byI, byJ := o.y[i]*(o.alpha[i]-wasI), o.y[j]*(o.alpha[j]-wasJ)
	for _, t := range o.active() {
		o.grad[t] += o.y[t] * (float64(float64(ri[t])*byI) + float64(float64(rj[t])*byJ))
	}
	o.reach(i, wasI, ri)
	o.reach(j, wasJ, rj)
}

// moveTogether changes both coefficients by the same amount, α_i - α_j held.
func (o *optimizer) moveTogether(i, j int, curvature float64) {
	a, b, c := o.alpha[i], o.alpha[j], o.C
	by := (-o.grad[i] - o.grad[j]) / curvature
	apart := a - b
	a, b = a+by, b+by
	switch {
	case apart > 0 && b < 0:
		a, b = apart, 0
	case apart <= 0 && a < 0:
		a, b = 0, -apart
	}
	switch {
	case apart > 0 && a > c:
		a, b = c, c-apart
	case apart <= 0 && b > c:
		a, b = c+apart, c
	}
	o.alpha[i], o.alpha[j] = a, b
}

// moveApart changes them by opposite amounts, α_i + α_j held.
func (o *optimizer) moveApart(i, j int, curvature float64) {
	a, b, c := o.alpha[i], o.alpha[j], o.C
	by := (o.grad[i] - o.grad[j]) / curvature
	sum := a + b
	a, b = a-by, b+by
	switch {
	case sum > c && a > c:
		a, b = c, sum-c
	case sum <= c && b < 0:
		a, b = sum, 0
	}
	switch {
	case sum > c && b > c:
		a, b = sum-c, c
	case sum <= c && a < 0:
		a, b = 0, sum
	}
	o.alpha[i], o.alpha[j] = a, b
}

// reach keeps account of what comes from points at C.
func (o *optimizer) reach(i int, was float64, row []float32) {
	if (was >= o.C) == (o.alpha[i] >= o.C) {
		return
	}
	by := o.y[i] * o.C
	if was >= o.C {
		by = -by
	}
	for t, k := range row {
		o.bound[t] += o.y[t] * by * float64(k)
	}
}

// shrink sets aside points at a bound that no violating pair can contain, as
// far as the gradient tells. Once, near the end, all are looked at again first.
func (o *optimizer) shrink() {
	top, bottom := o.extremes()
	if !o.looked && top-bottom <= 10*o.Tolerance {
		o.looked = true
		o.restore()
	}
	resting := func(t int) bool {
		v := -o.y[t] * o.grad[t]
		switch {
		case o.up(t) && o.low(t):
			return false
		case o.up(t):
			return v < bottom
		}
		return v > top
	}
	for i := 0; i < o.n; i++ {
		if !resting(o.order[i]) {
			continue
		}
		for o.n--; o.n > i; o.n-- {
			if !resting(o.order[o.n]) {
				o.order[i], o.order[o.n] = o.order[o.n], o.order[i]
				break
			}
		}
	}
}

// extremes are the largest -y·grad of points that can move up and the smallest
// of those that can move down.
func (o *optimizer) extremes() (top, bottom float64) {
	top, bottom = math.Inf(-1), math.Inf(1)
	for _, t := range o.active() {
		v := -o.y[t] * o.grad[t]
		if o.up(t) {
			top = max(top, v)
		}
		if o.low(t) {
			bottom = min(bottom, v)
		}
	}
	return top, bottom
}

// restore makes all points active again and computes the gradient of those that
// were set aside.
func (o *optimizer) restore() {
	aside := o.order[o.n:]
	for _, t := range aside {
		o.grad[t] = o.bound[t] - 1
	}
	if len(aside) > 0 {
		for _, i := range o.active() {
			if a := o.alpha[i]; a > 0 && a < o.C {
				row := o.rows.get(i)
				for _, t := range aside {
					o.grad[t] += o.y[t] * o.y[i] * a * float64(row[t])
				}
			}
		}
	}
	o.n = len(o.order)
}

// A rowCache keeps the rows of the kernel matrix that were used last, as many
// as fit.
type rowCache struct {
	fill  func(i int, row []float32)
	rows  map[int]*cachedRow
	limit int
	n     int
	clock int
}

type cachedRow struct {
	values []float32
	used   int
}

// cacheBytes is the memory for kernel rows.
const cacheBytes = 256 << 20

func newRowCache(n int, fill func(i int, row []float32)) *rowCache {
	return &rowCache{fill: fill, n: n, rows: map[int]*cachedRow{}, limit: max(2, cacheBytes/(4*n))}
}

func (c *rowCache) get(i int) []float32 {
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
		return &cachedRow{values: make([]float32, c.n)}
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
