package sparsity

import (
	"fmt"
	"iter"

	"github.com/unprune/unprune/onnx"
)

// Unit is what a pruner removes as a whole.
type Unit int

// The units.
const (
	Weight  Unit = iota // a single weight
	Filter              // all weights of one output unit: a Conv filter, a row of a linear layer
	Channel             // all weights that read one input unit
	Block               // a rectangle of outputs and inputs
	Joint               // a unit of a Group: filters, and all that goes with them
)

// String names the unit for messages.
func (u Unit) String() string {
	switch u {
	case Weight:
		return "weight"
	case Filter:
		return "filter"
	case Channel:
		return "channel"
	case Block:
		return "block"
	case Joint:
		return "unit"
	}
	return fmt.Sprintf("Unit(%d)", int(u))
}

// Layer is a weight tensor seen as a map from input to output units, whatever
// its layout: Gemm with transB=1 and Conv store [out, in, ...] (OutAxis 0,
// InAxis 1), MatMul stores [in, out] (OutAxis 1, InAxis 0). With groups, the
// input axis of Conv counts the inputs within a group.
type Layer struct {
	Name    string // the parameter's name
	Weight  *onnx.Tensor
	OutAxis int
	InAxis  int
}

// Convolutions returns the layers whose weights have kernel axes; those are
// the ones that filter pruners in the literature prune.
func Convolutions(layers []Layer) []Layer {
	var convs []Layer
	for _, l := range layers {
		if len(l.Weight.Shape) > 2 {
			convs = append(convs, l)
		}
	}
	return convs
}

// Units is the number of units of a kind.
func (l Layer) Units(u Unit) int {
	if u == Weight {
		return l.Weight.Len()
	}
	return l.Weight.Shape[l.axis(u)]
}

// Indices yields the flat weight indices of unit i in rising order.
func (l Layer) Indices(u Unit, i int) iter.Seq[int] {
	if u == Weight {
		return func(yield func(int) bool) { yield(i) }
	}
	axis := l.axis(u)
	n := l.Weight.Shape[axis]
	outer := onnx.Size(l.Weight.Shape[:axis])
	inner := onnx.Size(l.Weight.Shape[axis+1:])
	return func(yield func(int) bool) {
		for o := range outer {
			start := (o*n + i) * inner
			for j := range inner {
				if !yield(start + j) {
					return
				}
			}
		}
	}
}

func (l Layer) axis(u Unit) int {
	if u == Channel {
		return l.InAxis
	}
	return l.OutAxis
}

// WeightMask turns a mask over units into a mask over weights: a weight is
// kept if its unit is.
func (l Layer) WeightMask(u Unit, units *Mask) *Mask {
	m := NewMask(l.Weight.Shape...)
	if u == Weight {
		copy(m.bits, units.bits)
		return m
	}
	for i := range units.Kept() {
		for j := range l.Indices(u, i) {
			m.Set(j, true)
		}
	}
	return m
}

// UnitMask turns a mask over weights into a mask over units: a unit is kept if
// any of its weights is. Its shape is [units].
func (l Layer) UnitMask(u Unit, weights *Mask) *Mask {
	m := NewMask(l.Units(u))
	if u == Weight {
		copy(m.bits, weights.bits)
		return m
	}
	for i := range m.Len() {
		for j := range l.Indices(u, i) {
			if weights.Get(j) {
				m.Set(i, true)
				break
			}
		}
	}
	return m
}

// check reports a layer that cannot be scored or pruned by unit.
func (l Layer) check(u Unit) error {
	rank := len(l.Weight.Shape)
	if u != Weight && (l.OutAxis < 0 || l.InAxis < 0 || l.OutAxis >= rank || l.InAxis >= rank || l.OutAxis == l.InAxis) {
		return fmt.Errorf("sparsity: weight %q of shape %v has no %s axis: prune it by weight or skip it", l.Name, l.Weight.Shape, u)
	}
	switch l.Weight.Data.(type) {
	case []float32, []float64:
		return nil
	}
	return fmt.Errorf("sparsity: weight %q is of type %v: scoring needs float32 or float64", l.Name, l.Weight.DType)
}

// at returns weight i as a float64; check has passed.
func (l Layer) at() func(i int) float64 {
	switch d := l.Weight.Data.(type) {
	case []float32:
		return func(i int) float64 { return float64(d[i]) }
	case []float64:
		return func(i int) float64 { return d[i] }
	}
	panic("sparsity: unchecked layer " + l.Name)
}
