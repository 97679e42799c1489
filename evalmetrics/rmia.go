package evalmetrics

import (
	"fmt"
	"slices"
)

// RMIA is the attack of Zarifzadeh et al. 2024 that works with a single
// reference model: a sample is likely a member if the model raises its
// probability over the reference's more than it does that of other samples.
type RMIA struct {
	Gamma float64 // 0: 2

	// Offline says that no reference model was trained on the samples under
	// attack; their probability averaged over models with and without is then
	// ½((1+A) p_out + (1-A)).
	Offline bool
	A       float64 // 0: 0.3
}

// A Likelihood is what models give to the label of one sample.
type Likelihood struct {
	Model      float64   // p_y under the model attacked
	References []float64 // under models trained without knowledge of the attack, one to four
}

// Likelihoods pairs a model's outputs with those of reference models on the
// same samples.
func Likelihoods(model Outputs, references ...Outputs) ([]Likelihood, error) {
	out := make([]Likelihood, model.Len())
	for i, y := range model.Labels {
		out[i].Model = model.Row(i)[y]
		for _, r := range references {
			if r.Len() != model.Len() || r.Labels[i] != y || int(y) >= r.Classes() {
				return nil, fmt.Errorf("evalmetrics: a reference model was run on other samples")
			}
			out[i].References = append(out[i].References, r.Row(i)[y])
		}
	}
	return out, nil
}

// Scores is, per sample, the share of population samples z whose ratio
// p(z)/p̄(z) the sample's own ratio exceeds Gamma-fold. 0 to 1; higher: rather
// a member. Feed them to NewROC.
func (r RMIA) Scores(samples, population []Likelihood) ([]float64, error) {
	if r.Gamma == 0 {
		r.Gamma = 2
	}
	if r.A == 0 {
		r.A = 0.3
	}
	if len(samples) == 0 || len(population) == 0 {
		return nil, fmt.Errorf("evalmetrics: RMIA needs samples to attack and a population to compare with")
	}
	z, err := r.ratios(population)
	if err != nil {
		return nil, err
	}
	x, err := r.ratios(samples)
	if err != nil {
		return nil, err
	}
	slices.Sort(z)
	for i, v := range x {
		n, _ := slices.BinarySearchFunc(z, v, func(z, v float64) int {
			if v >= r.Gamma*z {
				return -1
			}
			return 1
		})
		x[i] = float64(n) / float64(len(z))
	}
	return x, nil
}

func (r RMIA) ratios(samples []Likelihood) ([]float64, error) {
	out := make([]float64, len(samples))
	for i, s := range samples {
		if len(s.References) == 0 {
			return nil, fmt.Errorf("evalmetrics: RMIA needs a reference model")
		}
		mean := Summarize(s.References).Mean
		if r.Offline {
			mean = ((1+r.A)*mean + (1 - r.A)) / 2
		}
		out[i] = max(s.Model, logFloor) / max(mean, logFloor)
	}
	return out, nil
}
