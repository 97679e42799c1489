package evalmetrics

import "fmt"

// Argmax is the index of the largest value; among equal values the lowest
// index. It is -1 if a value is NaN or there is none.
func Argmax[T float32 | float64](values []T) int {
	best := -1
	for i, v := range values {
		if v != v {
			return -1
		}
		if best < 0 || v > values[best] {
			best = i
		}
	}
	return best
}

// Accuracy is the share of samples, in percent (0 to 100), whose largest
// output is that of their label. outputs is [len(labels), classes], logits or
// probabilities. A sample with NaN among its outputs counts as wrong.
func Accuracy[T float32 | float64](outputs []T, labels []int64) (float64, error) {
	classes, err := columns(len(outputs), len(labels))
	if err != nil {
		return 0, err
	}
	right := 0
	for i, label := range labels {
		if int64(Argmax(outputs[i*classes:(i+1)*classes])) == label {
			right++
		}
	}
	return 100 * float64(right) / float64(len(labels)), nil
}

// columns is the number of outputs per sample.
func columns(values, samples int) (int, error) {
	if samples == 0 {
		return 0, fmt.Errorf("evalmetrics: no samples")
	}
	if values == 0 || values%samples != 0 {
		return 0, fmt.Errorf("evalmetrics: %d outputs do not divide among %d samples", values, samples)
	}
	return values / samples, nil
}

// Accuracies are those of one model, in percent. "UA" in the literature means
// either of the first two: Unlearn-Sparse and SalUn report the error, the
// un-pruning paper the accuracy.
type Accuracies struct {
	Forget  float64 `json:"forget_acc"` // on the forget set; should match gold's, near 0 for a deleted class
	UAError float64 `json:"ua_error"`   // 100 - Forget
	Retain  float64 `json:"ra"`         // on the retain set; higher is better
	Test    float64 `json:"ta"`         // on the test set; higher is better
}

// NewAccuracies derives the error on the forget set.
func NewAccuracies(forget, retain, test float64) Accuracies {
	return Accuracies{Forget: forget, UAError: 100 - forget, Retain: retain, Test: test}
}
