package cli

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/evalmetrics/report"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/study"
)

func tone(good bool) report.Tone {
	if good {
		return report.Good
	}
	return report.Caution
}

// The four questions that a report answers first.
const (
	askForgotten = "Was it forgotten?"
	askNear      = "How near to retraining?"
	askCost      = "At what cost?"
	askSure      = "How sure is that?"
)

// findings answers what a reader asks first.
func findings(t *study.Table) []report.Finding {
	return []report.Finding{forgotten(t), nearness(t), cost(t), certainty(t)}
}

// visible is how many times the divergence of two retrained networks the
// original's must be for there to be anything to forget.
const visible = 2

// forgotten compares what is left of the original's divergence from gold on the
// deleted samples with what two golds differ by.
func forgotten(t *study.Table) report.Finding {
	before, now, gold, ceiling := t.Row(study.Original), t.Row(study.Unpruned), t.Row(study.Gold), t.Row(study.Gold2)
	f := report.Finding{Question: askForgotten}
	if before.KLForget < visible*ceiling.KLForget {
		f.Answer, f.Tone = "Nothing to be seen", report.Caution
		f.Detail = fmt.Sprintf("Even the original answers on the deleted samples much as retrained networks do (divergence %.3f; two of them differ by %.3f), so forgetting cannot be shown. Recognised now: %.1f %%, retrained: %.1f %%.",
			before.KLForget, ceiling.KLForget, now.UA, gold.UA)
		return f
	}
	gone := min(1, (before.KLForget-now.KLForget)/(before.KLForget-ceiling.KLForget))
	near := math.Abs(now.UA-gold.UA) < 5
	switch {
	case gone >= 0.9 && near:
		f.Answer, f.Tone = "Yes", report.Good
	case gone >= 0.5:
		f.Answer, f.Tone = "Largely", report.Caution
	default:
		f.Answer, f.Tone = "No", report.Bad
	}
	f.Detail = fmt.Sprintf("%.1f %% of the deleted samples are recognised; before %.1f %%, retrained %.1f %%. Of the divergence from the retrained network on them %.0f %% is gone.", now.UA, before.UA, gold.UA, math.Floor(100*gone))
	return f
}

// nearness compares the mask's overlap with gold's with that of a second gold.
func nearness(t *study.Table) report.Finding {
	before, now, ceiling := t.Row(study.Original), t.Row(study.Unpruned), t.Row(study.Gold2)
	recovered := (now.IoU - before.IoU) / (ceiling.IoU - before.IoU)
	f := report.Finding{
		Question: askNear, Answer: fmt.Sprintf("Mask overlap %.2f of %.2f", now.IoU, ceiling.IoU),
		Detail: fmt.Sprintf("Two retrainings share %.2f, the original %.2f. Test outputs diverge by %.3f nats, those of a second retraining by %.3f.", ceiling.IoU, before.IoU, now.KLTest, ceiling.KLTest),
		Tone:   tone(now.IoU >= ceiling.IoU || recovered >= 0.5),
	}
	if t.Diagnostics.BelowSeedNoise {
		f.Tone = report.Caution
		f.Detail += " That overlap says nothing about forgetting here."
	}
	return f
}

func cost(t *study.Table) report.Finding {
	now, gold := t.Row(study.Unpruned), t.Row(study.Gold)
	return report.Finding{
		Question: askCost, Answer: fmt.Sprintf("%.0f %% of retraining", 100*now.Passes/gold.Passes),
		Detail: fmt.Sprintf("%.1f of %.1f passes over the kept data, %.3g of %.3g s. Test accuracy on kept classes %.1f %%, retrained %.1f %%.", now.Passes, gold.Passes, now.Seconds, gold.Seconds, now.TA, gold.TA),
		Tone:   tone(now.Passes < gold.Passes/2 && now.TA > gold.TA-1),
	}
}

// certainty sets the trace of the deletion against seed noise, and what
// rescoring gained against what it gains with nothing forgotten.
func certainty(t *study.Table) report.Finding {
	d := t.Diagnostics
	f := report.Finding{
		Question: askSure, Answer: "Above seed noise", Tone: report.Good,
		Detail: fmt.Sprintf("The deletion moves masks %.3f further apart than another data order (spread %.3f); forgetting adds %+.3f to what denoising gains.", d.Trace, d.Noise, d.Forgetting),
	}
	switch {
	case d.BelowSeedNoise:
		f.Answer, f.Tone = "Below seed noise", report.Caution
		f.Detail = fmt.Sprintf("The deletion leaves no trace in the mask (%+.3f) beyond what another data order does (%.3f).", d.Trace, d.Noise)
	case d.Forgetting <= 0:
		f.Answer, f.Tone = "No more than denoising", report.Caution
	}
	if now, gold := attackOn(t, study.Unpruned), attackOn(t, study.Gold); now != nil && gold != nil {
		f.Detail += fmt.Sprintf(" Attack on the deleted samples: area %.2f [%.2f, %.2f], retrained %.2f.", now.AUC, now.AUCInterval.Low, now.AUCInterval.High, gold.AUC)
	}
	f.Detail += " One run each."
	return f
}

func attackOn(t *study.Table, row string) *study.Curve {
	if e := t.Row(row).Evidence; e != nil {
		return e.Attack
	}
	return nil
}

// findingsAlone answers as far as that is possible without a gold standard.
func findingsAlone(rows *judgedRows, moved *maskDiffs, recipe unprune.Recipe) []report.Finding {
	before, after := rows.Rows[0], rows.Rows[1]
	return []report.Finding{
		{
			Question: askForgotten, Answer: fmt.Sprintf("%.1f %% recognised", *after.UA),
			Detail: fmt.Sprintf("Of the deleted samples; the original recognises %.1f %%. What a retrained network would is not known.", *before.UA),
		},
		{
			Question: askNear, Answer: "Not measured", Tone: report.Caution,
			Detail: fmt.Sprintf("With --gold the run retrains and compares. %.0f %% of the kept weights were exchanged (overlap with the original %.2f).", 100*float64(moved.Total.Dropped)/float64(max(1, moved.Total.KeptA)), after.IoU),
		},
		{
			Question: askCost, Answer: fmt.Sprintf("%.1f of %d passes", after.Passes, recipe.Passes()),
			Detail: fmt.Sprintf("Training passes over the kept data; retraining takes %d. Accuracy on the kept samples is %.1f %%, before %.1f %%.", recipe.Passes(), after.RA, before.RA),
			Tone:   tone(after.Passes < float64(recipe.Passes())/2),
		},
		{
			Question: askSure, Answer: "Unknown", Tone: report.Caution,
			Detail: "Signal can be told from seed noise only beside retrained networks (--gold).",
		},
	}
}

// filesFinding says whether what was written is what was computed.
func filesFinding(files []written) report.Finding {
	f := report.Finding{Question: "Do the files hold it?"}
	for _, w := range files {
		if w.check == nil || !w.check.OK {
			f.Answer, f.Tone, f.Detail = "Not verified", report.Caution, "See the list of files."
			return f
		}
	}
	f.Answer, f.Tone = "Verified", report.Good
	f.Detail = "ONNX Runtime computes the same outputs, and the zeros are those of the masks."
	return f
}
