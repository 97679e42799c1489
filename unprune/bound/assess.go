package bound

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
)

// Kinds of distances: the measured one, and bounds of the drift.
const (
	Measured         = "measured"
	CertifiedSecant  = "certified-secant"
	SpectralEstimate = "spectral-estimate"
)

// An Assessment is the whole chain for one un-pruned network: how far it can
// be from gold, how far it is, and what either says about its mask.
type Assessment struct {
	Steps int     `json:"steps"`
	Drift float64 `json:"drift"` // ‖θ-φ‖, original to gold, measured

	// Moved is ‖u-θ‖, what unlearning changed; each bound on ‖u-φ‖ adds a
	// bound of the drift to it. Distance is ‖u-φ‖ itself.
	Moved    float64            `json:"moved"`
	Distance float64            `json:"distance"`
	Bounds   map[string]float64 `json:"bounds"` // by kind, of ‖u-φ‖
	Proxy    float64            `json:"proxy"`  // see Trace.Proxy; not a bound; -1: no curvature measured

	// Masks by what distance they assume: "measured" or a kind of bound. Layers
	// in order, the total last.
	Masks map[string][]Agreement `json:"masks"`
}

// Assess judges the weights u of a network, as they are before the last cut to
// keep weights per layer, against the trace's gold. The weights of layers are
// those of the engine that the trace was made with.
func (t *Trace) Assess(w *unprune.Weights, layers []sparsity.Layer, u unprune.Vector, keep func(layer string) int) (*Assessment, error) {
	a := &Assessment{
		Steps: len(t.Steps), Drift: t.Drift(), Moved: distance(u, t.Theta), Distance: distance(u, t.Phi),
		Bounds: map[string]float64{}, Proxy: -1, Masks: map[string][]Agreement{},
	}
	var groups []Group
	for _, part := range w.Parts() {
		for _, l := range layers {
			if l.Name == part.Name {
				groups = append(groups, Group{Name: l.Name, U: magnitudes(part.Of(u)), Phi: magnitudes(part.Of(t.Phi)), Keep: keep(l.Name)})
			}
		}
	}
	last := func(b []float64) float64 { return b[len(b)-1] }
	a.Bounds[CertifiedSecant] = a.Moved + last(t.Certified())
	if e := last(t.Estimated()); !math.IsNaN(e) {
		a.Bounds[SpectralEstimate] = a.Moved + e
		a.Proxy = t.Proxy()
	}
	var err error
	if a.Masks[Measured], err = Masks(groups, math.NaN()); err != nil {
		return nil, err
	}
	for kind, d := range a.Bounds {
		if a.Masks[kind], err = Masks(groups, d); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func magnitudes(v unprune.Vector) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = math.Abs(x)
	}
	return out
}

// Apart bounds how far the masks differ that cutting u and phi by magnitude
// gives, layer by layer to as many weights as masks keep, at the measured
// distance of u and phi.
func Apart(u, phi *unprune.Weights, masks *sparsity.Masks) ([]Agreement, error) {
	var groups []Group
	for _, part := range u.Parts() {
		if other := phi.Tensors[part.Name]; other == nil || other.Len() != part.Tensor.Len() {
			return nil, fmt.Errorf("bound: the two networks do not agree in parameter %q", part.Name)
		}
	}
	a, b := u.Vector(), u.Flatten(phi.Tensors)
	for _, part := range u.Parts() {
		m := masks.Get(part.Name)
		if m == nil {
			continue
		}
		groups = append(groups, Group{Name: part.Name, U: magnitudes(part.Of(a)), Phi: magnitudes(part.Of(b)), Keep: m.Count()})
	}
	return Masks(groups, math.NaN())
}
