package data

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/unprune/unprune/onnx"
)

// Normalization maps every value v of channel c to (v - Mean[c]) / SD[c], in
// float32. The channel is the first axis of a sample; one mean and one standard deviation
// serve all channels. The zero value changes nothing.
type Normalization struct {
	Mean, SD []float64
}

// ParseNormalization reads "mean,sd", or the means of all channels followed by their standard
// deviations, as in "0.491,0.482,0.447,0.247,0.243,0.262". The empty text is
// the zero value.
func ParseNormalization(text string) (Normalization, error) {
	if text == "" {
		return Normalization{}, nil
	}
	var values []float64
	for field := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || v-v != 0 {
			return Normalization{}, fmt.Errorf("data: normalization %q: %q is not a number", text, field)
		}
		values = append(values, v)
	}
	half := len(values) / 2
	if len(values)%2 != 0 {
		return Normalization{}, fmt.Errorf("data: normalization %q: want as many standard deviations as means, as in mean,sd", text)
	}
	n := Normalization{Mean: values[:half], SD: values[half:]}
	return n, n.check()
}

// check reports what is wrong with the numbers.
func (n Normalization) check() error {
	if len(n.SD) != len(n.Mean) {
		return fmt.Errorf("data: normalization with %d means and %d standard deviations", len(n.Mean), len(n.SD))
	}
	for _, sd := range n.SD {
		if !(sd > 0) {
			return fmt.Errorf("data: normalization with a standard deviation of %v: it must be positive", sd)
		}
	}
	return nil
}

// Apply normalizes the dataset in place.
func (n Normalization) Apply(d *Dataset) error {
	channels := len(n.Mean)
	if channels == 0 {
		return nil
	}
	if err := n.check(); err != nil {
		return err
	}
	shape := d.SampleShape()
	if channels > 1 && shape[0] != channels {
		return fmt.Errorf("data: normalization for %d channels, but samples have shape %v", channels, shape)
	}
	x := onnx.Of[float32](d.X)
	block := len(x) / (d.Len() * channels) // values of one channel of one sample
	for i := 0; i < len(x); i += block {
		c := i / block % channels
		normalize(x[i:i+block], float32(n.Mean[c]), float32(n.SD[c]))
	}
	return nil
}

func normalize(x []float32, mean, sd float32) {
	for i, v := range x {
		x[i] = (v - mean) / sd
	}
}
