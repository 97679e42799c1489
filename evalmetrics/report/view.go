package report

import (
	"fmt"
	"math"
	"slices"
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
	Layers     []layerView
	Identical  []string // rows left out of Layers, in words
	Forget     *chart
	Cost       *chart
	Histograms []histogram
}

// A rowView is a row of the table.
type rowView struct {
	Label, Class, Tag                                        string
	IoU, KLTest, KLForget, UA, RA, TA, Passes, Cost, Seconds string
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

func newView(r Report) view {
	v := view{Report: r}
	for i, n := range r.Networks {
		v.Networks = append(v.Networks, newNetworkView(fmt.Sprintf("network-%d", i), n))
	}
	for _, f := range r.Files {
		v.Files = append(v.Files, fileView{File: f, AbsErr: difference(f.AbsErr), RelErr: difference(f.RelErr)})
	}
	return v
}

func newNetworkView(id string, n Network) networkView {
	rows := slices.Clone(n.Rows)
	for i := range rows {
		if rows[i].Label == "" {
			rows[i].Label = rows[i].Name
		}
	}
	v := networkView{Network: n, ID: id}
	budget := goldPasses(rows)
	for _, r := range rows {
		v.Rows = append(v.Rows, newRowView(r, budget))
	}
	v.Layers, v.Identical = newLayers(id, rows)
	v.Forget = divergenceChart(id, rows)
	v.Cost = costChart(id, rows, budget)
	v.Histograms = newHistograms(id, rows)
	return v
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
	}
	switch r.Role {
	case Answer:
		v.Tag = "the answer"
	case Gold:
		v.Tag = "reference"
	}
	return v
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
