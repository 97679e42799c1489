package sparsity

import (
	"fmt"
	"math"
)

// BlockL2 removes rectangles of Out outputs by In inputs of a layer, kernels
// included, by their L2 norm. Blocks of 1 by 1 are the kernels of a
// convolution. At the ends of the axes blocks are smaller.
type BlockL2 struct {
	Out, In int
	Global  bool // blocks compete across layers
}

// Name is "block-4x1", sizes as they are; "global-block-4x1".
func (p BlockL2) Name() string {
	name := fmt.Sprintf("block-%dx%d", p.Out, p.In)
	if p.Global {
		return "global-" + name
	}
	return name
}

// blockByName reads what Name writes; ok is false for other names.
func blockByName(name string) (p BlockL2, ok bool) {
	for _, global := range []bool{false, true} {
		p = BlockL2{Global: global}
		format := map[bool]string{false: "block-%dx%d", true: "global-block-%dx%d"}[global]
		if n, _ := fmt.Sscanf(name, format, &p.Out, &p.In); n == 2 && p.Out > 0 && p.In > 0 && p.Name() == name {
			return p, true
		}
	}
	return p, false
}

// Unit is the block.
func (BlockL2) Unit() Unit { return Block }

// Scope is the layer, or all layers.
func (p BlockL2) Scope() Scope {
	if p.Global {
		return Global
	}
	return PerLayer
}

// Needs nothing besides the weights.
func (BlockL2) Needs() Needs { return 0 }

func (p BlockL2) unscored(layers []Layer) []Scores {
	scores := make([]Scores, len(layers))
	for i, l := range layers {
		b := newBlocks(l, [2]int{p.Out, p.In})
		scores[i] = Scores{Layer: l, Unit: Block, Values: make([]float64, b.count()), parts: b}
	}
	return scores
}

// Score is the norm of each block.
func (p BlockL2) Score(in Input) ([]Scores, error) {
	for _, l := range in.Layers {
		if err := checkLayer(l, Filter); err != nil {
			return nil, err
		}
	}
	scores := p.unscored(in.Layers)
	for _, s := range scores {
		w, of := s.Layer.at(), s.parts.(*blocks).of
		for i := range s.Layer.Weight.Len() {
			s.Values[of(i)] += float64(w(i) * w(i))
		}
		for b, v := range s.Values {
			s.Values[b] = math.Sqrt(v)
		}
	}
	return scores, nil
}

// Prune removes round-half-even(share·alive) blocks.
func (p BlockL2) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	return pruneCount(scores, p.Scope(), alive, share, RoundHalfEven)
}

// blocks are those of one layer, numbered row by row.
type blocks struct {
	layer        Layer
	down, across int
	of           func(i int) int // the block of a weight
}

func newBlocks(l Layer, size [2]int) *blocks {
	b := &blocks{layer: l, down: (l.Units(Filter) + size[0] - 1) / size[0], across: (l.Units(Channel) + size[1] - 1) / size[1]}
	outOf, inOf := l.coordinate(l.OutAxis), l.coordinate(l.InAxis)
	b.of = func(i int) int { return outOf(i)/size[0]*b.across + inOf(i)/size[1] }
	return b
}

func (b *blocks) count() int { return b.down * b.across }

// alive are the blocks of which the mask keeps a weight.
func (b *blocks) alive(masks *Masks) *Mask {
	m := masks.Get(b.layer.Name)
	if m == nil {
		return FullMask(b.count())
	}
	units := NewMask(b.count())
	for i := range m.Kept() {
		units.Set(b.of(i), true)
	}
	return units
}

// spread prunes the weights of blocks that are not kept.
func (b *blocks) spread(units *Mask, masks *Masks) {
	m := NewMask(b.layer.Weight.Shape...)
	for i := range m.Len() {
		m.Set(i, units.Get(b.of(i)))
	}
	masks.Set(b.layer.Name, m)
}

// decideBlocks sees whole blocks in every pruned layer, of the largest size
// that explains them all.
func (p *Pattern) decideBlocks(layers []Layer) bool {
	size := [2]int{}
	for _, l := range p.Layers {
		if l.Shape == Blocks || l.Shape == Kernels {
			size = [2]int{divisor(size[0], l.Block[0]), divisor(size[1], l.Block[1])}
		} else if l.Shape != NoZeros {
			return false
		}
	}
	pruner := BlockL2{Out: size[0], In: size[1]}
	if !pruner.explains(layers, p.Masks) {
		return false
	}
	p.Unit, p.Block = Block, size
	p.Evidence = fmt.Sprintf("zeros come in whole blocks of %d outputs by %d inputs in every pruned layer", size[0], size[1])
	if !pruner.sameShare(layers, p.Masks) {
		p.Scope = Global
		p.Evidence += ", and layers lost different shares"
	}
	return true
}

// explains reports whether all zeros are those of whole blocks, and single
// weights are not what these are.
func (p BlockL2) explains(layers []Layer, masks *Masks) bool {
	larger := p.Out*p.In > 1
	for _, s := range p.unscored(layers) {
		m, got := masks.Get(s.Layer.Name), &Masks{}
		s.spread(s.alive(masks), got)
		if m != nil && !got.Get(s.Layer.Name).Equal(m) {
			return false
		}
		larger = larger || m != nil && m.Count() < m.Len() && len(s.Values) < m.Len()
	}
	return larger
}

// sameShare reports whether every pruned layer lost the same share of its
// blocks, but for one of them.
func (p BlockL2) sameShare(layers []Layer, masks *Masks) bool {
	lo, hi := 0.0, 1.0
	for _, units := range aliveUnits(p.unscored(layers), masks) {
		n := float64(units.Len())
		if lost := n - float64(units.Count()); lost > 0 {
			lo, hi = max(lo, (lost-1)/n), min(hi, (lost+1)/n)
		}
	}
	return lo <= hi
}

// divisor is the greatest common one; that of 0 and b is b.
func divisor(a, b int) int {
	for a != 0 {
		a, b = b%a, a
	}
	return b
}
