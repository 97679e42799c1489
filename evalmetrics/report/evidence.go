package report

import (
	"fmt"
	"slices"
	"strings"
)

// curves are the ROC curves of the attack on the rows that matter most, in a
// square of 100 by 100 with the origin below on the left.
type curves struct {
	ID, Title, Desc string
	Lines           []curveLine
}

// A curveLine is a polyline.
type curveLine struct{ Class, Label, Points string }

type attackView struct {
	Label, Class                 string
	AUC, AUCRange, TPR, TPRRange string
}

// mostPoints is the largest number of corners of a drawn curve.
const mostPoints = 200

// newCurves draws the attack on the first row, the answer and gold, and lists
// it for all rows.
func newCurves(id string, rows []Row) (*curves, []attackView) {
	c := &curves{ID: id + "-attack", Title: "Attack on the forgotten samples: ROC curves"}
	var list []attackView
	var words []string
	gold := slices.IndexFunc(rows, isGold)
	for i, r := range rows {
		a := r.Attack
		if a == nil {
			continue
		}
		list = append(list, attackView{
			Label: r.Label, Class: rowClass(r.Role),
			AUC: ratio(a.AUC), AUCRange: a.AUCRange.text(ratio),
			TPR: number("%.1f %%", 100*a.TPR), TPRRange: Range{100 * a.TPRRange.Low, 100 * a.TPRRange.High}.text(percent),
		})
		words = append(words, fmt.Sprintf("%s: area %s", r.Label, ratio(a.AUC)))
		if points := polyline(a.Curve); points != "" && (i == 0 || i == gold || r.Role == Answer) {
			c.Lines = append(c.Lines, curveLine{rowClass(r.Role), r.Label, points})
		}
	}
	c.Desc = strings.Join(words, "; ")
	if len(c.Lines) == 0 {
		c = nil
	}
	return c, list
}

// polyline writes a curve as points, thinned out where it has many.
func polyline(curve []Point) string {
	step := max(1, (len(curve)+mostPoints-1)/mostPoints)
	var out []string
	for i, p := range curve {
		if i%step != 0 && i != len(curve)-1 {
			continue
		}
		if !finite(p.FPR) || !finite(p.TPR) {
			return ""
		}
		out = append(out, fmt.Sprintf("%.2f,%.2f", 100*min(1, max(0, p.FPR)), 100-100*min(1, max(0, p.TPR))))
	}
	return strings.Join(out, " ")
}

type boundView struct {
	Distance string
	Layers   []marginView
	Vacuous  bool // all of it
}

type marginView struct {
	Name, Distance, Flips, MostFlips, IoU, LeastIoU, Chance string
	Vacuous                                                 bool
}

func newBounds(bounds []Bound) []boundView {
	var out []boundView
	for _, b := range bounds {
		v := boundView{Distance: b.Distance, Vacuous: len(b.Layers) > 0}
		for _, m := range b.Layers {
			v.Vacuous = v.Vacuous && m.Vacuous
			v.Layers = append(v.Layers, marginView{
				Name: m.Name, Distance: number("%.4g", m.Distance),
				Flips: fmt.Sprintf("%s of %s", count(m.Flips), count(m.Kept)), MostFlips: count(m.MostFlips),
				IoU: ratio(m.IoU), LeastIoU: ratio(m.LeastIoU), Chance: ratio(m.Chance), Vacuous: m.Vacuous,
			})
		}
		out = append(out, v)
	}
	return out
}

// mostMasks is the largest number of layers whose masks are drawn in a report,
// pageMap the extent of their pictures.
const (
	mostMasks = 12
	pageMap   = 128
)

// newMaskViews draws the masks that changed, the largest layers if there are
// many, and counts the others.
func newMaskViews(pairs []MaskPair) (views []maskView, unseen int, err error) {
	order := make([]int, len(pairs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return pairs[b].Before.Len() - pairs[a].Before.Len() })
	order = order[:min(len(order), mostMasks)]
	slices.Sort(order)
	for _, i := range order {
		v, err := newMaskView(pairs[i], pageMap)
		if err != nil {
			return nil, 0, err
		}
		views = append(views, v)
	}
	return views, len(pairs) - len(order), nil
}
