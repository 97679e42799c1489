package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// figures is a row without what is known of single samples.
func figures(name, label string, role Role, iou, klTest, klForget, ua, ra, ta, passes, seconds float64, layers []Layer, confidence []int) Row {
	return Row{
		Name: name, Label: label, Role: role, IoU: iou, KLTest: klTest, KLForget: klForget, UA: ua, RA: ra, TA: ta,
		Passes: passes, Seconds: seconds, Layers: layers, Confidence: confidence,
	}
}

// sample is a report with every part filled.
func sample() Report {
	layers := func(iou ...float64) []Layer {
		sizes := []int{235200, 30000, 1000}
		names := []string{"fc1.weight", "fc2.weight", "fc3.weight"}
		var out []Layer
		for i, x := range iou {
			out = append(out, Layer{Name: names[i], IoU: x, Chance: 0.0526, Kept: sizes[i] / 10, Total: sizes[i]})
		}
		return out
	}
	old := layers(.325, .372, .48)
	r := Report{
		Title:   "Deletion of class 0 and 1 from LeNet-300-100",
		Summary: "1,962 of 10,000 training images were to be forgotten by a network that keeps 10 % of its weights.",
		Verdict: []Finding{
			{"Was it forgotten?", "Yes", "The un-pruned network recognises 0.0 % of the deleted images, as the gold standard does.", Good},
			{"How near to retraining?", "IoU 0.422", "Two retrained networks that differ only in the order of the data agree to 0.435; before, it was 0.329.", Good},
			{"At what cost?", "43 % of retraining", "6.0 instead of 14.0 passes over the retained data, 1.9 s instead of 4.2 s.", Good},
			{"How sure is that?", "Above seed noise", "The deletion leaves a trace of 0.106 in the mask, three times what another order of the data does.", Caution},
		},
		Networks: []Network{{
			Name: "LeNet-300-100",
			Setting: []Item{
				{"Forget", "class:0+1 (1,962 images)"}, {"Retain", "8,038 images"}, {"Pruner", "magnitude, 90 % per layer"},
				{"Recipe", "SGD .05, momentum .9, decay 5e-4, batch 128, 10 + 4 epochs"}, {"Unlearner", "ft"}, {"Seed", "1"},
			},
			Rows: []Row{
				figures("original", "Original", Plain, .329, .061, 2.64, 86.7, 93.1, 85.9, 0, 0, old, []int{0, 0, 1, 9, 35, 80, 120, 160, 220, 1337}),
				figures("fixed", "Fixed mask", Plain, .329, .030, 1.58, 42, 93.5, 87, 4, 1.1, old, []int{0, 0, 12, 60, 160, 250, 280, 330, 370, 500}),
				figures("rewind", "Rewind .5, fixed mask", Plain, .329, .022, .094, 0, 93.2, 86.8, 4, 1.1, old, []int{0, 0, 32, 90, 190, 270, 300, 330, 350, 400}),
				figures("unpruned-paper", "Un-pruned by the paper's rule", Plain, .311, .031, .118, .2, 93, 86.9, 4, 1.2, layers(.31, .35, .45), []int{0, 0, 20, 80, 180, 260, 300, 330, 360, 432}),
				figures("unpruned", "Un-pruned", Answer, .422, .026, .045, 0, 93.4, 86.6, 6, 1.9, layers(.418, .462, .58), []int{0, 1, 42, 130, 230, 300, 310, 320, 310, 319}),
				figures("short-retrain", "Short retrain", Plain, .371, .034, .06, 0, 91.8, 86.1, 6, 1.8, layers(.365, .41, .52), []int{0, 1, 50, 140, 240, 300, 310, 310, 300, 311}),
				figures("gold", "Gold standard", Gold, 1, 0, 0, 0, 94.4, 86.9, 14, 4.2, layers(1, 1, 1), []int{0, 1, 40, 120, 220, 290, 310, 330, 320, 331}),
				figures("gold2", "Second gold", Gold, .435, .020, .035, 0, 94.2, 86.7, 14, 4.2, layers(.43, .474, .59), []int{0, 1, 41, 122, 222, 288, 311, 329, 319, 329}),
			},
			Diagnostics: []Diagnostic{
				{"Added weights that gold keeps", "47 %", "Of the weights that un-pruning brought back. A swap helps only if this exceeds the next figure."},
				{"Dropped weights that gold keeps", "21 %", "Of the weights that were given up for them."},
				{"Control for denoising", "0.345", "Overlap that the same rescoring reaches with a short run on all of the data: what is gained without forgetting anything."},
			},
		}},
		Files: []File{
			{"demo-out/unpruned.onnx", "the un-pruned network", strings.Repeat("9d0b866eb66cd49c", 4), "ONNX Runtime 1.32.0, mask holds", true, 3.8e-6, 1.2e-6},
			{"demo-out/gold.onnx", "the gold standard", strings.Repeat("78cb45a589ec1426", 4), "not verified: no ONNX Runtime", false, math.NaN(), math.NaN()},
		},
		Certificate: &Certificate{
			Statement: "Signed with Ed25519: this model came from that one without 1,962 samples.",
			Items:     []Item{{"Merkle root of the deleted samples", strings.Repeat("5e1fd00d", 8)}, {"Follows", strings.Repeat("c0ffee00", 8)}},
			Command:   "unprune certificate verify deletion.json --key deletion.pem.pub",
		},
		Command:    "unprune demo --forget class:0+1 --seed 1 --out demo-out",
		Provenance: []Item{{"Program", "unprune v0.1.0, go1.26, linux/amd64"}, {"Original model, SHA-256", strings.Repeat("ae04cd950ab21463", 4)}},
	}
	n := &r.Networks[0]
	for i := range n.Rows {
		row := &n.Rows[i]
		row.KLForgetRange, row.UARange = Range{.9 * row.KLForget, 1.2 * row.KLForget}, Range{row.UA, row.UA + .4}
		row.Spread = []float64{row.KLForget / 100, row.KLForget / 4, row.KLForget / 2, row.KLForget, 5 * row.KLForget}
		row.Attack = &Attack{.5 + row.KLForget/20, .01 + row.KLForget/50, Range{.48, .66}, Range{.004, .06}, []Point{{0, 0}, {.01, .02}, {.4, .5}, {1, 1}}}
	}
	n.Masks = []MaskPair{{"fc2.weight", maskWith([]int{0, 7, 9}, 30, 50), maskWith([]int{0, 8, 9}, 30, 50)}}
	n.Bounds = []Bound{{"At the measured distance of the weights.", []Margin{
		{"fc1.weight", 4.1, 23520, 21737, 2024, .842, .039, .053, true}, {"total", 4.3, 26620, 24787, 2342, .838, .36, .053, false},
	}}}
	return r
}

