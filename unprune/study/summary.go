package study

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/unprune/data"
)

// A column is one figure of a summary.
type column struct {
	name   string // in CSV
	title  string
	digits int
	of     func(Figures) float64 // NaN: not measured
}

func attacked(of func(*Attack) float64) func(Figures) float64 {
	return func(f Figures) float64 {
		if f.Attack == nil {
			return math.NaN()
		}
		return of(f.Attack)
	}
}

func spent(of func(*evalmetrics.Cost) int64) func(Figures) float64 {
	return func(f Figures) float64 {
		if f.Cost == nil {
			return math.NaN()
		}
		return float64(of(f.Cost))
	}
}

func swapped(of func(*Swap) float64) func(Figures) float64 {
	return func(f Figures) float64 {
		if f.Swap == nil {
			return math.NaN()
		}
		return of(f.Swap)
	}
}

var columns = []column{
	{"iou_gold", "IoU to gold", 3, func(f Figures) float64 { return f.IoU }},
	{"iou_same_order_gold", "IoU to same-order gold", 3, func(f Figures) float64 {
		if f.IoUSameOrder == nil {
			return math.NaN()
		}
		return *f.IoUSameOrder
	}},
	{"contrast", "contrast", 3, func(f Figures) float64 { return f.Contrast }},
	{"kl_test", "KL test", 3, func(f Figures) float64 { return f.KLTest }},
	{"kl_forget", "KL forget", 3, func(f Figures) float64 { return f.KLForget }},
	{"ua", "UA", 1, func(f Figures) float64 { return f.UA }},
	{"ra", "RA", 1, func(f Figures) float64 { return f.RA }},
	{"ta", "TA", 1, func(f Figures) float64 { return f.TA }},
	{"passes", "passes", 1, func(f Figures) float64 { return f.Passes }},
	{"forwards", "forwards", 0, spent(func(c *evalmetrics.Cost) int64 { return c.Forward })},
	{"backwards", "backwards", 0, spent(func(c *evalmetrics.Cost) int64 { return c.Backward })},
	{"hvps", "HVPs", 0, spent(func(c *evalmetrics.Cost) int64 { return c.HVP })},
	{"added_in_gold", "added in gold", 2, swapped(func(s *Swap) float64 { return s.AddedInGold })},
	{"dropped_in_gold", "dropped in gold", 2, swapped(func(s *Swap) float64 { return s.DroppedInGold })},
	{"mia_efficacy", "MIA efficacy", 2, attacked(func(a *Attack) float64 { return a.Efficacy })},
	{"mia_auc", "MIA AUC", 2, attacked(func(a *Attack) float64 { return a.AUC })},
}

// A Summary is a study's records, gathered over seeds.
type Summary struct {
	Baseline string
	Columns  []string // that tables for people show; empty: all
	Groups   []Group
}

// A Group is one setting over all of its seeds.
type Group struct {
	Setting // of the first seed
	Seeds   int
	Lines   []Line
}

// A Line is one method.
type Line struct {
	Label  string
	Failed int // seeds on which it diverged
	Cells  map[string]evalmetrics.Summary

	// Against compares with the baseline on the same seeds, by column; nil for
	// the baseline itself or without one.
	Against map[string]evalmetrics.Paired
}

// pairedColumns are compared with the baseline.
var pairedColumns = []string{"iou_gold", "kl_forget"}

// Summarize gathers the records of a study. Groups and methods keep the order
// in which they first appear.
func Summarize(records []Record, spec *Spec) (*Summary, error) {
	s := &Summary{Baseline: spec.Baseline, Columns: spec.Columns}
	group := func(x Setting) Setting { x.Seed = 0; return x }
	var order []Setting
	byGroup := map[Setting][]Record{}
	for _, r := range records {
		g := group(r.Setting)
		if byGroup[g] == nil {
			order = append(order, g)
		}
		byGroup[g] = append(byGroup[g], r)
	}
	for _, key := range order {
		g, err := newGroup(byGroup[key], spec.Baseline)
		if err != nil {
			return nil, err
		}
		s.Groups = append(s.Groups, g)
	}
	return s, nil
}

func newGroup(records []Record, baseline string) (Group, error) {
	g := Group{Setting: records[0].Setting}
	seeds := map[uint64]bool{}
	var labels []string
	for _, r := range records {
		seeds[r.Seed] = true
		if !slices.Contains(labels, r.Label) {
			labels = append(labels, r.Label)
		}
	}
	g.Seeds = len(seeds)
	for _, label := range labels {
		line := Line{Label: label, Cells: map[string]evalmetrics.Summary{}}
		for _, r := range records {
			if r.Label == label && r.Failed != "" {
				line.Failed++
			}
		}
		for _, c := range columns {
			line.Cells[c.name] = evalmetrics.Summarize(values(records, label, c))
		}
		if baseline != "" && label != baseline {
			if err := line.compare(records, baseline); err != nil {
				return g, err
			}
		}
		g.Lines = append(g.Lines, line)
	}
	return g, nil
}

