package sparsity

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/onnx"
)

// Coupled removes units of groups: whole channels, hidden units or heads with
// all that goes with them. A unit scores by the L2 norm of all weights that
// make it, over the group's layers: what magnitude pruning of groups does in
// Torch-Pruning (Fang et al. 2023), with the sum over layers for the mean.
type Coupled struct {
	// Mixed includes groups whose units a normalisation computes with
	// together. Their zeros cannot be compacted without changing the outputs.
	Mixed bool
}

// CoupledName is what the command line calls it. It is no Pruner: it decides
// for groups, not for the layers that have members of them.
const CoupledName = "group-l2"

// Prune keeps, of each group with a layer among the given ones, all but
// round-half-even(share·units), one unit at least, and returns the masks of
// every parameter of the groups: of layers, biases and normalisations.
// parameters are the groups' parameters by name.
func (p Coupled) Prune(groups []Group, layers []Layer, parameters map[string]*onnx.Tensor, share float64) (*Masks, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	masks := &Masks{}
	for _, g := range groups {
		if g.Mixed && !p.Mixed {
			continue
		}
		scores, err := g.score(layers)
		if err != nil {
			return nil, err
		}
		if scores == nil {
			continue
		}
		keep := max(1, g.Units-RoundHalfEven(g.Units, share))
		if err := g.mask(TopK(scores, keep), parameters, masks); err != nil {
			return nil, err
		}
	}
	return masks, nil
}

// score is the norm of the weights that make each unit; nil if no layer does.
func (g Group) score(layers []Layer) ([]float64, error) {
	squares, any := make([]float64, g.Units), false
	for _, l := range layers {
		for _, m := range g.Members {
			if m.Param != l.Name || m.Axis != l.OutAxis {
				continue
			}
			if err := checkLayer(l, Filter); err != nil {
				return nil, err
			}
			any = true
			w := l.at()
			for u, positions := range m.At {
				for _, f := range positions {
					for i := range l.Indices(Filter, f) {
						squares[u] += float64(w(i) * w(i))
					}
				}
			}
		}
	}
	if !any {
		return nil, nil
	}
	for u, s := range squares {
		squares[u] = math.Sqrt(s)
	}
	return squares, nil
}

// mask prunes, in every member, the positions of units that are not kept.
func (g Group) mask(units *Mask, parameters map[string]*onnx.Tensor, masks *Masks) error {
	for _, m := range g.Members {
		t := parameters[m.Param]
		if t == nil {
			return fmt.Errorf("sparsity: group member %q is no parameter of the model", m.Param)
		}
		mask := masks.Get(m.Param)
		if mask == nil {
			mask = FullMask(t.Shape...)
			masks.Set(m.Param, mask)
		}
		along := Layer{Name: m.Param, Weight: t, OutAxis: m.Axis}
		for u, positions := range m.At {
			if units.Get(u) {
				continue
			}
			for _, p := range positions {
				for i := range along.Indices(Filter, p) {
					mask.Set(i, false)
				}
			}
		}
	}
	return nil
}
