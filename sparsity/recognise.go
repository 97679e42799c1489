package sparsity

import "math"

// LayerPattern is what the zeros of one layer look like.
type LayerPattern struct {
	Stat
	Unit Unit // of what was pruned; Weight for a dense layer too
}

// Pattern is what the zeros of a model look like.
type Pattern struct {
	Masks  *Masks
	Layers []LayerPattern
	Unit   Unit  // the unit of all pruned layers if they agree, else Weight
	Scope  Scope // PerLayer if all pruned layers have one share of pruned units, else Global
	Dense  bool  // nothing was pruned
}

// Recognise reads masks off the zeros of the layers' weights and says by which
// unit and within which scope they seem to have been pruned.
//
// A layer was pruned by filter if each zero lies in a filter of zeros, by
// channel likewise, otherwise by weight. Shares count as equal if rounding to
// whole units explains their difference.
func Recognise(layers []Layer) (Pattern, error) {
	masks, err := MasksOf(layers)
	if err != nil {
		return Pattern{}, err
	}
	p := Pattern{Masks: masks, Dense: masks.Count() == masks.Len()}
	for i, s := range Stats(layers, masks) {
		p.Layers = append(p.Layers, LayerPattern{Stat: s, Unit: layerUnit(layers[i], masks.Get(s.Name))})
	}
	p.Unit = commonUnit(p.Layers)
	p.Scope = commonScope(p.Layers)
	return p, nil
}

// layerUnit is the largest unit whose masks explain all zeros.
func layerUnit(l Layer, m *Mask) Unit {
	if m.Count() == m.Len() || l.check(Filter) != nil {
		return Weight
	}
	for _, u := range []Unit{Filter, Channel} {
		if l.WeightMask(u, l.UnitMask(u, m)).Equal(m) {
			return u
		}
	}
	return Weight
}

func commonUnit(layers []LayerPattern) Unit {
	unit, any := Weight, false
	for _, l := range layers {
		switch {
		case l.Kept == l.Total:
		case !any:
			unit, any = l.Unit, true
		case unit != l.Unit:
			return Weight
		}
	}
	return unit
}

// commonScope looks for one share that rounds to the pruned counts of all
// pruned layers: the intersection of the intervals (count ± 1)/units.
func commonScope(layers []LayerPattern) Scope {
	lo, hi := 0.0, 1.0
	for _, l := range layers {
		kept, n := l.units()
		if kept == n {
			continue
		}
		pruned := float64(n - kept)
		lo = math.Max(lo, (pruned-1)/float64(n))
		hi = math.Min(hi, (pruned+1)/float64(n))
	}
	if lo <= hi {
		return PerLayer
	}
	return Global
}

func (l LayerPattern) units() (kept, n int) {
	switch l.Unit {
	case Filter:
		return l.Filters, l.TotalFilters
	case Channel:
		return l.Channels, l.TotalChannels
	}
	return l.Kept, l.Total
}
