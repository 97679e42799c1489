package evalmetrics

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// goldenNet runs one of the networks of the reference cases, in float64.
type goldenNet struct {
	t *testing.T
	m *pass.Model
}

func openNet(t *testing.T, path ...string) goldenNet {
	t.Helper()
	m, err := onnx.Read(filepath.Join(append([]string{goldenDir()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return goldenNet{t, im}
}

// logits runs samples x [n, ...] and returns [n, classes].
func (n goldenNet) logits(x *onnx.Tensor) []float64 {
	n.t.Helper()
	g, err := pass.Specialise(pass.Double(n.m.Trunk()), pass.Target{Batch: x.Shape[0]})
	if err != nil {
		n.t.Fatal(err)
	}
	p, err := exec.Compile(g, exec.Options{})
	if err != nil {
		n.t.Fatal(err)
	}
	in := onnx.Of[float64](p.Input(g.Inputs[0].Name))
	for i, v := range onnx.Of[float32](x) {
		in[i] = float64(v)
	}
	if err := p.Run(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	return onnx.Of[float64](p.Output(n.m.Logits.Name))
}

// goldenOutputs runs the network on a set of the shared data.
func goldenOutputs(t *testing.T, n goldenNet, model, set string) Outputs {
	t.Helper()
	data := goldenArrays(t, ".", "data.npz")
	o, err := NewOutputs(n.logits(data[strings.ToLower(model)+"_x_"+set]), onnx.Of[int64](data["y_"+set]))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// goldenDivergence compares KL and JS between two networks on three sets.
func goldenDivergence(t *testing.T, name string) {
	var want struct {
		Model  string
		Result map[string]struct {
			JS float64
			KL float64 `json:"kl_gold_to_unlearned"`
		}
		Tolerance float64
	}
	goldenCase(t, name, &want)
	gold, model := openNet(t, name, "gold.onnx"), openNet(t, name, "unlearned.onnx")
	if len(want.Result) != 3 {
		t.Fatalf("%d sets", len(want.Result))
	}
	for set, w := range want.Result {
		p, q := goldenOutputs(t, gold, want.Model, set), goldenOutputs(t, model, want.Model, set)
		kl, err := KL(p.Prob, q.Prob, p.Classes())
		if err != nil || math.Abs(kl-w.KL) > want.Tolerance {
			t.Errorf("%s: KL %v (%v), want %v", set, kl, err, w.KL)
		}
		js, err := JS(p.Prob, q.Prob, p.Classes())
		if err != nil || math.Abs(js-w.JS) > want.Tolerance {
			t.Errorf("%s: JS %v (%v), want %v", set, js, err, w.JS)
		}
	}
}
