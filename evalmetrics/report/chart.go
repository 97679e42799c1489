package report

import (
	"fmt"
	"math"
	"strings"
)

// Charts are SVG without a view box: lengths along the x axis are percentages
// of whatever width the page gives, so that text keeps its size on every
// screen. Bars run from the left edge unless they show a range.

// A chart is a list of horizontal bars over one scale.
type chart struct {
	ID      string // of the element, unique in the page
	Title   string
	Desc    string // the values in words
	Height  int    // pixels
	Axis    int    // y where the scale begins
	Tip     int    // y where its marks end
	Bars    []bar
	Grid    []gridLine
	caption []string
}

// A bar has its label and its value on the line above it.
type bar struct {
	Y            int // top of the line
	Label, Value string
	Full         string // the label, uncut
	Class        string
	X, Width     string // percentages; no width: no bar
	Tick         string // percentage; empty: no tick
	Low, High    string // percentages, the ends of a line over the bar; empty: no line
}

// A gridLine is a mark of the scale.
type gridLine struct {
	X, Label string
	Anchor   string // which end of the label is at X
}

const (
	barPitch   = 36 // pixels from one bar to the next
	axisHeight = 20
)

// A scale maps values to shares of the width.
type scale struct {
	at    func(x float64) float64 // in [0, 1]; NaN where x has no place
	marks []float64
	mark  func(x float64) string
}

// linear is a scale from 0 to a round number that is at least top, within
// reason; 0 to 1 if top is nothing to go by.
func linear(top float64) scale {
	if !(top > 1e-9) {
		top = 1
	}
	top = min(top, 1e12)
	step := roundStep(top / 4)
	n := math.Ceil(top/step - 1e-9)
	s := scale{
		at:   func(x float64) float64 { return min(1, max(0, x/(n*step))) },
		mark: func(x float64) string { return fmt.Sprintf("%.3g", x) },
	}
	for i := 0.0; i <= n; i++ {
		s.marks = append(s.marks, i*step)
	}
	return s
}

// roundStep is the smallest of 1, 2, 2.5, 5 and 10 times a power of ten that is
// at least x.
func roundStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if x <= f*power*(1+1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// logarithmic is a scale of whole decades around the positive values, at most
// from a billionth to a billion; what is not positive has no place on it.
func logarithmic(values []float64) scale {
	low, high := math.Inf(1), math.Inf(-1)
	for _, x := range values {
		if x > 0 && finite(x) {
			low, high = min(low, x), max(high, x)
		}
	}
	if low > high {
		low, high = 0.1, 1
	}
	low, high = min(max(low, 1e-9), 1e8), min(max(high, 1e-8), 1e9)
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	if low <= math.Pow(10, from)*1.2 {
		from-- // a bar of the smallest value needs some length
	}
	s := scale{
		at: func(x float64) float64 {
			if !(x > 0) || !finite(x) {
				return math.NaN()
			}
			return min(1, max(0, (math.Log10(x)-from)/(to-from)))
		},
		mark: func(x float64) string { return fmt.Sprintf("%.4g", x) },
	}
	step := math.Ceil((to - from) / 6) // labels must not touch on a narrow screen
	for e := from; e <= to; e += step {
		s.marks = append(s.marks, math.Pow(10, e))
	}
	return s
}

// newChart makes an empty chart.
func newChart(id, title string) *chart { return &chart{ID: id, Title: title} }

// add appends a bar. A tick of NaN is none.
func (c *chart) add(s scale, r Row, x, tick float64, value string) {
	b := bar{
		Y: len(c.Bars) * barPitch, Label: short(r.Label), Full: r.Label, Value: value,
		Class: rowClass(r.Role), X: "0", Width: share(s.at(x)), Tick: share(s.at(tick)),
	}
	c.Bars = append(c.Bars, b)
	c.caption = append(c.caption, fmt.Sprintf("%s: %s", r.Label, value))
}

// from lets the last bar begin at x instead of at the edge.
func (c *chart) from(s scale, x float64) {
	b := &c.Bars[len(c.Bars)-1]
	start, end := s.at(x), 0.0
	if _, err := fmt.Sscanf(b.Width, "%f%%", &end); err != nil || math.IsNaN(start) {
		return
	}
	b.X, b.Width = share(start), share(max(0, end/100-start))
}

// line draws a line from low to high over the last bar.
func (c *chart) line(s scale, low, high float64) {
	b := &c.Bars[len(c.Bars)-1]
	b.Low, b.High = share(s.at(low)), share(s.at(high))
	if b.Low == "" || b.High == "" {
		b.Low, b.High = "", ""
	}
}

// finish draws the scale once all bars are there.
func (c *chart) finish(s scale) *chart {
	c.Axis = len(c.Bars) * barPitch
	c.Tip = c.Axis + 5
	c.Height = c.Axis + axisHeight
	c.Desc = strings.Join(c.caption, "; ")
	for i, x := range s.marks {
		g := gridLine{X: share(s.at(x)), Label: s.mark(x), Anchor: "middle"}
		switch i {
		case 0:
			g.Anchor = "start"
		case len(s.marks) - 1:
			g.Anchor = "end"
		}
		c.Grid = append(c.Grid, g)
	}
	return c
}

// share writes a share of the width as a percentage; NaN gives nothing.
func share(x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return fmt.Sprintf("%.2f%%", 100*x)
}

// rowClass is the style of what belongs to a row.
func rowClass(r Role) string {
	if r == Answer || r == Gold {
		return string(r)
	}
	return "plain"
}
