package sparsity

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Shape is the form that the zeros of a layer have.
type Shape string

// The forms, from none to the coarsest.
const (
	NoZeros   Shape = "dense"    // none, or too few to have been pruned
	Scattered Shape = "weights"  // single weights
	NofM      Shape = "N:M"      // N of M consecutive inputs stay
	Kernels   Shape = "kernels"  // whole kernels of a convolution
	Blocks    Shape = "blocks"   // rectangles of outputs and inputs
	Channels  Shape = "channels" // all weights that read one input
	Filters   Shape = "filters"  // all weights of one output
)

// LayerPattern is what the zeros of one layer look like.
type LayerPattern struct {
	Stat
	Unit  Unit // of what was pruned; Weight for a dense layer too
	Shape Shape

	N, M     int     // of NofM
	Block    [2]int  // of Blocks: outputs and inputs
	PerRow   bool    // scattered, and every output unit keeps the same number
	Smallest float64 // magnitude of the smallest weight that stays
	Evidence string  // one clause: what speaks for the shape
}

// Pattern is what the zeros of a model look like.
type Pattern struct {
	Masks  *Masks
	Layers []LayerPattern
	Unit   Unit    // the unit of all pruned layers if they agree, else Weight
	Scope  Scope   // the group within which units seem to have competed
	Budget Budget  // ERK if shares differ between layers as it says; then Scope is PerLayer
	N      int     // of N:M, 0 for other patterns; M is then the scope
	Dense  bool    // nothing was pruned
	Block  [2]int  // of Block units: outputs and inputs
	joint  GroupL2 // of Joint units

	Evidence string // one sentence: what speaks for unit and scope
}

// Recognise reads masks off the zeros of the layers' weights and says by which
// unit and within which scope they seem to have been pruned, with the evidence.
//
// A layer was pruned by filter if each zero lies in a filter of zeros, by
// channel likewise, by block or kernel if zeros come in whole ones only, N:M if
// no group keeps more than N and nearly all keep N; otherwise by weight. Shares
// count as equal if rounding explains their difference: a unit for each cut,
// for which half a percent is allowed. A layer with fewer than one zero in a
// thousand scattered weights was not pruned.
func Recognise(layers []Layer) (Pattern, error) {
	masks, err := MasksOf(layers)
	if err != nil {
		return Pattern{}, err
	}
	p := Pattern{Masks: masks, Dense: true}
	for _, l := range layers {
		found := recogniseLayer(l, masks.Get(l.Name))
		if found.Shape == NoZeros {
			masks.Set(l.Name, FullMask(l.Weight.Shape...))
		} else {
			p.Dense = false
		}
		found.Stat = Stats([]Layer{l}, masks)[0]
		p.Layers = append(p.Layers, found)
	}
	p.decide(layers)
	return p, nil
}

// recogniseLayer takes the coarsest shape that explains all zeros.
func recogniseLayer(l Layer, m *Mask) LayerPattern {
	p := LayerPattern{Shape: Scattered, Smallest: smallest(l, m)}
	zeros := m.Len() - m.Count()
	switch {
	case zeros == 0:
		p.Shape, p.Evidence = NoZeros, "no zero"
		return p
	case l.check(Filter) != nil:
		p.Evidence = fmt.Sprintf("%d of %d weights are zero; the weight has no output axis", zeros, m.Len())
		return p
	}
	for _, u := range []Unit{Filter, Channel} {
		units := l.UnitMask(u, m)
		if l.WeightMask(u, units).Equal(m) {
			p.Unit, p.Shape = u, map[Unit]Shape{Filter: Filters, Channel: Channels}[u]
			p.Evidence = fmt.Sprintf("all zeros lie in %d of %d %ss", units.Len()-units.Count(), units.Len(), u)
			return p
		}
	}
	if m.Count() > 0 && whole(l, m) {
		f, c := l.UnitMask(Filter, m), l.UnitMask(Channel, m)
		p.Unit, p.Shape = Filter, Filters
		p.Evidence = fmt.Sprintf("all zeros lie in %d of %d filters and %d of %d channels", f.Len()-f.Count(), f.Len(), c.Len()-c.Count(), c.Len())
		return p
	}
	if p.block(l, m) || p.ofM(l, m) {
		return p
	}
	if 1000*zeros < m.Len() {
		p.Shape, p.Evidence = NoZeros, fmt.Sprintf("%d zeros among %d weights are no more than training leaves", zeros, m.Len())
		return p
	}
	p.Evidence = fmt.Sprintf("%d of %d weights are zero, in no larger units", zeros, m.Len())
	if least, most, same := keptPerRow(l, m); same {
		p.PerRow = true
		p.Evidence += fmt.Sprintf("; every output unit keeps %d to %d", least, most)
	}
	return p
}

