package sparsity

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/onnx"
)

// Scores holds one number per unit of one layer, or of one group: higher is
// worth more.
type Scores struct {
	Layer  Layer // of a group: its first one
	Unit   Unit
	Values []float64 // one per unit

	parts parts // nil for units along an axis of the layer, and weights
}

// parts are units that no axis of a layer counts.
type parts interface {
	alive(*Masks) *Mask
	spread(units *Mask, masks *Masks)
	count() int
}

// Group is the group whose units Joint scores are about; nil for others.
func (s Scores) Group() *Group {
	g, _ := s.parts.(*Group)
	return g
}

// Unscored are scores of 0 for the units that the pruner removes from the
// layers: what TargetOf needs to count.
func Unscored(p Pruner, layers []Layer) []Scores {
	if own, ok := p.(interface{ unscored([]Layer) []Scores }); ok {
		return own.unscored(layers)
	}
	scores := make([]Scores, len(layers))
	for i, l := range layers {
		scores[i] = Scores{Layer: l, Unit: p.Unit(), Values: make([]float64, l.Units(p.Unit()))}
	}
	return scores
}

// units is how many there are.
func (s Scores) units() int {
	if s.parts != nil {
		return s.parts.count()
	}
	return s.Layer.Units(s.Unit)
}

// alive are the units that the masks keep; all of them where there is no mask.
func (s Scores) alive(masks *Masks) *Mask {
	if masks == nil {
		return FullMask(s.units())
	}
	if s.parts != nil {
		return s.parts.alive(masks)
	}
	if m := masks.Get(s.Layer.Name); m != nil {
		return s.Layer.UnitMask(s.Unit, m)
	}
	return FullMask(s.units())
}

// spread writes to masks what is left of the weights when these units are
// kept. A weight that belongs to several groups stays if all of them keep it.
func (s Scores) spread(units *Mask, masks *Masks) {
	if s.parts != nil {
		s.parts.spread(units, masks)
		return
	}
	masks.Set(s.Layer.Name, s.Layer.WeightMask(s.Unit, units))
}

// scoreUnits scores every unit of every layer with f, which is given one
// layer's weights by flat index and the unit.
func scoreUnits(in Input, u Unit, f func(l Layer, w func(int) float64, unit int) float64) ([]Scores, error) {
	scores := make([]Scores, len(in.Layers))
	for i, l := range in.Layers {
		if err := checkLayer(l, u); err != nil {
			return nil, err
		}
		w := l.at()
		values := make([]float64, l.Units(u))
		for j := range values {
			values[j] = f(l, w, j)
		}
		scores[i] = Scores{Layer: l, Unit: u, Values: values}
	}
	return scores, nil
}

// scoreProducts scores every weight with f, which is given its value and its
// counterpart in tensors.
func scoreProducts(in Input, tensors map[string]*onnx.Tensor, f func(w, x float64) float64) ([]Scores, error) {
	scores := make([]Scores, len(in.Layers))
	for i, l := range in.Layers {
		if err := checkLayer(l, Weight); err != nil {
			return nil, err
		}
		x, err := beside(l, tensors)
		if err != nil {
			return nil, err
		}
		w, values := l.at(), make([]float64, l.Weight.Len())
		for j := range values {
			values[j] = f(w(j), x(j))
		}
		scores[i] = Scores{Layer: l, Unit: Weight, Values: values}
	}
	return scores, nil
}

// beside reads the tensor that belongs to a layer's weight.
func beside(l Layer, tensors map[string]*onnx.Tensor) (func(i int) float64, error) {
	t := tensors[l.Name]
	if t == nil || t.Len() != l.Weight.Len() {
		return nil, fmt.Errorf("sparsity: no number per weight of %q to score it by: is the parameter frozen? skip the layer", l.Name)
	}
	twin := Layer{Name: l.Name, Weight: t}
	if err := twin.check(Weight); err != nil {
		return nil, err
	}
	return twin.at(), nil
}

// checkLayer reports why a layer cannot be scored.
func checkLayer(l Layer, u Unit) error {
	if err := l.check(u); err != nil {
		return err
	}
	w := l.at()
	for i := range l.Weight.Len() {
		if math.IsNaN(w(i)) || math.IsInf(w(i), 0) {
			return fmt.Errorf("sparsity: weight %q is %v at index %d: the model is broken", l.Name, w(i), i)
		}
	}
	return nil
}

// checkRows reports a layer that has no output and input axis.
func checkRows(layers []Layer) error {
	for _, l := range layers {
		if err := l.check(Filter); err != nil {
			return err
		}
	}
	return nil
}

// norm1 is Σ|w| over a unit.
func norm1(l Layer, u Unit, w func(int) float64, unit int) float64 {
	sum := 0.0
	for i := range l.Indices(u, unit) {
		sum += math.Abs(w(i))
	}
	return sum
}

// norm2 is sqrt(Σw²) over a unit.
func norm2(l Layer, u Unit, w func(int) float64, unit int) float64 {
	sum := 0.0
	for i := range l.Indices(u, unit) {
		sum += float64(w(i) * w(i))
	}
	return math.Sqrt(sum)
}

// MeanTopK is the mean of the k largest values, the scale by which scores of
// different origin become comparable (mask rescoring adds such ratios). It is
// 0 for k = 0.
func MeanTopK(values []float64, k int) float64 {
	if k == 0 {
		return 0
	}
	sum := 0.0
	for i := range TopK(values, k).Kept() {
		sum += values[i]
	}
	return sum / float64(k)
}
