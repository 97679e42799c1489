package sparsity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// goldenFile is a file of a reference case: below GOLDEN_DIR, or below the copy in
// the repository.
func goldenFile(name ...string) string {
	dir := os.Getenv("GOLDEN_DIR")
	if dir == "" {
		dir = filepath.Join("..", "unprune", "testdata", "golden")
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

// goldenLayers are the tensors of a case's network whose name contains
// "weight"; the scale of batch normalisation is one of them.
func goldenLayers(t *testing.T, name string) []Layer {
	t.Helper()
	model, err := onnx.Read(goldenFile(name, "before.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	var layers []Layer
	for _, w := range model.Graph.Initializers {
		if strings.Contains(w.Name, "weight") {
			layers = append(layers, Layer{Name: w.Name, Weight: w, OutAxis: 0, InAxis: 1})
		}
	}
	if len(layers) == 0 {
		t.Fatal("no layers")
	}
	return layers
}

func goldenCase(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(goldenFile(name, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// TestGolden runs the cases of pruners that look at weights alone. Packages
// unprune, unprune/unlearn and evalmetrics run the others; that of unlearners
// fails for algorithms that none knows.
func TestGolden(t *testing.T) {
	runners := map[string]func(*testing.T, string){
		"lth":              goldenLTH,
		"prune_omp":        goldenOneShot(Magnitude{Global: true}),
		"prune_structured": goldenOneShot(FilterL1),
		"prune_channel":    goldenOneShot(ChannelL1),
		"sfp":              goldenSFP,
		"fpgm":             goldenFPGM,
	}
	folders, err := os.ReadDir(goldenFile())
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		var c struct{ Algorithm string }
		goldenCase(t, f.Name(), &c)
		if run := runners[c.Algorithm]; run != nil {
			ran++
			t.Run(f.Name(), func(t *testing.T) { run(t, f.Name()) })
		}
	}
	if ran == 0 {
		t.Skipf("SKIPPING: %s holds no case of a pruner", goldenFile())
	}
}

// goldenLTH prunes round after round without training in between.
func goldenLTH(t *testing.T, name string) {
	var c struct {
		Hyper struct {
			Percent float64
			Rounds  int
		}
		Alive []map[string]int `json:"alive_after_round"`
	}
	goldenCase(t, name, &c)
	layers := goldenLayers(t, name)
	want := goldenArrays(t, name, "masks.npz")
	thresholds := goldenArrays(t, name, "thresholds.npz")
	alive, err := MasksOf(layers)
	if err != nil {
		t.Fatal(err)
	}
	for round := range c.Hyper.Rounds {
		scores, err := LTH{}.Score(Input{Layers: layers})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scores {
			got := Percentile(kept(s.Values, alive.Get(s.Layer.Name)), c.Hyper.Percent)
			want := onnx.Of[float32](thresholds[fmt.Sprintf("round%d/%s", round, s.Layer.Name)])[0]
			if math.Abs(got-float64(want)) > 1e-6 {
				t.Errorf("round %d, %s: threshold %v, want %v", round, s.Layer.Name, got, want)
			}
		}
		if alive, err = (LTH{}).Prune(scores, alive, c.Hyper.Percent/100); err != nil {
			t.Fatal(err)
		}
		for name, m := range alive.All() {
			if w := onnx.Of[uint8](want[fmt.Sprintf("round%d/%s", round, name)]); !bytes.Equal(m.Packed(), w) {
				t.Errorf("round %d: mask of %s is %x, want %x", round, name, m.Packed(), w)
			}
			if m.Count() != c.Alive[round][name] {
				t.Errorf("round %d: %d weights of %s are alive, want %d", round, m.Count(), name, c.Alive[round][name])
			}
		}
	}
	goldenRewind(t, name, layers, alive)
}

// goldenRewind compares the pruned weights and, rewound, the initial ones.
func goldenRewind(t *testing.T, name string, layers []Layer, masks *Masks) {
	after, initial := goldenArrays(t, name, "after.npz"), goldenArrays(t, name, "theta0.npz")
	for _, l := range layers {
		for stage, w := range map[string]*onnx.Tensor{"pruned/": l.Weight, "rewound/": initial[l.Name]} {
			if err := masks.Get(l.Name).Apply(w); err != nil {
				t.Fatal(err)
			}
			if got, want := onnx.Of[float32](w), onnx.Of[float32](after[stage+l.Name]); !slices.Equal(got, want) {
				t.Errorf("%s%s: got %v, want %v", stage, l.Name, got, want)
			}
		}
	}
}

// goldenOneShot prunes the convolutions once.
func goldenOneShot(p Pruner) func(*testing.T, string) {
	return func(t *testing.T, name string) {
		var c struct {
			Hyper struct{ Ratio float64 }
		}
		goldenCase(t, name, &c)
		layers := Convolutions(goldenLayers(t, name))
		want := goldenArrays(t, name, "masks.npz")
		got := pruneGolden(t, p, layers, c.Hyper.Ratio)
		for _, l := range layers {
			for i, w := range onnx.Of[uint8](want[l.Name]) {
				if got.Get(l.Name).Get(i) != (w != 0) {
					t.Errorf("%s: position %d is kept: %v", l.Name, i, w == 0)
				}
			}
		}
	}
}

func pruneGolden(t *testing.T, p Pruner, layers []Layer, share float64) *Masks {
	t.Helper()
	scores, err := p.Score(Input{Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	masks, err := p.Prune(scores, nil, share)
	if err != nil {
		t.Fatal(err)
	}
	return masks
}

func goldenSFP(t *testing.T, name string) {
	var c struct{ Cases []string }
	goldenCase(t, name, &c)
	layers := Convolutions(goldenLayers(t, name))
	want := goldenArrays(t, name, "filter_masks.npz")
	for _, key := range c.Cases {
		var rate float64
		if _, err := fmt.Sscanf(key, "rate%g", &rate); err != nil {
			t.Fatal(err)
		}
		got := pruneGolden(t, SFP{ReferenceCount: true}, layers, 1-rate)
		for _, l := range layers {
			wantFilters(t, key, l, got, onnx.Of[uint8](want[key+"/norm/"+l.Name]))
		}
	}
}

func goldenFPGM(t *testing.T, name string) {
	var c struct{ Cases []string }
	goldenCase(t, name, &c)
	layers := Convolutions(goldenLayers(t, name))
	want := goldenArrays(t, name, "filter_masks.npz")
	for _, key := range c.Cases {
		var rate, dist float64
		if _, err := fmt.Sscanf(strings.Replace(key, "_", " ", 1), "rate%g dist%g", &rate, &dist); err != nil {
			t.Fatal(err)
		}
		got := pruneGolden(t, FPGM{NormDrop: 1 - rate, ReferenceCount: true}, layers, dist)
		for _, l := range layers {
			both := onnx.Of[uint8](want[key+"/norm/"+l.Name])
			for f, kept := range onnx.Of[uint8](want[key+"/dist/"+l.Name]) {
				both[f] &= kept
			}
			wantFilters(t, key, l, got, both)
		}
	}
}

func wantFilters(t *testing.T, key string, l Layer, masks *Masks, want []uint8) {
	t.Helper()
	got := l.UnitMask(Filter, masks.Get(l.Name))
	if got.Len() != len(want) {
		t.Fatalf("%s: %d filters of %s, want %d", key, got.Len(), l.Name, len(want))
	}
	for f, w := range want {
		if got.Get(f) != (w != 0) {
			t.Errorf("%s: filter %d of %s is kept: %v", key, f, l.Name, w == 0)
		}
	}
}
