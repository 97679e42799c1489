package sparsity

import "iter"

// A group is the units that compete with each other: all of the layers first
// to last, or, where units is set, these units of layer first. Their order is
// that of the tie rule.
type group struct {
	first, last int
	units       []int
}

// groupsOf yields the groups of a scope. A group's units are valid until the
// next one; layers have passed checkScores where the scope divides them.
func groupsOf(scores []Scores, scope Scope) iter.Seq[group] {
	return func(yield func(group) bool) {
		if scope == Global && len(scores) > 0 {
			yield(group{first: 0, last: len(scores) - 1})
			return
		}
		for i, s := range scores {
			if scope == PerLayer {
				if !yield(group{first: i, last: i}) {
					return
				}
				continue
			}
			for units := range s.Layer.runs(scope) {
				if !yield(group{first: i, last: i, units: units}) {
					return
				}
			}
		}
	}
}

// runs yields the weight indices of each group within the layer: those of an
// output unit, or of m consecutive inputs of it at one kernel position. The
// slice is reused.
func (l Layer) runs(scope Scope) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		var row []int
		for o := range l.Units(Filter) {
			row = row[:0]
			for i := range l.Indices(Filter, o) {
				row = append(row, i)
			}
			if scope == PerRow {
				if !yield(row) {
					return
				}
				continue
			}
			if !l.runsOfInputs(row, int(scope), yield) {
				return
			}
		}
	}
}

// runsOfInputs cuts the weights of one output unit, in memory order, into runs
// of m inputs; it reports whether to go on.
func (l Layer) runsOfInputs(row []int, m int, yield func([]int) bool) bool {
	inputs := l.Weight.Shape[l.InAxis]
	inner := 1 // distance within the row between neighbouring inputs
	for a, d := range l.Weight.Shape[l.InAxis+1:] {
		if l.InAxis+1+a != l.OutAxis {
			inner *= d
		}
	}
	run := make([]int, 0, m)
	for start := 0; start < len(row); start += inputs * inner {
		for k := range inner {
			for i := 0; i < inputs; i += m {
				run = run[:0]
				for j := i; j < min(i+m, inputs); j++ {
					run = append(run, row[start+j*inner+k])
				}
				if !yield(run) {
					return false
				}
			}
		}
	}
	return true
}

// count is the number of the group's units that are alive.
func (g group) count(alive []*Mask) int {
	n := 0
	if g.units == nil {
		for _, m := range alive[g.first : g.last+1] {
			n += m.Count()
		}
		return n
	}
	for _, u := range g.units {
		if alive[g.first].Get(u) {
			n++
		}
	}
	return n
}

// values puts the scores of the group in one list.
func (g group) values(scores []Scores) []float64 {
	if g.units == nil && g.first == g.last {
		return scores[g.first].Values
	}
	var values []float64
	if g.units == nil {
		for _, s := range scores[g.first : g.last+1] {
			values = append(values, s.Values...)
		}
		return values
	}
	for _, u := range g.units {
		values = append(values, scores[g.first].Values[u])
	}
	return values
}

// set hands the kept ones of the group's list back to the layers' units.
func (g group) set(kept *Mask, units []*Mask) {
	if g.units != nil {
		for i := range kept.Kept() {
			units[g.first].Set(g.units[i], true)
		}
		return
	}
	layer, start := g.first, 0
	for i := range kept.Kept() {
		for i >= start+units[layer].Len() {
			start += units[layer].Len()
			layer++
		}
		units[layer].Set(i-start, true)
	}
}