func render(t *testing.T, r Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elements parses a page strictly as XML, which the template keeps to, and
// returns the start tags.
func elements(t *testing.T, page string) []xml.StartElement {
	t.Helper()
	var out []xml.StartElement
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("page is not well formed: %v", err)
		}
		if start, ok := token.(xml.StartElement); ok {
			out = append(out, start.Copy())
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	i := slices.IndexFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == name })
	if i < 0 {
		return ""
	}
	return e.Attr[i].Value
}

// odd are reports that are easily drawn wrong.
func odd() map[string]Report {
	nan, inf := math.NaN(), math.Inf(1)
	network := func(rows ...Row) Report { return Report{Title: "t", Networks: []Network{{Name: "n", Rows: rows}}} }
	hostile := `<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{.Title}}`
	many := sample()
	many.Networks = append(many.Networks, many.Networks[0], many.Networks[0])
	evil := sample()
	evil.Title, evil.Summary, evil.Command = hostile, hostile, hostile
	evil.Verdict = []Finding{{hostile, hostile, hostile, Tone(hostile)}}
	evil.Networks[0].Name = hostile
	for i := range evil.Networks[0].Rows {
		r := &evil.Networks[0].Rows[i]
		r.Name, r.Label, r.Layers = hostile, hostile, []Layer{{Name: hostile, IoU: .5}}
	}
	evil.Networks[0].Diagnostics = []Diagnostic{{hostile, hostile, hostile}}
	evil.Files = []File{{Path: hostile, Content: hostile, SHA256: hostile, Verified: hostile}}
	return map[string]Report{
		"empty":        {},
		"no rows":      network(),
		"zero row":     network(Row{}),
		"nan row":      network(Row{Name: "a", IoU: nan, KLTest: nan, KLForget: nan, UA: nan, RA: nan, TA: nan, Passes: nan, Seconds: nan, Layers: []Layer{{"l", nan, nan, 0, 0}}, Confidence: []int{0, 0}, Spread: []float64{nan, nan, nan, nan, nan}, KLForgetRange: Range{nan, nan}, Attack: &Attack{AUC: nan, TPR: nan, AUCRange: Range{nan, nan}, Curve: []Point{{nan, nan}}}}),
		"inf row":      network(Row{Name: "a", Role: Gold, IoU: inf, KLForget: inf, Passes: inf, Seconds: inf, Layers: []Layer{{"l", inf, -inf, 1, 1}}, Spread: []float64{0, 0, 0, 0, inf}, KLForgetRange: Range{0, inf}, Attack: &Attack{AUC: inf, Curve: []Point{{inf, -inf}}}}),
		"negative":     network(Row{Name: "a", IoU: -1, KLForget: -1e-9, Passes: -2, Seconds: -1, Layers: []Layer{{"l", -1, -1, -1000, -1}}, Confidence: []int{-1, 3}, Spread: []float64{-1, -1, 0, 1, 2}, KLForgetRange: Range{-2, -1}, Attack: &Attack{AUC: -1, Curve: []Point{{-1, 2}, {3, -4}}}}),
		"tiny and big": network(Row{Name: "a", KLForget: 5e-324, Passes: 5e-324, Layers: []Layer{{Name: "l", IoU: 5e-324}}}, Row{Name: "b", KLForget: math.MaxFloat64, Passes: math.MaxFloat64, Seconds: 1e7}),
		"one bin":      network(Row{Name: "a", Confidence: []int{7}}),
		"free gold":    network(Row{Name: "g", Role: Gold}, Row{Name: "a", Role: Answer, Passes: 3}),
		"ragged": network(Row{Name: "a", Layers: []Layer{{Name: "l", IoU: .1}, {Name: "m", IoU: .2}}},
			Row{Name: "b", Layers: []Layer{{Name: "m", IoU: .3}}}),
		"hostile": evil,
		"sample":  sample(),
		"many":    many,
	}
}

