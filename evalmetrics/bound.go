package evalmetrics

import (
	"slices"

	"github.com/unprune/unprune/sparsity"
)

// Margins tells how far the scores of one pruning group are from the cut: how
// much each kept score exceeds the threshold and how much each pruned one
// falls short of it, both in rising order. They bound how many bits of the
// mask another model can flip whose scores differ by a known distance. With u
// the model at hand, φ the other, each keeping the k highest scores |u_i| and
// |φ_i| of the same N weights, a_l and b_l the l-th kept and pruned margin,
// and q the number of weights that u keeps and φ prunes:
//
//   - if every score differs by at most ε, then a_q + b_q <= 2ε (SupFlips);
//   - if ‖u-φ‖₂ <= E, then Φ(q) <= E², where Φ(q) is the smallest squared
//     distance at which q pairs change sides (L2Flips);
//   - over several groups with one distance, the sum of the Q smallest
//     (a_l+b_l)²/2 is at most E² (PooledFlips).
//
// Filters have the same bounds with s_f = ‖w_f‖₂. The proofs are short: for i
// kept by u alone and j by φ alone, s_i(u)-ε_i <= s_i(φ) <= s_j(φ) <=
// s_j(u)+ε_j.
type Margins struct {
	Kept, Pruned []float64
}

// NewMargins cuts scores to the k highest; the threshold lies midway.
func NewMargins(scores []float64, k int) Margins {
	var m Margins
	mask := sparsity.TopK(scores, k)
	for i, s := range scores {
		if mask.Get(i) {
			m.Kept = append(m.Kept, s)
		} else {
			m.Pruned = append(m.Pruned, s)
		}
	}
	slices.Sort(m.Kept)
	slices.Sort(m.Pruned)
	slices.Reverse(m.Pruned)
	if len(m.Kept) == 0 || len(m.Pruned) == 0 {
		return Margins{} // nothing can change sides
	}
	threshold := (m.Kept[0] + m.Pruned[0]) / 2
	for i := range m.Kept {
		m.Kept[i] -= threshold
	}
	for i := range m.Pruned {
		m.Pruned[i] = threshold - m.Pruned[i]
	}
	return m
}

// pairs is the most that can change sides.
func (m Margins) pairs() int { return min(len(m.Kept), len(m.Pruned)) }

// SupFlips bounds the flips if no score differs by more than eps.
func (m Margins) SupFlips(eps float64) int {
	return mostPairs(m.pairs(), func(q int) bool { return m.Kept[q-1]+m.Pruned[q-1] <= 2*eps })
}

// L2Flips bounds the flips if the scores have Euclidean distance e at most.
// The bound is attained.
func (m Margins) L2Flips(e float64) int {
	return mostPairs(m.pairs(), func(q int) bool { return m.SquaredDistance(q) <= e*e })
}

// PooledFlips bounds the flips of all groups together if the scores have
// Euclidean distance e at most over all groups.
func PooledFlips(groups []Margins, e float64) int {
	var prices []float64
	for _, m := range groups {
		for l := range m.pairs() {
			s := m.Kept[l] + m.Pruned[l]
			prices = append(prices, s*s/2)
		}
	}
	slices.Sort(prices)
	sum := 0.0
	for q, p := range prices {
		if sum += p; sum > e*e {
			return q
		}
	}
	return len(prices)
}

// mostPairs is the largest q, 0 to n, that is possible; possibility never
// returns once lost.
func mostPairs(n int, possible func(q int) bool) int {
	lo, hi := 0, n
	for lo < hi {
		if q := (lo + hi + 1) / 2; possible(q) {
			lo = q
		} else {
			hi = q - 1
		}
	}
	return lo
}

// SquaredDistance is Φ(q) = min_δ Σ_{l<=q} max(a_l-δ,0)² + max(b_l+δ,0)²: the
// least squared change of scores that makes q pairs change sides, meeting at a
// threshold moved by δ.
func (m Margins) SquaredDistance(q int) float64 {
	if q == 0 {
		return 0
	}
	a, b := m.Kept[:q], m.Pruned[:q]
	// The slope in δ rises from at most 0 to at least 0 between these ends.
	lo, hi := -b[q-1], a[q-1]
	for {
		mid := lo + (hi-lo)/2
		if mid <= lo || mid >= hi {
			return squaredShift(a, b, mid)
		}
		if slope(a, b, mid) < 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
}

func squaredShift(a, b []float64, delta float64) float64 {
	sum := 0.0
	for l := range a {
		x, y := max(a[l]-delta, 0), max(b[l]+delta, 0)
		sum += float64(x*x) + float64(y*y)
	}
	return sum
}

// slope is half the derivative of squaredShift.
func slope(a, b []float64, delta float64) float64 {
	sum := 0.0
	for l := range a {
		sum += max(b[l]+delta, 0) - max(a[l]-delta, 0)
	}
	return sum
}

// LeastIoU is the IoU of two masks that each keep k positions and differ by q
// flips; fewer flips give a higher one.
func LeastIoU(k, q int) float64 { return ratio(float64(k-q), float64(k+q)) }
