package exectest

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// duties compares the outputs of the files that each show one thing an
// importer must undo, as they are and after they were imported, written and
// read again, with those of ONNX Runtime.
func duties(t *testing.T, execute Executor) {
	dir := filepath.Join(fixtures(), "duties")
	var manifest struct {
		Files []struct {
			File             string
			Batches          []int
			Random, Training bool
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	for _, f := range manifest.Files {
		if f.Random { // its outputs are another each time
			continue
		}
		t.Run(f.File, func(t *testing.T) {
			path := filepath.Join(dir, f.File)
			data, err := npz.ReadFile(path[:len(path)-len("onnx")] + "npz")
			if err != nil {
				t.Fatal(err)
			}
			im := Import(t, path)
			written := rewrite(t, im)
			for _, batch := range f.Batches {
				what := fmt.Sprintf("output for a batch of %d", batch)
				x, y := data[fmt.Sprintf("x%d", batch)], data[fmt.Sprintf("y%d", batch)]
				compare(t, execute, im, f.Training, x, y, what)
				compare(t, execute, written, f.Training, x, y, what+" of the file written")
			}
		})
	}
}

// rewrite writes the model and imports what was written.
func rewrite(t *testing.T, im *pass.Model) *pass.Model {
	t.Helper()
	m, err := im.ToONNX()
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if m, err = onnx.Decode(b, nil); err != nil {
		t.Fatal(err)
	}
	again, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func compare(t *testing.T, execute Executor, im *pass.Model, training bool, x, y *onnx.Tensor, what string) {
	t.Helper()
	var dims map[string]int
	for i, d := range im.Graph.Inputs[0].Shape {
		if i > 0 && d < 0 {
			dims = map[string]int{"sequence": x.Shape[i]}
		}
	}
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: x.Shape[0], Dims: dims, Training: training, Keep: keep(im)})
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
	got, tol := out[g.Outputs[0].Name], 1e-4
	if got != nil && got.DType != onnx.Float32 {
		tol = 2e-3 // half a unit of float16 in every intermediate result
		if got, err = onnx.Convert(got, onnx.Float32); err == nil {
			y, err = onnx.Convert(y, onnx.Float32)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	Near(t, what, got, y, tol)
}
