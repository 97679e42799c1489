package sparsity

// SliceNorm scores filters or input channels by the norm of their weights (Li
// et al. 2017 for filters and L1; Unlearn-Sparse, pruner/utils.py for both
// axes).
type SliceNorm struct {
	name string
	unit Unit
	norm func(l Layer, u Unit, w func(int) float64, unit int) float64
}

// The slice norms.
var (
	FilterL1  = SliceNorm{"filter-l1", Filter, norm1}
	FilterL2  = SliceNorm{"filter-l2", Filter, norm2}
	ChannelL1 = SliceNorm{"channel-l1", Channel, norm1}
)

// Name is "filter-l1", "filter-l2" or "channel-l1".
func (p SliceNorm) Name() string { return p.name }

// Unit is the filter or the channel.
func (p SliceNorm) Unit() Unit { return p.unit }

// Scope is the layer.
func (SliceNorm) Scope() Scope { return PerLayer }

// Needs nothing besides the weights.
func (SliceNorm) Needs() Needs { return 0 }

// Score is the norm of each slice.
func (p SliceNorm) Score(in Input) ([]Scores, error) {
	return scoreUnits(in, p.unit, func(l Layer, w func(int) float64, i int) float64 { return p.norm(l, p.unit, w, i) })
}

// Prune removes round-half-even(share·alive) slices of each layer.
func (p SliceNorm) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}