var percentage = regexp.MustCompile(`^-?[0-9.]+%$`)

// TestWrite checks what must hold of every page.
func TestWrite(t *testing.T) {
	for name, r := range odd() {
		t.Run(name, func(t *testing.T) {
			page := render(t, r)
			for _, word := range []string{"NaN", "Inf", "ZgotmplZ", "%!", "<nil>"} {
				if strings.Contains(page, word) {
					t.Errorf("page contains %q", word)
				}
			}
			ids, wanted := map[string]bool{}, []string{}
			for _, e := range elements(t, page) {
				switch e.Name.Local {
				case "script", "iframe", "object", "embed", "link", "use", "image", "foreignObject", "a", "form", "base":
					t.Errorf("page has an element %s", e.Name.Local)
				}
				if id := attribute(e, "id"); id != "" {
					if ids[id] {
						t.Errorf("id %s twice", id)
					}
					ids[id] = true
				}
				wanted = append(wanted, strings.Fields(attribute(e, "aria-labelledby"))...)
				checkAttributes(t, e)
			}
			for _, id := range wanted {
				if !ids[id] {
					t.Errorf("label %s does not exist", id)
				}
			}
		})
	}
}

func checkAttributes(t *testing.T, e xml.StartElement) {
	t.Helper()
	if e.Name.Local == "img" {
		if attribute(e, "alt") == "" || !strings.HasPrefix(attribute(e, "src"), "data:image/png;base64,") {
			t.Error("an image has no description, or does not lie in the page")
		}
		return
	}
	checkPoints(t, attribute(e, "points"))
	for _, a := range e.Attr {
		name := a.Name.Local
		if name == "src" || name == "href" || name == "style" || strings.HasPrefix(name, "on") {
			t.Errorf("element %s has an attribute %s", e.Name.Local, name)
		}
		if !percentage.MatchString(a.Value) {
			continue
		}
		x, err := strconv.ParseFloat(strings.TrimSuffix(a.Value, "%"), 64)
		if err != nil || x < 0 || x > 100 {
			t.Errorf("%s %s=%q lies outside the picture", e.Name.Local, name, a.Value)
		}
	}
	if e.Name.Local == "svg" && attribute(e, "y") == "" {
		if attribute(e, "role") != "img" || attribute(e, "aria-labelledby") == "" {
			t.Error("a picture has no description")
		}
	}
}

// checkPoints wants the corners of a polyline inside its square.
func checkPoints(t *testing.T, points string) {
	t.Helper()
	for _, xy := range strings.FieldsFunc(points, func(r rune) bool { return r == ' ' || r == ',' }) {
		if x, err := strconv.ParseFloat(xy, 64); err != nil || x < 0 || x > 100 {
			t.Errorf("corner %q of a curve lies outside the picture", xy)
		}
	}
}

