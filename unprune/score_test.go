package unprune_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

// goldenFile is a file of a reference case: below GOLDEN_DIR, or below the
// committed copy.
func goldenFile(name ...string) string {
	dir := os.Getenv("GOLDEN_DIR")
	if dir == "" {
		dir = filepath.Join("testdata", "golden")
	}
	return filepath.Join(append([]string{dir}, name...)...)
}

func goldenArrays(t *testing.T, name ...string) map[string]*onnx.Tensor {
	t.Helper()
	arrays, err := npz.ReadFile(goldenFile(name...))
	if err != nil {
		t.Fatal(err)
	}
	return arrays
}

func goldenEngine(t *testing.T, name string, double bool) *train.Engine {
	t.Helper()
	m, err := onnx.Read(goldenFile(name, "before.onnx"))
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
	return e
}

func compile(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
	return exec.Compile(g, exec.Options{State: state, Into: into})
}

// TestGoldenScores prunes the convolutions with pruners that score by what the
// network computes on retained samples.
func TestGoldenScores(t *testing.T) {
	folders, err := os.ReadDir(goldenFile())
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	for _, f := range folders {
		var c struct{ Algorithm string }
		name := f.Name()
		if !f.IsDir() {
			continue
		}
		text, err := os.ReadFile(goldenFile(name, "case.json"))
		if err := errors.Join(err, json.Unmarshal(text, &c)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Contains([]string{"prune_snip", "prune_grasp", "prune_synflow"}, c.Algorithm) {
			continue
		}
		ran = true
		for _, double := range []bool{true, false} {
			t.Run(name+map[bool]string{true: "/float64", false: "/float32"}[double], func(t *testing.T) {
				goldenScores(t, name, double)
			})
		}
	}
	if !ran {
		t.Skipf("SKIPPING: %s holds no case of such a pruner", goldenFile())
	}
}

func goldenScores(t *testing.T, name string, double bool) {
	var c struct {
		Model     string
		Reference struct{ File string }
		Tolerance struct{ Scores float64 }
		Hyper     struct {
			Ratio           float64
			SamplesPerClass int `json:"samples_per_class"`
		}
	}
	text, err := os.ReadFile(goldenFile(name, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	e := goldenEngine(t, name, double)
	z := goldenArrays(t, "data.npz")
	d := &data.Dataset{X: z[c.Model+"_x_retain"], Y: onnx.Of[int64](z["y_retain"]), Classes: e.Classes()}
	p := referencePruner(t, c.Reference.File)
	s := unprune.Samples{Data: d, Rows: rows(d.Len()), PerClass: c.Hyper.SamplesPerClass}
	in, err := unprune.ScoreInput(t.Context(), e, p, sparsity.Convolutions(e.Layers()), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	scores, err := p.Score(in)
	if err != nil {
		t.Fatal(err)
	}
	wantScores(t, scores, goldenArrays(t, name, "extra.npz"), c.Tolerance.Scores)

	got, err := sparsity.PlanOf(p).Run(p, in, nil, c.Hyper.Ratio)
	if err != nil {
		t.Fatal(err)
	}
	want := goldenArrays(t, name, "masks.npz")
	for layer, m := range got.All() {
		for i, w := range onnx.Of[uint8](want[layer]) {
			if m.Get(i) != (w != 0) {
				t.Errorf("%s: position %d is kept: %v", layer, i, w == 0)
			}
		}
	}
}

// referencePruner is the pruner with the quirks of the reference that made the
// case.
func referencePruner(t *testing.T, file string) sparsity.Pruner {
	t.Helper()
	switch {
	case strings.Contains(file, "snip_importance_score"):
		return sparsity.SNIP{GradientOnly: true}
	case strings.Contains(file, "grasp_importance_score"):
		return sparsity.GraSP{Absolute: true}
	case strings.Contains(file, "synflow_importance_score"):
		return sparsity.SynFlow{}
	}
	t.Fatalf("no pruner follows %q", file)
	return nil
}

// wantScores compares magnitudes: the reference's sign may be the other.
func wantScores(t *testing.T, scores []sparsity.Scores, extra map[string]*onnx.Tensor, tol float64) {
	t.Helper()
	for _, s := range scores {
		want := extra["score/"+s.Layer.Name]
		if want == nil {
			want = extra["score_first_round/"+s.Layer.Name]
		}
		if want == nil {
			t.Fatalf("the case has no scores of %q", s.Layer.Name)
		}
		largest := 0.0
		for _, w := range onnx.Of[float32](want) {
			largest = math.Max(largest, math.Abs(float64(w)))
		}
		for i, w := range onnx.Of[float32](want) {
			if diff := math.Abs(s.Values[i] - math.Abs(float64(w))); !(diff <= tol*largest) {
				t.Errorf("%s: score %d is %g, want %g", s.Layer.Name, i, s.Values[i], math.Abs(float64(w)))
			}
		}
	}
}

func rows(n int) []int {
	r := make([]int, n)
	for i := range r {
		r[i] = i
	}
	return r
}

// TestInputNorms compares the norms with sums over the padded input of the
// first convolution, and finds the same for the samples in any batches.
func TestInputNorms(t *testing.T) {
	t.Setenv("GOLDEN_DIR", "") // a network is taken from the committed cases
	const name = "prune_snip_cnn"
	z := goldenArrays(t, "data.npz")
	x := z["cnn_x_retain"]
	e := goldenEngine(t, name, true)
	d := &data.Dataset{X: x, Y: onnx.Of[int64](z["y_retain"]), Classes: e.Classes()}
	norms, err := e.InputNorms(t.Context(), d, rows(d.Len()))
	if err != nil {
		t.Fatal(err)
	}
	first := e.Layers()[0]
	shape := first.Weight.Shape // [filters 1 3 3], padding 1, stride 1
	height, width := x.Shape[2], x.Shape[3]
	pixels := onnx.Of[float32](x)
	for i := range first.Weight.Len() {
		ky, kx := i/shape[3]%shape[2]-shape[2]/2, i%shape[3]-shape[3]/2
		sum := 0.0
		for n := range x.Shape[0] {
			for oy := range height {
				for ox := range width {
					if y, x := oy+ky, ox+kx; y >= 0 && y < height && x >= 0 && x < width {
						v := float64(pixels[(n*height+y)*width+x])
						sum += v * v
					}
				}
			}
		}
		if got := onnx.Of[float64](norms[first.Name])[i]; math.Abs(got-math.Sqrt(sum)) > 1e-9 {
			t.Errorf("weight %d of %s: norm %v, want %v", i, first.Name, got, math.Sqrt(sum))
		}
	}
	all := onnx.Of[float64](norms["fc.weight"])
	row := e.Layers()[2].Weight.Shape[1]
	if !slices.Equal(all[:row], all[row:2*row]) || all[0] == 0 {
		t.Errorf("rows of a linear layer read the same inputs, yet norms are %v and %v", all[:row], all[row:2*row])
	}
}

// TestCurvatureIsADerivative compares Hg with the change of the gradient along
// itself.
func TestCurvatureIsADerivative(t *testing.T) {
	t.Setenv("GOLDEN_DIR", "")
	const name = "prune_grasp_cnn"
	z := goldenArrays(t, "data.npz")
	e := goldenEngine(t, name, true)
	d := &data.Dataset{X: z["cnn_x_retain"], Y: onnx.Of[int64](z["y_retain"]), Classes: e.Classes()}
	terms := []unprune.Term{
		{Data: d, Index: rows(d.Len())[:10], Eval: true, Weight: 0.25},
		{Data: d, Index: rows(d.Len())[10:40], Eval: true, Weight: 0.75},
	}
	hg, err := e.FlowCurvature(t.Context(), 1, terms...)
	if err != nil {
		t.Fatal(err)
	}
	gradient := func(step float64, along map[string][]float64) map[string][]float64 {
		for name, g := range along {
			for i, x := range g {
				onnx.Of[float64](e.Weights().Tensors[name])[i] += step * x
			}
		}
		grads, err := e.Gradient(t.Context(), terms...)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string][]float64{}
		for name, g := range grads {
			out[name] = slices.Clone(onnx.Of[float64](g))
		}
		return out
	}
	const h = 1e-4
	g := gradient(0, nil)
	plus := gradient(h, g)
	minus := gradient(-2*h, g)
	for name, p := range plus {
		for i := range p {
			want := (p[i] - minus[name][i]) / (2 * h)
			if got := onnx.Of[float64](hg[name])[i]; math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
				t.Errorf("%s, element %d: Hg is %v, the gradient changes by %v", name, i, got, want)
			}
		}
	}
}

func TestBalancedSamples(t *testing.T) {
	d := &data.Dataset{Y: []int64{1, 0, 1, 1, 2, 0}, Classes: 3}
	got := unprune.Samples{Data: d, Rows: []int{5, 3, 2, 1, 0, 4}, PerClass: 2}.Balanced()
	if want := []int{5, 1, 3, 2, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
