package evalmetrics

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/sparsity"
)

// Overlap counts how two sets A and B of positions agree: kept weights, or
// kept filters, of one layer or of several added up.
type Overlap struct {
	Intersection int // |A∩B|
	A, B         int // |A|, |B|
	N            int // positions

	// expected is the intersection if both masks were drawn at random, each
	// layer with the counts it has: Σ |A||B|/N.
	expected float64
}

// NewOverlap compares two masks of equal size.
func NewOverlap(a, b *sparsity.Mask) Overlap {
	o := Overlap{Intersection: a.And(b).Count(), A: a.Count(), B: b.Count(), N: a.Len()}
	if o.N > 0 {
		o.expected = float64(o.A) * float64(o.B) / float64(o.N)
	}
	return o
}

// Add returns the counts of both, so that layers are summed before dividing
// (SparseModels, unlearn/mask_utils.py).
func (o Overlap) Add(p Overlap) Overlap {
	return Overlap{
		Intersection: o.Intersection + p.Intersection,
		A:            o.A + p.A,
		B:            o.B + p.B,
		N:            o.N + p.N,
		expected:     o.expected + p.expected,
	}
}

// Pruned compares the complements of A and B: what was pruned instead of what
// was kept.
func (o Overlap) Pruned() Overlap {
	return Overlap{
		Intersection: o.N - o.Union(),
		A:            o.N - o.A,
		B:            o.N - o.B,
		N:            o.N,
		expected:     float64(o.N-o.A-o.B) + o.expected,
	}
}

// Union is |A∪B|.
func (o Overlap) Union() int { return o.A + o.B - o.Intersection }

// IoU is |A∩B|/|A∪B|, 0 to 1, higher is closer; 1 if both sets are empty.
func (o Overlap) IoU() float64 { return ratio(float64(o.Intersection), float64(o.Union())) }

// IoM is |A∩B|/min(|A|,|B|), 0 to 1, higher is closer; 1 if the smaller set is
// empty. For sets of equal size it ranks as IoU does.
func (o Overlap) IoM() float64 { return ratio(float64(o.Intersection), float64(min(o.A, o.B))) }

// ChanceIoU is the IoU to expect of two independent random masks with these
// counts per layer: s/(2-s) if all densities are s.
func (o Overlap) ChanceIoU() float64 {
	return ratio(o.expected, float64(o.A+o.B)-o.expected)
}

// ChanceIoM is the IoM to expect likewise: s if all densities are s.
func (o Overlap) ChanceIoM() float64 { return ratio(o.expected, float64(min(o.A, o.B))) }

// Normalized is (IoU-chance)/(ceiling-chance): 0 at chance level, 1 at the
// agreement of two gold models, whose IoU is the ceiling. It is NaN if the
// ceiling is no better than chance.
func (o Overlap) Normalized(ceiling float64) float64 {
	return share(o.IoU(), o.ChanceIoU(), ceiling)
}

// Recovered is the share of the way from the original mask to the ceiling that
// a new mask has gone: (IoU-start)/(ceiling-start), where all three are IoU to
// gold. 1 is all of it, negative values mean a step back; NaN if there was no
// way to go.
func Recovered(iou, start, ceiling float64) float64 { return share(iou, start, ceiling) }

func ratio(part, whole float64) float64 {
	if whole == 0 {
		return 1
	}
	return part / whole
}

// share is where x lies between zero and one of a scale; NaN if the scale has
// no length.
func share(x, zero, one float64) float64 {
	if !(one > zero) {
		return math.NaN()
	}
	return (x - zero) / (one - zero)
}

// LayerOverlap is the overlap of one layer.
type LayerOverlap struct {
	Name string
	Overlap
}

// Overlaps compares the masks of two models layer by layer, in the order of a.
// Both must cover the same layers.
func Overlaps(a, b *sparsity.Masks) ([]LayerOverlap, error) {
	if len(a.Names()) != len(b.Names()) {
		return nil, fmt.Errorf("evalmetrics: masks of %d and of %d layers: the models differ", len(a.Names()), len(b.Names()))
	}
	var overlaps []LayerOverlap
	for name, m := range a.All() {
		o := b.Get(name)
		if o == nil {
			return nil, fmt.Errorf("evalmetrics: the second model has no mask for %q", name)
		}
		if m.Len() != o.Len() {
			return nil, fmt.Errorf("evalmetrics: masks of %q have shapes %v and %v", name, m.Shape(), o.Shape())
		}
		overlaps = append(overlaps, LayerOverlap{name, NewOverlap(m, o)})
	}
	return overlaps, nil
}

// UnitOverlaps compares masks by kept filters or channels: one is kept if any
// of its weights is.
func UnitOverlaps(layers []sparsity.Layer, unit sparsity.Unit, a, b *sparsity.Masks) ([]LayerOverlap, error) {
	reduce := func(masks *sparsity.Masks) (*sparsity.Masks, error) {
		units := &sparsity.Masks{}
		for _, l := range layers {
			m := masks.Get(l.Name)
			if m == nil || m.Len() != l.Weight.Len() {
				return nil, fmt.Errorf("evalmetrics: no mask of shape %v for %q", l.Weight.Shape, l.Name)
			}
			units.Set(l.Name, l.UnitMask(unit, m))
		}
		return units, nil
	}
	ua, err := reduce(a)
	if err != nil {
		return nil, err
	}
	ub, err := reduce(b)
	if err != nil {
		return nil, err
	}
	return Overlaps(ua, ub)
}

// TotalOverlap adds the layers up.
func TotalOverlap(layers []LayerOverlap) Overlap {
	var total Overlap
	for _, l := range layers {
		total = total.Add(l.Overlap)
	}
	return total
}

// Swap tells whether changing a mask brought it closer to gold: it did exactly
// if AddedInGold exceeds DroppedInGold (for equal numbers added and dropped).
type Swap struct {
	Added, Dropped             int
	AddedInGold, DroppedInGold float64 // shares of the added, of the dropped weights that gold keeps; NaN if none
}

// NewSwap compares the masks before and after with gold's, over all layers of
// before.
func NewSwap(before, after, gold *sparsity.Masks) (Swap, error) {
	var s Swap
	addedIn, droppedIn := 0, 0
	for name, b := range before.All() {
		a, g := after.Get(name), gold.Get(name)
		if a == nil || g == nil || a.Len() != b.Len() || g.Len() != b.Len() {
			return Swap{}, fmt.Errorf("evalmetrics: three masks of shape %v are needed for %q", b.Shape(), name)
		}
		added, dropped := a.AndNot(b), b.AndNot(a)
		s.Added += added.Count()
		s.Dropped += dropped.Count()
		addedIn += added.And(g).Count()
		droppedIn += dropped.And(g).Count()
	}
	s.AddedInGold = float64(addedIn) / float64(s.Added)
	s.DroppedInGold = float64(droppedIn) / float64(s.Dropped)
	return s, nil
}
