package train_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

const groups = "../../models/testdata/groups"

// halfPruned is an engine in float64 for a file, with half of the units of
// every group pruned, and the masks of the layers.
func halfPruned(t *testing.T, file string, threads int) (*train.Engine, *sparsity.Masks) {
	t.Helper()
	m, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	team := kernel.NewTeam(threads)
	t.Cleanup(team.Close)
	e, err := train.New(im, train.Options{Double: true, Seed: 3, Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		return exec.Compile(g, exec.Options{Team: team, State: state, Into: into})
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e, pruneUnits(t, im, e)
}

// pruneUnits zeroes half of the units of every group in the engine and returns
// the masks of the weights that this zeroed.
func pruneUnits(t *testing.T, im *pass.Model, e *train.Engine) *sparsity.Masks {
	t.Helper()
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: 1, Keep: im.Floats()})
	if err != nil {
		t.Fatal(err)
	}
	list, err := sparsity.Groups(g, e.Layers())
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]*onnx.Tensor{}
	for _, p := range im.Params {
		tensors[p.Name()] = p.Tensor()
	}
	pruner := sparsity.NewGroupL2(list)
	scores, err := pruner.Score(sparsity.Input{Layers: e.Layers(), Parameters: tensors})
	if err != nil {
		t.Fatal(err)
	}
	masks, err := pruner.Prune(scores, nil, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	if err := pruner.Settle(masks, e.Weights().Tensors, e.Weights().Stats); err != nil {
		t.Fatal(err)
	}
	return masks
}

// noiseFor is a dataset of n samples of the shape that a file's network takes.
func noiseFor(t *testing.T, file string, n, classes int) *data.Dataset {
	t.Helper()
	m, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return noiseOf(im.Graph.Inputs[0].Shape[1:], n, classes)
}

// noiseOf is a dataset of n samples of a shape.
func noiseOf(sample []int, n, classes int) *data.Dataset {
	shape := append([]int{n}, sample...)
	x := onnx.NewTensor(onnx.Float32, shape...)
	r := data.Stream(1, "test", "samples")
	for i := range x.Len() {
		onnx.Of[float32](x)[i] = float32(r.NormFloat64())
	}
	d := &data.Dataset{X: x, Y: make([]int64, n), Classes: classes}
	for i := range d.Y {
		d.Y[i] = int64(i % classes)
	}
	return d
}

// narrowFiles are the networks whose steps are compared.
func narrowFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, net := range networks(t) {
		files = append(files, filepath.Join(gradients, net.Models[0]))
	}
	for _, name := range []string{"densenet121", "mobilenet_v2", "resnet50", "vit"} {
		files = append(files, filepath.Join(groups, name+".onnx"))
	}
	return files
}

// TestNarrowSteps: steps of half-pruned networks without their pruned units
// leave the same weights, statistics and optimizer state as steps of the whole
// networks with the mask, which Gradient and Apply take.
func TestNarrowSteps(t *testing.T) {
	for _, file := range narrowFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			narrow, masks := halfPruned(t, file, 2)
			wide, _ := halfPruned(t, file, 2)
			d := noiseFor(t, file, 4, narrow.Classes())
			for _, e := range []*train.Engine{narrow, wide} {
				if err := e.SetMasks(masks); err != nil {
					t.Fatal(err)
				}
				if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4}); err != nil {
					t.Fatal(err)
				}
			}
			term := unprune.Term{Data: d, Index: rows(4), Weight: 1}
			for range 3 {
				narrowStep(t, narrow, 0.01, term)
				wideStep(t, wide, 0.01, term)
			}
			sameState(t, narrow, wide, 1e-7)
			zeros(t, narrow, masks)
			if narrow.Cost() != wide.Cost() {
				t.Errorf("cost %+v, the whole network's %+v", narrow.Cost(), wide.Cost())
			}
		})
	}
}

// narrowStep is a step without the pruned units.
func narrowStep(t *testing.T, e *train.Engine, rate float64, terms ...unprune.Term) {
	t.Helper()
	loss, err := e.Step(t.Context(), rate, terms...)
	if err != nil || math.IsNaN(loss) {
		t.Fatal(loss, err)
	}
	if !e.Narrow() {
		t.Fatal("the whole network took the step")
	}
}

// wideStep is a step of the whole network.
func wideStep(t *testing.T, e *train.Engine, rate float64, terms ...unprune.Term) {
	t.Helper()
	if _, err := e.Gradient(t.Context(), terms...); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), rate); err != nil {
		t.Fatal(err)
	}
}

