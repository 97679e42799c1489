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

// ShareInterval is the 95 % interval of a share of which hits of n samples are
// an example, by the score method (Wilson, J. Am. Stat. Assoc. 22, 1927): it
// has a length even where all or none are hits. Of no samples it is [0, 1].
func ShareInterval(hits, n int) Interval {
	if n == 0 {
		return Interval{0, 1}
	}
	const z = 1.959963984540054 // of the normal distribution, two-sided
	p, m := float64(hits)/float64(n), float64(n)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Interval{max(0, centre-half), min(1, centre+half)}
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
