package sparsity

import (
	"fmt"
	"math"
)

// A Schedule says how the wanted sparsity is reached in rounds.
type Schedule int

// The schedules.
const (
	// Iterative removes the same share of what is alive in every round.
	Iterative Schedule = iota
	// Cubic prunes much early and little late: after round i of n the sparsity
	// is s·(1-(1-i/n)³) (Zhu & Gupta 2017).
	Cubic
)

// ScheduleByName returns the schedule "iterative" or "cubic". A single round
// of either is one-shot pruning.
func ScheduleByName(name string) (Schedule, error) {
	switch name {
	case "iterative":
		return Iterative, nil
	case "cubic":
		return Cubic, nil
	}
	return 0, fmt.Errorf("sparsity: no schedule is named %q; there are: iterative, cubic", name)
}

// Share is what round (from 0) of rounds removes of the units alive then, so
// that all rounds together remove the share sparsity.
func (s Schedule) Share(round, rounds int, sparsity float64) float64 {
	if rounds <= 1 {
		return sparsity
	}
	if s == Cubic {
		return 1 - (1-cubic(round+1, rounds, sparsity))/(1-cubic(round, rounds, sparsity))
	}
	return 1 - math.Pow(1-sparsity, 1/float64(rounds))
}

func cubic(round, rounds int, sparsity float64) float64 {
	left := 1 - float64(round)/float64(rounds)
	return sparsity * (1 - left*left*left)
}

// A Plan is pruning in rounds without training in between: scores are taken
// anew under the masks so far.
type Plan struct {
	Schedule Schedule
	Rounds   int  // 0 or 1: one-shot
	Exact    bool // end at the exact count, whatever the rounds' rounding adds up to
}

// PlanOf is the plan that the pruner prescribes: one-shot for most.
func PlanOf(p Pruner) Plan {
	if own, ok := p.(interface{ Plan() Plan }); ok {
		return own.Plan()
	}
	return Plan{Rounds: 1}
}

// Run prunes a share of the units kept in alive (nil: all) round after round.
func (pl Plan) Run(p Pruner, in Input, alive *Masks, share float64) (*Masks, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	rounds := max(1, pl.Rounds)
	if rounds > 1 && p.Needs()&^NeedsRandom != 0 && in.Mask == nil {
		return nil, fmt.Errorf("sparsity: %s in %d rounds needs to hold weights at zero in between", p.Name(), rounds)
	}
	masks := alive
	for round := range rounds {
		scores, err := p.Score(in)
		if err != nil {
			return nil, err
		}
		if pl.Exact && round == rounds-1 {
			return pl.finish(p, scores, masks, alive, share)
		}
		if masks, err = p.Prune(scores, masks, pl.Schedule.Share(round, rounds, share)); err != nil {
			return nil, err
		}
		if round < rounds-1 && in.Mask != nil {
			if err := in.Mask(masks); err != nil {
				return nil, err
			}
		}
	}
	return masks, nil
}

// finish cuts to round-half-even(share) of what was alive before the first
// round.
func (pl Plan) finish(p Pruner, scores []Scores, masks, alive *Masks, share float64) (*Masks, error) {
	target, left := TargetOf(scores, p.Scope(), alive), TargetOf(scores, p.Scope(), masks)
	for g, n := range target.Keep {
		target.Keep[g] = min(n-RoundHalfEven(n, share), left.Keep[g])
	}
	return CutWithin(scores, masks, target)
}