// whole reports whether the zeros are whole filters and channels: what removing
// units together with all that reads them leaves.
func whole(l Layer, m *Mask) bool {
	filters := l.WeightMask(Filter, l.UnitMask(Filter, m))
	return filters.And(l.WeightMask(Channel, l.UnitMask(Channel, m))).Equal(m)
}

// smallest is the least magnitude of a weight that stays; 0 if none does or
// the type has no numbers to read.
func smallest(l Layer, m *Mask) float64 {
	if l.check(Weight) != nil || m.Count() == 0 {
		return 0
	}
	w, least := l.at(), math.Inf(1)
	for i := range m.Kept() {
		least = math.Min(least, math.Abs(w(i)))
	}
	return least
}

// A pattern found in a handful of groups may be chance.
const enoughGroups = 8

// ofM looks for the smallest M with N of M, N:M = 1:2 to N:16.
func (p *LayerPattern) ofM(l Layer, m *Mask) bool {
	for _, size := range []int{2, 4, 8, 16} {
		histogram, full := groupCounts(l, m, size)
		most := size
		for most > 0 && histogram[most] == 0 {
			most--
		}
		if most == 0 || most == size || full < enoughGroups || 10*histogram[most] < 9*full {
			continue
		}
		p.Shape, p.N, p.M = NofM, most, size
		p.Evidence = fmt.Sprintf("no %d consecutive inputs keep more than %d; %d of %d groups keep exactly %d", size, most, histogram[most], full, most)
		return true
	}
	return false
}

// groupCounts counts the groups of size inputs by how many weights they keep,
// leaving out smaller ones at the end of a row.
func groupCounts(l Layer, m *Mask, size int) (histogram []int, full int) {
	histogram = make([]int, size+1)
	for run := range l.runs(Scope(size)) {
		if len(run) == size {
			histogram[group{units: run}.count([]*Mask{m})]++
			full++
		}
	}
	return histogram, full
}

// obeys reports whether a layer's mask keeps at most ceil(n·r/M) of each group
// of r <= M inputs.
func obeys(l Layer, m *Mask, n, size int) bool {
	for run := range l.runs(Scope(size)) {
		if (group{units: run}).count([]*Mask{m}) > (n*len(run)+size-1)/size {
			return false
		}
	}
	return true
}

// block looks for the largest rectangle of outputs and inputs, kernels
// included, whose multiples are all that is zero.
func (p *LayerPattern) block(l Layer, m *Mask) bool {
	kernel := l.Weight.Len() / max(1, l.Units(Filter)*l.Units(Channel))
	finest := [][2]int{{1, 4}, {4, 1}, {2, 2}} // every larger block is made of one of these
	if kernel > 1 {
		finest = [][2]int{{1, 1}}
	}
	if m.Len()-m.Count() < enoughGroups || !slices.ContainsFunc(finest, func(size [2]int) bool {
		_, _, whole := countBlocks(l, m, size)
		return whole
	}) {
		return false
	}
	for _, size := range [][2]int{{32, 32}, {16, 16}, {8, 8}, {4, 4}, {1, 32}, {1, 16}, {1, 8}, {16, 1}, {8, 1}, {1, 4}, {4, 1}, {2, 2}, {1, 1}} {
		if size == [2]int{1, 1} && kernel == 1 {
			continue // single weights
		}
		zero, keptBlocks, whole := countBlocks(l, m, size)
		if !whole || zero < enoughGroups || keptBlocks < enoughGroups {
			continue
		}
		p.Shape, p.Block = Blocks, size // the largest
		what := fmt.Sprintf("blocks of %d outputs by %d inputs", size[0], size[1])
		if size == [2]int{1, 1} {
			p.Shape, what = Kernels, "kernels"
		}
		p.Evidence = fmt.Sprintf("zeros come in whole %s: %d of %d", what, zero, zero+keptBlocks)
		return true
	}
	return false
}

// countBlocks counts blocks of zeros and blocks without a zero; whole says
// that there are no others.
func countBlocks(l Layer, m *Mask, size [2]int) (zero, keptBlocks int, whole bool) {
	all := newBlocks(l, size)
	count, total := make([]int, all.count()), make([]int, all.count())
	for i := range m.Len() {
		b := all.of(i)
		total[b]++
		if m.Get(i) {
			count[b]++
		}
	}
	for b, n := range count {
		switch n {
		case 0:
			zero++
		case total[b]:
			keptBlocks++
		default:
			return 0, 0, false
		}
	}
	return zero, keptBlocks, true
}

