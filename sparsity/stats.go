package sparsity

// Stat is how sparse one layer is.
type Stat struct {
	Name          string
	Kept, Total   int // weights
	Filters       int // output units with a weight that is kept
	TotalFilters  int
	Channels      int // input units with a weight that is kept
	TotalChannels int
}

// Sparsity is the share of pruned weights, 0 to 1.
func (s Stat) Sparsity() float64 { return 1 - density(s.Kept, s.Total) }

// Stats describes the masks layer by layer; a layer without a mask is dense.
func Stats(layers []Layer, masks *Masks) []Stat {
	stats := make([]Stat, len(layers))
	for i, l := range layers {
		m := masks.Get(l.Name)
		if m == nil {
			m = FullMask(l.Weight.Shape...)
		}
		stats[i] = Stat{Name: l.Name, Kept: m.Count(), Total: m.Len()}
		if l.check(Filter) == nil {
			f, c := l.UnitMask(Filter, m), l.UnitMask(Channel, m)
			stats[i].Filters, stats[i].TotalFilters = f.Count(), f.Len()
			stats[i].Channels, stats[i].TotalChannels = c.Count(), c.Len()
		}
	}
	return stats
}

// Total adds the layers up. Its name is empty.
func Total(stats []Stat) Stat {
	var t Stat
	for _, s := range stats {
		t.Kept += s.Kept
		t.Total += s.Total
		t.Filters += s.Filters
		t.TotalFilters += s.TotalFilters
		t.Channels += s.Channels
		t.TotalChannels += s.TotalChannels
	}
	return t
}
