package sparsity

import (
	"fmt"
	"math"
)

// NM keeps N of every M consecutive inputs of an output unit, at each kernel
// position: 2:4 is what sparse matrix units of graphics processors run. A last
// group of r < M inputs keeps ceil(N·r/M).
type NM struct {
	N, M int
	By   Pruner // whose scores decide; nil: Magnitude
}

// Name is "N:M", with the scorer behind a slash unless it is magnitude.
func (p NM) Name() string {
	name := fmt.Sprintf("%d:%d", p.N, p.M)
	if by := p.by().Name(); by != (Magnitude{}).Name() {
		name += "/" + by
	}
	return name
}

func (p NM) by() Pruner {
	if p.By == nil {
		return Magnitude{}
	}
	return p.By
}

// Unit is the single weight.
func (NM) Unit() Unit { return Weight }

// Scope is M consecutive inputs.
func (p NM) Scope() Scope { return Scope(p.M) }

// Needs what the scorer needs.
func (p NM) Needs() Needs { return p.by().Needs() }

// Share is the share of weights that the pattern removes.
func (p NM) Share() float64 { return 1 - float64(p.N)/float64(p.M) }

// Score is the scorer's.
func (p NM) Score(in Input) ([]Scores, error) {
	if p.N < 1 || p.M <= p.N {
		return nil, fmt.Errorf("sparsity: %d:%d is no pattern: want N of M with 1 <= N < M", p.N, p.M)
	}
	if by := p.by(); by.Unit() != Weight {
		return nil, fmt.Errorf("sparsity: %s scores %ss; %d:%d needs scores of single weights", by.Name(), by.Unit(), p.N, p.M)
	}
	if err := checkRows(in.Layers); err != nil {
		return nil, err
	}
	return p.by().Score(in)
}

// Prune keeps N of each M. The share must be the pattern's own, or 0, which
// prunes nothing.
func (p NM) Prune(scores []Scores, alive *Masks, share float64) (*Masks, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	if share != 0 && math.Abs(share-p.Share()) > 1e-9 {
		return nil, fmt.Errorf("sparsity: %d:%d removes a share of %g, not %g", p.N, p.M, p.Share(), share)
	}
	all, target := TargetOf(scores, p.Scope(), nil), TargetOf(scores, p.Scope(), alive)
	if share != 0 {
		for g, inputs := range all.Keep {
			target.Keep[g] = min(target.Keep[g], (p.N*inputs+p.M-1)/p.M)
		}
	}
	return CutWithin(scores, alive, target)
}
