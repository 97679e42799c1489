package unlearn

import (
	"context"
	"math"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

// SSD, selective synaptic dampening, shrinks the parameters that matter more
// for the forgotten data than for all of it; no training, eval mode (Foster et
// al. 2024, selective-synaptic-dampening ssd.py). With the importances
//
//	I_S = (1/#batches) Σ_b (gradient of the batch-mean loss)²
//
// of S = D_f and of the whole D,
//
//	where I_f > Alpha·I_D:  θ ← θ·min((Lambda·I_D/I_f)^Exponent, Bound)
//
// Importances fall with the batch size. Defaults: alpha 10, lambda 1, exponent
// 1, bound 1, batches of 128. Batch sizes are options of the method: it takes no
// optimizer steps, so the task's do not apply.
type SSD struct {
	Alpha       float64 // selection weighting; 0: 10
	Lambda      float64 // dampening constant; 0: 1
	Exponent    float64 // 0: 1
	Bound       float64 // 0: 1
	Batch       int     // of all data; 0: 128
	ForgetBatch int     // 0: as Batch
	RetainOnly  bool    // compare with D_r in place of D
}

// Name is "ssd".
func (SSD) Name() string { return "ssd" }

// Needs both sets.
func (SSD) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

// Unlearn dampens.
func (u SSD) Unlearn(ctx context.Context, t *unprune.Task) error {
	batch := or(u.Batch, 128)
	forget, err := importance(ctx, t, u.Name(), t.Forget, or(u.ForgetBatch, batch))
	if err != nil {
		return err
	}
	rows := append(append([]int{}, t.Retain...), t.Forget...)
	if u.RetainOnly {
		rows = t.Retain
	}
	all, err := importance(ctx, t, u.Name(), rows, batch)
	if err != nil {
		return err
	}
	alpha, lambda, exponent, bound := or(u.Alpha, 10), or(u.Lambda, 1), or(u.Exponent, 1), or(u.Bound, 1)
	v, chosen := t.Engine.Weights().Vector(), 0
	for i, f := range forget {
		if f > alpha*all[i] {
			v[i] *= min(math.Pow(lambda*all[i]/f, exponent), bound)
			chosen++
		}
	}
	if chosen == 0 {
		t.Warn("ssd: no parameter matters %g times more for the forgotten data than for all of it, so nothing changed; lower alpha", alpha)
	}
	return settle(t, u.Name(), v)
}

// importance is the mean over batches of rows of the squared gradient of the
// batch-mean loss, eval mode.
func importance(ctx context.Context, t *unprune.Task, name string, rows []int, batch int) (unprune.Vector, error) {
	w := t.Engine.Weights()
	sum, parts := make(unprune.Vector, w.Params()), w.Parts()
	batches := unprune.Batches(rows, batch)
	for i, index := range batches {
		grads, err := t.Engine.Gradient(ctx, unprune.Term{Data: t.Data, Index: index, Weight: 1, Eval: true})
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			addSquares(p.Of(sum), grads[p.Name])
		}
		t.Report(name, i+1, len(batches))
	}
	sum.Scale(1 / float64(len(batches)))
	return sum, nil
}

// addSquares adds the squares of a gradient, nil for none.
func addSquares(sum unprune.Vector, g *onnx.Tensor) {
	switch {
	case g == nil:
	case g.DType == onnx.Float64:
		for i, x := range onnx.Of[float64](g) {
			sum[i] += float64(x * x)
		}
	default:
		for i, x := range onnx.Of[float32](g) {
			sum[i] += float64(x) * float64(x)
		}
	}
}

// Info describes SSD.
func (u *SSD) Info() Info {
	return Info{
		About:  "shrink the parameters that matter more for the forgotten data than for all of it",
		Good:   "no training, two passes; alpha and lambda must be scanned, with a look at the accuracy",
		Cost:   "n_f + n training samples",
		Source: "Foster et al. 2024; selective-synaptic-dampening ssd.py",
		Options: []Option{
			number("alpha", &u.Alpha, 10, "how many times more a parameter must matter for the forgotten data"),
			number("lambda", &u.Lambda, 1, "strength of the dampening; smaller is stronger"),
			number("exponent", &u.Exponent, 1, "power of the ratio of importances"),
			number("bound", &u.Bound, 1, "largest factor"),
			integer("batch", &u.Batch, 128, "batch of the importance of all data"),
			integer("forget-batch", &u.ForgetBatch, 0, "batch of the importance of forgotten data; 0: as batch"),
			flag("retain-only", &u.RetainOnly, "compare with the retained data instead of all"),
		},
	}
}