// coordinate returns a weight's position along an axis.
func (l Layer) coordinate(axis int) func(i int) int {
	inner := 1
	for _, d := range l.Weight.Shape[axis+1:] {
		inner *= d
	}
	n := l.Weight.Shape[axis]
	return func(i int) int { return i / inner % n }
}

// keptPerRow says whether all output units keep the same number of weights
// but for one.
func keptPerRow(l Layer, m *Mask) (least, most int, same bool) {
	least = m.Len()
	for run := range l.runs(PerRow) {
		n := (group{units: run}).count([]*Mask{m})
		least, most = min(least, n), max(most, n)
	}
	row := m.Len() / max(1, l.Units(Filter))
	return least, most, most-least <= 1 && l.Units(Filter) >= enoughGroups && row >= 2*enoughGroups
}

// decide finds the unit and the scope that pruned layers have in common.
func (p *Pattern) decide(layers []Layer) {
	if p.Dense {
		p.Evidence = "no layer has zeros that pruning would leave"
		return
	}
	p.Unit = commonUnit(p.Layers)
	if p.Unit == Weight && (p.decideBlocks(layers) || p.decideNM(layers)) {
		return
	}
	if p.Unit == Weight && p.all(func(l LayerPattern) bool { return l.PerRow }) {
		p.Scope, p.Evidence = PerRow, "every output unit of a layer keeps the same number of weights"
		return
	}
	lo, hi := commonShare(p.Layers)
	if lo <= hi {
		p.Evidence = fmt.Sprintf("every pruned layer lost the same share of its %ss, %.1f %%", p.Unit, 50*(lo+hi))
		return
	}
	least, most := shares(p.Layers)
	spread := fmt.Sprintf("layers lost between %.1f %% and %.1f %% of their %ss", 100*least, 100*most, p.Unit)
	if p.fitsERK(layers) {
		p.Budget, p.Evidence = ERK, spread+", as the Erdős-Rényi-kernel budget gives them"
		return
	}
	p.Scope, p.Evidence = Global, spread+": they competed across layers"
}

// decideNM sees N:M in one layer and no layer against it.
func (p *Pattern) decideNM(layers []Layer) bool {
	for _, l := range p.Layers {
		if l.Shape != NofM {
			continue
		}
		for i, other := range p.Layers {
			if other.Shape != NoZeros && !obeys(layers[i], p.Masks.Get(other.Name), l.N, l.M) {
				return false
			}
		}
		p.N, p.Scope = l.N, Scope(l.M)
		p.Evidence = fmt.Sprintf("no %d consecutive inputs of an output unit keep more than %d, in every pruned layer", l.M, l.N)
		return true
	}
	return false
}

// all reports whether f holds for every pruned layer.
func (p *Pattern) all(f func(LayerPattern) bool) bool {
	for _, l := range p.Layers {
		if l.Shape != NoZeros && !f(l) {
			return false
		}
	}
	return true
}

// fitsERK compares the layers' densities with those of the budget, for the
// layers that were pruned and for all of them.
func (p *Pattern) fitsERK(layers []Layer) bool {
	kept, total := 0, 0
	var units []int
	for _, l := range p.Layers {
		k, n := l.units()
		kept, total, units = kept+k, total+n, append(units, k)
	}
	fits := 0
	for i, d := range ERK.Densities(layers, p.Unit, float64(kept)/float64(total)) {
		n := float64(layers[i].Units(p.Unit))
		if math.Abs(float64(units[i])-d*n) <= 1+0.01*n {
			fits++
		}
	}
	return fits == len(layers)
}

// commonUnit is the unit that explains all pruned layers. Where some lost
// filters, those that lost channels alone read them.
func commonUnit(layers []LayerPattern) Unit {
	found := map[Unit]bool{}
	for _, l := range layers {
		if l.Shape != NoZeros {
			found[l.Unit] = true
		}
	}
	for _, u := range []Unit{Weight, Filter, Channel} {
		if found[u] {
			return u
		}
	}
	return Weight
}

// commonShare looks for one share that rounds to the pruned counts of all
// pruned layers: it is any number from lo to hi, none if lo is above hi.
func commonShare(layers []LayerPattern) (lo, hi float64) {
	hi = 1
	for _, l := range layers {
		kept, n := l.units()
		if l.Shape == NoZeros || kept == n {
			continue
		}
		slack := 1.0
		if l.Unit == Weight {
			slack += 0.005 * float64(n)
		}
		pruned := float64(n - kept)
		lo = math.Max(lo, (pruned-slack)/float64(n))
		hi = math.Min(hi, (pruned+slack)/float64(n))
	}
	return lo, hi
}

