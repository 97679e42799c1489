package study

import (
	"context"
	"fmt"
	"html"
	"io"
	"math"
	"strings"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// Instability attacks fixed networks over and over with small changes of the
// attack: the claim of arXiv 2507.18725 is that the published membership
// attack varies more than what it is meant to show.
type Instability struct {
	Problem *unprune.Problem
	Test    *data.Dataset
	Shadows int // shadow members and non-members together; 0: 1000
	Draws   int // random shadow sets; 0: 20
	Golds   int // gold standards that differ in data order; 0: 3
}

// The ways in which the attack is varied.
const (
	VaryForget  = "size of the forget set"        // by 1 sample, 1, 5 and 10 %
	VaryRatio   = "shadow members to non-members" // 1:9 to 9:1
	VaryDraw    = "shadow draw"                   // first samples, and random ones
	VaryFeature = "feature"                       // all five
	VaryMachine = "C and gamma"                   // times and divided by 10
)

// Variations lists them; the claim is judged by the first three.
var Variations = []string{VaryForget, VaryRatio, VaryDraw, VaryFeature, VaryMachine}

// A Variant is one attack on one network.
type Variant struct {
	Name     string  `json:"name"`
	Efficacy float64 `json:"efficacy"`
	AUC      float64 `json:"auc"` // insensitive to where the machine's threshold lies
}

// An Attacked network and what every variant says of it.
type Attacked struct {
	Name     string               `json:"name"`
	Base     Variant              `json:"base"` // the attack as published, shadows drawn at random
	Variants map[string][]Variant `json:"variants"`
}

// Spread is the range of efficacy over the given variations.
func (a Attacked) Spread(variations ...string) (low, high float64) {
	low, high = a.Base.Efficacy, a.Base.Efficacy
	for _, v := range variations {
		for _, x := range a.Variants[v] {
			low, high = min(low, x.Efficacy), max(high, x.Efficacy)
		}
	}
	return low, high
}

// An Unsteadiness is the outcome.
type Unsteadiness struct {
	Networks []Attacked `json:"networks"`

	// Flips is, per variation, the share of pairs of networks whose order by
	// efficacy is not the same under all variants.
	Flips map[string]float64 `json:"flips"`

	// Spreads is, per variation alone, the median over networks of the range of
	// efficacy.
	Spreads map[string]float64 `json:"spreads"`

	Gap       float64 `json:"gap"`       // between the original's and the golds' mean efficacy, by the base attack
	Spread    float64 `json:"spread"`    // median over networks of the range that the first three variations span
	Supported bool    `json:"supported"` // the spread exceeds the gap
}

// Verdict says in two sentences what was found.
func (u *Unsteadiness) Verdict() string {
	parts := fmt.Sprintf("By the size of the forget set alone it varies by %.2f, by the ratio of shadows by %.2f, by the shadow draw by %.2f.",
		u.Spreads[VaryForget], u.Spreads[VaryRatio], u.Spreads[VaryDraw])
	if u.Supported {
		return fmt.Sprintf("Supported: on a fixed network the attack's efficacy varies by %.2f (median) with details of the attack, more than original and gold differ (%.2f). %s", u.Spread, u.Gap, parts)
	}
	return fmt.Sprintf("Not supported here: original and gold differ by %.2f in efficacy, no less than the %.2f (median) by which details of the attack move it on a fixed network. %s", u.Gap, u.Spread, parts)
}

// Run makes the networks (the original, golds, fixed mask, un-pruned) and
// attacks them.
func (i Instability) Run(ctx context.Context) (*Unsteadiness, error) {
	setDefault(&i.Shadows, 1000)
	setDefault(&i.Draws, 20)
	setDefault(&i.Golds, 3)
	u := &Unsteadiness{Flips: map[string]float64{}, Spreads: map[string]float64{}}
	networks, err := i.networks(ctx)
	if err != nil {
		return nil, err
	}
	for k, n := range networks {
		a, err := i.attacked(ctx, n.name, n.result)
		if err != nil {
			return nil, fmt.Errorf("study: attacks on %s: %w", n.name, err)
		}
		u.Networks = append(u.Networks, *a)
		if i.Problem.Progress != nil {
			i.Problem.Progress("attacks", k+1, len(networks))
		}
	}
	u.judge(i.Golds)
	return u, nil
}

func setDefault(x *int, v int) {
	if *x == 0 {
		*x = v
	}
}

type named struct {
	name   string
	result *unprune.Result
}

// networks makes what is attacked: the original first, then the golds.
func (i Instability) networks(ctx context.Context) ([]named, error) {
	p := i.Problem
	out := []named{{Original, &p.Original}}
	for g := range i.Golds {
		r, err := p.Retrain(ctx, p.Retain, fmt.Sprintf("gold %d", g+1))
		if err != nil {
			return nil, err
		}
		out = append(out, named{fmt.Sprintf("gold %d", g+1), r})
	}
	c := Comparison{Problem: p}
	c.Settings.defaults(p.Recipe)
	b := c.blend()
	fixed, err := p.FixedMask(ctx, b.Finish, b.Tune, c.Settings.FixedRate)
	if err != nil {
		return nil, err
	}
	unpruned, err := p.Rescore(ctx, b)
	if err != nil {
		return nil, err
	}
	return append(out, named{Fixed, fixed}, named{Unpruned, unpruned}), nil
}

// attacked varies the attack on one network.
func (i Instability) attacked(ctx context.Context, name string, r *unprune.Result) (*Attacked, error) {
	p := i.Problem
	if err := p.Load(r); err != nil {
		return nil, err
	}
	c := Comparison{Problem: p, Test: i.Test}
	retain, err := c.outputs(ctx, p.Train, p.Retain)
	if err != nil {
		return nil, err
	}
	test, err := c.outputs(ctx, i.Test, KeptRows(i.Test, p.Train, p.Forget, p.Retain))
	if err != nil {
		return nil, err
	}
	forget, err := c.outputs(ctx, p.Train, p.Forget)
	if err != nil {
		return nil, err
	}
	if half := i.Shadows / 2; 9*half/5 > min(retain.Len(), test.Len()) || half < 5 || forget.Len() < 20 {
		return nil, fmt.Errorf("%d shadow samples and %d forgotten ones do not suffice, or exceed the data", i.Shadows, forget.Len())
	}
	v := variation{retain: retain, test: test, forget: forget, seed: p.Seed, half: i.Shadows / 2}
	a := &Attacked{Name: name, Variants: map[string][]Variant{}}
	if a.Base, err = v.attack("base", evalmetrics.SVCAttack{}, 0, evalmetrics.Confidence); err != nil {
		return nil, err
	}
	for kind, list := range v.list(i.Draws) {
		for _, x := range list {
			got, err := v.attack(x.name, x.attack, x.draw, x.feature)
			if err != nil {
				return nil, err
			}
			a.Variants[kind] = append(a.Variants[kind], got)
		}
	}
	a.Variants[VaryForget], err = v.sizes()
	return a, err
}

// A variation is the outputs of one network, to be attacked in many ways.
type variation struct {
	retain, test, forget evalmetrics.Outputs
	seed                 uint64
	half                 int
}

type variant struct {
	name    string
	attack  evalmetrics.SVCAttack
	draw    int // which random shadow set; -1: the first samples
	feature evalmetrics.Feature
}

// list is all variants but those of the forget set's size.
func (v variation) list(draws int) map[string][]variant {
	out := map[string][]variant{}
	for m := 1; m <= 9; m++ {
		members := 2 * v.half * m / 10
		out[VaryRatio] = append(out[VaryRatio], variant{
			fmt.Sprintf("%d:%d", m, 10-m), evalmetrics.SVCAttack{Members: members, Others: 2*v.half - members}, 0, evalmetrics.Confidence,
		})
	}
	out[VaryDraw] = append(out[VaryDraw], variant{"first", evalmetrics.SVCAttack{}, -1, evalmetrics.Confidence})
	for d := 1; d <= draws; d++ {
		out[VaryDraw] = append(out[VaryDraw], variant{fmt.Sprintf("draw %d", d), evalmetrics.SVCAttack{}, d, evalmetrics.Confidence})
	}
	for _, f := range evalmetrics.Features {
		out[VaryFeature] = append(out[VaryFeature], variant{string(f), evalmetrics.SVCAttack{}, 0, f})
	}
	for _, factor := range []float64{0.1, 10} {
		out[VaryMachine] = append(out[VaryMachine],
			variant{fmt.Sprintf("C × %g", factor), evalmetrics.SVCAttack{SVC: evalmetrics.SVC{C: 3 * factor}}, 0, evalmetrics.Confidence},
			variant{fmt.Sprintf("γ × %g", factor), evalmetrics.SVCAttack{SVC: evalmetrics.SVC{Gamma: factor}}, 0, evalmetrics.Confidence})
	}
	return out
}

func (v variation) attack(name string, a evalmetrics.SVCAttack, draw int, f evalmetrics.Feature) (Variant, error) {
	r, err := v.result(a, draw, f)
	return Variant{name, r.Rate, r.AUC}, err
}

func (v variation) result(a evalmetrics.SVCAttack, draw int, f evalmetrics.Feature) (evalmetrics.SVCResult, error) {
	if a.Members == 0 {
		a.Members, a.Others = v.half, v.half
	}
	if draw >= 0 {
		a.Rand = data.Stream(v.seed, "instability", fmt.Sprintf("draw %d", draw))
	}
	return a.ForgetEfficacy(v.retain, v.test, v.forget, f)
}

// sizes judges forget sets a little smaller and larger than a base of 10/11 of
// the samples, nested, by the base attack's machine.
func (v variation) sizes() ([]Variant, error) {
	r, err := v.result(evalmetrics.SVCAttack{}, 0, evalmetrics.Confidence)
	if err != nil {
		return nil, err
	}
	order := data.Stream(v.seed, "instability", "forget").Perm(len(r.Decision))
	base := float64(len(order)) / 1.1
	var out []Variant
	add := func(name string, n int) {
		n = min(max(n, 1), len(order))
		unseen := 0
		for _, k := range order[:n] {
			if r.Decision[k] <= 0 {
				unseen++
			}
		}
		out = append(out, Variant{Name: name, Efficacy: float64(unseen) / float64(n), AUC: r.AUC})
	}
	for _, share := range []float64{0, 0.01, 0.05, 0.10} {
		step, text := int(math.Round(share*base)), fmt.Sprintf("%g %%", 100*share)
		if share == 0 {
			step, text = 1, "1 sample"
		}
		add("-"+text, int(base)-step)
		add("+"+text, int(base)+step)
	}
	return out, nil
}

// judge compares spread and gap and counts flips of order. The golds follow
// the original.
func (u *Unsteadiness) judge(golds int) {
	var goldEfficacy []float64
	for k, n := range u.Networks {
		if k >= 1 && k <= golds {
			goldEfficacy = append(goldEfficacy, n.Base.Efficacy)
		}
	}
	u.Gap = math.Abs(u.Networks[0].Base.Efficacy - evalmetrics.Summarize(goldEfficacy).Mean)
	u.Spread = u.spread(VaryForget, VaryRatio, VaryDraw)
	u.Supported = u.Spread > u.Gap
	for _, kind := range Variations {
		u.Spreads[kind] = u.spread(kind)
		flips, pairs := 0, 0
		for a := range u.Networks {
			for b := range a {
				pairs++
				if flipped(u.Networks[a].Variants[kind], u.Networks[b].Variants[kind]) {
					flips++
				}
			}
		}
		u.Flips[kind] = float64(flips) / float64(pairs)
	}
}

// spread is the median over networks of the range of efficacy.
func (u *Unsteadiness) spread(variations ...string) float64 {
	var spreads []float64
	for _, n := range u.Networks {
		low, high := n.Spread(variations...)
		spreads = append(spreads, high-low)
	}
	return evalmetrics.Median(spreads)
}

// flipped: neither is at least as high as the other under all variants.
func flipped(a, b []Variant) bool {
	above, below := false, false
	for k := range a {
		above = above || a[k].Efficacy > b[k].Efficacy
		below = below || a[k].Efficacy < b[k].Efficacy
	}
	return above && below
}

// SVG draws the range of efficacy per network and variation: a line from the
// lowest to the highest, a dot per variant.
func (u *Unsteadiness) SVG(w io.Writer) error {
	const left, width, row, gap = 300, 420, 16, 26
	var b strings.Builder
	height := 40 + len(u.Networks)*(len(Variations)*row+gap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" role="img">`+"\n", left+width+20, height)
	fmt.Fprintf(&b, "<title>Efficacy of the membership attack on fixed networks</title>\n<desc>%s</desc>\n", html.EscapeString(u.Verdict()))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	x := func(v float64) float64 { return left + v*width }
	for k := range 6 {
		v := float64(k) / 5
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="20" y2="%d" stroke="#ddd"/><text x="%.1f" y="14" text-anchor="middle" fill="#333">%.1f</text>`+"\n", x(v), x(v), height-10, x(v), v)
	}
	y := 34
	for _, n := range u.Networks {
		fmt.Fprintf(&b, `<text x="8" y="%d" font-weight="bold" fill="#111">%s</text>`+"\n", y, html.EscapeString(n.Name))
		for _, kind := range Variations {
			low, high := 1.0, 0.0
			for _, v := range n.Variants[kind] {
				low, high = min(low, v.Efficacy), max(high, v.Efficacy)
			}
			y += row
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#333">%s</text><line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#1f5fa8" stroke-width="2"/>`+"\n", left-12, y, html.EscapeString(kind), x(low), x(high), y-4, y-4)
			for _, v := range n.Variants[kind] {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="3" fill="#1f5fa8" fill-opacity="0.6"/>`+"\n", x(v.Efficacy), y-4)
			}
		}
		y += gap
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