// sameState compares everything that a checkpoint holds.
func sameState(t *testing.T, got, want *train.Engine, tol float64) {
	t.Helper()
	a, b := got.Checkpoint(), want.Checkpoint()
	moved := false
	for name, w := range b {
		if w.DType == onnx.Int64 {
			if !slices.Equal(onnx.Of[int64](a[name]), onnx.Of[int64](w)) {
				t.Errorf("%s: %v, want %v", name, onnx.Of[int64](a[name]), onnx.Of[int64](w))
			}
			continue
		}
		scale, worst := 0.0, 0.0
		for i := range w.Len() {
			scale = max(scale, math.Abs(number(w, i)))
			worst = max(worst, math.Abs(number(a[name], i)-number(w, i)))
		}
		moved = moved || strings.HasPrefix(name, "slot") && scale > 0
		// Gradients of biases before a normalisation are rounding alone.
		if !(worst <= tol*max(scale, 1e-3)) {
			t.Errorf("%s: off by %.2g of %.3g", name, worst, scale)
		}
	}
	if !moved {
		t.Error("no optimizer state: nothing was trained")
	}
}

// zeros checks that what masks prune is zero.
func zeros(t *testing.T, e *train.Engine, masks *sparsity.Masks) {
	t.Helper()
	for name, m := range masks.All() {
		w := e.Weights().Tensors[name]
		for i := range m.Len() {
			if !m.Get(i) && number(w, i) != 0 {
				t.Fatalf("%s[%d] is pruned and holds %v", name, i, number(w, i))
			}
		}
	}
}

// TestNarrowOptimizers: sums of terms, every optimizer, and a mix of steps with
// and without the pruned units.
func TestNarrowOptimizers(t *testing.T) {
	file := filepath.Join(gradients, "lenet-5.onnx")
	d := noiseFor(t, file, 6, 10)
	terms := []unprune.Term{{Data: d, Index: rows(4), Weight: 1}, {Data: d, Index: []int{4, 5}, Weight: -0.2, Eval: true}}
	for _, o := range []ops.Optimizer{
		{Kind: "sgd", WeightDecay: 5e-4},
		{Kind: "sgd", Momentum: 0.9, Nesterov: true},
		{Kind: "adam", WeightDecay: 1e-4},
		{Kind: "adamw", WeightDecay: 1e-2},
	} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			narrow, masks := halfPruned(t, file, 1)
			wide, _ := halfPruned(t, file, 1)
			for _, e := range []*train.Engine{narrow, wide} {
				if err := e.SetMasks(masks); err != nil {
					t.Fatal(err)
				}
				if err := e.Optimize(o); err != nil {
					t.Fatal(err)
				}
			}
			narrowStep(t, narrow, 1e-3, terms...)
			narrowStep(t, narrow, 1e-3, terms[0])
			if _, err := narrow.Gradient(t.Context(), terms...); err != nil {
				t.Fatal(err)
			}
			if err := narrow.Apply(t.Context(), 1e-3); err != nil {
				t.Fatal(err)
			}
			narrowStep(t, narrow, 1e-3, terms...)
			for _, list := range [][]unprune.Term{terms, terms[:1], terms, terms} {
				wideStep(t, wide, 1e-3, list...)
			}
			for _, name := range wide.Weights().Names {
				compare(t, name, narrow.Weights().Tensors[name], wide.Weights().Tensors[name], 1e-9)
			}
			zeros(t, narrow, masks)
		})
	}
}

