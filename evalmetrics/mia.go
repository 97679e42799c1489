package evalmetrics

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// SVCAttack asks whether a support vector machine, trained to tell samples the
// model was trained on (members) from samples it was not, takes samples for
// members (Unlearn-Sparse, evaluation/SVC_MIA.py). It is the attack of the
// published tables and a fragile one: see the instability study.
type SVCAttack struct {
	SVC

	// Rand draws the shadow sets, stratified by class. Nil takes the first
	// samples instead, as the published code does; if the retained data is
	// sorted by class, only some classes are then members.
	Rand *rand.Rand

	// Members is the number of shadow members and Others of shadow
	// non-members; 0: as many as the protocol says.
	Members, Others int

	// CodedMEntropy computes the modified entropy with the index slip of the
	// published code; see Outputs.Feature.
	CodedMEntropy bool
}

// An SVCResult is one feature's outcome.
type SVCResult struct {
	// Rate is the attack's figure, 0 to 1. Forget efficacy: the share of
	// forgotten samples that are taken for non-members; higher is called
	// better, but the value to reach is gold's. Training privacy: the mean of
	// the shares of members and of non-members recognised; 0.5 is best.
	Rate float64 `json:"rate"`

	// AUC is the probability that a target has a higher decision value than a
	// non-member. It does not depend on where the machine puts its threshold,
	// which moves with the ratio of shadow members to non-members. 0.5:
	// targets look like samples never seen.
	AUC float64 `json:"auc"`

	Decision []float64 `json:"-"` // of the targets; positive: taken for members
}

// ForgetEfficacy trains the machine on as many retained as test samples and
// asks it about the forgotten ones.
func (a SVCAttack) ForgetEfficacy(retain, test, forget Outputs, f Feature) (SVCResult, error) {
	members, others := a.Members, a.Others
	if members == 0 {
		members = min(test.Len(), retain.Len())
	}
	if others == 0 {
		others = test.Len()
	}
	in, _, err := a.draw(retain, members)
	if err != nil {
		return SVCResult{}, err
	}
	out, _, err := a.draw(test, others)
	if err != nil {
		return SVCResult{}, err
	}
	seen, unseen, err := a.attack(f, retain, test, in, out, forget, test)
	if err != nil {
		return SVCResult{}, err
	}
	return newSVCResult(positive(seen, false), seen, unseen)
}

// TrainingPrivacy trains the machine on half of the test samples and as many
// retained ones and asks it about all others.
func (a SVCAttack) TrainingPrivacy(retain, test Outputs, f Feature) (SVCResult, error) {
	h := min(test.Len()/2, retain.Len()/2)
	in, restIn, err := a.draw(retain, h)
	if err != nil {
		return SVCResult{}, err
	}
	out, restOut, err := a.draw(test, h)
	if err != nil {
		return SVCResult{}, err
	}
	seen, unseen, err := a.attack(f, retain, test, in, out, retain.Select(restIn), test.Select(restOut))
	if err != nil {
		return SVCResult{}, err
	}
	return newSVCResult((positive(seen, true)+positive(unseen, false))/2, seen, unseen)
}

// attack returns the decision values of targets and of non-members.
func (a SVCAttack) attack(f Feature, retain, test Outputs, in, out []int, target, other Outputs) (seen, unseen []float64, err error) {
	points := make([]Points, 4)
	for i, o := range []Outputs{retain.Select(in), test.Select(out), target, other} {
		if points[i], err = o.Feature(f, a.CodedMEntropy); err != nil {
			return nil, nil, err
		}
	}
	m, err := a.Fit(points[0], points[1])
	if err != nil {
		return nil, nil, err
	}
	return m.Decide(points[2]), m.Decide(points[3]), nil
}

func newSVCResult(rate float64, seen, unseen []float64) (SVCResult, error) {
	roc, err := NewROC(seen, unseen)
	if err != nil {
		return SVCResult{}, err
	}
	return SVCResult{Rate: rate, AUC: roc.AUC(), Decision: seen}, nil
}

// positive is the share of decisions above 0, or of those that are not.
func positive(decisions []float64, want bool) float64 {
	n := 0
	for _, d := range decisions {
		if (d > 0) == want {
			n++
		}
	}
	return float64(n) / float64(len(decisions))
}

// draw chooses n samples and returns them and the rest, both in rising order.
func (a SVCAttack) draw(o Outputs, n int) (chosen, rest []int, err error) {
	if n < 1 || n > o.Len() {
		return nil, nil, fmt.Errorf("evalmetrics: a shadow set of %d samples out of %d", n, o.Len())
	}
	in := make([]bool, o.Len())
	if a.Rand == nil {
		for i := range n {
			in[i] = true
		}
	} else {
		for _, i := range Stratified(a.Rand, o.Labels, n) {
			in[i] = true
		}
	}
	for i, yes := range in {
		if yes {
			chosen = append(chosen, i)
		} else {
			rest = append(rest, i)
		}
	}
	return chosen, rest, nil
}

// Stratified draws n of the samples without replacement, of each class as
// large a share as it has in all, to the nearest count (classes with the
// largest remainder, then the lowest number, are rounded up).
func Stratified(rng *rand.Rand, labels []int64, n int) []int {
	members := map[int64][]int{}
	for i, y := range labels {
		members[y] = append(members[y], i)
	}
	classes := make([]int64, 0, len(members))
	for y := range members {
		classes = append(classes, y)
	}
	slices.Sort(classes)
	type quota struct {
		class int64
		n     int
		left  float64
	}
	quotas := make([]quota, len(classes))
	given := 0
	for k, y := range classes {
		exact := float64(n) * float64(len(members[y])) / float64(len(labels))
		quotas[k] = quota{y, int(exact), exact - math.Floor(exact)}
		given += int(exact)
	}
	order := slices.Clone(quotas)
	slices.SortStableFunc(order, func(a, b quota) int {
		switch {
		case a.left > b.left:
			return -1
		case a.left < b.left:
			return 1
		}
		return 0
	})
	extra := map[int64]int{}
	for k := range n - given {
		extra[order[k].class]++
	}
	var chosen []int
	for _, q := range quotas {
		rows := members[q.class]
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		chosen = append(chosen, rows[:q.n+extra[q.class]]...)
	}
	slices.Sort(chosen)
	return chosen
}
