package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// view is what the page's template sees: the report with numbers in words and
// pictures laid out.
type view struct {
	Report
	Networks []networkView
	Files    []fileView
}

type networkView struct {
	Network
	ID         string
	Rows       []rowView
	Sure       bool // some figure has an interval
	Overlap    *chart
	Layers     []layerView
	Identical  []string // rows left out of Layers, in words
	Forget     *chart
	Cost       *chart
	Spread     *chart
	Histograms []histogram
	Curves     *curves
	Attacks    []attackView
	Masks      []maskView
	Unseen     int // masks that are not drawn
	Bounds     []boundView
}

// A rowView is a row of the table.
type rowView struct {
	Label, Class, Tag                                        string
	IoU, KLTest, KLForget, UA, RA, TA, Passes, Cost, Seconds string
	KLTestRange, KLForgetRange, UARange, TARange             string
}

// A layerView is one layer's picture.
type layerView struct {
	Name, Kept string
	Chart      *chart
}

type fileView struct {
	File
	AbsErr, RelErr string
}

func newView(r Report) (view, error) {
	v := view{Report: r}
	v.Verdict = slices.Clone(r.Verdict)
	for i := range v.Verdict {
		f := &v.Verdict[i]
		f.Answer, f.Detail = unbroken(f.Answer), unbroken(f.Detail)
	}
	for i, n := range r.Networks {
		network, err := newNetworkView(fmt.Sprintf("network-%d", i), n)
		if err != nil {
			return v, err
		}
		v.Networks = append(v.Networks, network)
	}
	for _, f := range r.Files {
		v.Files = append(v.Files, fileView{File: f, AbsErr: difference(f.AbsErr), RelErr: difference(f.RelErr)})
	}
	return v, nil
}

// unbroken keeps a figure and its percent sign on one line.
func unbroken(text string) string { return strings.ReplaceAll(text, " %", "\u00a0%") }

func newNetworkView(id string, n Network) (v networkView, err error) {
	rows := slices.Clone(n.Rows)
	for i := range rows {
		if rows[i].Label == "" {
			rows[i].Label = rows[i].Name
		}
	}
	v = networkView{Network: n, ID: id}
	budget := goldPasses(rows)
	first := slices.IndexFunc(rows, isGold)
	for i, r := range rows {
		view := newRowView(r, budget)
		if r.Role == Gold && i > first {
			view.Tag = "noise ceiling"
		}
		v.Rows = append(v.Rows, view)
		v.Sure = v.Sure || view.KLForgetRange != ""
	}
	v.Overlap = overlapChart(id, rows)
	v.Layers, v.Identical = newLayers(id, rows)
	v.Forget = divergenceChart(id, rows)
	v.Cost = costChart(id, rows, budget)
	v.Spread = spreadChart(id, rows)
	v.Histograms = newHistograms(id, rows)
	v.Curves, v.Attacks = newCurves(id, rows)
	v.Bounds = newBounds(n.Bounds)
	v.Masks, v.Unseen, err = newMaskViews(n.Masks)
	return v, err
}

// goldPasses is what the gold standard cost, NaN if there is none.
func goldPasses(rows []Row) float64 {
	i := slices.IndexFunc(rows, isGold)
	if i < 0 || !(rows[i].Passes > 0) {
		return math.NaN()
	}
	return rows[i].Passes
}

func isGold(r Row) bool { return r.Role == Gold }

func newRowView(r Row, budget float64) rowView {
	v := rowView{
		Label: r.Label, Class: rowClass(r.Role),
		IoU: ratio(r.IoU), KLTest: nats(r.KLTest), KLForget: nats(r.KLForget),
		UA: percent(r.UA), RA: percent(r.RA), TA: percent(r.TA),
		Passes: passes(r.Passes), Cost: number("%.0f %%", 100*r.Passes/budget), Seconds: duration(r.Seconds),
		KLTestRange: r.KLTestRange.text(nats), KLForgetRange: r.KLForgetRange.text(nats),
		UARange: r.UARange.text(percent), TARange: r.TARange.text(percent),
	}
	switch r.Role {
	case Answer:
		v.Tag = "the answer"
	case Gold:
		v.Tag = "reference"
	}
	return v
}

// text is the interval in brackets; nothing if there is none.
func (r Range) text(format func(float64) string) string {
	if r == (Range{}) || !finite(r.Low) || !finite(r.High) {
		return ""
	}
	return "[" + format(r.Low) + ", " + format(r.High) + "]"
}

// overlapChart shows how much of gold's mask each row has, beside the most that
// can be hoped for: what other golds have. Gold itself is left out.
func overlapChart(id string, rows []Row) *chart {
	first := slices.IndexFunc(rows, isGold)
	if first < 0 {
		return nil
	}
	ceiling, top := math.NaN(), 0.0
	for i, r := range rows {
		if i == first || !finite(r.IoU) {
			continue
		}
		top = max(top, r.IoU)
		if r.Role == Gold && !(ceiling > r.IoU) {
			ceiling = r.IoU
		}
	}
	if top == 0 {
		return nil
	}
	s := linear(top)
	c := newChart(id+"-overlap", "Overlap (IoU) of the kept weights with gold's")
	for i, r := range rows {
		if i != first {
			c.add(s, r, r.IoU, ceiling, ratio(r.IoU))
		}
	}
	return c.finish(s)
}

