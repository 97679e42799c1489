package unlearn_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/unlearn"
)

// TestInfluenceSolves checks F·k = v for the step k that the method takes.
func TestInfluenceSolves(t *testing.T) {
	for _, u := range []unlearn.Influence{
		{Alpha: 0.5, N: 10, Damping: 0.1, Memory: 20},
		{Alpha: 1, N: 64, Damping: 2, Batch: 4, Memory: 16},
	} {
		b := setUp(t, filepath.Join("../testdata/golden", "woodfisher_cnn"), true)
		w := b.engine.Weights()
		gradient := func(rows []int) unprune.Vector {
			g, err := b.engine.Gradient(t.Context(), unprune.Term{Data: b.task.Data, Index: rows, Weight: 1, Eval: true})
			if err != nil {
				t.Fatal(err)
			}
			return w.Flatten(g)
		}
		v := gradient(b.task.Forget)
		v.Axpy(-1, gradient(b.task.Retain))
		v.Scale(float64(len(b.task.Forget)) / float64(len(b.task.Forget)+len(b.task.Retain)))
		var gs []unprune.Vector
		for _, index := range unprune.Batches(b.task.Retain, max(1, u.Batch))[:u.Memory] {
			gs = append(gs, gradient(index))
		}
		k := w.Vector()
		if err := b.run(t, u); err != nil {
			t.Fatal(err)
		}
		k.Axpy(-1, w.Vector())
		k.Scale(-1 / u.Alpha)
		product := append(unprune.Vector(nil), k...)
		product.Scale(u.Damping)
		for _, g := range gs {
			product.Axpy(g.Dot(k)/float64(u.N), g)
		}
		product.Axpy(-1, v)
		if d := product.Norm(); !(d <= 1e-8*v.Norm()) || math.IsNaN(d) {
			t.Errorf("%+v: F·k is off v by %.2g of %.2g", u, d, v.Norm())
		}
	}
}
