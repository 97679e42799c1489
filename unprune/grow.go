package unprune

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// GrowBy says which pruned units come back.
type GrowBy string

// The growth rules: by |theta_0| (the paper's), by |gradient on the retained
// data| (dynamic sparse training; for unknown theta_0), at random (control).
const (
	GrowTheta0   GrowBy = "theta0"
	GrowGradient GrowBy = "gradient"
	GrowRandom   GrowBy = "random"
)

// InitAs says what value a regrown weight starts from.
type InitAs string

// The starting values: theta_0's, zero, or drawn as the layer's initialisation
// draws them, uniform in ±1/sqrt(fan in).
const (
	InitTheta0 InitAs = "theta0"
	InitZero   InitAs = "zero"
	InitRandom InitAs = "random"
)

// grown returns masks with floor(share·pruned + 1/2) more units per layer (at
// least one where any is pruned): those with the largest score. Equal scores:
// the lower index. Layers without a mask are dense and stay so.
func grown(masks *sparsity.Masks, scores []sparsity.Scores, share float64) (*sparsity.Masks, error) {
	out := masks.Clone()
	for _, s := range scores {
		m := masks.Get(s.Layer.Name)
		if m == nil {
			continue
		}
		alive := s.Layer.UnitMask(s.Unit, m)
		pruned := alive.Len() - alive.Count()
		if pruned == 0 {
			continue
		}
		n := max(1, int(math.Floor(share*float64(pruned)+0.5)))
		values := append([]float64(nil), s.Values...)
		for i := range alive.Kept() {
			values[i] = math.Inf(-1)
		}
		more := sparsity.TopK(values, min(n, pruned))
		out.Set(s.Layer.Name, m.Or(s.Layer.WeightMask(s.Unit, more)))
	}
	return out, nil
}

// unitScores scores the units of layers by the magnitude of other tensors in
// their place: |t_i| for weights, the L2 norm of the slice for larger units.
func unitScores(layers []sparsity.Layer, unit sparsity.Unit, tensors map[string]*onnx.Tensor) ([]sparsity.Scores, error) {
	stand := make([]sparsity.Layer, len(layers))
	for i, l := range layers {
		t := tensors[l.Name]
		if t == nil || t.Len() != l.Weight.Len() {
			return nil, fmt.Errorf("unprune: no values to score %q by", l.Name)
		}
		stand[i] = l
		stand[i].Weight = t
	}
	pruner := sparsity.Pruner(sparsity.Magnitude{})
	switch unit {
	case sparsity.Filter:
		pruner = sparsity.FilterL2
	case sparsity.Channel:
		pruner = sparsity.ChannelL1
	}
	scores, err := pruner.Score(sparsity.Input{Layers: stand})
	if err != nil {
		return nil, err
	}
	for i := range scores {
		scores[i].Layer = layers[i]
	}
	return scores, nil
}

// randomScores draws one uniform number per unit.
func randomScores(layers []sparsity.Layer, unit sparsity.Unit, r *rand.Rand) []sparsity.Scores {
	scores := make([]sparsity.Scores, len(layers))
	for i, l := range layers {
		values := make([]float64, l.Units(unit))
		for j := range values {
			values[j] = r.Float64()
		}
		scores[i] = sparsity.Scores{Layer: l, Unit: unit, Values: values}
	}
	return scores
}

// initialise gives the weights that are in now but not in before their
// starting value.
func initialise(layers []sparsity.Layer, before, now *sparsity.Masks, as InitAs, theta0 *Weights, r *rand.Rand) error {
	for _, l := range layers {
		b, n := before.Get(l.Name), now.Get(l.Name)
		if b == nil || n == nil {
			continue
		}
		var src *onnx.Tensor
		if as == InitTheta0 {
			if src = theta0.Tensors[l.Name]; src == nil {
				return fmt.Errorf("unprune: the initial weights have no %q", l.Name)
			}
		}
		bound := 1 / math.Sqrt(float64(fanIn(l)))
		for i := range n.AndNot(b).Kept() {
			switch as {
			case InitTheta0:
				set(l.Weight, i, at(src, i))
			case InitZero:
				set(l.Weight, i, 0)
			case InitRandom:
				set(l.Weight, i, bound*(2*r.Float64()-1))
			default:
				return fmt.Errorf("unprune: initialisation %q: want theta0, zero or random", as)
			}
		}
	}
	return nil
}

// fanIn is the number of weights that feed one output unit.
func fanIn(l sparsity.Layer) int {
	return max(1, l.Weight.Len()/max(1, l.Units(sparsity.Filter)))
}
