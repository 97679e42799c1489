package study_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/study"
	"github.com/unprune/unprune/unprune/unlearn"
)

// workload is what the cost of an answer depends on beyond its method.
type workload struct {
	forget, retain, classes, batch int64
	statistics                     bool // that normalisation keeps, and a loop renews
}

// predicted is the cost of an answer with the mask held, or in the loop, by the
// formulas of "unprune unlearn --unlearner list".
func (w workload) predicted(m study.Method) evalmetrics.Cost {
	once := w.unlearner(m, int64(max(1, m.Epochs)))
	if m.Rule == study.RuleFixed {
		return once
	}
	total := evalmetrics.Cost{Forward: int64(m.Finish) * w.retain, Backward: int64(m.Finish) * w.retain}
	for range m.Rounds {
		total = total.Add(once)
		if w.statistics {
			total.Forward += w.retain
		}
	}
	return total
}

func (w workload) unlearner(m study.Method, epochs int64) evalmetrics.Cost {
	f, r, n := w.forget, w.retain, w.forget+w.retain
	batches := (r + w.batch - 1) / w.batch
	option := func(name string, standard int64) int64 {
		if v, err := strconv.ParseInt(m.Options[name], 10, 64); err == nil {
			return v
		}
		return standard
	}
	steps := func(samples int64) evalmetrics.Cost { return evalmetrics.Cost{Forward: samples, Backward: samples} }
	cycled := func(batches int64) int64 { // samples to forget in so many of their batches, in turn
		per := (f + w.batch - 1) / w.batch
		return batches/per*f + min(batches%per*w.batch, f)
	}
	switch m.Unlearner {
	case "retrain", "ft", "l1-sparse":
		return steps(epochs * r)
	case "ga":
		return steps(epochs * f)
	case "neggrad+":
		return steps(epochs * (r + cycled(batches)))
	case "rl":
		return steps(epochs * n)
	case "salun":
		return steps(f + epochs*n)
	case "fisher":
		return steps(r)
	case "fisher-new":
		return evalmetrics.Cost{Forward: r, Backward: w.classes * r}
	case "iu":
		return steps(n + min(option("memory", 256), r))
	case "cu":
		batch := option("batch", 128)
		c := evalmetrics.Cost{Forward: r, Backward: r, HVP: option("s1", 2) * option("s2", 100) * batch}
		if m.Options["scale"] == "" { // by two power iterations
			c.HVP += 2 * 20 * min(4*batch, r)
		}
		return c
	case "scrub":
		climbs := min(epochs, 3) * f
		return evalmetrics.Cost{Forward: n + climbs + epochs*r, Backward: climbs + epochs*r}
	case "sfron":
		return steps(n + epochs*r + cycled((epochs*batches+4)/5))
	case "ssd":
		return steps(f + n)
	case "bad-teacher":
		return evalmetrics.Cost{Forward: n + epochs*n, Backward: epochs * n}
	}
	return evalmetrics.Cost{Forward: -1} // no formula
}

// checkCosts compares the counts of records with the formulas, and wants every
// unlearner with the mask held and in the loop.
func checkCosts(t *testing.T, records []study.Record, w workload) {
	t.Helper()
	tried := map[string]bool{}
	for _, r := range records {
		if r.Method.Unlearner == "" {
			continue
		}
		tried[r.Method.Rule+r.Method.Unlearner] = true
		if r.Failed != "" || r.Cost == nil {
			t.Errorf("%s: no cost: %s", r.Label, r.Failed)
		} else if want := w.predicted(r.Method); *r.Cost != want {
			t.Errorf("%s: cost %+v, want %+v", r.Label, *r.Cost, want)
		}
	}
	for _, u := range unlearn.All() {
		for _, rule := range []string{study.RuleFixed, study.RuleLoop} {
			if !tried[rule+u.Name()] {
				t.Errorf("%s: not run by rule %s", u.Name(), rule)
			}
		}
	}
}

// TestCostsPredicted runs all unlearners with the mask held and in the loop.
func TestCostsPredicted(t *testing.T) {
	const all = "[retrain, ft, ga, neggrad+, rl, salun, l1-sparse, fisher, fisher-new, iu, scrub, sfron, ssd, bad-teacher]"
	const cu = `unlearner: cu, options: {s1: "2", s2: "3", batch: "4", scale: "1e6"}`
	head, _, _ := strings.Cut(tinySpec, "baseline:")
	s, err := study.ReadSpec(strings.NewReader(head + `
methods:
  - {rule: fixed, epochs: 2, unlearner: ` + all + `}
  - {rule: fixed, name: fixed cu, ` + cu + `}
  - {rule: loop, rounds: 2, finish: 1, unlearner: ` + all + `}
  - {rule: loop, name: loop cu, rounds: 2, finish: 1, ` + cu + `}
`))
	if err != nil {
		t.Fatal(err)
	}
	s.Seeds, s.Forget = s.Seeds[:1], s.Forget[:1]
	dir := t.TempDir()
	if err := (&study.Grid{Spec: s, Dir: dir, Open: tiny}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	records, err := study.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	n, err := tiny("")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := data.ParseForget(s.Forget[0])
	if err != nil {
		t.Fatal(err)
	}
	rows, err := spec.Select(n.Train, s.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	f := int64(len(rows))
	checkCosts(t, records, workload{forget: f, retain: int64(n.Train.Len()) - f, classes: 5, batch: 8})
}

// TestCostsRecorded compares the committed results of the studies of all
// unlearners with the formulas.
func TestCostsRecorded(t *testing.T) {
	images := load(t, data.Train, models.LeNet5().Recipe).Y
	for name, statistics := range map[string]bool{"unlearners-lenet-5": false, "unlearners-resnet-18": true} {
		t.Run(name, func(t *testing.T) {
			records, err := study.Load("../../docs/studies/" + name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open("../../docs/studies/" + name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s, err := study.ReadSpec(f)
			if err != nil {
				t.Fatal(err)
			}
			w := workload{classes: 10, batch: int64(s.Recipe.Batch), statistics: statistics}
			for _, y := range images[:s.Samples] { // both forget class 0
				if y == 0 {
					w.forget++
				} else {
					w.retain++
				}
			}
			checkCosts(t, records, w)
		})
	}
}
