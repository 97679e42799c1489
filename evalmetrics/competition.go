package evalmetrics

import (
	"fmt"
	"math"
	"slices"
)

// Constants of the NeurIPS 2023 unlearning competition (Triantafillou et al.,
// arXiv 2406.09073), as a public re-implementation has them.
const (
	competitionDelta = 1e-5
	competitionCap   = 50  // of ε, for samples that are told apart perfectly
	competitionBin   = 0.5 // width of the bins of ε
	competitionGrid  = 100 // thresholds per unit of log odds
	maxGrid          = 1 << 20
)

// Epsilon is the competition's privacy estimate of one sample: the largest
// max(ln(1-δ-FPR) - ln FNR, ln(1-δ-FNR) - ln FPR) over attacks that call a
// model positive above a threshold or between two; the kind with the larger
// median is positive. 0 to 50; lower: better forgotten.
func Epsilon(t Trials) float64 {
	positives, negatives := t.Retrained, t.Unlearned
	if Median(t.Unlearned) > Median(t.Retrained) {
		positives, negatives = negatives, positives
	}
	cuts := thresholds(positives, negatives)
	best := 0.0
	for i, lo := range cuts {
		for _, hi := range append(cuts[i+1:len(cuts):len(cuts)], cut{}) { // the last one: no upper threshold
			e, ok := epsilonOf(
				float64(lo.negatives-hi.negatives)/float64(len(negatives)),
				1-float64(lo.positives-hi.positives)/float64(len(positives)))
			if ok {
				best = max(best, e)
			}
		}
	}
	return best
}

// epsilonOf is the estimate of one attack; none if exactly one rate is 0.
func epsilonOf(fpr, fnr float64) (float64, bool) {
	switch {
	case fpr == 0 && fnr == 0:
		return competitionCap, true
	case fpr == 0 || fnr == 0:
		return 0, false
	}
	a := math.Log(1-competitionDelta-fpr) - math.Log(fnr)
	b := math.Log(1-competitionDelta-fnr) - math.Log(fpr)
	e := math.Inf(-1)
	for _, v := range []float64{a, b} {
		if v == v { // the logarithm of a negative number is NaN
			e = max(e, v)
		}
	}
	return min(e, competitionCap), true
}

// A cut is how many of each kind lie above a threshold.
type cut struct{ positives, negatives int }

// thresholds lists the distinct cuts of a grid from the smallest to the
// largest value, lowest threshold first.
func thresholds(positives, negatives []float64) []cut {
	p, n := slices.Sorted(slices.Values(positives)), slices.Sorted(slices.Values(negatives))
	lo, hi := min(p[0], n[0]), max(p[len(p)-1], n[len(n)-1])
	steps := max(1, int(min(math.Ceil((hi-lo)*competitionGrid), maxGrid)))
	var cuts []cut
	for k := range steps + 1 {
		at := lo + (hi-lo)*float64(k)/float64(steps)
		c := cut{countAbove(p, at), countAbove(n, at)}
		if len(cuts) == 0 || cuts[len(cuts)-1] != c {
			cuts = append(cuts, c)
		}
	}
	return cuts
}

func countAbove(rising []float64, at float64) int {
	i, _ := slices.BinarySearchFunc(rising, at, func(v, at float64) int {
		if v <= at {
			return -1
		}
		return 1
	})
	return len(rising) - i
}

// CompetitionScore is F·(RA/RA_gold)·(TA/TA_gold), F the mean over samples of
// 2/2^b, b = 1, 2, ... the bin of width 0.5 that holds ε; bins end at ceil(ln(N-1)), N
// the number of models, and samples beyond score 0. 0 to about 1; higher is better.
func CompetitionScore(trials []Trials, model, gold Accuracies) (float64, error) {
	if err := checkTrials(trials); err != nil {
		return 0, err
	}
	if !(gold.Retain > 0 && gold.Test > 0) {
		return 0, fmt.Errorf("evalmetrics: the competition score divides by gold's accuracies %v and %v", gold.Retain, gold.Test)
	}
	sum := 0.0
	for _, t := range trials {
		e := Epsilon(t)
		if e <= math.Ceil(math.Log(float64(len(t.Retrained)-1))) {
			sum += 2 / math.Pow(2, math.Floor(e/competitionBin)+1)
		}
	}
	return sum / float64(len(trials)) * (model.Retain / gold.Retain) * (model.Test / gold.Test), nil
}