// shares are the least and the largest share that a pruned layer lost.
func shares(layers []LayerPattern) (least, most float64) {
	least = 1
	for _, l := range layers {
		if kept, n := l.units(); l.Shape != NoZeros && kept < n {
			s := 1 - density(kept, n)
			least, most = math.Min(least, s), math.Max(most, s)
		}
	}
	return least, most
}

func (l LayerPattern) units() (kept, n int) {
	switch l.Unit {
	case Filter:
		return l.Filters, l.TotalFilters
	case Channel:
		return l.Channels, l.TotalChannels
	}
	return l.Kept, l.Total
}

// Pruner is a pruner that leaves such zeros, scoring by magnitude where the
// zeros do not tell. Cutting by it keeps the pattern.
func (p Pattern) Pruner() Pruner {
	switch {
	case p.Unit == Joint:
		return p.joint
	case p.Unit == Block:
		return BlockL2{Out: p.Block[0], In: p.Block[1], Global: p.Scope == Global}
	case p.N > 0:
		return NM{N: p.N, M: int(p.Scope)}
	case p.Unit == Filter:
		return FilterL2
	case p.Unit == Channel:
		return ChannelL1
	case p.Scope == PerRow:
		return Wanda{}
	case p.Budget == ERK:
		return Budgeted{Pruner: Magnitude{}, Budget: ERK}
	}
	return Magnitude{Global: p.Scope == Global}
}

// Contradicts says what in the zeros speaks against their having been left by
// the pruner; nil if nothing does. Un-pruning by another pruner than the
// original's would change the pattern, not un-prune.
func (p Pattern) Contradicts(layers []Layer, pruner Pruner) error {
	if p.Dense {
		return nil
	}
	if g, ok := pruner.(GroupL2); ok {
		return g.explains(layers, p.Masks)
	}
	for i, l := range p.Layers {
		m := p.Masks.Get(l.Name)
		if l.Shape == NoZeros || layers[i].check(Filter) != nil {
			continue
		}
		u, scope := pruner.Unit(), pruner.Scope()
		if b, ok := pruner.(BlockL2); ok {
			if !b.explains(layers[i:i+1], p.Masks) {
				return fmt.Errorf("sparsity: pruner %s removes whole blocks, but %q has zeros outside of such (%s)", pruner.Name(), l.Name, l.Evidence)
			}
			continue
		}
		if u != Weight && !whole(layers[i], m) {
			return fmt.Errorf("sparsity: pruner %s removes whole %ss, but %q has zeros outside of such (%s)", pruner.Name(), u, l.Name, l.Evidence)
		}
		if u == Weight && l.Unit != Weight {
			return fmt.Errorf("sparsity: pruner %s removes single weights, but the zeros of %q are whole %ss (%s)", pruner.Name(), l.Name, l.Unit, l.Evidence)
		}
		if nm, ok := pruner.(NM); ok && !obeys(layers[i], m, nm.N, nm.M) {
			return fmt.Errorf("sparsity: pruner %s: %q keeps more than %d of some %d consecutive inputs (%s)", pruner.Name(), l.Name, nm.N, nm.M, l.Evidence)
		}
		if scope == PerRow && l.Shape == Scattered && !l.PerRow && layers[i].Units(Filter) >= enoughGroups {
			return fmt.Errorf("sparsity: pruner %s keeps the same number in every output unit, but %q does not (%s)", pruner.Name(), l.Name, l.Evidence)
		}
	}
	return nil
}

// Text describes the pattern: a sentence, then a line per layer.
func (p Pattern) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", p.Title(), p.Evidence)
	for _, l := range p.Layers {
		fmt.Fprintf(&b, "  %s: %s: %s\n", l.Name, l.Shape, l.Evidence)
	}
	return b.String()
}

// Title names the pattern in a few words.
func (p Pattern) Title() string {
	switch {
	case p.Dense:
		return "dense"
	case p.N > 0:
		return fmt.Sprintf("%d:%d", p.N, int(p.Scope))
	case p.Budget == ERK:
		return fmt.Sprintf("%ss, ERK budget", p.Unit)
	case p.Unit == Joint:
		return "units of groups, per group"
	case p.Unit == Block:
		return fmt.Sprintf("blocks of %dx%d, %s", p.Block[0], p.Block[1], p.Scope)
	}
	return fmt.Sprintf("%ss, %s", p.Unit, p.Scope)
}
