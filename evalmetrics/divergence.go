package evalmetrics

import (
	"fmt"
	"math"
)

// tiny is added inside both logarithms (Unified-Unlearning,
// evaluation/js_div.py).
const tiny = 1e-20

// Softmax turns logits [samples, classes] into probabilities in float64.
func Softmax[T float32 | float64](logits []T, classes int) []float64 {
	p := make([]float64, len(logits))
	for start := 0; start+classes <= len(logits); start += classes {
		softmaxRow(logits[start:start+classes], p[start:start+classes])
	}
	return p
}

func softmaxRow[T float32 | float64](logits []T, p []float64) {
	top := math.Inf(-1)
	for _, z := range logits {
		top = max(top, float64(z))
	}
	sum := 0.0
	for i, z := range logits {
		p[i] = math.Exp(float64(z) - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
}

// KL is the Kullback-Leibler divergence KL(gold‖model): the mean over samples
// of Σ_c p (ln(p+1e-20) - ln(q+1e-20)), p gold's probabilities, q the model's,
// both [samples, classes]. 0 and up, in nats; lower is closer.
func KL(gold, model []float64, classes int) (float64, error) {
	return meanRows(gold, model, classes, klRow)
}

// KLSamples is the divergence of every sample, the mean of which is KL.
func KLSamples(gold, model []float64, classes int) ([]float64, error) {
	if err := checkRows(gold, model, classes); err != nil {
		return nil, err
	}
	var out []float64
	for i := 0; i < len(gold); i += classes {
		out = append(out, klRow(gold[i:i+classes], model[i:i+classes]))
	}
	return out, nil
}

// JS is the Jensen-Shannon divergence: the mean over samples of (KL(p‖m) +
// KL(q‖m))/2 with m = (p+q)/2. 0 to ln 2, symmetric; lower is closer.
func JS(gold, model []float64, classes int) (float64, error) {
	mid := make([]float64, classes)
	return meanRows(gold, model, classes, func(p, q []float64) float64 {
		for c := range mid {
			mid[c] = (p[c] + q[c]) / 2
		}
		return (klRow(p, mid) + klRow(q, mid)) / 2
	})
}

func klRow(p, q []float64) float64 {
	sum := 0.0
	for c := range p {
		sum += float64(p[c] * (math.Log(p[c]+tiny) - math.Log(q[c]+tiny)))
	}
	return sum
}

func meanRows(p, q []float64, classes int, f func(p, q []float64) float64) (float64, error) {
	if err := checkRows(p, q, classes); err != nil {
		return 0, err
	}
	sum := 0.0
	for i := 0; i < len(p); i += classes {
		sum += f(p[i:i+classes], q[i:i+classes])
	}
	return sum / float64(len(p)/classes), nil
}

func checkRows(p, q []float64, classes int) error {
	if classes <= 0 || len(p) == 0 || len(p)%classes != 0 || len(p) != len(q) {
		return fmt.Errorf("evalmetrics: outputs of %d and %d values for %d classes: want equally many samples", len(p), len(q), classes)
	}
	return nil
}