// costChart shows what each row spent, in passes over the retained data.
func costChart(id string, rows []Row, budget float64) *chart {
	top := 0.0
	for _, r := range rows {
		if finite(r.Passes) {
			top = max(top, r.Passes)
		}
	}
	if top == 0 {
		return nil
	}
	s := linear(top)
	c := newChart(id+"-cost", "Training passes over the retained data and their share of gold's")
	for _, r := range rows {
		value := passes(r.Passes)
		if finite(budget) && finite(r.Passes) && r.Role != Gold {
			value += fmt.Sprintf(" · %.0f %%", 100*r.Passes/budget)
		}
		c.add(s, r, r.Passes, math.NaN(), value)
	}
	return c.finish(s)
}

// divergenceChart shows how far each row's answers on the forgotten samples are
// from gold's. The gold standard itself has no place on a logarithmic scale.
func divergenceChart(id string, rows []Row) *chart {
	var values []float64
	for _, r := range rows {
		if r.KLForget > 0 && finite(r.KLForget) {
			values = append(values, r.KLForget)
		}
	}
	if len(values) == 0 {
		return nil
	}
	s := logarithmic(values)
	c := newChart(id+"-forget", "Divergence from gold on the forgotten samples")
	for _, r := range rows {
		c.add(s, r, r.KLForget, math.NaN(), nats(r.KLForget))
		if r.KLForgetRange != (Range{}) {
			c.line(s, r.KLForgetRange.Low, r.KLForgetRange.High)
		}
	}
	return c.finish(s)
}

// spreadChart shows the middle half of the forgotten samples' divergences as a
// bar, the middle 90 % as a line, the median as a mark. What is next to nothing
// is drawn at the edge.
func spreadChart(id string, rows []Row) *chart {
	const least = 1e-5
	var values []float64
	for _, r := range rows {
		if len(r.Spread) == 5 && r.Spread[4] > least {
			values = append(values, max(least, r.Spread[0]), r.Spread[4])
		}
	}
	if len(values) == 0 {
		return nil
	}
	s := logarithmic(values)
	c := newChart(id+"-spread", "Divergence from gold of single forgotten samples")
	for _, r := range rows {
		if len(r.Spread) != 5 || !(r.Spread[4] > least) {
			continue
		}
		at := func(i int) float64 { return max(least, r.Spread[i]) }
		c.add(s, r, at(3), at(2), fmt.Sprintf("%s (%s to %s)", nats(r.Spread[2]), nats(r.Spread[0]), nats(r.Spread[4])))
		c.from(s, at(1))
		c.line(s, at(0), at(4))
	}
	return c.finish(s)
}

// newLayers draws one picture per layer. Gold, which agrees with itself, is
// left out, and so is a row whose overlaps are all those of an earlier row, as
// of one that kept its mask. The second result names those.
func newLayers(id string, rows []Row) (layers []layerView, identical []string) {
	var shown []Row
	first := slices.IndexFunc(rows, isGold)
	for i, r := range rows {
		if i == first || len(r.Layers) == 0 {
			continue
		}
		same := slices.IndexFunc(shown, func(s Row) bool { return slices.Equal(s.Layers, r.Layers) })
		if same >= 0 {
			identical = append(identical, fmt.Sprintf("%s overlaps exactly as “%s”", r.Label, shown[same].Label))
			continue
		}
		shown = append(shown, r)
	}
	if len(shown) == 0 {
		return nil, nil
	}
	top := 0.0
	for _, r := range shown {
		for _, l := range r.Layers {
			if finite(l.IoU) {
				top = max(top, l.IoU)
			}
		}
	}
	s := linear(top)
	for i, l := range shown[0].Layers {
		layers = append(layers, newLayerView(fmt.Sprintf("%s-layer-%d", id, i), l, shown, s))
	}
	return layers, identical
}

// newLayerView draws the layer that is called like l. Rows that lack it are
// left out.
func newLayerView(id string, l Layer, rows []Row, s scale) layerView {
	v := layerView{Name: l.Name}
	if l.Total > 0 {
		v.Kept = fmt.Sprintf("%s of %s weights kept", count(l.Kept), count(l.Total))
	}
	c := newChart(id, "Overlap with gold in layer "+l.Name)
	for _, r := range rows {
		i := slices.IndexFunc(r.Layers, func(m Layer) bool { return m.Name == l.Name })
		if i >= 0 {
			c.add(s, r, r.Layers[i].IoU, r.Layers[i].Chance, ratio(r.Layers[i].IoU))
		}
	}
	v.Chart = c.finish(s)
	return v
}
