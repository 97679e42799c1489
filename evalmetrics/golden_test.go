package evalmetrics

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
)

// goldenDir is the folder of reference cases: GOLDEN_DIR, or the copy in the repository.
func goldenDir() string {
	if dir := os.Getenv("GOLDEN_DIR"); dir != "" {
		return dir
	}
	return filepath.Join("..", "unprune", "testdata", "golden")
}

// goldenCase reads a case's description into v.
func goldenCase(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir(), name, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

func goldenArrays(t *testing.T, name, file string) map[string]*onnx.Tensor {
	t.Helper()
	a, err := npz.ReadFile(filepath.Join(goldenDir(), name, file))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// metricCases runs the reference cases of this package by their algorithm.
var metricCases = map[string]func(*testing.T, string){
	"iou": goldenIoU, "bound_masks": goldenBound, "divergence": goldenDivergence, "svc_mia": goldenSVC, "threshold_mia": goldenThreshold,
}

// TestGolden runs every case of a metric that the folder holds, whatever it is
// called. The committed copy has one of each algorithm; another folder may have
// cases of unlearners or pruners alone.
func TestGolden(t *testing.T) { runGolden(t, os.Getenv("GOLDEN_DIR") == "") }

// TestOther runs the cases of testdata/make_cases.py: other networks, sizes,
// numbers of classes and settings.
func TestOther(t *testing.T) {
	t.Setenv("GOLDEN_DIR", filepath.Join("testdata", "other"))
	runGolden(t, true)
}

// runGolden wants a case of every algorithm where the folder is complete.
func runGolden(t *testing.T, complete bool) {
	entries, err := os.ReadDir(goldenDir())
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for _, entry := range entries {
		var head struct{ Algorithm string }
		if _, err := os.Stat(filepath.Join(goldenDir(), entry.Name(), "case.json")); err != nil {
			continue
		}
		goldenCase(t, entry.Name(), &head)
		if run := metricCases[head.Algorithm]; run != nil {
			ran[head.Algorithm]++
			t.Run(entry.Name(), func(t *testing.T) { run(t, entry.Name()) })
		} else if !elsewhere.MatchString(head.Algorithm) {
			t.Errorf("%s: no test runs the algorithm %q", entry.Name(), head.Algorithm)
		}
	}
	if !complete && len(ran) == 0 {
		t.Skipf("SKIPPING: %s holds no case of a metric", goldenDir())
	}
	for algorithm := range metricCases {
		if complete && ran[algorithm] == 0 {
			t.Errorf("%s holds no case of %s", goldenDir(), algorithm)
		}
	}
}

// elsewhere are algorithms whose cases the packages sparsity, unprune and
// unlearn run; a new metric is not among them and fails.
var elsewhere = regexp.MustCompile(`^(bad_teacher|cu|fisher|ft|ga|l1_sparse|lth|fpgm|sfp|neggrad|prune|rl|salun|scrub|sfron|ssd|train_frozen|unprune|woodfisher)(_|$)`)

func goldenIoU(t *testing.T, folder string) {
	var want struct {
		Cases []struct {
			Intersection, Union, NA, NB int
			IoU                         float64
			IoM                         float64 `json:"iom_ours"`
		}
	}
	goldenCase(t, folder, &want)
	arrays := goldenArrays(t, folder, "masks.npz")
	mask := func(name string) *sparsity.Mask {
		v := arrays[name]
		m := sparsity.NewMask(v.Shape...)
		for i, b := range onnx.Of[uint8](v) {
			m.Set(i, b != 0)
		}
		return m
	}
	if len(want.Cases) == 0 {
		t.Fatal("no cases")
	}
	for c, w := range want.Cases {
		a, b := &sparsity.Masks{}, &sparsity.Masks{}
		for layer := range arrays {
			if !strings.HasPrefix(layer, fmt.Sprintf("c%d_a", c)) {
				continue
			}
			layer = strings.TrimPrefix(layer, fmt.Sprintf("c%d_a", c))
			name := fmt.Sprintf("layer%s.weight", layer)
			a.Set(name, mask(fmt.Sprintf("c%d_a%s", c, layer)))
			b.Set(name, mask(fmt.Sprintf("c%d_b%s", c, layer)))
		}
		layers, err := Overlaps(a, b)
		if err != nil {
			t.Fatal(err)
		}
		o := TotalOverlap(layers)
		if o.Intersection != w.Intersection || o.Union() != w.Union || o.A != w.NA || o.B != w.NB || o.IoU() != w.IoU || o.IoM() != w.IoM {
			t.Errorf("case %d: got %+v, IoU %v, IoM %v; want %+v", c, o, o.IoU(), o.IoM(), w)
		}
	}
}

func goldenBound(t *testing.T, folder string) {
	var want struct {
		Cases []struct {
			K        int
			E        float64
			EpsMax   float64   `json:"eps_max"`
			QTrue    int       `json:"q_true"`
			QInf     int       `json:"q_inf"`
			Q2       int       `json:"q_2"`
			QPair    int       `json:"q_pair"`
			PhiFirst []float64 `json:"phi_first"`
			IoUBound float64   `json:"iou_bound"`
		}
	}
	goldenCase(t, folder, &want)
	arrays := goldenArrays(t, folder, "weights.npz")
	if len(want.Cases) == 0 {
		t.Fatal("no cases")
	}
	magnitudes := func(name string) []float64 {
		s := onnx.Of[float64](arrays[name])
		for i, v := range s {
			s[i] = math.Abs(v)
		}
		return s
	}
	for c, w := range want.Cases {
		u, phi := magnitudes(fmt.Sprintf("c%d/u", c)), magnitudes(fmt.Sprintf("c%d/phi", c))
		m := NewMargins(u, w.K)
		if got := sparsity.TopK(u, w.K).AndNot(sparsity.TopK(phi, w.K)).Count(); got != w.QTrue {
			t.Errorf("case %d: %d flips, want %d", c, got, w.QTrue)
		}
		if got := m.SupFlips(w.EpsMax); got != w.QInf {
			t.Errorf("case %d: sup bound %d, want %d", c, got, w.QInf)
		}
		if got := m.L2Flips(w.E); got != w.Q2 {
			t.Errorf("case %d: Euclidean bound %d, want %d", c, got, w.Q2)
		}
		if got := PooledFlips([]Margins{m}, w.E); got != w.QPair {
			t.Errorf("case %d: pooled bound %d, want %d", c, got, w.QPair)
		}
		for i, p := range w.PhiFirst {
			if got := m.SquaredDistance(i + 1); math.Abs(got-p) > 1e-9 {
				t.Errorf("case %d: Φ(%d) = %v, want %v", c, i+1, got, p)
			}
		}
		if got := LeastIoU(w.K, w.Q2); math.Abs(got-w.IoUBound) > 1e-15 {
			t.Errorf("case %d: least IoU %v, want %v", c, got, w.IoUBound)
		}
	}
}
