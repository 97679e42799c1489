//go:build cgo

package ort

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzSignature feeds broken files to what reads them before ONNX Runtime
// does: no panic, and an adapted model still has the inputs and outputs of
// the original, in front of those added.
func FuzzSignature(f *testing.F) {
	models, err := filepath.Glob(filepath.Join("testdata", "*.onnx"))
	if err != nil || len(models) == 0 {
		f.Fatalf("no models to start from: %v", err)
	}
	for _, path := range models {
		model, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(model)
	}
	f.Fuzz(func(t *testing.T, model []byte) {
		sig, err := readSignature(model)
		if err != nil {
			return
		}
		a := newAdapter(model, sig)
		adapted, err := readSignature(a.model)
		if err != nil {
			t.Fatalf("the adapted model: %v", err)
		}
		same := func(x, y Info) bool {
			return x.Name == y.Name && x.DType == y.DType && slices.Equal(x.Shape, y.Shape)
		}
		if n := len(sig.outputs); !slices.EqualFunc(adapted.outputs[:n], sig.outputs, same) {
			t.Errorf("outputs %v became %v", sig.outputs, adapted.outputs)
		}
		if n := len(sig.inputs); !slices.EqualFunc(adapted.inputs[:n], sig.inputs, same) {
			t.Errorf("inputs %v became %v", sig.inputs, adapted.inputs)
		}
		if len(a.inputs) == 0 || len(a.outputs) < len(sig.outputs) {
			t.Errorf("a session of %d inputs and %d outputs", len(a.inputs), len(a.outputs))
		}
	})
}
