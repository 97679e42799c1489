package sparsity

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Scores holds one number per unit of one layer: higher is worth more.
type Scores struct {
	Layer  Layer
	Unit   Unit
	Values []float64 // Layer.Units(Unit) of them
}

// Needs is a set of what a pruner must be given besides the weights.
type Needs uint

// What a pruner may need.
const (
	NeedsRandom Needs = 1 << iota // Input.Rand
)

// Input is what pruners score.
type Input struct {
	Layers []Layer
	Rand   *rand.Rand // for pruners with NeedsRandom: a stream of their own
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
