package unprune

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

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
func grown(masks *sparsity.Masks, scores []sparsity.Scores, share float64) *sparsity.Masks {
	more := make([]*sparsity.Mask, len(scores))
	for i, alive := range sparsity.Alive(scores, masks) {
		pruned := alive.Len() - alive.Count()
		if pruned == 0 {
			continue
		}
		n := max(1, int(math.Floor(share*float64(pruned)+0.5)))
		values := slices.Clone(scores[i].Values)
		for j := range alive.Kept() {
			values[j] = math.Inf(-1)
		}
		more[i] = sparsity.TopK(values, min(n, pruned))
	}
	return sparsity.Grow(scores, masks, more)
}

// unitScores scores the units of layers by the magnitude of other tensors in
// their place: |t_i| for weights, the L2 norm of the slice for larger units.
func unitScores(p sparsity.Pruner, layers []sparsity.Layer, tensors map[string]*onnx.Tensor) ([]sparsity.Scores, error) {
	stand := make([]sparsity.Layer, len(layers))
	for i, l := range layers {
		t := tensors[l.Name]
		if t == nil || t.Len() != l.Weight.Len() {
			return nil, fmt.Errorf("unprune: no values to score %q by", l.Name)
		}
		stand[i] = l
		stand[i].Weight = t
	}
	switch p.Unit() {
	case sparsity.Weight:
		p = sparsity.Magnitude{}
	case sparsity.Filter:
		p = sparsity.FilterL2
	case sparsity.Channel:
		p = sparsity.ChannelL1
	}
	return p.Score(sparsity.Input{Layers: stand, Parameters: tensors})
}

// randomScores draws one uniform number per unit.
func randomScores(p sparsity.Pruner, layers []sparsity.Layer, r *rand.Rand) []sparsity.Scores {
	scores := sparsity.Unscored(p, layers)
	for _, s := range scores {
		for j := range s.Values {
			s.Values[j] = r.Float64()
		}
	}
	return scores
}

// follow gives what biases, normalisations and their statistics have of units
// that are in now but not in before their starting value: that of other
// weights, or, where these are nil or lack the parameter, the mean over the
// units that were in.
func follow(p sparsity.Pruner, e Engine, before, now *sparsity.Masks, from *Weights) error {
	groups, ok := p.(sparsity.GroupL2)
	if !ok {
		return nil
	}
	w := e.Weights()
	for _, s := range sparsity.Unscored(groups, e.Layers()) {
		old, alive := sparsity.Alive([]sparsity.Scores{s}, before)[0], sparsity.Alive([]sparsity.Scores{s}, now)[0]
		for _, m := range s.Group().Followers {
			t := w.Tensors[m.Param]
			if t == nil {
				continue
			}
			var src *onnx.Tensor
			if from != nil {
				src = from.Tensors[m.Param]
			}
			mean := meanOver(m, old, t)
			for u := range alive.AndNot(old).Kept() {
				for i := range m.Indices(u) {
					if src != nil {
						set(t, i, at(src, i))
					} else {
						set(t, i, mean)
					}
				}
			}
		}
	}
	return nil
}

// meanOver is the mean of a parameter over some units.
func meanOver(m sparsity.Member, units *sparsity.Mask, t *onnx.Tensor) float64 {
	sum, n := 0.0, 0
	for u := range units.Kept() {
		for i := range m.Indices(u) {
			sum += at(t, i)
			n++
		}
	}
	return sum / float64(max(1, n))
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
