package unprune_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
	"github.com/unprune/unprune/unprune/unlearn"
)

const prunedFolder = "../models/testdata/pruned/"

// prunedFile is a network that another tool pruned, and what is known of it.
type prunedFile struct {
	File  string           `json:"file"`
	Title string           `json:"title"`
	Kept  map[string][]int `json:"kept"` // of narrow files: output units per weight
}

func prunedFiles(t *testing.T) []prunedFile {
	t.Helper()
	text, err := os.ReadFile(prunedFolder + "manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var files []prunedFile
	if err := json.Unmarshal(text, &files); err != nil || len(files) == 0 {
		t.Fatalf("%d files (%v)", len(files), err)
	}
	return files
}

func readPruned(t *testing.T, file string) *pass.Model {
	t.Helper()
	m, err := onnx.Read(prunedFolder + file)
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// sibling is the file of another state of the same network by the same exporter.
func sibling(file, state string) string {
	name, _, _ := strings.Cut(file, ".")
	exporter := strings.TrimPrefix(filepath.Ext(strings.TrimSuffix(file, ".onnx")), ".")
	return name + "." + state + "." + exporter + ".onnx"
}

// TestFindKept puts networks that Torch-Pruning made narrow back into their
// width, by their dense and by their initial weights, and compares with the
// units that it says it left.
func TestFindKept(t *testing.T) {
	tested := 0
	for _, f := range prunedFiles(t) {
		if f.Kept == nil {
			continue
		}
		tested++
		for _, state := range []string{"dense", "theta0"} {
			t.Run(f.File+" by "+state, func(t *testing.T) {
				narrow, wide := readPruned(t, f.File), readPruned(t, sibling(f.File, state))
				kept, err := findKept(t, narrow, wide)
				if err != nil {
					t.Fatal(err)
				}
				for name, want := range f.Kept {
					p := wide.Param(labelled(t, wide, name))
					got := kept[p.Name()][p.OutAxis]
					if got == nil && len(want) == p.Value.Shape[p.OutAxis] {
						continue
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s: found %v, Torch-Pruning left %v", name, got, want)
					}
				}
			})
		}
	}
	if tested == 0 {
		t.Fatal("no narrow file")
	}
}

// labelled is the file's name of a parameter of PyTorch's.
func labelled(t *testing.T, im *pass.Model, name string) string {
	t.Helper()
	for _, p := range im.Params {
		if p.Label == name || p.Name() == name {
			return p.Name()
		}
	}
	t.Fatalf("no parameter %q", name)
	return ""
}

func findKept(t *testing.T, narrow, wide *pass.Model) (map[string]map[int][]int, error) {
	t.Helper()
	twins, err := narrow.MatchWide(wide)
	if err != nil {
		t.Fatal(err)
	}
	before, after := map[string]*onnx.Tensor{}, map[string]*onnx.Tensor{}
	for i, p := range twins {
		before[p.Name()], after[p.Name()] = p.Tensor(), narrow.Params[i].Tensor()
	}
	groups, err := sparsity.Groups(specialised(t, wide), weightLayers(wide))
	if err != nil {
		t.Fatal(err)
	}
	return sparsity.FindKept(groups, before, after)
}

// TestFindKeptRefuses gives weights that have nothing to do with the narrow
// network.
func TestFindKeptRefuses(t *testing.T) {
	narrow, other := readPruned(t, "coupled.tuned.ts.onnx"), readPruned(t, "coupled.theta0.ts.onnx")
	r := data.Stream(1, "test", "weights")
	for _, p := range other.Params {
		for i := range onnx.Of[float32](p.Tensor()) {
			onnx.Of[float32](p.Tensor())[i] = float32(r.NormFloat64())
		}
	}
	_, err := findKept(t, narrow, other)
	if err == nil || !strings.Contains(err.Error(), "cannot be told") {
		t.Errorf("got %v", err)
	}
}

// TestUnpruneWhatToolsPruned recognises what other tools left, un-prunes in
// both ways, and finds the same pattern in the result, to the number.
func TestUnpruneWhatToolsPruned(t *testing.T) {
	z, err := npz.ReadFile(prunedFolder + "samples.npz")
	if err != nil {
		t.Fatal(err)
	}
	d := &data.Dataset{X: z["x"], Y: onnx.Of[int64](z["y"]), Classes: 4}
	for _, f := range prunedFiles(t) {
		t.Run(f.File, func(t *testing.T) {
			im := readPruned(t, f.File)
			if f.Kept != nil {
				im = widened(t, im, f.File)
			}
			blended, looped := unpruneTool(t, f, im, d, true), unpruneTool(t, f, im, d, false)
			if !blended && !looped {
				t.Error("nothing moved: the test shows nothing")
			}
		})
	}
}

// widened is a narrow model put back into its width.
func widened(t *testing.T, narrow *pass.Model, file string) *pass.Model {
	t.Helper()
	wide := readPruned(t, sibling(file, "dense"))
	kept, err := findKept(t, narrow, wide)
	if err != nil {
		t.Fatal(err)
	}
	twins, _ := narrow.MatchWide(wide)
	tensors := map[string]*onnx.Tensor{}
	for i, p := range twins {
		tensors[p.Name()] = narrow.Params[i].Tensor()
	}
	if err := (&pass.Compaction{Kept: kept}).ExpandTo(wide, tensors); err != nil {
		t.Fatal(err)
	}
	return wide
}

func unpruneTool(t *testing.T, f prunedFile, im *pass.Model, d *data.Dataset, rescore bool) (moved bool) {
	t.Helper()
	e, err := train.New(im, train.Options{Compile: compile})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := sparsity.Groups(specialised(t, im), e.Layers())
	if err != nil {
		t.Fatal(err)
	}
	before := recognised(t, f, e.Layers(), groups)
	var retain, forget []int
	for i, y := range d.Y {
		if y == 1 {
			forget = append(forget, i)
		} else {
			retain = append(retain, i)
		}
	}
	p := &unprune.Problem{
		Engine: e, Train: d, Retain: retain, Forget: forget,
		Recipe:   unprune.Recipe{Optimizer: ops.Optimizer{Kind: "sgd", Momentum: 0.9}, Batch: 32, Epochs: 6, Rate: 0.02, Pruner: before.Pruner()},
		Original: unprune.Result{Weights: e.Weights().Clone(), Masks: before.Masks},
		Theta0:   twinWeights(t, im, e, readPruned(t, sibling(f.File, "theta0"))),
		Dense:    twinWeights(t, im, e, readPruned(t, sibling(f.File, "dense"))),
	}
	var res *unprune.Result
	if rescore {
		res, err = p.Rescore(t.Context(), unprune.Blend{Finish: unlearn.FineTune{}, Tune: 1, TuneRate: 0.02})
	} else {
		res, err = p.Unprune(t.Context(), unprune.Loop{Unlearner: unlearn.FineTune{}, Pruner: before.Pruner(), Rounds: 2, Share: 0.3}, 1, 0.02, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	samePattern(t, f, e.Layers(), groups, before, res.Masks)
	return !res.Masks.Equal(before.Masks)
}

// recognised is the pattern of a file's zeros, as the manifest has it.
func recognised(t *testing.T, f prunedFile, layers []sparsity.Layer, groups []sparsity.Group) sparsity.Pattern {
	t.Helper()
	p, err := sparsity.Recognise(layers)
	if err != nil {
		t.Fatal(err)
	}
	p.Join(groups, layers)
	if p.Title() != f.Title {
		t.Fatalf("recognised as %s, want %s", p.Text(), f.Title)
	}
	return p
}

// samePattern checks that every group within which units compete keeps as many
// as before, that the zeros are those of the masks, and that
// they are recognised again.
func samePattern(t *testing.T, f prunedFile, layers []sparsity.Layer, groups []sparsity.Group, before sparsity.Pattern, masks *sparsity.Masks) {
	t.Helper()
	after := recognised(t, f, layers, groups)
	for name, m := range masks.All() {
		if !after.Masks.Get(name).Equal(m) {
			t.Errorf("%s: the zeros are not those of the mask", name)
		}
	}
	p := before.Pruner()
	scores := sparsity.Unscored(p, layers)
	want, got := sparsity.TargetOf(scores, p.Scope(), before.Masks), sparsity.TargetOf(scores, p.Scope(), masks)
	if !slices.Equal(want.Keep, got.Keep) {
		t.Errorf("groups keep %v units, before %v", got.Keep, want.Keep)
	}
}

// twinWeights are the weights of another state of the network.
func twinWeights(t *testing.T, im *pass.Model, e *train.Engine, other *pass.Model) *unprune.Weights {
	t.Helper()
	twins, err := im.Match(other)
	if err != nil {
		t.Fatal(err)
	}
	w := unprune.NewWeights()
	for i, p := range im.Params {
		if e.Weights().Tensors[p.Name()] != nil {
			w.Add(p.Name(), twins[i].Tensor(), p.State())
		}
	}
	return w
}
