package sparsity

import (
	"fmt"
	"slices"
)

// Union keeps what either collection keeps.
func (ms *Masks) Union(o *Masks) (*Masks, error) { return ms.combine(o, (*Mask).Or) }

// Intersection keeps what both keep.
func (ms *Masks) Intersection(o *Masks) (*Masks, error) { return ms.combine(o, (*Mask).And) }

// Difference keeps what ms keeps and o prunes.
func (ms *Masks) Difference(o *Masks) (*Masks, error) { return ms.combine(o, (*Mask).AndNot) }

// combine joins masks layer by layer, in the order of ms. Both must be about
// the same layers: one that a collection leaves out would silently count as
// dense.
func (ms *Masks) combine(o *Masks, join func(a, b *Mask) *Mask) (*Masks, error) {
	for _, name := range o.names {
		if ms.Get(name) == nil {
			return nil, fmt.Errorf("sparsity: only the second masks have %q: they belong to different models, or to other layers of one", name)
		}
	}
	r := &Masks{}
	for name, a := range ms.All() {
		b := o.Get(name)
		if b == nil {
			return nil, fmt.Errorf("sparsity: only the first masks have %q: they belong to different models, or to other layers of one", name)
		}
		if !slices.Equal(a.shape, b.shape) {
			return nil, fmt.Errorf("sparsity: the masks of %q have shapes %v and %v", name, a.shape, b.shape)
		}
		r.Set(name, join(a, b))
	}
	return r, nil
}
