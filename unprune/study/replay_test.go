package study_test

import (
	"testing"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// TestReplay makes an original whose data order is known and asserts that
// replay comes nearer to the gold of the same order than an independent gold
// does, and than the control that forgets other samples.
func TestReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: trains several networks")
	}
	p, _ := lenet300(t, "class:0")
	p.Order = &unprune.Order{Seed: 0, Name: "original"}
	ctx := t.Context()
	must := func(r *unprune.Result, err error) *unprune.Result {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	original := must(p.Retrain(ctx, data.Complement(p.Train.Len(), nil), p.Order.Name))
	p.Original, p.Dense = *original, original.Dense
	gold := must(p.Counterfactual(ctx))
	other := must(p.Retrain(ctx, p.Retain, "gold"))
	early, err := p.EarlyWeights(ctx, p.ShortEpochs())
	if err != nil {
		t.Fatal(err)
	}
	replayed := must(p.Replay(ctx, unprune.Replay{MaskOnly: true}))
	again := must(p.Replay(ctx, unprune.Replay{MaskOnly: true, Early: early}))
	extra := must(p.Replay(ctx, unprune.Replay{MaskOnly: true, Extra: 0.5}))
	drop := evalmetrics.Stratified(data.Stream(1, "test", "control"), p.Train.Y, len(p.Forget))
	control := must(p.Replay(ctx, unprune.Replay{MaskOnly: true, Drop: drop}))
	controlExtra := must(p.Replay(ctx, unprune.Replay{MaskOnly: true, Drop: drop, Extra: 0.5}))
	blend := must(p.Rescore(ctx, unprune.Blend{MaskOnly: true}))
	iou := func(m *sparsity.Masks) float64 {
		layers, err := evalmetrics.Overlaps(m, gold.Masks)
		if err != nil {
			t.Fatal(err)
		}
		return evalmetrics.TotalOverlap(layers).IoU()
	}
	t.Logf("IoU to the gold of the same order: original %.3f, independent gold %.3f, blend %.3f, replay %.3f (control %.3f), with extra %.3f (control %.3f)",
		iou(original.Masks), iou(other.Masks), iou(blend.Masks), iou(replayed.Masks), iou(control.Masks), iou(extra.Masks), iou(controlExtra.Masks))
	for name, m := range again.Masks.All() {
		if !m.Equal(replayed.Masks.Get(name)) {
			t.Errorf("%s: the mask depends on whether the early weights were kept", name)
		}
	}
	if r := iou(replayed.Masks); r < iou(other.Masks)+0.03 || r < iou(control.Masks)+0.03 || r < iou(original.Masks)+0.03 {
		t.Error("replay is not clearly nearest")
	}
}

func TestReplayNeeds(t *testing.T) {
	p, _ := lenet300(t, "class:0")
	if _, err := p.Replay(t.Context(), unprune.Replay{}); err == nil {
		t.Error("no order: no error")
	}
	p.Order = &unprune.Order{}
	p.Recipe.Rounds = 3
	if _, err := p.Replay(t.Context(), unprune.Replay{}); err == nil {
		t.Error("iterative pruning: no error")
	}
	p.Dense = nil
	if _, err := p.Replay(t.Context(), unprune.Replay{}); err == nil {
		t.Error("no dense weights: no error")
	}
	p.Order = nil
	if _, err := p.Counterfactual(t.Context()); err == nil {
		t.Error("no order: no error")
	}
}
