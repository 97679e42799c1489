package sparsity

import (
	"fmt"
	"iter"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// Masks holds one mask per parameter name, in the order in which they were
// added. The zero value is an empty collection.
type Masks struct {
	names  []string
	byName map[string]*Mask
}

// Set adds the mask of a parameter or replaces it in its place.
func (ms *Masks) Set(name string, m *Mask) {
	if ms.byName == nil {
		ms.byName = map[string]*Mask{}
	}
	if ms.byName[name] == nil {
		ms.names = append(ms.names, name)
	}
	ms.byName[name] = m
}

// Get returns the mask of a parameter, nil if it has none (it is dense).
func (ms *Masks) Get(name string) *Mask { return ms.byName[name] }

// Names are the parameters in order.
func (ms *Masks) Names() []string { return slices.Clone(ms.names) }

// All yields the masks in order.
func (ms *Masks) All() iter.Seq2[string, *Mask] {
	return func(yield func(string, *Mask) bool) {
		for _, name := range ms.names {
			if !yield(name, ms.byName[name]) {
				return
			}
		}
	}
}

// Count is the number of kept positions of all masks.
func (ms *Masks) Count() int {
	n := 0
	for _, m := range ms.All() {
		n += m.Count()
	}
	return n
}

// Len is the number of positions of all masks.
func (ms *Masks) Len() int {
	n := 0
	for _, m := range ms.All() {
		n += m.Len()
	}
	return n
}

// Density is the share of kept positions over all masks.
func (ms *Masks) Density() float64 { return density(ms.Count(), ms.Len()) }

// Clone returns a deep copy.
func (ms *Masks) Clone() *Masks {
	c := &Masks{}
	for name, m := range ms.All() {
		c.Set(name, m.Clone())
	}
	return c
}

// Equal reports whether both hold equal masks for the same parameters, in any
// order.
func (ms *Masks) Equal(o *Masks) bool {
	if len(ms.names) != len(o.names) {
		return false
	}
	for name, m := range ms.All() {
		if other := o.Get(name); other == nil || !m.Equal(other) {
			return false
		}
	}
	return true
}

// Apply writes 0 to every pruned position of the layers' weights. Every mask
// must find its layer; layers without a mask are left alone.
func (ms *Masks) Apply(layers []Layer) error {
	weights := map[string]*onnx.Tensor{}
	for _, l := range layers {
		weights[l.Name] = l.Weight
	}
	for name, m := range ms.All() {
		w := weights[name]
		if w == nil {
			return fmt.Errorf("sparsity: mask for %q: the model has no such weight", name)
		}
		if err := m.Apply(w); err != nil {
			return err
		}
	}
	return nil
}

// MasksOf reads masks off the zeros of the layers' weights.
func MasksOf(layers []Layer) (*Masks, error) {
	ms := &Masks{}
	for _, l := range layers {
		m, err := FromValues(l.Weight)
		if err != nil {
			return nil, err
		}
		ms.Set(l.Name, m)
	}
	return ms, nil
}

// FullMasks keeps every weight of the layers.
func FullMasks(layers []Layer) *Masks {
	ms := &Masks{}
	for _, l := range layers {
		ms.Set(l.Name, FullMask(l.Weight.Shape...))
	}
	return ms
}
