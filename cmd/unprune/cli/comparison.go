package cli

import (
	"fmt"
	"io"

	"github.com/unprune/unprune/unprune/study"
)

// writeComparison prints the table of a comparison and what it means.
func writeComparison(w io.Writer, t *study.Table) {
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "\tUA\tRA\tTA\tIoU\tKL test\tKL forget\tpasses\tseconds")
		for _, r := range t.Rows {
			fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\t%.1f\t%.1f\n", r.Name, r.UA, r.RA, r.TA, r.IoU, r.KLTest, r.KLForget, r.Passes, r.Seconds)
		}
	})
	if t.Diagnostics != nil {
		fmt.Fprintln(w)
		for _, line := range explain(t) {
			fmt.Fprintln(w, line)
		}
	}
}

// legend explains the columns of the table.
const legend = `UA, RA, TA: accuracy in percent on the forgotten, the kept and the test samples (of kept classes).
IoU: overlap of the mask with the gold standard's. KL: divergence of the outputs from the gold standard's, in nats.
passes: training passes over the kept data.`

// explain says in words what the diagnostics show.
func explain(t *study.Table) []string {
	d := t.Diagnostics
	lines := []string{
		"Un-pruning " + explainSwap(d.Unpruned) + ".",
		"The paper's rule " + explainSwap(d.Paper) + ".",
		fmt.Sprintf("Contrast: the un-pruned mask overlaps with gold by %+.3f more than with a run that saw everything (the original: %+.3f).", d.Contrast, d.ContrastOriginal),
		fmt.Sprintf("Control: the same rescoring with nothing forgotten reaches IoU %.3f; forgetting adds %+.3f to that.", d.Control, d.Forgetting),
	}
	if d.ClassRows != nil {
		lines = append(lines, fmt.Sprintf("In the output rows of the deleted classes the density, relative to the layer's, is %.2f in the original, %.2f un-pruned, %.2f in gold.",
			d.ClassRows[study.Original], d.ClassRows[study.Unpruned], d.ClassRows[study.Gold]))
	}
	if d.BelowSeedNoise {
		return append(lines, fmt.Sprintf("Verdict: below seed noise. What is deleted leaves no trace in the mask (%+.3f) beyond what another data order does (%.3f); the gain in IoU says nothing about forgetting.", d.Trace, d.Noise))
	}
	return append(lines, fmt.Sprintf("Verdict: above seed noise. Runs with and without the deleted data differ in their masks by %.3f more than runs on the same data (spread %.3f).", d.Trace, d.Noise))
}

func explainSwap(s study.Swap) string {
	if s.Share == 0 {
		return "left the mask as it was"
	}
	direction := "towards gold"
	if s.AddedInGold <= s.DroppedInGold {
		direction = "away from gold"
	}
	return fmt.Sprintf("exchanged %.0f %% of the mask and moved it %s: P(added in gold) = %.2f, P(dropped in gold) = %.2f", 100*s.Share, direction, s.AddedInGold, s.DroppedInGold)
}
