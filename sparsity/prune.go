package sparsity

import (
	"fmt"
	"math"
	"strings"
)

// Pruner is one published way to choose what to prune.
type Pruner interface {
	// Name is the pruner's name on the command line.
	Name() string
	// Unit is what it removes.
	Unit() Unit
	// Scope is the group within which units compete.
	Scope() Scope
	// Needs says what Score must be given besides the layers.
	Needs() Needs
	// Score returns one number per unit of each layer, in the order of the
	// layers.
	Score(Input) ([]Scores, error)
	// Prune is one pruning step by the pruner's own rule: of the units kept in
	// alive (nil: all) it removes a share, 0 <= share < 1. Nothing comes back
	// to life.
	Prune(scores []Scores, alive *Masks, share float64) (*Masks, error)
}

// Pruners lists all pruners with their published defaults.
func Pruners() []Pruner {
	return []Pruner{
		Magnitude{},
		Magnitude{Global: true},
		LTH{},
		Random{},
		FilterL1,
		FilterL2,
		ChannelL1,
		SFP{},
		FPGM{},
		SNIP{},
		GraSP{},
		SynFlow{Exact: true}, // by rounding alone, a small network may lose nothing
		Taylor{},
		Taylor{Filters: true},
		Wanda{},
		NM{N: 2, M: 4},
		BlockL2{Out: 4, In: 1},
	}
}

// ByName returns the pruner of that name. Blocks are named by their outputs and
// inputs, "block-16x1", and N:M patterns by their numbers, with the scorer behind a slash if it is not magnitude: "2:4",
// "4:8/wanda".
func ByName(name string) (Pruner, error) {
	pattern, by, scored := strings.Cut(name, "/")
	var nm NM
	if n, _ := fmt.Sscanf(pattern, "%d:%d", &nm.N, &nm.M); n == 2 && fmt.Sprintf("%d:%d", nm.N, nm.M) == pattern {
		if nm.N < 1 || nm.M <= nm.N {
			return nil, fmt.Errorf("sparsity: %s is no pattern: want N:M with 1 <= N < M", pattern)
		}
		if !scored {
			return nm, nil
		}
		var err error
		nm.By, err = ByName(by)
		return nm, err
	}
	if p, ok := blockByName(name); ok {
		return p, nil
	}
	var names []string
	for _, p := range Pruners() {
		if p.Name() == name {
			return p, nil
		}
		names = append(names, p.Name())
	}
	return nil, fmt.Errorf("sparsity: no pruner is named %q; there are: %s", name, strings.Join(names, ", "))
}

// RoundHalfEven is the usual count of units to prune: share·n to the nearest
// integer, halves to the even one (as torch.nn.utils.prune counts).
func RoundHalfEven(n int, share float64) int {
	return int(math.RoundToEven(share * float64(n)))
}

// pruneCount prunes the lowest count(alive, share) of the alive units per group.
func pruneCount(scores []Scores, scope Scope, alive *Masks, share float64, count func(n int, share float64) int) (*Masks, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	target := TargetOf(scores, scope, alive)
	for g, n := range target.Keep {
		target.Keep[g] = n - count(n, share)
	}
	return CutWithin(scores, alive, target)
}

// CutWithin cuts to the target, which is no more than is alive (nil: all);
// nothing comes back to life.
func CutWithin(scores []Scores, alive *Masks, target Target) (*Masks, error) {
	if alive == nil {
		return Cut(scores, target)
	}
	masks, err := Cut(sinkDead(scores, alive), target)
	if err != nil {
		return nil, err
	}
	return within(masks, alive), nil
}

func checkShare(share float64) error {
	if !(share >= 0 && share < 1) {
		return fmt.Errorf("sparsity: cannot prune a share of %v: it must be at least 0 and below 1", share)
	}
	return nil
}

// sinkDead returns the scores with those of pruned units below all others.
func sinkDead(scores []Scores, alive *Masks) []Scores {
	sunk := make([]Scores, len(scores))
	for i, units := range aliveUnits(scores, alive) {
		s := scores[i]
		values := make([]float64, len(s.Values))
		for j, v := range s.Values {
			if values[j] = v; !units.Get(j) {
				values[j] = math.Inf(-1)
			}
		}
		sunk[i] = s
		sunk[i].Values = values
	}
	return sunk
}

// within restricts masks to what is alive. Layers without a new mask keep the
// one they have.
func within(masks, alive *Masks) *Masks {
	r := &Masks{}
	for name, m := range masks.All() {
		if a := alive.Get(name); a != nil {
			m = m.And(a)
		}
		r.Set(name, m)
	}
	for name, a := range alive.All() {
		if masks.Get(name) == nil {
			r.Set(name, a.Clone())
		}
	}
	return r
}
