package cli

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// TestInferAnyInputs: inputs of any type and rank, axes that the file leaves
// open, branches and loops that depend on them: infer gives ONNX Runtime's
// outputs.
func TestInferAnyInputs(t *testing.T) {
	const testdata = "../../../models/testdata/"
	files, err := filepath.Glob(testdata + "control/*.onnx")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range []string{"half", "sequence-length", "attention-23"} {
		files = append(files, testdata+"duties/"+name+".onnx")
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := npz.ReadFile(strings.TrimSuffix(path, "onnx") + "npz")
			if err != nil {
				t.Fatal(err)
			}
			m, err := onnx.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			find := func(kind, name string) *onnx.Tensor {
				if x := data[kind+"0."+name]; x != nil {
					return x
				}
				return data[kind+"3"] // the batch of duties
			}
			var inputs []*onnx.Tensor
			for _, name := range inputNames(m) {
				x := *find("x", name)
				x.Name = name
				inputs = append(inputs, &x)
			}
			in, out := filepath.Join(t.TempDir(), "in.npz"), filepath.Join(t.TempDir(), "out.npz")
			if err := writeFile(in, func(w io.Writer) error { return npz.Write(w, inputs...) }); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			if code := run(t.Context(), []string{"infer", path, "--input", in, "--output", out}, io.Discard, &stderr); code != exitDone {
				t.Fatalf("exit code %d: %s", code, &stderr)
			}
			got, err := npz.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range m.Graph.Outputs {
				if err := close(got[v.Name], find("y", v.Name)); err != nil {
					t.Error(fmt.Errorf("output %q: %w", v.Name, err))
				}
			}
		})
	}
}
