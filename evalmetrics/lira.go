package evalmetrics

import (
	"fmt"
	"math"
	"slices"
)

// LogOdds is φ = ln p_y - ln(1-p_y) of every sample, computed from logits
// [len(labels), classes] as z_y - ln Σ_{c≠y} exp z_c: what likelihood-ratio
// attacks and KLoM look at.
func LogOdds[T float32 | float64](logits []T, labels []int64) ([]float64, error) {
	classes, err := columns(len(logits), len(labels))
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(labels))
	for i, y := range labels {
		if y < 0 || y >= int64(classes) || classes < 2 {
			return nil, fmt.Errorf("evalmetrics: sample %d has label %d; the model has classes 0 to %d", i, y, classes-1)
		}
		z := logits[i*classes : (i+1)*classes]
		top := math.Inf(-1)
		for c, v := range z {
			if int64(c) != y {
				top = max(top, float64(v))
			}
		}
		sum := 0.0
		for c, v := range z {
			if int64(c) != y {
				sum += math.Exp(float64(v) - top)
			}
		}
		out[i] = float64(z[y]) - top - math.Log(sum)
	}
	return out, nil
}

// Trials are one sample's log odds under several models: Unlearned, models
// trained with it that then forgot it, and Retrained, models that never saw
// it.
type Trials struct {
	Unlearned, Retrained []float64
}

func checkTrials(trials []Trials) error {
	if len(trials) == 0 {
		return fmt.Errorf("evalmetrics: no sample to attack")
	}
	for i, t := range trials {
		if len(t.Unlearned) < 3 || len(t.Retrained) < 3 {
			return fmt.Errorf("evalmetrics: sample %d was seen under %d unlearned and %d retrained models: want three of each at least", i, len(t.Unlearned), len(t.Retrained))
		}
		for _, v := range slices.Concat(t.Unlearned, t.Retrained) {
			if v-v != 0 {
				return fmt.Errorf("evalmetrics: sample %d has the log odds %v: a model's outputs are not finite", i, v)
			}
		}
	}
	return nil
}

// A ULiRAResult is what the likelihood-ratio attack reaches.
type ULiRAResult struct {
	Sample []float64 // balanced accuracy per sample, 0 to 1; 0.5 is perfect unlearning
	Mean   float64   // of Sample
	Upper  float64   // its 90 % quantile: the samples that are worst forgotten
	Ratios []Trials  // log likelihood ratios, unlearned to retrained, of the log odds at their places
	ROC    *ROC      // of all log ratios, unlearned models positive
}

// fewModels is the number of models below which a standard deviation per
// sample is too noisy; that of all samples together is then used. minSD is the
// smallest standard deviation.
const (
	fewModels = 16
	minSD     = 1e-3
)

// ULiRA is the attack of Hayes et al. 2024 (arXiv 2403.01218): per sample, fit
// a normal distribution to the log odds under unlearned and under retrained
// models, and call a model that was left out unlearned if that is the likelier
// origin of its log odds.
func ULiRA(trials []Trials) (ULiRAResult, error) {
	if err := checkTrials(trials); err != nil {
		return ULiRAResult{}, err
	}
	sdU := sharedSD(trials, func(t Trials) []float64 { return t.Unlearned })
	sdR := sharedSD(trials, func(t Trials) []float64 { return t.Retrained })
	r := ULiRAResult{}
	var unlearned, retrained []float64
	for _, t := range trials {
		u, v := logRatios(t, sdU, sdR)
		r.Sample = append(r.Sample, (above(u)+1-above(v))/2)
		r.Ratios = append(r.Ratios, Trials{u, v})
		unlearned, retrained = append(unlearned, u...), append(retrained, v...)
	}
	r.Mean = Summarize(r.Sample).Mean
	r.Upper = Quantile(slices.Sorted(slices.Values(r.Sample)), 0.9)
	var err error
	r.ROC, err = NewROC(unlearned, retrained)
	return r, err
}

