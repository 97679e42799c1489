package study_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unprune/unprune/graph"
	executor "github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/study"
	"github.com/unprune/unprune/unprune/train"
)

const tinySpec = `
name: tiny
train: golden
test: golden
models: [mlp]
sparsities: [0.5]
forget: [class:1, random:0.2]
seeds: [0, 1, 2]
recipe: {epochs: 30, batch: 8, lr: 0.05, tune-epochs: 2, tune-lr: 0.02}
baseline: fixed
same-order: true
attack: 20
methods:
  - {rule: original}
  - {rule: fixed}
  - {rule: rewind, keep: [0.5, 0.75]}
  - {rule: loop, name: paper, rounds: [1, 2], share: 0.2, finish: 1}
  - {rule: blend, epochs: 2}
  - {rule: blend-control, epochs: 2}
  - {rule: replay, extra: 0.5}
  - {rule: replay-control}
  - {rule: short-retrain}
  - {rule: gold}
  - {rule: gold2}
  - {rule: same-order-gold}
  - {rule: independent}
`

// tiny opens the reference cases' multi-layer perceptron on their data.
func tiny(string) (*study.Network, error) {
	const golden = "../testdata/golden/"
	m, err := onnx.Read(golden + "ft_mlp/before.onnx")
	if err != nil {
		return nil, err
	}
	im, err := pass.Import(m)
	if err != nil {
		return nil, err
	}
	e, err := train.New(im, train.Options{Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		return executor.Compile(g, executor.Options{State: state, Into: into})
	}})
	if err != nil {
		return nil, err
	}
	z, err := npz.ReadFile(golden + "data.npz")
	if err != nil {
		return nil, err
	}
	set := func(parts ...string) *data.Dataset {
		d := &data.Dataset{Classes: 5}
		var x []float32
		for _, part := range parts {
			x = append(x, onnx.Of[float32](z["mlp_x_"+part])...)
			d.Y = append(d.Y, onnx.Of[int64](z["y_"+part])...)
		}
		d.X = onnx.FromSlice(x, len(d.Y), 12)
		return d
	}
	return &study.Network{
		Engine: e, Train: set("retain", "forget"), Test: set("test"), Identity: "golden mlp",
		Recipe: unprune.Recipe{Optimizer: ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4}},
	}, nil
}

func tinyGrid(t *testing.T, dir string) *study.Grid {
	t.Helper()
	s, err := study.ReadSpec(strings.NewReader(tinySpec))
	if err != nil {
		t.Fatal(err)
	}
	return &study.Grid{Spec: s, Dir: dir, Open: tiny}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// folderVariable tells the test program to be a study that may be killed.
const folderVariable = "UNPRUNE_TEST_STUDY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(folderVariable); dir != "" {
		s, err := study.ReadSpec(strings.NewReader(tinySpec))
		if err == nil {
			err = (&study.Grid{Spec: s, Dir: dir, Open: tiny}).Run(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKilled kills a study at random moments, ten times, and starts it again;
// its results are those of a study that was never killed.
func TestKilled(t *testing.T) {
	whole := tinyGrid(t, t.TempDir())
	start := time.Now()
	if err := whole.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	want := read(t, whole.Journal())
	broken := tinyGrid(t, t.TempDir())
	program := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), folderVariable+"="+broken.Dir)
		cmd.Stderr = os.Stderr
		return cmd
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	killed := 0
	for range 10 {
		cmd := program()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.Float64() * float64(took) / 3))
		if err := cmd.Process.Kill(); err == nil {
			killed++
		}
		cmd.Wait() // says that it was killed, unless it was done
		if rng.IntN(2) == 0 {
			tear(t, broken.Journal(), rng)
		}
	}
	if err := program().Run(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, broken.Journal()); got != want {
		t.Errorf("after %d kills the results differ:\n%.600s\nwant\n%.600s", killed, got, want)
	}
}

// tear cuts into the last line of a file, as a machine that loses power may.
func tear(t *testing.T, path string, rng *rand.Rand) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return // killed before there was a file
	}
	last := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
	if err := os.Truncate(path, int64(last+rng.IntN(len(b)-last))); err != nil {
		t.Fatal(err)
	}
}

// TestNothingTwice: a second run computes nothing, and a study that is extended
// trains no network again that is there.
func TestNothingTwice(t *testing.T) {
	g := tinyGrid(t, t.TempDir())
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := read(t, g.Journal())
	networks, err := filepath.Glob(filepath.Join(g.Dir, "networks", "*"))
	if err != nil {
		t.Fatal(err)
	}
	// Per seed an original and an independent run, which all requests share,
	// and three golds per request.
	if n := 3 * (2 + 2*3); len(networks) != n {
		t.Errorf("%d networks are kept, want %d", len(networks), n)
	}
	g.Progress = func(stage string, _, _ int) {
		if stage != "settings" {
			t.Errorf("the second run computes: %s", stage)
		}
	}
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, g.Journal()); got != want {
		t.Error("the second run changes the results")
	}
	g.Spec.Methods = append(g.Spec.Methods, study.Block{Rule: study.RuleLoop, Name: "more"})
	g.Progress = func(stage string, _, _ int) {
		if stage == "gold" || stage == "original" {
			t.Errorf("the extended study trains again: %s", stage)
		}
	}
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, g.Journal()); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != strings.Count(want, "\n")+6 {
		t.Error("the extended study does not add to the results")
	}
}

