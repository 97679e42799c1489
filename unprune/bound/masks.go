package bound

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
)

// A Group is one pruning group: the scores of the network at hand and, where
// it is known, of the gold, before the last cut, of which both keep the Keep
// highest. Units that were cut earlier score 0.
type Group struct {
	Name string
	U    []float64
	Phi  []float64 // nil if unknown
	Keep int
}

// Agreement is what a distance of scores allows the masks to differ by, beside
// what they do.
type Agreement struct {
	Name        string  `json:"name"`
	Kept        int     `json:"kept"`
	Total       int     `json:"total"`
	Distance    float64 `json:"distance"`   // of the scores
	MostFlips   int     `json:"most_flips"` // kept weights that gold may prune, at most
	LeastIoU    float64 `json:"least_iou"`  // that follows
	ChanceIoU   float64 `json:"chance_iou"` // of random masks of this density
	Flips       int     `json:"flips"`      // measured; -1: gold unknown
	IoU         float64 `json:"iou"`        // measured; -1: gold unknown
	Vacuous     bool    `json:"vacuous"`    // the bound is no better than chance
	Explanation string  `json:"explanation,omitempty"`
}

// Masks bounds the disagreement of every group and, as the last entry, named
// "total", of all groups together, if the scores of all groups together are at
// most distance apart. A distance of NaN stands for the measured one, group by
// group.
func Masks(groups []Group, distance float64) ([]Agreement, error) {
	measured := math.IsNaN(distance)
	var out []Agreement
	var margins []evalmetrics.Margins
	total := Agreement{Name: "total", Distance: distance}
	squares, chance := 0.0, 0.0
	for _, g := range groups {
		if g.Keep < 0 || g.Keep > len(g.U) || g.Phi != nil && len(g.Phi) != len(g.U) {
			return nil, fmt.Errorf("bound: group %q keeps %d of %d scores, gold has %d", g.Name, g.Keep, len(g.U), len(g.Phi))
		}
		if measured && g.Phi == nil {
			return nil, fmt.Errorf("bound: the distance of group %q is unknown: there is no gold", g.Name)
		}
		a := Agreement{Name: g.Name, Kept: g.Keep, Total: len(g.U), Distance: distance}
		if measured {
			a.Distance = between(g.U, g.Phi)
			squares += a.Distance * a.Distance
		}
		m := evalmetrics.NewMargins(g.U, g.Keep)
		margins = append(margins, m)
		a.MostFlips = m.L2Flips(a.Distance)
		expected := float64(g.Keep) * float64(g.Keep) / float64(max(1, len(g.U)))
		chance += expected
		a.Flips = g.flips()
		a.conclude(expected)
		out = append(out, a)
		total.add(a)
	}
	if measured {
		total.Distance = math.Sqrt(squares) // and the flips are the groups' sum
	} else {
		total.MostFlips = min(total.MostFlips, evalmetrics.PooledFlips(margins, distance))
	}
	total.conclude(chance)
	return append(out, total), nil
}

// flips counts the kept units that gold prunes; -1 if gold is unknown.
func (g Group) flips() int {
	if g.Phi == nil {
		return -1
	}
	return sparsity.TopK(g.U, g.Keep).AndNot(sparsity.TopK(g.Phi, g.Keep)).Count()
}

func (a *Agreement) add(b Agreement) {
	a.Kept += b.Kept
	a.Total += b.Total
	a.MostFlips += b.MostFlips
	if b.Flips < 0 || a.Flips < 0 {
		a.Flips = -1
		return
	}
	a.Flips += b.Flips
}

// conclude derives the overlaps; expected is the intersection of random masks.
func (a *Agreement) conclude(expected float64) {
	a.LeastIoU = evalmetrics.LeastIoU(a.Kept, a.MostFlips)
	a.IoU = -1
	if a.Flips >= 0 {
		a.IoU = evalmetrics.LeastIoU(a.Kept, a.Flips)
	}
	a.ChanceIoU = 1
	if a.Kept > 0 {
		a.ChanceIoU = expected / (2*float64(a.Kept) - expected)
	}
	if a.Vacuous = a.Kept > 0 && a.Kept < a.Total && a.LeastIoU <= a.ChanceIoU; a.Vacuous {
		a.Explanation = fmt.Sprintf("vacuous: a distance of %.3g allows more flips than random masks have", a.Distance)
	}
}

func between(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += float64((a[i] - b[i]) * (a[i] - b[i]))
	}
	return math.Sqrt(sum)
}
