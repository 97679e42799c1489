package unlearn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
	"github.com/unprune/unprune/unprune/unlearn"
)

// goldenDir holds the reference cases: GOLDEN_DIR, or the committed copy.
func goldenDir() string {
	if dir := os.Getenv("GOLDEN_DIR"); dir != "" {
		return dir
	}
	return "../testdata/golden"
}

// hyper is the union of the hyper-parameters of the cases that are run here.
type hyper struct {
	Alpha         float64 `json:"alpha"`
	Batch         int     `json:"batch"`
	DecreasingLR  string  `json:"decreasing_lr"`
	Epochs        int     `json:"epochs"`
	ForgetBatch   int     `json:"forget_batch"`
	LR            float64 `json:"lr"`
	Momentum      float64 `json:"momentum"`
	P             float64 `json:"p"`
	RetainBatch   int     `json:"retain_batch"`
	Rounds        int     `json:"rounds"`
	Schedule      string  `json:"schedule"`
	Unlearner     string  `json:"unlearner"`
	UnlearnEpochs int     `json:"unlearn_epochs"`
	UnlearnLR     float64 `json:"unlearn_lr"`
	WeightDecay   float64 `json:"weight_decay"`
}

// goldenCase is case.json.
type goldenCase struct {
	Algorithm     string
	Model         string
	Hyper         hyper
	NotComparable []string `json:"not_comparable"`
	ParamOrder    []string `json:"param_order"`
	Tolerance     struct {
		After64   float64
		PerTensor map[string]struct{ Atol float64 } `json:"per_tensor"`
	}
	dir string
}

// bench is a case set up to run: an engine on before.onnx and the shared data,
// retained samples first.
type bench struct {
	goldenCase
	engine *recorder
	task   *unprune.Task
}

