package evalmetrics

import (
	"fmt"
	"math"
	"slices"
)

// Outputs are a model's on one set of samples.
type Outputs struct {
	Prob   []float64 // [len(Labels), classes], rows sum to 1; see Softmax
	Labels []int64
}

// NewOutputs turns logits [len(labels), classes] into outputs.
func NewOutputs[T float32 | float64](logits []T, labels []int64) (Outputs, error) {
	classes, err := columns(len(logits), len(labels))
	if err != nil {
		return Outputs{}, err
	}
	for i, y := range labels {
		if y < 0 || y >= int64(classes) {
			return Outputs{}, fmt.Errorf("evalmetrics: sample %d has label %d; the model has classes 0 to %d", i, y, classes-1)
		}
	}
	return Outputs{Prob: Softmax(logits, classes), Labels: labels}, nil
}

// Len is the number of samples.
func (o Outputs) Len() int { return len(o.Labels) }

// Classes is the number of classes, 0 without samples.
func (o Outputs) Classes() int {
	if len(o.Labels) == 0 {
		return 0
	}
	return len(o.Prob) / len(o.Labels)
}

// Row is the probabilities of sample i.
func (o Outputs) Row(i int) []float64 {
	classes := o.Classes()
	return o.Prob[i*classes : (i+1)*classes]
}

// Select copies the samples with these indices.
func (o Outputs) Select(rows []int) Outputs {
	s := Outputs{}
	for _, i := range rows {
		s.Prob = append(s.Prob, o.Row(i)...)
		s.Labels = append(s.Labels, o.Labels[i])
	}
	return s
}

// A Feature is what a membership attack looks at.
type Feature string

// The five features of Unlearn-Sparse, evaluation/SVC_MIA.py.
const (
	Correctness Feature = "correctness" // 1 if the largest probability is the label's, else 0
	Confidence  Feature = "confidence"  // p_y
	Entropy     Feature = "entropy"     // -Σ_c p_c ln p_c
	MEntropy    Feature = "m_entropy"   // -(1-p_y) ln p_y - Σ_{c≠y} p_c ln(1-p_c)
	Prob        Feature = "prob"        // the vector p
)

// Features lists them in the order of the published tables.
var Features = []Feature{Correctness, Confidence, Entropy, MEntropy, Prob}

// logFloor keeps logarithms of zero finite.
const logFloor = 1e-30

func safeLog(p float64) float64 { return math.Log(max(p, logFloor)) }

// Points are the samples as an attack sees them: one row of Width numbers
// each.
type Points struct {
	Values []float64
	Width  int
}

// Len is the number of points.
func (p Points) Len() int { return len(p.Values) / p.Width }

// At is point i.
func (p Points) At(i int) []float64 { return p.Values[i*p.Width : (i+1)*p.Width] }

// Feature computes one feature of every sample. The modified entropy is the
// published formula (Song & Mittal 2021) unless coded asks for the one that
// its authors' code and the copies of it compute: an index slip there makes it
// independent of the label, -Σ_c (1-p_c) ln p_c over the classes that occur in
// the set and -Σ_c p_c ln p_c over those that do not.
func (o Outputs) Feature(f Feature, coded bool) (Points, error) {
	if f == Prob {
		return Points{slices.Clone(o.Prob), max(1, o.Classes())}, nil
	}
	var of func(p []float64, y int64) float64
	switch f {
	case Correctness:
		of = correctness
	case Confidence:
		of = func(p []float64, y int64) float64 { return p[y] }
	case Entropy:
		of = func(p []float64, _ int64) float64 { return entropy(p) }
	case MEntropy:
		of = modifiedEntropy
		if coded {
			of = o.codedEntropy()
		}
	default:
		return Points{}, fmt.Errorf("evalmetrics: feature %q: want one of %v", f, Features)
	}
	values := make([]float64, o.Len())
	for i, y := range o.Labels {
		values[i] = of(o.Row(i), y)
	}
	return Points{values, 1}, nil
}

func correctness(p []float64, y int64) float64 {
	if int64(Argmax(p)) == y {
		return 1
	}
	return 0
}

func entropy(p []float64) float64 {
	sum := 0.0
	for _, v := range p {
		sum -= float64(v * safeLog(v))
	}
	return sum
}

func modifiedEntropy(p []float64, y int64) float64 {
	sum := 0.0
	for c, v := range p {
		if int64(c) == y {
			sum -= float64((1 - v) * safeLog(v))
		} else {
			sum -= float64(v * safeLog(1-v))
		}
	}
	return sum
}

// codedEntropy is the modified entropy with the index slip.
func (o Outputs) codedEntropy() func(p []float64, _ int64) float64 {
	occurs := make([]bool, o.Classes())
	for _, y := range o.Labels {
		occurs[y] = true
	}
	return func(p []float64, _ int64) float64 {
		sum := 0.0
		for c, v := range p {
			factor := v
			if occurs[c] {
				factor = 1 - v
			}
			sum -= float64(factor * safeLog(v))
		}
		return sum
	}
}
