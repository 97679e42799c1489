package evalmetrics

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// A ROC is what all thresholds on a score reach that is meant to be higher for
// positives (members) than for negatives.
type ROC struct {
	positives, negatives []int // counts per distinct score, highest score first
	p, n                 int   // their sums
}

// NewROC takes the scores of positives and of negatives.
func NewROC(positives, negatives []float64) (*ROC, error) {
	if len(positives) == 0 || len(negatives) == 0 {
		return nil, fmt.Errorf("evalmetrics: a ROC curve needs scores of both kinds: have %d positives, %d negatives", len(positives), len(negatives))
	}
	type sample struct {
		score    float64
		positive bool
	}
	var all []sample
	for _, s := range positives {
		all = append(all, sample{s, true})
	}
	for _, s := range negatives {
		all = append(all, sample{s, false})
	}
	for _, s := range all {
		if s.score != s.score {
			return nil, fmt.Errorf("evalmetrics: a score is NaN: the model's outputs are not finite")
		}
	}
	slices.SortStableFunc(all, func(a, b sample) int { return cmp.Compare(b.score, a.score) })
	r := &ROC{p: len(positives), n: len(negatives)}
	for i, s := range all {
		if i == 0 || s.score != all[i-1].score {
			r.positives, r.negatives = append(r.positives, 0), append(r.negatives, 0)
		}
		if s.positive {
			r.positives[len(r.positives)-1]++
		} else {
			r.negatives[len(r.negatives)-1]++
		}
	}
	return r, nil
}

// A Rate is one point of a ROC curve.
type Rate struct {
	FPR float64 `json:"fpr"`
	TPR float64 `json:"tpr"`
}

// Curve is the points of the curve from (0,0) to (1,1), one per distinct
// score.
func (r *ROC) Curve() []Rate {
	curve := []Rate{{}}
	tp, fp := 0, 0
	for i := range r.positives {
		tp += r.positives[i]
		fp += r.negatives[i]
		curve = append(curve, Rate{float64(fp) / float64(r.n), float64(tp) / float64(r.p)})
	}
	return curve
}

// AUC is the probability that a positive scores higher than a negative, ties
// counted half. 0 to 1; 0.5 is a useless attack.
func (r *ROC) AUC() float64 {
	area, tp := 0.0, 0
	for i := range r.positives {
		area += float64(r.negatives[i]) * (float64(tp) + float64(r.positives[i])/2)
		tp += r.positives[i]
	}
	return area / (float64(r.p) * float64(r.n))
}

// TPR is the largest share of positives that a threshold finds while at most
// the share fpr of negatives is called positive.
func (r *ROC) TPR(fpr float64) float64 {
	tp, fp := 0, 0
	for i := range r.positives {
		fp += r.negatives[i]
		if float64(fp) > fpr*float64(r.n) {
			break
		}
		tp += r.positives[i]
	}
	return float64(tp) / float64(r.p)
}

// An Interval covers a figure with the stated confidence.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Level is the confidence of the intervals here, and Resamples how many times
// samples are drawn anew to find them.
const (
	Level     = 0.95
	Resamples = 1000
)

// Interval is the 95 % percentile bootstrap interval of a figure of the curve:
// positives and negatives are each drawn anew with replacement. It is for scores
// that are independent of one another; GroupInterval is for those that are not.
func (r *ROC) Interval(rng *rand.Rand, figure func(*ROC) float64) Interval {
	values := make([]float64, Resamples)
	draw := &ROC{p: r.p, n: r.n}
	owner := [2][]int{indexOf(r.positives, r.p), indexOf(r.negatives, r.n)}
	for k := range values {
		draw.positives = resample(rng, owner[0], len(r.positives))
		draw.negatives = resample(rng, owner[1], len(r.negatives))
		values[k] = figure(draw)
	}
	return percentiles(values)
}

// indexOf lists for every sample the position of its score.
func indexOf(counts []int, n int) []int {
	owner := make([]int, 0, n)
	for i, c := range counts {
		for range c {
			owner = append(owner, i)
		}
	}
	return owner
}

func resample(rng *rand.Rand, owner []int, positions int) []int {
	counts := make([]int, positions)
	for range owner {
		counts[owner[rng.IntN(len(owner))]]++
	}
	return counts
}

// A Group is scores that depend on one another, as those of many samples under
// one network do.
type Group struct{ Positives, Negatives []float64 }

// GroupInterval is the 95 % bootstrap interval of a figure of the curve of all
// groups together. Groups are drawn anew with replacement, whole: it covers the
// draw of networks, say, on the samples that there are. There must be two at
// least. Percentiles of few groups are too narrow, and are moved outward as
// Student's t is from the normal distribution (Hesterberg, The American
// Statistician 69, 2015: the expanded percentile interval).
func GroupInterval(rng *rand.Rand, groups []Group, figure func(*ROC) float64) (Interval, error) {
	if len(groups) < 2 {
		return Interval{}, fmt.Errorf("evalmetrics: an interval over %d groups: want two at least", len(groups))
	}
	var scores []float64 // distinct, rising
	for _, g := range groups {
		scores = append(append(scores, g.Positives...), g.Negatives...)
	}
	slices.Sort(scores)
	scores = slices.Compact(scores)
	draw := &ROC{positives: make([]int, len(scores)), negatives: make([]int, len(scores))}
	positions := func(values []float64) []int {
		at := make([]int, len(values))
		for i, v := range values {
			k, _ := slices.BinarySearch(scores, v)
			at[i] = len(scores) - 1 - k
		}
		return at
	}
	at := make([][2][]int, len(groups))
	for i, g := range groups {
		at[i] = [2][]int{positions(g.Positives), positions(g.Negatives)}
	}
	var figures []float64
	for range Resamples {
		clear(draw.positives)
		clear(draw.negatives)
		draw.p, draw.n = 0, 0
		for range groups {
			g := at[rng.IntN(len(groups))]
			for _, k := range g[0] {
				draw.positives[k]++
			}
			for _, k := range g[1] {
				draw.negatives[k]++
			}
			draw.p, draw.n = draw.p+len(g[0]), draw.n+len(g[1])
		}
		figures = append(figures, figure(draw))
	}
	return middle(figures, expanded(len(groups))), nil
}

// expanded is the confidence whose percentiles of n groups' bootstrap reach as
// far as Student's t at Level does.
func expanded(n int) float64 {
	t := distuv.StudentsT{Sigma: 1, Nu: float64(n - 1)}.Quantile((1 + Level) / 2)
	return 2*distuv.UnitNormal.CDF(t*math.Sqrt(float64(n)/float64(n-1))) - 1
}

// percentiles is the middle Level of the values.
func percentiles(values []float64) Interval { return middle(values, Level) }

// middle is the middle share of the values, which it sorts.
func middle(values []float64, share float64) Interval {
	slices.Sort(values)
	return Interval{Quantile(values, (1-share)/2), Quantile(values, (1+share)/2)}
}

// Quantile is the q-quantile of rising values, interpolated linearly between
// neighbours; NaN if there is none.
func Quantile(rising []float64, q float64) float64 {
	if len(rising) == 0 {
		return nan
	}
	at := q * float64(len(rising)-1)
	i := int(at)
	if i+1 >= len(rising) {
		return rising[len(rising)-1]
	}
	part := at - float64(i)
	if part == 0 {
		return rising[i]
	}
	return rising[i] + part*(rising[i+1]-rising[i])
}

// Median is the middle value, NaN if there is none.
func Median(values []float64) float64 { return Quantile(slices.Sorted(slices.Values(values)), 0.5) }
