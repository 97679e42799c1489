package report

import "fmt"

// A histogram shows how sure a network is of its answers on the forgotten
// samples: upright columns over equal bins of the largest probability.
type histogram struct {
	ID, Title, Desc string
	Label, Class    string
	Columns         []column
}

// A column's lengths are percentages of the picture.
type column struct{ X, Y, Width, Height string }

// newHistograms draws the rows' histograms on one scale, the share of samples
// in the fullest bin of all.
func newHistograms(prefix string, rows []Row) []histogram {
	top := 0.0
	for _, r := range rows {
		for _, s := range shares(r.Confidence) {
			top = max(top, s)
		}
	}
	if top == 0 {
		return nil
	}
	var out []histogram
	for _, r := range rows {
		bins := shares(r.Confidence)
		if len(bins) == 0 {
			continue
		}
		h := histogram{
			ID: fmt.Sprintf("%s-confidence-%d", prefix, len(out)), Label: r.Label, Class: rowClass(r.Role),
			Title: "Confidence on the forgotten samples: " + r.Label,
			Desc:  describeBins(bins),
		}
		width := 1 / float64(len(bins))
		for i, s := range bins {
			h.Columns = append(h.Columns, column{
				X: share((float64(i) + 0.06) * width), Width: share(0.88 * width),
				Y: share(1 - s/top), Height: share(s / top),
			})
		}
		out = append(out, h)
	}
	return out
}

// shares divides counts by their sum; nothing if there is no sample.
func shares(counts []int) []float64 {
	total := 0
	for _, n := range counts {
		total += max(0, n)
	}
	if total == 0 {
		return nil
	}
	out := make([]float64, len(counts))
	for i, n := range counts {
		out[i] = float64(max(0, n)) / float64(total)
	}
	return out
}

func describeBins(bins []float64) string {
	sure := 0.0
	for _, s := range bins[len(bins)*9/10:] {
		sure += s
	}
	return fmt.Sprintf("%.0f %% of the samples get a class with a probability in the highest tenth.", 100*sure)
}