// above is the share of values above 0, those equal to 0 counted half.
func above(values []float64) float64 {
	n := 0.0
	for _, v := range values {
		switch {
		case v > 0:
			n++
		case v == 0:
			n += 0.5
		}
	}
	return n / float64(len(values))
}

// logRatios is the log likelihood ratio (unlearned to retrained) of each
// model, the distributions fitted without it.
func logRatios(t Trials, sdU, sdR float64) (unlearned, retrained []float64) {
	allU, allR := fit(t.Unlearned, -1, sdU), fit(t.Retrained, -1, sdR)
	for i, v := range t.Unlearned {
		unlearned = append(unlearned, fit(t.Unlearned, i, sdU).logDensity(v)-allR.logDensity(v))
	}
	for i, v := range t.Retrained {
		retrained = append(retrained, allU.logDensity(v)-fit(t.Retrained, i, sdR).logDensity(v))
	}
	return unlearned, retrained
}

// A normal distribution.
type normal struct{ mean, sd float64 }

func (n normal) logDensity(v float64) float64 {
	z := (v - n.mean) / n.sd
	return -z*z/2 - math.Log(n.sd)
}

// fit is the normal distribution of values without the one at index without
// (-1: of all). A shared standard deviation other than 0 replaces their own.
func fit(values []float64, without int, shared float64) normal {
	sum, count := 0.0, 0.0
	for i, v := range values {
		if i != without {
			sum, count = sum+v, count+1
		}
	}
	n := normal{sum / count, shared}
	if shared == 0 {
		squares := 0.0
		for i, v := range values {
			if i != without {
				squares += float64((v - n.mean) * (v - n.mean))
			}
		}
		n.sd = math.Sqrt(squares / (count - 1))
	}
	n.sd = max(n.sd, minSD)
	return n
}

// sharedSD is the standard deviation of all samples about their means, if
// there are few models, else 0.
func sharedSD(trials []Trials, of func(Trials) []float64) float64 {
	squares, freedom, least := 0.0, 0, fewModels
	for _, t := range trials {
		values := of(t)
		least = min(least, len(values))
		mean := Summarize(values).Mean
		for _, v := range values {
			squares += float64((v - mean) * (v - mean))
		}
		freedom += len(values) - 1
	}
	if least >= fewModels {
		return 0
	}
	return max(minSD, math.Sqrt(squares/float64(freedom)))
}

// KLoM is, per sample, the divergence KL(retrained‖unlearned) of the
// distributions of log odds (Georgiev et al. 2024), in nats; 0 and up, lower is
// closer. With bins of 0 both are taken as normal; otherwise as histograms of
// so many equal bins over their common range, half a count added to each bin.
func KLoM(trials []Trials, bins int) ([]float64, error) {
	if err := checkTrials(trials); err != nil {
		return nil, err
	}
	out := make([]float64, len(trials))
	for i, t := range trials {
		if bins > 0 {
			out[i] = histogramKL(t.Retrained, t.Unlearned, bins)
		} else {
			out[i] = normalKL(fit(t.Retrained, -1, 0), fit(t.Unlearned, -1, 0))
		}
	}
	return out, nil
}

func normalKL(p, q normal) float64 {
	d := p.mean - q.mean
	return math.Log(q.sd/p.sd) + (p.sd*p.sd+d*d)/(2*q.sd*q.sd) - 0.5
}

func histogramKL(p, q []float64, bins int) float64 {
	lo, hi := min(slices.Min(p), slices.Min(q)), max(slices.Max(p), slices.Max(q))
	if lo == hi {
		return 0
	}
	shares := func(values []float64) []float64 {
		s := make([]float64, bins)
		total := float64(len(values)) + float64(bins)/2
		for i := range s {
			s[i] = 0.5 / total
		}
		for _, v := range values {
			s[min(bins-1, int(float64(bins)*(v-lo)/(hi-lo)))] += 1 / total
		}
		return s
	}
	a, b := shares(p), shares(q)
	return klRow(a, b)
}
