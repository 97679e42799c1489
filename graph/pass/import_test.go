package pass_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

func importFile(t *testing.T, name string) *pass.Model {
	t.Helper()
	m, err := onnx.Read(filepath.Join("../../models/testdata/dialects", name))
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func count(im *pass.Model, role pass.Role) (n int) {
	for _, p := range im.Params {
		if p.Role == role {
			n++
		}
	}
	return n
}

// TestUntie: an untrained export merges equal initializers; each use gets its
// parameter back, under the name of the Identity that stood for it.
func TestUntie(t *testing.T) {
	im := importFile(t, "resnet-18-cifar.theta0.ts17-unfolded.onnx")
	for role, want := range map[pass.Role]int{pass.Weight: 21, pass.Scale: 20, pass.Shift: 20, pass.Mean: 20, pass.Variance: 20, pass.Bias: 1} {
		if got := count(im, role); got != want {
			t.Errorf("%d parameters are %ss, want %d", got, role, want)
		}
	}
	for _, name := range []string{"layer1.0.bn1.weight", "layer4.1.bn2.bias", "layer2.0.bn1.running_var"} {
		if im.Param(name) == nil {
			t.Errorf("parameter %q did not get its name back", name)
		}
	}
	if !strings.Contains(strings.Join(im.Notes, "\n"), "merges") {
		t.Errorf("the import does not say that it un-merged: %q", im.Notes)
	}
}

// TestMatch pairs theta_0 with the trained network by position.
func TestMatch(t *testing.T) {
	for _, tt := range []struct{ trained, theta0, wantErr string }{
		{"resnet-18-cifar.trained.ts17-unfolded.onnx", "resnet-18-cifar.theta0.ts17-unfolded.onnx", ""},
		{"resnet-18-cifar.trained.ts17-plain.onnx", "resnet-18-cifar.theta0.ts17-plain.onnx", ""},
		{"resnet-18-cifar.trained.dyn20-dynamic.onnx", "resnet-18-cifar.theta0.dyn20-dynamic.onnx", ""},
		{"resnet-18-cifar.trained.dyn20-unoptimized.onnx", "resnet-18-cifar.theta0.dyn20-unoptimized.onnx", ""},
		{"lenet-300-100.trained.ts17-unfolded.onnx", "lenet-300-100.theta0.ts17-unfolded.onnx", ""},
		{"resnet-18-cifar.trained.ts17-unfolded.onnx", "resnet-18-cifar.theta0.ts17-plain.onnx", "BatchNormalization folded"},
		{"resnet-18-cifar.trained.ts17-plain.onnx", "lenet-300-100.theta0.ts17-unfolded.onnx", "export both with the same call"},
	} {
		t.Run(tt.trained+" "+tt.theta0, func(t *testing.T) {
			a, b := importFile(t, tt.trained), importFile(t, tt.theta0)
			pairs, err := a.Match(b)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range a.Params {
				if q := pairs[i]; q.Role != p.Role || q.OutAxis != p.OutAxis {
					t.Errorf("%q (%s) is paired with %q (%s)", p.Name(), p.Role, q.Name(), q.Role)
				}
			}
		})
	}
}

// TestUnhook: hooks that were not removed leave Mul(weight_orig, weight_mask).
func TestUnhook(t *testing.T) {
	for _, tt := range []struct {
		file  string
		pairs int // products that the exporter left in the graph
	}{
		{"lenet-5.hooked.ts17-unfolded.onnx", 5},
		{"lenet-5.hooked.dyn20-unoptimized.onnx", 5},
		{"conv-norm.hooked.ts17-unfolded.onnx", 3},
		{"conv-norm.hooked.dyn20-dynamic.onnx", 1},
	} {
		t.Run(tt.file, func(t *testing.T) {
			im := importFile(t, tt.file)
			pairs := 0
			for _, p := range im.Params {
				if p.Mask == nil {
					continue
				}
				pairs++
				values, mask, dense := onnx.Of[float32](p.Tensor()), onnx.Of[float32](p.Mask), onnx.Of[float32](p.Dense)
				zeros := 0
				for i, m := range mask {
					if values[i] != m*dense[i] {
						t.Fatalf("%s[%d] is %g, want %g", p.Name(), i, values[i], m*dense[i])
					}
					if m == 0 {
						zeros++
					}
				}
				if zeros == 0 || p.Role != pass.Weight {
					t.Errorf("%s: %d pruned, role %s", p.Name(), zeros, p.Role)
				}
			}
			if pairs != tt.pairs {
				t.Errorf("%d masked weights recognised, want %d", pairs, tt.pairs)
			}
		})
	}
}

// TestLogits: a final Softmax is for inference, the loss takes its input.
func TestLogits(t *testing.T) {
	for _, file := range []string{"lenet-5-softmax.trained.ts17-plain.onnx", "lenet-5-log-softmax.trained.dyn20-dynamic.onnx"} {
		im := importFile(t, file)
		if p := im.Logits.Producer(); p == nil || p.Op != "Gemm" {
			t.Errorf("%s: the logits are made by %v, want the last Gemm", file, p)
		}
	}
}

// TestLayout: weights have one logical (out, in) view in both layouts.
func TestLayout(t *testing.T) {
	im := importFile(t, "lenet-300-100.trained.dyn20-dynamic.onnx")
	want := []int{11, 9, 10} // the fixture is narrow
	for _, p := range im.Params {
		if p.Role != pass.Weight {
			continue
		}
		if got := p.Tensor().Shape[p.OutAxis]; got != want[0] {
			t.Errorf("%s: %d outputs, want %d", p.Name(), got, want[0])
		}
		want = want[1:]
	}
}
