package evalmetrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func testRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func normals(rng *rand.Rand, n int, mean, sd float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = mean + sd*rng.NormFloat64()
	}
	return out
}

func TestROC(t *testing.T) {
	for _, c := range []struct {
		name                 string
		positives, negatives []float64
		auc, tpr0, tpr50     float64
	}{
		{"apart", []float64{3, 4}, []float64{1, 2}, 1, 1, 1},
		{"reversed", []float64{1, 2}, []float64{3, 4}, 0, 0, 0},
		{"ties", []float64{1, 1}, []float64{1, 1}, 0.5, 0, 0},
		{"mixed", []float64{4, 2}, []float64{3, 1}, 0.75, 0.5, 1},
	} {
		r, err := NewROC(c.positives, c.negatives)
		if err != nil {
			t.Fatal(err)
		}
		if r.AUC() != c.auc || r.TPR(0) != c.tpr0 || r.TPR(0.5) != c.tpr50 {
			t.Errorf("%s: AUC %v, TPR %v at 0, %v at 0.5", c.name, r.AUC(), r.TPR(0), r.TPR(0.5))
		}
		curve := r.Curve()
		if curve[0] != (Rate{}) || curve[len(curve)-1] != (Rate{1, 1}) {
			t.Errorf("%s: curve %v", c.name, curve)
		}
	}
	if _, err := NewROC(nil, []float64{1}); err == nil {
		t.Error("no positives: no error")
	}
	if _, err := NewROC([]float64{nan}, []float64{1}); err == nil {
		t.Error("NaN: no error")
	}
}

