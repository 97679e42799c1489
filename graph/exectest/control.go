package exectest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// control compares the outputs of the files with branches, loops, scans and
// local functions, as they are and after they were imported, written and read
// again, with those of ONNX Runtime, bound to the inputs of each run.
func control(t *testing.T, execute Executor) {
	dir := filepath.Join(fixtures(), "control")
	var manifest struct {
		Files []struct {
			File string
			Runs int
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	for _, f := range manifest.Files {
		t.Run(f.File, func(t *testing.T) {
			path := filepath.Join(dir, f.File)
			data, err := npz.ReadFile(strings.TrimSuffix(path, "onnx") + "npz")
			if err != nil {
				t.Fatal(err)
			}
			im := Import(t, path)
			for run := range f.Runs {
				runControl(t, execute, im, data, run, "")
				runControl(t, execute, rewrite(t, im), data, run, " of the file written")
			}
		})
	}
}

// runControl binds a model to the inputs of one run and compares its outputs.
func runControl(t *testing.T, execute Executor, im *pass.Model, data map[string]*onnx.Tensor, run int, what string) {
	t.Helper()
	feeds := map[string]*onnx.Tensor{}
	for _, in := range im.Graph.Inputs {
		feeds[in.Name] = data[fmt.Sprintf("x%d.%s", run, in.Name)]
	}
	g, err := pass.Bind(im.Graph, feeds)
	if err != nil {
		t.Fatal(err)
	}
	for name := range feeds { // what became a constant is no input any more
		if v := g.Value(name); v == nil || v.Const != nil {
			delete(feeds, name)
		}
	}
	out, err := execute(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range im.Graph.Outputs {
		Near(t, fmt.Sprintf("run %d, output %q%s", run, v.Name, what), out[v.Name], data[fmt.Sprintf("y%d.%s", run, v.Name)], 1e-5)
	}
}
