// Package exectest is the conformance suite that every executor runs: each
// dialect of PyTorch's exporters in inference, at the exported batch size and
// at others, and whole training graphs whose gradients PyTorch computed.
package exectest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// An Executor runs a graph whose extents are known, once.
type Executor func(g *graph.Graph, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error)

// Run runs the suite.
func Run(t *testing.T, execute Executor) {
	t.Run("dialects", func(t *testing.T) { dialects(t, execute) })
	t.Run("duties", func(t *testing.T) { duties(t, execute) })
	t.Run("control", func(t *testing.T) { control(t, execute) })
	t.Run("gradients", func(t *testing.T) { gradients(t, execute) })
}

// fixtures is the folder models/testdata, found from this file.
func fixtures() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "models", "testdata")
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Import reads and imports a model file of the fixtures.
func Import(t *testing.T, file string) *pass.Model {
	t.Helper()
	m, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// dialects compares the outputs of every file with those PyTorch computed for
// the same weights. Files of a fixed batch are rebound to both sizes. A file
// exported in training mode holds running statistics that the export itself
// changed, so that its reference is what ONNX Runtime makes of it: batch
// statistics, and dropout that does nothing.
func dialects(t *testing.T, execute Executor) {
	dir := filepath.Join(fixtures(), "dialects")
	var manifest struct {
		Files []struct{ File, Data, Dialect string }
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	for _, f := range manifest.Files {
		t.Run(f.File, func(t *testing.T) {
			im := Import(t, filepath.Join(dir, f.File))
			want, err := npz.ReadFile(filepath.Join(dir, f.Data))
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range []int{5, 2} {
				x, y := want[fmt.Sprintf("x%d", batch)], want[fmt.Sprintf("y%d", batch)]
				training := strings.HasSuffix(f.Dialect, "-training")
				if training {
					y = want[fmt.Sprintf("%s/y%d", f.Dialect, batch)]
				}
				g, err := pass.Specialise(im.Graph, pass.Target{Batch: batch, Training: training, Keep: keep(im)})
				if err != nil {
					t.Fatal(err)
				}
				feeds := map[string]*onnx.Tensor{g.Inputs[0].Name: x}
				for _, n := range g.Noise {
					feeds[n.Input] = ones(g.Value(n.Input).Shape)
				}
				out, err := execute(g, feeds)
				if err != nil {
					t.Fatal(err)
				}
				Near(t, fmt.Sprintf("output for a batch of %d", batch), out[g.Outputs[0].Name], y, 1e-4)
			}
		})
	}
}

// ones is the noise of a dropout that drops nothing.
func ones(shape []int) *onnx.Tensor {
	t := onnx.NewTensor(onnx.Float32, shape...)
	for i := range onnx.Of[float32](t) {
		onnx.Of[float32](t)[i] = 1
	}
	return t
}

// keep names all parameters: nothing that depends on them may be folded, which
// is how training sees the graph.
func keep(im *pass.Model) map[string]bool {
	k := map[string]bool{}
	for _, p := range im.Params {
		k[p.Name()] = p.Trainable || p.State()
	}
	return k
}

// gradients runs whole training graphs, in both modes.
func gradients(t *testing.T, execute Executor) {
	dir := filepath.Join(fixtures(), "gradients")
	var manifest struct {
		Networks []struct {
			Models       []string
			Data         string
			RoundingOnly []string `json:"rounding_only"`
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	for _, net := range manifest.Networks {
		want, err := npz.ReadFile(filepath.Join(dir, net.Data))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range net.Models {
			for _, mode := range []string{"eval", "train"} {
				t.Run(file+"/"+mode, func(t *testing.T) {
					im := Import(t, filepath.Join(dir, file))
					got, err := step(im, execute, want["x"], want["y"], mode == "train")
					if err != nil {
						t.Fatal(err)
					}
					Near(t, "loss", got[autodiff.LossName], want["loss_"+mode], 1e-5)
					for _, name := range im.TrainableNames() {
						key := "grad_" + mode + "/" + name
						if slices.Contains(net.RoundingOnly, key) {
							continue
						}
						Near(t, key, got[autodiff.GradName(name)], want[key], 1e-4)
					}
				})
			}
		}
	}
}

// step builds the training graph of a model and runs it once.
func step(im *pass.Model, execute Executor, x, y *onnx.Tensor, training bool) (map[string]*onnx.Tensor, error) {
	g, err := pass.Specialise(im.Trunk(), pass.Target{Batch: x.Shape[0], Training: training, Keep: keep(im)})
	if err != nil {
		return nil, err
	}
	feeds := map[string]*onnx.Tensor{g.Inputs[0].Name: x, autodiff.LabelsName: y}
	var state []string
	for _, p := range im.Params {
		if p.State() {
			state = append(state, p.Name())
		}
		if p.State() || p.Trainable {
			feeds[p.Name()] = p.Tensor()
		}
	}
	err = autodiff.Train(g, autodiff.TrainOptions{
		Logits: im.Logits.Name, Params: im.TrainableNames(), State: state, Gradients: true,
	})
	if err != nil {
		return nil, err
	}
	return execute(g, feeds)
}

// Near fails when an element is off by more than tol times the largest entry
// of want.
func Near(t *testing.T, what string, got, want *onnx.Tensor, tol float64) {
	t.Helper()
	if got == nil || want == nil || got.Len() != want.Len() {
		t.Errorf("%s: have %v, want %v", what, shapeOf(got), shapeOf(want))
		return
	}
	a, b := onnx.Of[float32](got), onnx.Of[float32](want)
	scale, worst, where := 0.0, 0.0, 0
	for i := range b {
		scale = max(scale, math.Abs(float64(b[i])))
		if d := math.Abs(float64(a[i]) - float64(b[i])); !(d <= worst) {
			worst, where = d, i
		}
	}
	if !(worst <= tol*scale) {
		t.Errorf("%s: element %d is %g, want %g: off by %.2g of the largest entry, allowed %.0g", what, where, a[where], b[where], worst/scale, tol)
	}
}

func shapeOf(t *onnx.Tensor) any {
	if t == nil {
		return "nothing"
	}
	return t.Shape
}