// TestNarrowKeepsLiveUnits: filters of zeros whose shift is not zero make a
// constant that the next layer reads, so they stay; so do units of which
// something is written to later.
func TestNarrowKeepsLiveUnits(t *testing.T) {
	file := filepath.Join(gradients, "vgg-16-bn.onnx")
	d := noiseFor(t, file, 4, 10)
	term := unprune.Term{Data: d, Index: rows(4), Weight: 1}
	shift := func(e *train.Engine) *onnx.Tensor {
		for _, name := range e.Weights().Names {
			if strings.HasSuffix(name, "1.bias") { // of the first normalisation
				return e.Weights().Tensors[name]
			}
		}
		t.Fatal("no shift found")
		return nil
	}
	begin := func(live bool) *train.Engine {
		e, masks := halfPruned(t, file, 1)
		if live {
			onnx.Of[float64](shift(e))[pruned(shift(e))] = 0.3
		}
		if err := e.SetMasks(masks); err != nil {
			t.Fatal(err)
		}
		if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Run("from the start", func(t *testing.T) {
		narrow, wide := begin(true), begin(true)
		for range 2 {
			narrowStep(t, narrow, 0.01, term) // other units go
			wideStep(t, wide, 0.01, term)
		}
		sameState(t, narrow, wide, 1e-7)
	})
	t.Run("later", func(t *testing.T) {
		narrow, wide := begin(false), begin(false)
		narrowStep(t, narrow, 0.01, term)
		wideStep(t, wide, 0.01, term)
		for _, e := range []*train.Engine{narrow, wide} {
			onnx.Of[float64](shift(e))[pruned(shift(e))] = 0.3
		}
		if _, err := narrow.Step(t.Context(), 0.01, term); err != nil {
			t.Fatal(err)
		}
		if narrow.Narrow() {
			t.Error("a unit that came to life is still left out")
		}
		wideStep(t, wide, 0.01, term)
		sameState(t, narrow, wide, 1e-7)
	})
}

// pruned is the first position that holds zero.
func pruned(w *onnx.Tensor) int { return slices.Index(onnx.Of[float64](w), 0) }

// TestNarrowResume: steps from a checkpoint give the bits of steps that went on.
func TestNarrowResume(t *testing.T) {
	file := filepath.Join(gradients, "resnet-18.onnx")
	d := noiseFor(t, file, 4, 10)
	term := unprune.Term{Data: d, Index: rows(4), Weight: 1}
	start := func(threads int) *train.Engine {
		e, masks := halfPruned(t, file, threads)
		if err := e.SetMasks(masks); err != nil {
			t.Fatal(err)
		}
		if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	whole, first, second := start(1), start(2), start(3)
	for range 3 {
		narrowStep(t, whole, 0.01, term)
	}
	narrowStep(t, first, 0.01, term)
	if err := second.Restore(first.Checkpoint()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		narrowStep(t, second, 0.01, term)
	}
	sameState(t, second, whole, 0)
}

// TestSparseSteps: with a tenth of the weights kept, and fewer, matrices and
// convolutions are multiplied by what is kept, and steps leave the same state.
func TestSparseSteps(t *testing.T) {
	for _, net := range []struct {
		name   string
		pruned float64
		least  int // weights that are multiplied so, whatever the processor
	}{
		{"lenet-300-100.onnx", 0.9, 1},
		{"lenet-5.onnx", 0.9, 3},
		{"alexnet.onnx", 0.95, 2},
		{"resnet-18.onnx", 0.98, 2},
		{"vgg-16.onnx", 0.9, 2},
	} {
		t.Run(net.name, func(t *testing.T) {
			m, err := onnx.Read(filepath.Join(gradients, net.name))
			if err != nil {
				t.Fatal(err)
			}
			testSparseSteps(t, m, net.pruned, net.least)
		})
	}
}

func testSparseSteps(t *testing.T, m *onnx.Model, pruned float64, least int) {
	start := func() (*train.Engine, *sparsity.Masks, unprune.Term) {
		im, err := pass.Import(m)
		if err != nil {
			t.Fatal(err)
		}
		e, err := train.New(im, train.Options{Double: true, Compile: native(2)})
		if err != nil {
			t.Fatal(err)
		}
		pruner := sparsity.Magnitude{}
		masks, err := sparsity.PlanOf(pruner).Run(pruner, sparsity.Input{Layers: e.Layers()}, nil, pruned)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.SetMasks(masks); err != nil {
			t.Fatal(err)
		}
		if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4}); err != nil {
			t.Fatal(err)
		}
		d := noiseOf(im.Graph.Inputs[0].Shape[1:], 32, e.Classes())
		return e, masks, unprune.Term{Data: d, Index: rows(32), Weight: 1}
	}
	sparse, masks, term := start()
	wide, _, _ := start()
	for range 3 {
		narrowStep(t, sparse, 0.05, term)
		wideStep(t, wide, 0.05, term)
	}
	sameState(t, sparse, wide, 1e-9)
	zeros(t, sparse, masks)
	if n := sparse.Sparse(); n < least {
		t.Errorf("%d weights are multiplied by what is kept, want %d at least", n, least)
	}
	terms := []unprune.Term{term}
	step := func() {
		if _, err := sparse.Step(t.Context(), 0.01, terms...); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(3, step); n > 0 {
		t.Errorf("a step makes %g allocations", n)
	}
}
