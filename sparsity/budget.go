package sparsity

import (
	"fmt"
	"math"
	"sort"
)

// A Budget says how a share of all units is spread over the layers.
type Budget int

// The budgets.
const (
	// Uniform gives every layer the same density.
	Uniform Budget = iota
	// ERK gives a layer a density in proportion to the sum of its weight's
	// extents over their product, at most 1: small layers stay dense
	// (Erdős-Rényi-kernel; Evci et al. 2020, appendix).
	ERK
)

// BudgetByName returns the budget "uniform" or "erk".
func BudgetByName(name string) (Budget, error) {
	switch name {
	case "uniform":
		return Uniform, nil
	case "erk":
		return ERK, nil
	}
	return 0, fmt.Errorf("sparsity: no layer budget is named %q; there are: uniform, erk (and the pruner's own)", name)
}

// Densities gives each layer a density, so that all together keep a share
// density of their units.
func (b Budget) Densities(layers []Layer, u Unit, density float64) []float64 {
	out, raw := make([]float64, len(layers)), make([]float64, len(layers))
	for i, l := range layers {
		raw[i] = 1
		if b == ERK {
			raw[i] = extents(l)
		}
	}
	for { // layers that would be more than dense are dense; the others share the rest
		want, free := 0.0, 0.0
		for i, l := range layers {
			n := float64(l.Units(u))
			if want += density * n; out[i] == 1 {
				want -= n
			} else {
				free += raw[i] * n
			}
		}
		again := false
		for i := range layers {
			if out[i] == 1 {
				continue
			}
			if d := want / free * raw[i]; d >= 1 && density < 1 {
				out[i], again = 1, true
			}
		}
		if again {
			continue
		}
		for i := range layers {
			if out[i] != 1 {
				out[i] = math.Min(1, want/free*raw[i])
			}
		}
		return out
	}
}

// extents is the sum of a weight's extents over their product.
func extents(l Layer) float64 {
	sum, product := 0.0, 1.0
	for _, d := range l.Weight.Shape {
		sum += float64(d)
		product *= float64(d)
	}
	return sum / product
}

// Budgeted is a pruner whose units compete within their layer, each layer
// keeping what the budget gives it.
type Budgeted struct {
	Pruner
	Budget Budget
}

// Scope is the layer.
func (Budgeted) Scope() Scope { return PerLayer }

// Plan is that of the pruner.
func (p Budgeted) Plan() Plan { return PlanOf(p.Pruner) }

// Prune removes round-half-even(share·alive) units of all layers together.
func (p Budgeted) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	layers := make([]Layer, len(scores))
	kept, total := 0, 0
	target := TargetOf(scores, PerLayer, alive)
	for i, s := range scores {
		layers[i] = s.Layer
		kept += target.Keep[i]
		total += len(s.Values)
	}
	if total == 0 {
		return &Masks{}, nil
	}
	want := kept - RoundHalfEven(kept, share)
	exact := p.Budget.Densities(layers, p.Unit(), float64(want)/float64(total))
	for i, s := range scores {
		exact[i] *= float64(len(s.Values))
	}
	target.Keep = apportion(exact, target.Keep, want)
	return CutWithin(scores, alive, target)
}

// apportion rounds the wanted numbers down, at most to what there is, and
// gives what is then missing from the total to the largest remainders.
func apportion(exact []float64, most []int, total int) []int {
	keep, order := make([]int, len(exact)), make([]int, len(exact))
	for i, x := range exact {
		keep[i], order[i] = min(most[i], int(x)), i
		total -= keep[i]
	}
	sort.SliceStable(order, func(a, b int) bool {
		i, j := order[a], order[b]
		return exact[i]-float64(keep[i]) > exact[j]-float64(keep[j])
	})
	for total > 0 {
		given := 0
		for _, i := range order {
			if total > 0 && keep[i] < most[i] {
				keep[i]++
				total--
				given++
			}
		}
		if given == 0 {
			break
		}
	}
	return keep
}
