package unlearn

import (
	"context"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/unprune"
)

// A teacher holds a network's probabilities, softmax(logits/T), of some rows.
// Teachers are frozen and in inference mode, so that one pass suffices for all
// epochs.
type teacher struct {
	probabilities map[int][]float64
	temperature   float64
	classes       int
}

// newTeacher records what the network with other weights (nil: those of now)
// says of rows.
func newTeacher(ctx context.Context, t *unprune.Task, weights *unprune.Weights, rows []int, temperature float64) (*teacher, error) {
	x := &teacher{map[int][]float64{}, temperature, t.Engine.Classes()}
	return x, x.record(ctx, t, weights, rows)
}

// record adds rows to what the teacher knows.
func (x *teacher) record(ctx context.Context, t *unprune.Task, weights *unprune.Weights, rows []int) error {
	w := t.Engine.Weights()
	if weights != nil {
		now := w.Clone()
		defer func() { _ = w.Set(now) }() // of the same network
		if err := w.Set(weights); err != nil {
			return err
		}
	}
	z, err := t.Engine.Logits(ctx, t.Data, rows)
	if err != nil {
		return err
	}
	for i := range z {
		z[i] /= x.temperature
	}
	p := evalmetrics.Softmax(z, x.classes)
	for i, row := range rows {
		x.probabilities[row] = p[i*x.classes : (i+1)*x.classes]
	}
	return nil
}

// soft is the divergence from the teacher over a batch, scaled.
func (x *teacher) soft(index []int, weight float64) *unprune.Soft {
	targets := make([]float64, 0, len(index)*x.classes)
	for _, row := range index {
		targets = append(targets, x.probabilities[row]...)
	}
	return &unprune.Soft{Targets: targets, Temperature: x.temperature, Weight: weight}
}