// TestROCInterval draws samples of known AUC (unit normals d apart have
// Φ(d/√2)) and counts how often the interval covers it.
func TestROCInterval(t *testing.T) {
	rng := testRand()
	want := 0.5 * math.Erfc(-0.5)
	covered := 0
	const runs = 60
	for range runs {
		r, err := NewROC(normals(rng, 80, 1, 1), normals(rng, 80, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		if i := r.Interval(rng, (*ROC).AUC); i.Low <= want && want <= i.High {
			covered++
		}
	}
	if covered < 50 {
		t.Errorf("a 95 %% interval covers the truth in %d of %d", covered, runs)
	}
}

// shifted are groups of scores, positives d above negatives. What a group has in
// common moves them by shift·N(0, 1), each kind anew.
func shifted(rng *rand.Rand, groups, size int, d, shift float64) []Group {
	out := make([]Group, groups)
	for i := range out {
		out[i] = Group{
			normals(rng, size, d+shift*rng.NormFloat64(), 1),
			normals(rng, size, shift*rng.NormFloat64(), 1),
		}
	}
	return out
}

func pool(t *testing.T, groups []Group) *ROC {
	t.Helper()
	var p, n []float64
	for _, g := range groups {
		p, n = append(p, g.Positives...), append(n, g.Negatives...)
	}
	r, err := NewROC(p, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGroupIntervalCovers draws groups of which figures are known on average,
// and counts how often the interval covers them, beside the interval that takes
// all scores for independent.
func TestGroupIntervalCovers(t *testing.T) {
	rng := testRand()
	low := func(r *ROC) float64 { return r.TPR(0.01) }
	for _, c := range []struct {
		name   string
		shift  float64
		figure func(*ROC) float64
		naive  int // at most so many intervals over all scores cover
	}{{"AUC", 0, (*ROC).AUC, 60}, {"AUC", 1, (*ROC).AUC, 30}, {"TPR", 0.7, low, 48}} {
		const runs, groups, size = 60, 12, 30
		want := 0.0
		for range 1000 {
			want += c.figure(pool(t, shifted(rng, groups, size, 1, c.shift))) / 1000
		}
		covered, naive := 0, 0
		for range runs {
			g := shifted(rng, groups, size, 1, c.shift)
			i, err := GroupInterval(rng, g, c.figure)
			if err != nil {
				t.Fatal(err)
			}
			if i.Low <= want && want <= i.High {
				covered++
			}
			if i := pool(t, g).Interval(rng, c.figure); i.Low <= want && want <= i.High {
				naive++
			}
		}
		t.Logf("%s, shift %g: %d of %d cover, %d if scores were independent", c.name, c.shift, covered, runs, naive)
		if covered < 52 || naive > c.naive {
			t.Errorf("%s, shift %g: %d of %d cover, %d if scores were independent", c.name, c.shift, covered, runs, naive)
		}
	}
	if _, err := GroupInterval(rng, make([]Group, 1), low); err == nil {
		t.Error("one group: no error")
	}
}

// TestGroupIntervalWidth compares the interval of an AUC with the standard error
// that Obuchowski gives for clustered data (Biometrics 53, 1997).
func TestGroupIntervalWidth(t *testing.T) {
	rng := testRand()
	groups := shifted(rng, 200, 10, 1, 0.7)
	auc := pool(t, groups).AUC()
	var in, out []float64 // all scores
	for _, g := range groups {
		in, out = append(in, g.Positives...), append(out, g.Negatives...)
	}
	slices.Sort(in)
	slices.Sort(out)
	below := func(sorted []float64, v float64) float64 {
		k, _ := slices.BinarySearch(sorted, v)
		return float64(k) / float64(len(sorted))
	}
	n := float64(len(groups))
	var pp, nn, pn float64 // sums over groups of squares and products of components
	for _, g := range groups {
		var p, q float64
		for _, v := range g.Positives {
			p += below(out, v) - auc
		}
		for _, v := range g.Negatives {
			q += 1 - below(in, v) - auc
		}
		pp, nn, pn = pp+float64(p*p), nn+float64(q*q), pn+float64(p*q)
	}
	p, q := float64(len(in)), float64(len(out))
	se := math.Sqrt(n / (n - 1) * (pp/(p*p) + nn/(q*q) + 2*pn/(p*q)))
	i, err := GroupInterval(rng, groups, (*ROC).AUC)
	if err != nil {
		t.Fatal(err)
	}
	if ratio := (i.High - i.Low) / (2 * 1.96 * se); math.Abs(ratio-1) > 0.1 {
		t.Errorf("AUC %.3f [%.3f, %.3f], %.2f times the width by Obuchowski's standard error %.4f", auc, i.Low, i.High, ratio, se)
	}
}

func TestPaired(t *testing.T) {
	p, err := NewPaired(testRand(), []float64{1, 2, 3, 4}, []float64{2, 3.5, 3, 6})
	if err != nil {
		t.Fatal(err)
	}
	if p.Wins != 3 || p.Difference.Mean != 1.125 || !(p.Interval.Low > 0 && p.Interval.Low < 1.125 && p.Interval.High > 1.125 && p.Interval.High <= 2) {
		t.Errorf("%+v", p)
	}
	if _, err := NewPaired(testRand(), []float64{1}, nil); err == nil {
		t.Error("lengths differ: no error")
	}
}

func TestStratified(t *testing.T) {
	labels := make([]int64, 100)
	for i := range labels {
		labels[i] = int64(i / 60) // 60 of class 0, 40 of class 1
	}
	for _, n := range []int{1, 7, 10, 99, 100} {
		rows := Stratified(testRand(), labels, n)
		zero := 0
		for _, i := range rows {
			if labels[i] == 0 {
				zero++
			}
		}
		if len(rows) != n || math.Abs(float64(zero)-0.6*float64(n)) > 1 || !slices.IsSorted(rows) || len(slices.Compact(rows)) != n {
			t.Errorf("%d drawn: %d rows, %d of class 0", n, len(rows), zero)
		}
	}
}

// memorising returns outputs of two classes whose confidence is drawn around a
// mean.
func memorising(rng *rand.Rand, n int, mean float64) Outputs {
	var logits []float64
	var labels []int64
	for i := range n {
		y := int64(i % 2)
		z := []float64{0, 0}
		z[y] = mean + rng.NormFloat64()
		logits, labels = append(logits, z...), append(labels, y)
	}
	o, err := NewOutputs(logits, labels)
	if err != nil {
		panic(err)
	}
	return o
}

// TestAttacksSeparate: on a model that is surer of its training samples, all
// attacks take forgotten samples that look like training samples for members,
// and those that look like test samples for non-members.
func TestAttacksSeparate(t *testing.T) {
	rng := testRand()
	retain, test := memorising(rng, 200, 5), memorising(rng, 200, 1)
	seen, unseen := memorising(rng, 100, 5), memorising(rng, 100, 1)
	for _, f := range []Feature{Confidence, MEntropy, Prob} {
		a := SVCAttack{Rand: rng}
		low, err := a.ForgetEfficacy(retain, test, seen, f)
		if err != nil {
			t.Fatal(err)
		}
		high, err := a.ForgetEfficacy(retain, test, unseen, f)
		if err != nil {
			t.Fatal(err)
		}
		if low.Rate > 0.2 || high.Rate < 0.7 || low.AUC < 0.9 || math.Abs(high.AUC-0.5) > 0.15 {
			t.Errorf("%s: efficacy %.2f (AUC %.2f) seen, %.2f (AUC %.2f) unseen", f, low.Rate, low.AUC, high.Rate, high.AUC)
		}
		private, err := a.TrainingPrivacy(retain, test, f)
		if err != nil || private.Rate < 0.75 {
			t.Errorf("%s: privacy %.2f (%v)", f, private.Rate, err)
		}
	}
	logisticSeen, err := LogisticAttack(retain, test, seen)
	if err != nil {
		t.Fatal(err)
	}
	logisticUnseen, err := LogisticAttack(retain, test, unseen)
	if err != nil || logisticSeen < 0.8 || logisticUnseen > 0.4 {
		t.Errorf("logistic: %.2f of seen, %.2f of unseen called members (%v)", logisticSeen, logisticUnseen, err)
	}
	threshold, err := ThresholdAttack(AttackSets{retain, test, seen, unseen}, Confidence)
	if err != nil || threshold.Members < 0.8 || threshold.Others < 0.8 {
		t.Errorf("threshold: %+v (%v)", threshold, err)
	}
	if _, err := ThresholdAttack(AttackSets{retain, test, seen, unseen}, Prob); err == nil {
		t.Error("a threshold on vectors: no error")
	}
}

// TestLogistic checks the optimum's conditions: the gradient is zero.
func TestLogistic(t *testing.T) {
	rng := testRand()
	members, others := normals(rng, 30, 0, 1), normals(rng, 90, 1, 1)
	w, b := logistic(members, others)
	gw, gb := w, 0.0
	for _, k := range []struct {
		x         []float64
		y, weight float64
	}{{members, 1, 2}, {others, -1, 2. / 3}} {
		for _, x := range k.x {
			g := -k.weight * k.y / (1 + math.Exp(k.y*(w*x+b)))
			gw, gb = gw+g*x, gb+g
		}
	}
	if math.Hypot(gw, gb) > 1e-6 || w >= 0 {
		t.Errorf("w %v, b %v: gradient %v, %v", w, b, gw, gb)
	}
}

func TestLogOdds(t *testing.T) {
	got, err := LogOdds([]float32{1, 2, 3, 1000, 0, -1000}, []int64{1, 0})
	if err != nil {
		t.Fatal(err)
	}
	p := math.Exp(2) / (math.Exp(1) + math.Exp(2) + math.Exp(3))
	if want := math.Log(p) - math.Log(1-p); math.Abs(got[0]-want) > 1e-12 || got[1] != 1000 {
		t.Errorf("got %v, want %v and 1000", got, want)
	}
	if _, err := LogOdds([]float32{1, 2}, []int64{2}); err == nil {
		t.Error("a label out of range: no error")
	}
}

func trials(rng *rand.Rand, samples, models int, shift float64) []Trials {
	out := make([]Trials, samples)
	for i := range out {
		mean := rng.NormFloat64() * 3
		out[i] = Trials{normals(rng, models, mean+shift, 1), normals(rng, models, mean, 1)}
	}
	return out
}

// TestULiRA: models whose log odds lie d standard deviations apart are told
// apart with accuracy Φ(d/2).
func TestULiRA(t *testing.T) {
	for _, models := range []int{8, 32} {
		for _, shift := range []float64{0, 2} {
			r, err := ULiRA(trials(testRand(), 200, models, shift))
			if err != nil {
				t.Fatal(err)
			}
			want := 0.5 * math.Erfc(-shift/2/math.Sqrt2)
			if math.Abs(r.Mean-want) > 0.06 || r.Upper < r.Mean || (r.ROC.TPR(0.01) > 0.1) != (shift > 0) {
				t.Errorf("%d models %v apart: accuracy %.3f, want %.3f; upper %.3f; TPR at 0.01 %.3f", models, shift, r.Mean, want, r.Upper, r.ROC.TPR(0.01))
			}
		}
	}
	if _, err := ULiRA([]Trials{{[]float64{1}, []float64{2}}}); err == nil {
		t.Error("too few models: no error")
	}
	if _, err := ULiRA([]Trials{{[]float64{1, 2, nan}, []float64{1, 2, 3}}}); err == nil {
		t.Error("NaN: no error")
	}
}

// TestKLoM: unit normals d apart diverge by d²/2.
func TestKLoM(t *testing.T) {
	for _, bins := range []int{0, 20} {
		for _, shift := range []float64{0, 2} {
			kl, err := KLoM(trials(testRand(), 40, 4000, shift), bins)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := Summarize(kl).Mean, shift*shift/2; math.Abs(got-want) > 0.1+0.15*want {
				t.Errorf("%d bins, %v apart: %.3f, want %.3f", bins, shift, got, want)
			}
		}
	}
}

func TestRMIA(t *testing.T) {
	population := []Likelihood{{0.5, []float64{0.5}}, {0.2, []float64{0.4}}, {0.9, []float64{0.3}}} // ratios 1, 0.5, 3
	scores, err := RMIA{}.Scores([]Likelihood{{0.8, []float64{0.4}}, {0.9, []float64{0.1}}, {0.1, []float64{0.9}}}, population)
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{2. / 3, 1, 0}; !slices.Equal(scores, want) {
		t.Errorf("got %v, want %v", scores, want)
	}
	if _, err := (RMIA{}).Scores([]Likelihood{{0.8, nil}}, population); err == nil {
		t.Error("no reference: no error")
	}
	offline, err := RMIA{Offline: true, A: 0.3}.ratios([]Likelihood{{0.5, []float64{0.2}}})
	if err != nil || math.Abs(offline[0]-0.5/((1.3*0.2+0.7)/2)) > 1e-15 {
		t.Errorf("offline ratio %v (%v)", offline, err)
	}
}

func TestCompetition(t *testing.T) {
	same := Trials{[]float64{0, 1, 2, 3, 4, 5, 6, 7}, []float64{0, 1, 2, 3, 4, 5, 6, 7}}
	apart := Trials{[]float64{0, 1, 2, 3}, []float64{10, 11, 12, 13}}
	if e := Epsilon(same); e > 1.95 { // ln 7: the best single threshold on equal samples
		t.Errorf("equal samples: ε %v", e)
	}
	if e := Epsilon(apart); e != competitionCap {
		t.Errorf("samples apart: ε %v", e)
	}
	gold := NewAccuracies(0, 90, 80)
	rng := testRand()
	near, err := CompetitionScore(trials(rng, 50, 64, 0), gold, gold)
	if err != nil {
		t.Fatal(err)
	}
	far, err := CompetitionScore(trials(rng, 50, 64, 6), gold, gold)
	if err != nil || !(near > 0.05 && near > 4*far) {
		t.Errorf("scores %v near, %v far (%v)", near, far, err)
	}
	worse, err := CompetitionScore(trials(testRand(), 50, 64, 0), NewAccuracies(0, 45, 80), gold)
	if full, _ := CompetitionScore(trials(testRand(), 50, 64, 0), gold, gold); err != nil || math.Abs(worse-full/2) > 1e-12 {
		t.Errorf("half the accuracy: %v of %v (%v)", worse, full, err)
	}
	if _, err := CompetitionScore(trials(rng, 1, 4, 0), gold, Accuracies{}); err == nil {
		t.Error("gold without accuracy: no error")
	}
}
