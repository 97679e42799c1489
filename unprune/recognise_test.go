package unprune_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// TestRecogniseTorchPruning reads files that torch.nn.utils.prune made, with
// its hooks removed and left in, as every exporter writes them. Exporters that
// fold constants fold the hooks of small layers too.
func TestRecogniseTorchPruning(t *testing.T) {
	const dialects = "../models/testdata/dialects"
	for _, pattern := range []string{"*.pruned.*.onnx", "*.hooked.*.onnx"} {
		files, err := filepath.Glob(filepath.Join(dialects, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no file %s (%v)", pattern, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				m, err := onnx.Read(file)
				if err != nil {
					t.Fatal(err)
				}
				im, err := pass.Import(m)
				if err != nil {
					t.Fatal(err)
				}
				hooked := strings.Contains(file, "hooked")
				recogniseTorch(t, im, hooked, hooked && strings.Contains(file, "-un"))
			})
		}
	}
}

// recogniseTorch checks one file: hooked files may show masks, and must where
// the exporter kept all hooks.
func recogniseTorch(t *testing.T, im *pass.Model, hooked, kept bool) {
	var layers []sparsity.Layer
	masks := 0
	for _, p := range im.Params {
		if p.Role != pass.Weight {
			continue
		}
		layers = append(layers, sparsity.Layer{Name: p.Name(), Weight: p.Tensor(), OutAxis: p.OutAxis, InAxis: p.InAxis})
		if p.Mask != nil {
			masks++
		}
	}
	got, err := sparsity.Recognise(layers)
	if err != nil {
		t.Fatal(err)
	}
	if got.Title() != "weights, per layer" || got.Pruner().Name() != "magnitude" {
		t.Errorf("recognised as %s", got.Text())
	}
	if s := 1 - got.Masks.Density(); s < 0.8 || s > 0.95 {
		t.Errorf("a share of %v is pruned, want about 0.9", s)
	}
	if masks > 0 && !hooked || masks == 0 && kept {
		t.Errorf("%d masks of hooks were found", masks)
	}
	for _, p := range im.Params {
		if p.Mask == nil {
			continue
		}
		want, err := sparsity.FromValues(p.Mask)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Masks.Get(p.Name()).Equal(want) {
			t.Errorf("%s: the zeros are not those of the hook's mask", p.Name())
		}
	}
}
