package unprune_test

import (
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/unlearn"
)

// TestLoopKeepsThePattern un-prunes networks that were pruned in several
// patterns; what comes out follows the same pattern, with as many units in
// every group, though other ones.
func TestLoopKeepsThePattern(t *testing.T) {
	t.Setenv("GOLDEN_DIR", "")
	for _, c := range []struct {
		pruner string
		share  float64
	}{{"2:4", 0.5}, {"1:4", 0.75}, {"2:4/wanda", 0.5}, {"wanda", 0.5}, {"taylor", 0.5}, {"snip", 0.5}, {"grasp", 0.5}, {"filter-l2", 0.5}} {
		t.Run(c.pruner, func(t *testing.T) {
			p, err := sparsity.ByName(c.pruner)
			if err != nil {
				t.Fatal(err)
			}
			e := goldenEngine(t, "prune_snip_cnn", false)
			z := goldenArrays(t, "data.npz")
			d := &data.Dataset{X: z["cnn_x_retain"], Y: onnx.Of[int64](z["y_retain"]), Classes: e.Classes()}
			all := rows(d.Len())
			retain, forget := all[:48], all[48:]
			samples := unprune.Samples{Data: d, Rows: retain}
			theta0 := e.Weights().Clone()
			in, err := unprune.ScoreInput(t.Context(), e, p, e.Layers(), samples, nil)
			if err != nil {
				t.Fatal(err)
			}
			before, err := sparsity.PlanOf(p).Run(p, in, nil, c.share)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.SetMasks(before); err != nil {
				t.Fatal(err)
			}
			task := &unprune.Task{Engine: e, Data: d, Retain: retain, Forget: forget, Initial: theta0, Epochs: 1, Rate: 0.1, Batch: 16}
			after, err := unprune.Loop{Unlearner: unlearn.FineTune{}, Pruner: p, Rounds: 2}.Run(t.Context(), task, before)
			if err != nil {
				t.Fatal(err)
			}
			if after.Equal(before) {
				t.Error("nothing moved: the test shows nothing")
			}
			scores := sparsity.Unscored(p, e.Layers())
			want, got := sparsity.TargetOf(scores, p.Scope(), before), sparsity.TargetOf(scores, p.Scope(), after)
			for g := range want.Keep {
				if got.Keep[g] != want.Keep[g] {
					t.Fatalf("group %d keeps %d units, before %d", g, got.Keep[g], want.Keep[g])
				}
			}
			found, err := sparsity.Recognise(e.Layers())
			if err != nil {
				t.Fatal(err)
			}
			if err := found.Contradicts(e.Layers(), p); err != nil {
				t.Errorf("the zeros speak against the pruner: %v", err)
			}
		})
	}
}
