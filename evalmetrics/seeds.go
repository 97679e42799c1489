package evalmetrics

import (
	"math"

	"gonum.org/v1/gonum/stat"
)

// Summary describes a figure over several seeds.
type Summary struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"` // sample standard deviation (n-1); 0 for a single seed
}

// Summarize takes one value per seed.
func Summarize(values []float64) Summary {
	switch len(values) {
	case 0:
		return Summary{Mean: math.NaN(), SD: math.NaN()}
	case 1:
		return Summary{N: 1, Mean: values[0]}
	}
	mean, sd := stat.MeanStdDev(values, nil)
	return Summary{N: len(values), Mean: mean, SD: sd}
}
