package study_test

import (
	"slices"
	"testing"

	"github.com/unprune/unprune/unprune/study"
)

// TestComparison runs the published set-up on LeNet-300-100 with two classes
// deleted and asserts the orderings that make the tool worth having.
func TestComparison(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: trains a dozen networks")
	}
	p, test := lenet300(t, "class:0+1")
	c := &study.Comparison{Test: test, Problem: p}
	table, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table.Rows {
		t.Logf("%-16s IoU %.3f  KL test %.3f forget %.3f  UA %.1f RA %.1f TA %.1f  passes %.1f  %.1fs",
			row.Name, row.IoU, row.KLTest, row.KLForget, row.UA, row.RA, row.TA, row.Passes, row.Seconds)
	}
	t.Logf("%+v", table.Diagnostics)
	iou := func(name string) float64 { return table.Row(name).IoU }
	if !slices.IsSorted([]float64{iou(study.Paper), iou(study.Original), iou(study.Unpruned)}) {
		t.Error("want the IoU of un-pruned above the original's above the paper's rule")
	}
	if u, f := table.Row(study.Unpruned), table.Row(study.Fixed); u.KLForget > f.KLForget/2 || u.Passes > table.Row(study.Gold).Passes/2 {
		t.Errorf("un-pruned: KL on the forgotten data %.3f (fixed mask %.3f), passes %.1f", u.KLForget, f.KLForget, u.Passes)
	}
	for _, row := range table.Rows {
		e := row.Evidence
		if e.KLForget.Low > row.KLForget || e.KLForget.High < row.KLForget || e.UA.Low > row.UA || e.UA.High < row.UA || !slices.IsSorted(e.Spread) {
			t.Errorf("%s: intervals %+v do not cover %+v", row.Name, e, row)
		}
	}
	original, gold := table.Row(study.Original).Evidence.Attack, table.Row(study.Gold).Evidence.Attack
	if original.AUCInterval.Low <= 0.5 || gold.AUC >= original.AUC || len(gold.Points) < 3 {
		t.Errorf("the attack on the original reaches %+v, on gold %+v", original.AUCInterval, gold.AUCInterval)
	}
	if table.Diagnostics.BelowSeedNoise || table.Diagnostics.Contrast <= 0 {
		t.Errorf("two deleted classes must be visible in the mask: %+v", table.Diagnostics)
	}
}
