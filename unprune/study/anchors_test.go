package study_test

import (
	"context"
	"math"
	"testing"

	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/study"
)

// TestAnchors: retraining passes for itself, doing nothing does not, on a
// network that learns its few samples by heart.
func TestAnchors(t *testing.T) {
	n, err := tiny("")
	if err != nil {
		t.Fatal(err)
	}
	r := n.Recipe
	r.Batch, r.Epochs, r.Rate, r.Pruner, r.Sparsity = 16, 60, 0.1, sparsity.Magnitude{}, 0.3
	p := &unprune.Problem{
		Engine: n.Engine, Train: n.Train, Recipe: r, Theta0: n.Engine.Fresh(data.Stream(0, "test", "initial")),
		Forget: data.Complement(40, nil), Retain: data.Complement(n.Train.Len(), data.Complement(40, nil)),
	}
	retrain := func(ctx context.Context, p *unprune.Problem) (*unprune.Result, error) {
		return p.Retrain(ctx, p.Retain, "once more")
	}
	rows, err := study.Anchors{Problem: p, Test: n.Test, Models: 16, Method: retrain}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", rows)
	nothing, again := rows[0], rows[1]
	if again.ULiRA > 0.6 || nothing.ULiRA < again.ULiRA+0.1 || nothing.KLoM < 2*again.KLoM || nothing.Score > again.Score || nothing.RMIA < again.RMIA {
		t.Error("doing nothing is not told from retraining")
	}
	if again.Samples < 30 || math.IsNaN(again.TPR["0.01"]) {
		t.Errorf("%d samples, TPR %v", again.Samples, again.TPR)
	}
	if _, err := (study.Anchors{Problem: p, Test: n.Test, Models: 2, Method: retrain}).Run(t.Context()); err == nil {
		t.Error("two models: no error")
	}
}