// TestContent looks for the figures and for the pictures that must be there.
func TestContent(t *testing.T) {
	page := render(t, sample())
	for _, want := range []string{
		`<html lang="en">`, "Was it forgotten?", "43\u00a0% of retraining",
		`<tr class="answer"><th scope="row">Un-pruned <span class="tag">the answer</span></th>`,
		`<td data-name="Mask IoU">0.422</td>`, `<td data-name="Passes">6.0 <small>43 %</small></td>`,
		"23,520 of 235,200 weights kept", "Rewind .5, fixed mask overlaps exactly as “Original”",
		"KL(gold‖answer)", `0.045 <small>[0.04`, "noise ceiling", "Where did the mask change?", "1 added, 1 dropped, 2 kept of 1500",
		`points="0.00,100.00 1.00,98.00 40.00,50.00 100.00,0.00"`, "2,024 of 23,520", "0.039 <small>vacuous</small>",
		"Merkle root of the deleted samples", "unprune certificate verify deletion.json", "Control for denoising", "3.8e-06", "not verified: no ONNX Runtime", "unprune demo --forget class:0&#43;1",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	pictures := strings.Count(page, `role="img"`)
	if want := 3 + 3 + 1 + 8 + 1; pictures != want { // overlap, divergence, cost; layers; spread; histograms; attack
		t.Errorf("%d pictures, want %d", pictures, want)
	}
}

// TestBars checks lengths against values: bars are in proportion, gold has no
// bar on the logarithmic scale, and a hundredfold divergence is two decades.
func TestBars(t *testing.T) {
	rows := []Row{
		{Label: "a", KLForget: .02, Passes: 3}, {Label: "b", KLForget: 2, Passes: 6},
		{Label: "g", Role: Gold, Passes: 12},
	}
	widths := func(c *chart) (out []float64) {
		for _, b := range c.Bars {
			x, err := strconv.ParseFloat(strings.TrimSuffix(b.Width, "%"), 64)
			if err != nil {
				x = math.NaN()
			}
			out = append(out, x)
		}
		return out
	}
	cost := widths(costChart("x", rows, goldPasses(rows)))
	if math.Abs(cost[1]-2*cost[0]) > .02 || math.Abs(cost[2]-4*cost[0]) > .02 {
		t.Errorf("cost bars %v are not as 1:2:4", cost)
	}
	forget := divergenceChart("x", rows)
	w, decades := widths(forget), float64(len(forget.Grid)-1)
	if got := (w[1] - w[0]) / 100 * decades; math.Abs(got-2) > .01 {
		t.Errorf("bars are %.3f decades apart, want 2", got)
	}
	if !math.IsNaN(w[2]) {
		t.Errorf("gold's divergence of 0 has a bar of %v %%", w[2])
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{duration(1.24), "1.2 s"}, {duration(99.96), "1 min 40 s"}, {duration(3599.6), "60 min 00 s"}, {duration(7200), "2 h 00 min"},
		{duration(math.NaN()), dash}, {count(0), "0"}, {count(999), "999"}, {count(1234567), "1,234,567"}, {count(-1000), "-1,000"},
		{nats(0), "0.000"}, {nats(.00123), "0.0012"}, {nats(2.64), "2.640"}, {difference(0), "0"}, {difference(3.81e-6), "3.8e-06"},
		{percent(math.Inf(1)), dash}, {short(strings.Repeat("ä", 40)), strings.Repeat("ä", 31) + "…"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// brokenWriter fails, as a full disk does.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteError(t *testing.T) {
	if err := Write(brokenWriter{}, sample()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

// TestContrast computes the contrast of the page's colours in every scheme by
// the formula of WCAG 2.1: 4.5 for text, 3 for parts of pictures.
func TestContrast(t *testing.T) {
	schemes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(pageSource, -1)
	if len(schemes) != 3 {
		t.Fatalf("%d colour schemes, want light, dark and print", len(schemes))
	}
	pairs := []struct {
		front, back string
		least       float64
	}{
		{"ink", "paper", 7}, {"ink", "panel", 7}, {"ink", "answer-tint", 7}, {"ink", "gold-tint", 7},
		{"soft", "paper", 4.5}, {"soft", "panel", 4.5}, {"soft", "answer-tint", 4.5}, {"soft", "gold-tint", 4.5},
		{"answer-ink", "answer-tint", 4.5}, {"gold-ink", "gold-tint", 4.5},
		{"good", "panel", 4.5}, {"caution", "panel", 4.5}, {"bad", "panel", 4.5},
		{"plain", "paper", 3}, {"answer", "paper", 3}, {"gold", "paper", 3}, {"chance", "track", 3},
	}
	colour := regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)
	for i, s := range schemes {
		light := map[string]float64{}
		for _, m := range colour.FindAllStringSubmatch(s[1], -1) {
			light[m[1]] = luminance(t, m[2])
		}
		for _, p := range pairs {
			a, b := light[p.front]+.05, light[p.back]+.05
			if c := max(a, b) / min(a, b); c < p.least {
				t.Errorf("scheme %d: contrast of %s on %s is %.2f, want %.1f", i, p.front, p.back, c, p.least)
			}
		}
	}
}

// luminance is the relative luminance of an sRGB colour.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	var rgb [3]uint8
	if _, err := fmt.Sscanf(hex, "%02x%02x%02x", &rgb[0], &rgb[1], &rgb[2]); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		c := float64(rgb[i]) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