// TestFilters: pruners of filters leave the output layer dense, in the original
// as in every answer.
func TestFilters(t *testing.T) {
	for _, pruner := range []string{"filter-l2", "sfp"} {
		g := tinyGrid(t, t.TempDir())
		g.Spec.Pruners, g.Spec.Forget, g.Spec.Seeds = []string{pruner}, []string{"class:1"}, []uint64{0}
		if err := g.Run(t.Context()); err != nil {
			t.Fatalf("%s: %v", pruner, err)
		}
		records, err := study.Load(g.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != 15 {
			t.Errorf("%s: %d answers, want all 15", pruner, len(records))
		}
	}
}

// TestShards: shards together have the records of the whole.
func TestShards(t *testing.T) {
	whole := tinyGrid(t, t.TempDir())
	if err := whole.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for shard := range 4 {
		g := tinyGrid(t, dir)
		g.Shard, g.Shards = shard, 4
		if err := g.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a, err := study.Load(whole.Dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := study.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, r := range b {
		have[r.Key] = fmt.Sprint(r.IoU, r.KLForget, r.Attack.AUC)
	}
	for _, r := range a {
		if have[r.Key] != fmt.Sprint(r.IoU, r.KLForget, r.Attack.AUC) {
			t.Errorf("%v %s differs between shards and whole", r.Setting, r.Label)
		}
	}
	if len(a) != len(b) || len(a) == 0 {
		t.Errorf("%d records, in shards %d", len(a), len(b))
	}
	outside := tinyGrid(t, dir)
	outside.Shard, outside.Shards = 4, 4
	if err := outside.Run(t.Context()); err == nil {
		t.Error("shard 4 of 4: no error")
	}
}

// TestSummary checks the tables of a real study.
func TestSummary(t *testing.T) {
	g := tinyGrid(t, t.TempDir())
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	records, err := study.Load(g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := study.Summarize(records, g.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Groups) != 2 || len(s.Groups[0].Lines) != 15 || s.Groups[0].Seeds != 3 {
		t.Fatalf("%d groups, %+v", len(s.Groups), s.Groups[0])
	}
	for _, l := range s.Groups[0].Lines {
		if l.Label == "gold" && (l.Cells["iou_gold"].Mean != 1 || l.Cells["kl_test"].Mean != 0) {
			t.Errorf("gold is not like itself: %+v", l.Cells)
		}
		if (l.Against == nil) != (l.Label == "fixed") {
			t.Errorf("%s: compared with the baseline: %v", l.Label, l.Against)
		}
	}
	for _, out := range []struct {
		name  string
		write func(*bytes.Buffer) error
		want  []string
	}{
		{"Markdown", func(b *bytes.Buffer) error { return s.Markdown(b) }, []string{"### mlp, magnitude 50 %, forget class:1, 3 seeds", "| paper R=2 |", "MIA AUC"}},
		{"LaTeX", func(b *bytes.Buffer) error { return s.LaTeX(b) }, []string{`50 \%`, `$\pm$`, `\bottomrule`}},
		{"CSV", func(b *bytes.Buffer) error { return s.CSV(b) }, []string{"mlp,magnitude,0.5,class:1,gold,iou_gold,3,1,0,"}},
	} {
		var b bytes.Buffer
		if err := out.write(&b); err != nil {
			t.Fatal(err)
		}
		for _, part := range out.want {
			if !strings.Contains(b.String(), part) {
				t.Errorf("%s lacks %q:\n%s", out.name, part, b.String())
			}
		}
	}
}

func TestReadSpecErrors(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown field": {"name: tiny", "nmae: tiny", "nmae"},
		"no seeds":      {"seeds: [0, 1, 2]", "seeds: []", "seeds"},
		"rule":          {"rule: rewind", "rule: rewnd", "rewnd"},
		"unlearner":     {"{rule: fixed}", "{rule: fixed, unlearner: magic}", "magic"},
		"sparsity":      {"[0.5]", "[1.5]", "1.5"},
		"pruner":        {"sparsities:", "pruners: [sharp]\nsparsities:", "sharp"},
		"forget":        {"class:1", "class:x", "class:x"},
		"twice":         {"{rule: gold}", "{rule: gold2}", "gold2"},
		"baseline":      {"baseline: fixed", "baseline: none", "none"},
		"no data":       {"train: golden", "", "train"},
		"initial":       {"name: tiny", "initial: mine", "mine"},
		"column":        {"name: tiny", "columns: [speed]", "speed"},
		"schedule":      {"name: paper,", "name: paper, schedule: odd,", "odd"},
	} {
		_, err := study.ReadSpec(strings.NewReader(strings.Replace(tinySpec, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not name %q", name, err, c.want)
		}
	}
	if _, err := study.ReadSpec(strings.NewReader("")); err == nil {
		t.Error("empty file: no error")
	}
}

// TestForeignJournal: a file that is no journal is left alone.
func TestForeignJournal(t *testing.T) {
	g := tinyGrid(t, t.TempDir())
	if err := os.WriteFile(g.Journal(), []byte("hello\nworld"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil || read(t, g.Journal()) != "hello\nworld" {
		t.Errorf("error %v, file %q", err, read(t, g.Journal()))
	}
}
