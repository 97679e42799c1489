package evalmetrics

import (
	"fmt"
	"math"
	"slices"
)

// AttackSets are what threshold attacks learn from (shadows) and are judged
// on (targets).
type AttackSets struct {
	ShadowMembers, ShadowOthers Outputs
	Members, Others             Outputs
}

// A ThresholdResult is one feature's outcome.
type ThresholdResult struct {
	Members    float64   `json:"members"` // share of target members called members
	Others     float64   `json:"others"`  // share of target non-members called non-members
	Thresholds []float64 `json:"-"`       // per class; nil for correctness
}

// ThresholdAttack calls a sample a member if its score reaches its class's
// threshold (Song & Mittal 2021; Unlearn-Sparse, evaluation/MIA.py). The score
// is the confidence, the negative entropy or the negative modified entropy; a
// threshold is the first shadow score, members before others, with the highest
// mean of the two shares recognised, and 0 where a class lacks shadows of one
// kind. The attack on correctness has no threshold: members are the samples
// classified correctly.
func ThresholdAttack(s AttackSets, f Feature) (ThresholdResult, error) {
	if f == Prob {
		return ThresholdResult{}, fmt.Errorf("evalmetrics: feature %q is a vector: a threshold needs a number", f)
	}
	sets := []Outputs{s.ShadowMembers, s.ShadowOthers, s.Members, s.Others}
	scores := make([][]float64, len(sets))
	classes := 0
	for i, o := range sets {
		if o.Len() == 0 {
			return ThresholdResult{}, fmt.Errorf("evalmetrics: a threshold attack needs shadow and target samples of both kinds")
		}
		points, err := o.Feature(f, false)
		if err != nil {
			return ThresholdResult{}, err
		}
		if scores[i] = points.Values; f == Entropy || f == MEntropy {
			for j := range scores[i] {
				scores[i][j] = -scores[i][j]
			}
		}
		classes = max(classes, o.Classes())
	}
	r := ThresholdResult{}
	threshold := func(int64) float64 { return 1 }
	if f != Correctness {
		r.Thresholds = make([]float64, classes)
		for y := range r.Thresholds {
			r.Thresholds[y] = bestThreshold(ofClass(scores[0], sets[0].Labels, y), ofClass(scores[1], sets[1].Labels, y))
		}
		threshold = func(y int64) float64 { return r.Thresholds[y] }
	}
	r.Members = reaches(scores[2], sets[2].Labels, threshold)
	r.Others = 1 - reaches(scores[3], sets[3].Labels, threshold)
	return r, nil
}

func ofClass(scores []float64, labels []int64, class int) []float64 {
	var out []float64
	for i, y := range labels {
		if y == int64(class) {
			out = append(out, scores[i])
		}
	}
	return out
}

// reaches is the share of scores at or above the threshold of their class.
func reaches(scores []float64, labels []int64, threshold func(int64) float64) float64 {
	n := 0
	for i, y := range labels {
		if scores[i] >= threshold(y) {
			n++
		}
	}
	return float64(n) / float64(len(labels))
}

func bestThreshold(members, others []float64) float64 {
	m, o := slices.Sorted(slices.Values(members)), slices.Sorted(slices.Values(others))
	below := func(sorted []float64, v float64) int {
		i, _ := slices.BinarySearch(sorted, v)
		return i
	}
	threshold, best := 0.0, 0.0
	for _, v := range slices.Concat(members, others) {
		found := float64(len(m)-below(m, v)) / float64(len(m)) // NaN if there is none
		if accuracy := (found + float64(below(o, v))/float64(len(o))) / 2; accuracy > best {
			threshold, best = v, accuracy
		}
	}
	return threshold
}

// LogisticAttack trains a logistic regression on the entropy to tell retained
// from test samples, both kinds weighted alike, and returns the share of
// forgotten samples that it calls members: the opposite sign of forget
// efficacy (Unified-Unlearning, SSD). It minimises ½w² + Σ_i s_i ln(1 +
// exp(-y_i(w x_i + b))), s_i = n/(2 n_kind).
func LogisticAttack(retain, test, forget Outputs) (float64, error) {
	if retain.Len() == 0 || test.Len() == 0 || forget.Len() == 0 {
		return 0, fmt.Errorf("evalmetrics: the logistic attack needs retained, test and forgotten samples")
	}
	w, b := logistic(entropies(retain), entropies(test))
	n := 0
	for _, x := range entropies(forget) {
		if w*x+b > 0 {
			n++
		}
	}
	return float64(n) / float64(forget.Len()), nil
}

func entropies(o Outputs) []float64 {
	out := make([]float64, o.Len())
	for i := range out {
		out[i] = entropy(o.Row(i))
	}
	return out
}

// logistic fits slope and intercept by Newton's method with halved steps.
func logistic(members, others []float64) (w, b float64) {
	n := float64(len(members) + len(others))
	kinds := []struct {
		x         []float64
		y, weight float64
	}{
		{members, 1, n / (2 * float64(len(members)))},
		{others, -1, n / (2 * float64(len(others)))},
	}
	value := func(w, b float64) float64 {
		sum := w * w / 2
		for _, k := range kinds {
			for _, x := range k.x {
				sum += k.weight * softplus(-k.y*(w*x+b))
			}
		}
		return sum
	}
	at := value(0, 0)
	for range 100 {
		gw, gb, hww, hwb, hbb := w, 0.0, 1.0, 0.0, 0.0
		for _, k := range kinds {
			for _, x := range k.x {
				p := 1 / (1 + math.Exp(k.y*(w*x+b)))
				g, h := -k.weight*k.y*p, k.weight*p*(1-p)
				gw, gb = gw+g*x, gb+g
				hww, hwb, hbb = hww+h*x*x, hwb+h*x, hbb+h
			}
		}
		det := hww*hbb - hwb*hwb
		if !(det > 0) {
			return w, b
		}
		dw, db := (hbb*gw-hwb*gb)/det, (hww*gb-hwb*gw)/det
		step := 1.0
		next := value(w-dw, b-db)
		for ; next > at && step > 1e-6; next = value(w-step*dw, b-step*db) {
			step /= 2
		}
		if next >= at {
			return w, b
		}
		w, b, at = w-step*dw, b-step*db, next
	}
	return w, b
}

// softplus is ln(1+e^x).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