func setUp(t *testing.T, dir string, double bool) *bench {
	t.Helper()
	b := &bench{goldenCase: goldenCase{dir: dir}}
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &b.goldenCase); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Read(filepath.Join(dir, "before.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.New(im, train.Options{Double: double, Compile: compile})
	if err != nil {
		t.Fatal(err)
	}
	b.engine = &recorder{Engine: e, order: b.ParamOrder}
	d, retain, forget := goldenData(t, filepath.Join(filepath.Dir(dir), "data.npz"), b.Model)
	b.task = &unprune.Task{Engine: b.engine, Data: d, Retain: retain, Forget: forget}
	return b
}

func compile(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
	return exec.Compile(g, exec.Options{State: state, Into: into})
}

// recorder keeps the parameters after every step.
type recorder struct {
	unprune.Engine
	order []string
	steps [][]float64
}

func (r *recorder) Step(ctx context.Context, rate float64, terms ...unprune.Term) (float64, error) {
	loss, err := r.Engine.Step(ctx, rate, terms...)
	var all []float64
	for _, name := range r.order {
		t := r.Weights().Tensors[name]
		for i := range t.Len() {
			all = append(all, number(t, i))
		}
	}
	r.steps = append(r.steps, all)
	return loss, err
}

func goldenData(t *testing.T, file, model string) (d *data.Dataset, retain, forget []int) {
	t.Helper()
	z, err := npz.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var x []float32
	var y []int64
	var shape []int
	for _, part := range []string{"retain", "forget"} {
		xs := z[model+"_x_"+part]
		start := len(y)
		x, y = append(x, onnx.Of[float32](xs)...), append(y, onnx.Of[int64](z["y_"+part])...)
		shape = xs.Shape[1:]
		for i := start; i < len(y); i++ {
			if part == "retain" {
				retain = append(retain, i)
			} else {
				forget = append(forget, i)
			}
		}
	}
	d = &data.Dataset{X: onnx.FromSlice(x, append([]int{len(y)}, shape...)...), Y: y, Classes: 5}
	return d, retain, forget
}

// runners runs each algorithm of the reference cases as its case says.
var runners = map[string]func(t *testing.T, b *bench) error{
	"ft": func(t *testing.T, b *bench) error {
		return b.prescribe(t, 16).run(t, unlearn.FineTune{})
	},
	"ft_fixed_mask": func(t *testing.T, b *bench) error {
		if err := b.engine.SetMasks(b.masks(t, "extra.npz", "mask/")); err != nil {
			return err
		}
		return b.prescribe(t, 16).run(t, unlearn.FineTune{})
	},
	"ga":          func(t *testing.T, b *bench) error { return b.prescribe(t, 8).run(t, unlearn.GradientAscent{}) },
	"ga_momentum": func(t *testing.T, b *bench) error { return b.prescribe(t, 8).run(t, unlearn.GradientAscent{}) },
	"neggrad_plus": func(t *testing.T, b *bench) error {
		return b.prescribe(t, b.Hyper.RetainBatch).run(t, unlearn.NegGradPlus{Alpha: b.Hyper.Alpha, ForgetBatch: b.Hyper.ForgetBatch})
	},
	"rl": func(t *testing.T, b *bench) error {
		draws := b.read(t, "noise.npz")
		n := 0
		labels := func(_ int, index []int) []int64 {
			n++
			return onnx.Of[int64](draws[fmt.Sprintf("d%03d_randint", n-1)])[:len(index)]
		}
		return b.prescribe(t, b.Hyper.RetainBatch).run(t, unlearn.RandomLabel{ForgetBatch: b.Hyper.ForgetBatch, Labels: labels})
	},
	"unprune_ft":            unpruneCase,
	"unprune_ga":            unpruneCase,
	"unprune_ft_cumulative": unpruneCase,
}

// prescribe hands the case's hyper-parameters to the task.
func (b *bench) prescribe(t *testing.T, batch int) *bench {
	t.Helper()
	h := b.Hyper
	rate, epochs := h.LR+h.UnlearnLR, h.Epochs+h.UnlearnEpochs // a case has one of each
	var milestones []int
	if h.DecreasingLR != "" {
		for _, m := range strings.Split(h.DecreasingLR, ",") {
			var e int
			if _, err := fmt.Sscan(m, &e); err != nil {
				t.Fatal(err)
			}
			milestones = append(milestones, e)
		}
	}
	b.task.Rate, b.task.Epochs, b.task.Batch = rate, epochs, batch
	b.task.Schedule = unprune.Steps(rate, milestones...)
	b.task.Optimizer = &ops.Optimizer{Kind: "sgd", Momentum: h.Momentum, WeightDecay: h.WeightDecay}
	return b
}

func (b *bench) run(t *testing.T, u unprune.Unlearner) error { return u.Unlearn(t.Context(), b.task) }

func (b *bench) read(t *testing.T, file string) map[string]*onnx.Tensor {
	t.Helper()
	z, err := npz.ReadFile(filepath.Join(b.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func (b *bench) masks(t *testing.T, file, prefix string) *sparsity.Masks {
	t.Helper()
	ms := &sparsity.Masks{}
	z := b.read(t, file)
	for _, l := range b.engine.Layers() {
		if m := z[prefix+l.Name]; m != nil {
			ms.Set(l.Name, maskOf(m))
		}
	}
	return ms
}

func maskOf(t *onnx.Tensor) *sparsity.Mask {
	m := sparsity.NewMask(t.Shape...)
	for i, v := range onnx.Of[uint8](t) {
		m.Set(i, v != 0)
	}
	return m
}

// unpruneCase runs the loop and checks the mask after each growth and cut.
func unpruneCase(t *testing.T, b *bench) error {
	z := b.read(t, "theta0.npz")
	theta0 := unprune.NewWeights()
	for _, name := range b.engine.Weights().Names {
		if z[name] != nil {
			theta0.Add(name, z[name], false)
		}
	}
	masks, err := sparsity.MasksOf(b.engine.Layers())
	if err != nil {
		return err
	}
	batch, u := 16, unprune.Unlearner(unlearn.FineTune{})
	if b.Hyper.Unlearner == "ga" {
		batch, u = 8, unlearn.GradientAscent{}
	}
	b.Hyper.Epochs = 1
	b.prescribe(t, batch)
	b.task.Initial = theta0
	want := b.read(t, "masks.npz")
	l := unprune.Loop{
		Unlearner: u, Pruner: sparsity.Magnitude{}, Rounds: b.Hyper.Rounds, Share: b.Hyper.P,
		Cumulative: b.Hyper.Schedule == "cumulative", Recalibrate: 16,
		Observe: func(round int, grown bool, masks *sparsity.Masks) {
			kind := "mask"
			if grown {
				kind = "grown_mask"
			}
			for name, m := range masks.All() {
				key := fmt.Sprintf("round%d/%s/%s", round, kind, name)
				if w := want[key]; w == nil || !maskOf(w).Equal(m) {
					t.Errorf("%s differs from the reference", key)
				}
			}
		},
	}
	_, err = l.Run(t.Context(), b.task, masks)
	return err
}

// TestGolden runs the reference cases in both precisions. Parameters are
// compared after each step first, so that the first wrong step is named.
func TestGolden(t *testing.T) {
	entries, err := os.ReadDir(goldenDir())
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, entry := range entries {
		algorithm, _, _ := cutLast(entry.Name(), "_")
		runner := runners[algorithm]
		if !entry.IsDir() || runner == nil {
			continue
		}
		ran++
		t.Run(entry.Name(), func(t *testing.T) {
			dir := filepath.Join(goldenDir(), entry.Name())
			b := setUp(t, dir, true)
			if err := runner(t, b); err != nil {
				t.Fatal(err)
			}
			b.compare(t, b.read(t, "after64.npz"), func(string) float64 { return 1e-9 })
			if _, err := os.Stat(filepath.Join(dir, "after.npz")); err != nil {
				return // the case has a float64 reference only
			}
			b = setUp(t, dir, false)
			if err := runner(t, b); err != nil {
				t.Fatal(err)
			}
			b.compareSteps(t)
			b.compare(t, b.read(t, "after.npz"), func(name string) float64 { return b.Tolerance.PerTensor[name].Atol })
		})
	}
	if ran == 0 {
		t.Fatalf("%s holds no case that is run here", goldenDir())
	}
}

func (b *bench) compare(t *testing.T, want map[string]*onnx.Tensor, tol func(name string) float64) {
	t.Helper()
	for _, name := range b.engine.Weights().Names {
		w := want[name]
		if w == nil {
			t.Errorf("the reference has no %q", name)
			continue
		}
		if b.skips(name) {
			continue
		}
		got := b.engine.Weights().Tensors[name]
		for i := range w.Len() {
			if d := math.Abs(number(got, i) - number(w, i)); !(d <= tol(name)) {
				t.Errorf("%s[%d] (%v) is %g, want %g: off by %.2g, allowed %.2g", name, i, got.DType, number(got, i), number(w, i), d, tol(name))
				break
			}
		}
	}
}

func (b *bench) skips(name string) bool {
	for _, n := range b.NotComparable {
		if n == name {
			return true
		}
	}
	return false
}

// compareSteps checks the recorded parameters after each optimizer step.
func (b *bench) compareSteps(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(b.dir, "steps.npz")); err != nil {
		return // recorded for multi-step methods only
	}
	want := b.read(t, "steps.npz")["params"]
	n := want.Shape[1]
	if len(b.engine.steps) != want.Shape[0] {
		t.Fatalf("%d steps, the reference takes %d", len(b.engine.steps), want.Shape[0])
	}
	for s, got := range b.engine.steps {
		i := 0
		for _, name := range b.ParamOrder {
			size := b.engine.Weights().Tensors[name].Len()
			for j := range size {
				w := float64(onnx.Of[float32](want)[s*n+i+j])
				if d := math.Abs(got[i+j] - w); !b.skips(name) && !(d <= b.Tolerance.PerTensor[name].Atol) {
					t.Fatalf("first wrong step is %d: %s[%d] is %g, want %g (off by %.2g)", s, name, j, got[i+j], w, d)
				}
			}
			i += size
		}
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func number(t *onnx.Tensor, i int) float64 {
	if s, ok := t.Data.([]float64); ok {
		return s[i]
	}
	return float64(onnx.Of[float32](t)[i])
}