// values lists a method's figure over seeds.
func values(records []Record, label string, c column) []float64 {
	var out []float64
	for _, r := range records {
		if r.Label == label && r.Failed == "" {
			if v := c.of(r.Figures); !math.IsNaN(v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// compare pairs the line with the baseline on seeds that both have.
func (l *Line) compare(records []Record, baseline string) (err error) {
	l.Against = map[string]evalmetrics.Paired{}
	base := map[uint64]Figures{}
	for _, r := range records {
		if r.Label == baseline && r.Failed == "" {
			base[r.Seed] = r.Figures
		}
	}
	for _, c := range columns {
		if !slices.Contains(pairedColumns, c.name) {
			continue
		}
		var a, b []float64
		for _, r := range records {
			if f, ok := base[r.Seed]; ok && r.Label == l.Label && r.Failed == "" {
				a, b = append(a, c.of(f)), append(b, c.of(r.Figures))
			}
		}
		if l.Against[c.name], err = evalmetrics.NewPaired(data.Stream(0, "study", "bootstrap"), a, b); err != nil {
			return err
		}
	}
	return nil
}

// shown are the columns that some line of the group has figures for.
func (g Group) shown() []column {
	return slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return !slices.ContainsFunc(g.Lines, func(l Line) bool { return l.Cells[c.name].N > 0 })
	})
}

func (g Group) title() string {
	return fmt.Sprintf("%s, %s %g %%, forget %s, %d seeds", g.Model, g.Pruner, 100*g.Sparsity, g.Forget, g.Seeds)
}

// table lays a group out as text: heads and rows. plusMinus joins mean and
// deviation.
func (s *Summary) table(g Group, plusMinus string) (heads []string, rows [][]string) {
	heads = []string{"method"}
	shown := slices.DeleteFunc(g.shown(), func(c column) bool {
		return len(s.Columns) > 0 && !slices.Contains(s.Columns, c.name)
	})
	for _, c := range shown {
		heads = append(heads, c.title)
	}
	if s.Baseline != "" {
		heads = append(heads, "ΔIoU to "+s.Baseline, "ΔKL forget to "+s.Baseline)
	}
	for _, l := range g.Lines {
		row := []string{l.Label}
		for _, c := range shown {
			row = append(row, cellText(l.Cells[c.name], c.digits, plusMinus))
		}
		if s.Baseline != "" {
			for _, name := range pairedColumns {
				row = append(row, pairedText(l.Against[name]))
			}
		}
		if l.Failed > 0 {
			row[0] += fmt.Sprintf(" (diverged on %d)", l.Failed)
		}
		rows = append(rows, row)
	}
	return heads, rows
}

func cellText(s evalmetrics.Summary, digits int, plusMinus string) string {
	switch s.N {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf("%.*f", digits, s.Mean)
	}
	return fmt.Sprintf("%.*f%s%.*f", digits, s.Mean, plusMinus, digits, s.SD)
}

func pairedText(p evalmetrics.Paired) string {
	switch p.Difference.N {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf("%+.3f", p.Difference.Mean)
	}
	return fmt.Sprintf("%+.3f [%+.3f, %+.3f]", p.Difference.Mean, p.Interval.Low, p.Interval.High)
}

// Markdown writes one table per group.
func (s *Summary) Markdown(w io.Writer) error {
	var b strings.Builder
	for _, g := range s.Groups {
		heads, rows := s.table(g, " ± ")
		fmt.Fprintf(&b, "### %s\n\n| %s |\n|%s\n", g.title(), strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
		for _, row := range rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// latexEscapes are what table texts hold that TeX reads otherwise.
var latexEscapes = strings.NewReplacer("%", `\%`, "_", `\_`, "&", `\&`, "#", `\#`, "±", `$\pm$`, "Δ", `$\Delta$`, "–", "--")

// LaTeX writes one table per group, for the booktabs package.
func (s *Summary) LaTeX(w io.Writer) error {
	var b strings.Builder
	for _, g := range s.Groups {
		heads, rows := s.table(g, " ± ")
		fmt.Fprintf(&b, "\\begin{table}\n\\caption{%s}\n\\begin{tabular}{l%s}\n\\toprule\n", latexEscapes.Replace(g.title()), strings.Repeat("r", len(heads)-1))
		for i, row := range append([][]string{heads}, rows...) {
			for k := range row {
				row[k] = latexEscapes.Replace(row[k])
			}
			fmt.Fprintf(&b, "%s \\\\\n", strings.Join(row, " & "))
			if i == 0 {
				b.WriteString("\\midrule\n")
			}
		}
		b.WriteString("\\bottomrule\n\\end{tabular}\n\\end{table}\n\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// CSV writes one row per group, method and figure: number of seeds, mean,
// standard deviation, and the paired difference with its interval.
func (s *Summary) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"model", "pruner", "sparsity", "forget", "method", "figure", "n", "mean", "sd", "difference", "low", "high"}}
	number := func(x float64) string {
		if math.IsNaN(x) {
			return ""
		}
		return fmt.Sprint(x)
	}
	for _, g := range s.Groups {
		for _, l := range g.Lines {
			for _, c := range g.shown() {
				f := l.Cells[c.name]
				row := []string{g.Model, g.Pruner, fmt.Sprint(g.Sparsity), g.Forget, l.Label, c.name, fmt.Sprint(f.N), number(f.Mean), number(f.SD), "", "", ""}
				if p, ok := l.Against[c.name]; ok {
					row[9], row[10], row[11] = number(p.Difference.Mean), number(p.Interval.Low), number(p.Interval.High)
				}
				rows = append(rows, row)
			}
		}
	}
	return out.WriteAll(rows)
}
