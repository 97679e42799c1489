package train_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

const gradients = "../../models/testdata/gradients"

// network is one entry of the fixtures' manifest. Tensors in RoundingOnly have
// a gradient that is zero but for rounding (a bias before batch statistics).
type network struct {
	Name         string
	Models       []string
	Data         string
	RoundingOnly []string `json:"rounding_only"`
}

func networks(t *testing.T) []network {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(gradients, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Networks []network }
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m.Networks
}

// native compiles for the native executor.
func native(threads int) train.Compile {
	team := kernel.NewTeam(threads)
	return func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		return exec.Compile(g, exec.Options{Team: team, State: state, Into: into})
	}
}

func importFile(t *testing.T, file string) *pass.Model {
	t.Helper()
	m, err := onnx.Read(filepath.Join(gradients, file))
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func newEngine(t *testing.T, file string, threads int) *train.Engine {
	t.Helper()
	e, err := train.New(importFile(t, file), train.Options{Compile: native(threads)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestGradientsOfPyTorch compares whole training graphs with PyTorch: loss,
// logits, the gradient of every parameter in both modes, and the running
// statistics after a training-mode pass. The bound is 1e-4 of the largest
// entry of each tensor.
func TestGradientsOfPyTorch(t *testing.T) {
	for _, net := range networks(t) {
		want, err := npz.ReadFile(filepath.Join(gradients, net.Data))
		if err != nil {
			t.Fatal(err)
		}
		d := dataset(want)
		for _, file := range net.Models {
			for _, mode := range []string{"eval", "train"} {
				t.Run(file+"/"+mode, func(t *testing.T) {
					e := newEngine(t, file, 2)
					term := unprune.Term{Data: d, Index: rows(d.Len()), Weight: 1, Eval: mode == "eval"}
					got, err := e.Gradient(t.Context(), term)
					if err != nil {
						t.Fatal(err)
					}
					for name, g := range got {
						key := "grad_" + mode + "/" + name
						if slices.Contains(net.RoundingOnly, key) {
							continue
						}
						compare(t, key, g, want[key], 1e-4)
					}
					if mode == "train" {
						for _, name := range e.Weights().Names {
							if e.Weights().Stats[name] {
								compare(t, name, e.Weights().Tensors[name], want["stats/"+name], 1e-5)
							}
						}
					}
				})
			}
			t.Run(file+"/logits", func(t *testing.T) {
				e := newEngine(t, file, 1)
				z, err := e.Logits(t.Context(), d, rows(d.Len()))
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "logits", onnx.FromSlice(z, d.Len(), e.Classes()), want["logits_eval"], 1e-5)
			})
		}
	}
}

// TestStepsOfPyTorch compares the parameters after three steps of each
// optimizer in training mode.
func TestStepsOfPyTorch(t *testing.T) {
	optimizers := []struct {
		key  string
		rate float64
		opt  ops.Optimizer
	}{
		{"sgd3", 0.05, ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4}},
		{"nesterov3", 0.05, ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4, Nesterov: true}},
		{"adam3", 1e-3, ops.Optimizer{Kind: "adam", WeightDecay: 1e-4}},
		{"adamw3", 1e-3, ops.Optimizer{Kind: "adamw", WeightDecay: 1e-2}},
	}
	for _, net := range networks(t) {
		want, err := npz.ReadFile(filepath.Join(gradients, net.Data))
		if err != nil {
			t.Fatal(err)
		}
		d := dataset(want)
		for _, o := range optimizers {
			for _, file := range net.Models {
				e := newEngine(t, file, 2)
				if want[o.key+"/"+e.Weights().Names[0]] == nil {
					continue // the fixture has steps for two networks
				}
				t.Run(file+"/"+o.key, func(t *testing.T) {
					if err := e.Optimize(o.opt); err != nil {
						t.Fatal(err)
					}
					for range 3 {
						if _, err := e.Step(t.Context(), o.rate, unprune.Term{Data: d, Index: rows(d.Len()), Weight: 1}); err != nil {
							t.Fatal(err)
						}
					}
					for _, name := range e.Weights().Names {
						w := want[o.key+"/"+name]
						if w == nil || slices.Contains(net.RoundingOnly, "grad_train/"+name) {
							continue
						}
						compare(t, name, e.Weights().Tensors[name], w, 1e-4)
					}
				})
			}
		}
	}
}

func dataset(z map[string]*onnx.Tensor) *data.Dataset {
	return &data.Dataset{X: z["x"], Y: onnx.Of[int64](z["y"]), Classes: 10}
}

func rows(n int) []int {
	r := make([]int, n)
	for i := range r {
		r[i] = i
	}
	return r
}

// compare fails when an element is off by more than tol times the largest
// entry of want.
func compare(t *testing.T, what string, got, want *onnx.Tensor, tol float64) {
	t.Helper()
	if want == nil {
		t.Errorf("%s: the fixture has no such tensor", what)
		return
	}
	if got.Len() != want.Len() {
		t.Errorf("%s: shape %v, want %v", what, got.Shape, want.Shape)
		return
	}
	scale, worst, where := 0.0, 0.0, 0
	for i := range want.Len() {
		scale = max(scale, math.Abs(number(want, i)))
		if d := math.Abs(number(got, i) - number(want, i)); !(d <= worst) {
			worst, where = d, i
		}
	}
	if !(worst <= tol*scale) {
		t.Errorf("%s: element %d is %g, want %g; off by %.2g of the largest entry, allowed %.0g",
			what, where, number(got, where), number(want, where), worst/scale, tol)
	}
}

func number(t *onnx.Tensor, i int) float64 {
	if s, ok := t.Data.([]float64); ok {
		return s[i]
	}
	return float64(onnx.Of[float32](t)[i])
}
