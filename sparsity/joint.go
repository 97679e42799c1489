package sparsity

import "fmt"

// Join looks at a pattern of filters and channels again, with the groups of the
// network at hand: zeros that are whole units of groups, in every layer of each,
// were left by pruning groups. Groups that a normalisation computes with as a
// whole are not looked at.
func (p *Pattern) Join(groups []Group, layers []Layer) {
	joint := NewGroupL2(groups)
	if p.Dense || p.Unit != Filter && p.Unit != Channel || joint.explains(layers, p.Masks) != nil {
		return
	}
	p.Unit, p.Scope, p.Budget, p.joint = Joint, PerLayer, Uniform, joint
	scores, lost := joint.unscored(layers), 0
	least, most := 1.0, 0.0
	for _, units := range aliveUnits(scores, p.Masks) {
		if share := 1 - units.Density(); share > 0 {
			lost++
			least, most = min(least, share), max(most, share)
		}
	}
	shares := fmt.Sprintf("between %.1f %% and %.1f %%", 100*least, 100*most)
	if most-least < 1e-9 {
		shares = fmt.Sprintf("%.1f %%", 100*most)
	}
	p.Evidence = fmt.Sprintf("%d of %d groups of layers lost whole units together with all that reads them, %s of them", lost, len(scores), shares)
}

// explains reports a layer whose zeros are not those of units that are gone
// from all layers of their group; nil if there is none.
func (p GroupL2) explains(layers []Layer, masks *Masks) error {
	want := &Masks{}
	scores := p.unscored(layers)
	for i, units := range aliveUnits(scores, masks) {
		scores[i].spread(units, want)
	}
	for _, l := range layers {
		m, w := masks.Get(l.Name), want.Get(l.Name)
		if w == nil {
			w = FullMask(l.Weight.Shape...)
		}
		if m != nil && !m.Equal(w) {
			return fmt.Errorf("sparsity: pruner %s removes units with all that reads them, but %q has zeros that belong to no unit which is gone from every layer of its group", p.Name(), l.Name)
		}
	}
	return nil
}
