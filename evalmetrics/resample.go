package evalmetrics

import (
	"fmt"
	"math"
	"math/rand/v2"
)

var nan = math.NaN()

// MeanInterval is the 95 % percentile bootstrap interval of the mean of values
// (over seeds, say); of one value or none it is [NaN, NaN].
func MeanInterval(rng *rand.Rand, values []float64) Interval {
	if len(values) < 2 {
		return Interval{nan, nan}
	}
	means := make([]float64, Resamples)
	for k := range means {
		sum := 0.0
		for range values {
			sum += values[rng.IntN(len(values))]
		}
		means[k] = sum / float64(len(values))
	}
	return percentiles(means)
}

// A Paired compares two methods on the same seeds.
type Paired struct {
	Difference Summary  `json:"difference"` // of b minus a
	Interval   Interval `json:"interval"`   // of its mean, 95 % bootstrap over seeds
	Wins       int      `json:"wins"`       // seeds on which b exceeds a
}

// NewPaired compares values of the same seeds in the same order.
func NewPaired(rng *rand.Rand, a, b []float64) (Paired, error) {
	if len(a) != len(b) {
		return Paired{}, fmt.Errorf("evalmetrics: a paired comparison of %d and %d values", len(a), len(b))
	}
	d := make([]float64, len(a))
	p := Paired{}
	for i := range a {
		d[i] = b[i] - a[i]
		if d[i] > 0 {
			p.Wins++
		}
	}
	p.Difference, p.Interval = Summarize(d), MeanInterval(rng, d)
	return p, nil
}
