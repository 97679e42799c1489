package sparsity

import (
	"bytes"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// linear is a layer in the layout [out, in].
func linear(name string, out, in int, w ...float32) Layer {
	return Layer{Name: name, Weight: onnx.FromSlice(w, out, in), OutAxis: 0, InAxis: 1}
}

// matmul is the same map in the layout [in, out].
func matmul(l Layer) Layer {
	out, in := l.Weight.Shape[0], l.Weight.Shape[1]
	w := make([]float32, out*in)
	for o := range out {
		for i := range in {
			w[i*out+o] = onnx.Of[float32](l.Weight)[o*in+i]
		}
	}
	return Layer{Name: l.Name, Weight: onnx.FromSlice(w, in, out), OutAxis: 1, InAxis: 0}
}

func randomLayer(rng *rand.Rand, name string, shape ...int) Layer {
	w := make([]float32, onnx.Size(shape))
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	return Layer{Name: name, Weight: onnx.FromSlice(w, shape...), OutAxis: 0, InAxis: 1}
}

// rewrite copies an archive, replacing text inside its first array.
func rewrite(t *testing.T, archive []byte, w *bytes.Buffer, old, new string) {
	t.Helper()
	a, err := npz.NewArchive(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var arrays []*onnx.Tensor
	for i, name := range a.Names() {
		v, err := a.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			text := string(onnx.Of[uint8](v))
			if !strings.Contains(text, old) {
				t.Fatalf("no %q in %s", old, text)
			}
			text = strings.Replace(text, old, new, 1)
			v = onnx.FromSlice([]byte(text), len(text))
			v.Name = name
		}
		arrays = append(arrays, v)
	}
	if err := npz.Write(w, arrays...); err != nil {
		t.Fatal(err)
	}
}

func TestTopKAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for n := range 200 {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(rng.IntN(1 + n/3)) // many ties
		}
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(a, b int) bool { return values[order[a]] > values[order[b]] })
		k := rng.IntN(n + 1)
		want := NewMask(n)
		for _, i := range order[:k] {
			want.Set(i, true)
		}
		if got := TopK(values, k); !got.Equal(want) {
			t.Fatalf("n=%d k=%d of %v: got %x want %x", n, k, values, got.Packed(), want.Packed())
		}
	}
}

func TestMeanTopK(t *testing.T) {
	if got := MeanTopK([]float64{1, 5, 3, 3}, 3); math.Abs(got-11.0/3) > 1e-15 {
		t.Errorf("got %v", got)
	}
	if got := MeanTopK(nil, 0); got != 0 {
		t.Errorf("got %v", got)
	}
}

func TestLayoutDoesNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	gemm := randomLayer(rng, "w", 6, 5)
	for _, u := range []Unit{Filter, Channel} {
		for i := range gemm.Units(u) {
			var a, b []float32
			for j := range gemm.Indices(u, i) {
				a = append(a, onnx.Of[float32](gemm.Weight)[j])
			}
			mm := matmul(gemm)
			for j := range mm.Indices(u, i) {
				b = append(b, onnx.Of[float32](mm.Weight)[j])
			}
			if !slices.Equal(a, b) {
				t.Errorf("%v %d: %v in one layout, %v in the other", u, i, a, b)
			}
		}
	}
}

func TestUnitMaskInverts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	l := randomLayer(rng, "conv", 4, 3, 2, 2)
	for _, u := range []Unit{Weight, Filter, Channel} {
		units := randomMask(rng, l.Units(u))
		weights := l.WeightMask(u, units)
		if got := l.UnitMask(u, weights); !bytes.Equal(got.Packed(), units.Packed()) {
			t.Errorf("%v: %x came back as %x", u, units.Packed(), got.Packed())
		}
		if want := units.Count() * l.Weight.Len() / l.Units(u); weights.Count() != want {
			t.Errorf("%v: %d weights kept, want %d", u, weights.Count(), want)
		}
	}
}

func TestCutCountsAndTies(t *testing.T) {
	layers := []Layer{linear("a", 1, 4, 1, 1, 1, 1), linear("b", 1, 4, 2, 1, 1, 0)}
	scores, err := Magnitude{}.Score(Input{Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		target Target
		a, b   *Mask
	}{
		{"lower index survives", Target{PerLayer, []int{2, 2}}, maskOf(true, true, false, false), maskOf(true, true, false, false)},
		{"ties across layers", Target{Global, []int{4}}, maskOf(true, true, true, false), maskOf(true, false, false, false)},
		{"all and none", Target{PerLayer, []int{4, 0}}, maskOf(true, true, true, true), maskOf(false, false, false, false)},
	} {
		ms, err := Cut(scores, c.target)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !bytes.Equal(ms.Get("a").Packed(), c.a.Packed()) || !bytes.Equal(ms.Get("b").Packed(), c.b.Packed()) {
			t.Errorf("%s: got %x %x", c.name, ms.Get("a").Packed(), ms.Get("b").Packed())
		}
	}
}

func TestRoundHalfEven(t *testing.T) {
	for _, c := range []struct {
		n     int
		share float64
		want  int
	}{{10, .25, 2}, {10, .35, 4}, {6, .25, 2}, {2, .25, 0}, {252, .6, 151}, {300 * 784, .9, 211680}} {
		if got := RoundHalfEven(c.n, c.share); got != c.want {
			t.Errorf("%v of %d: %d, want %d", c.share, c.n, got, c.want)
		}
	}
}

// What every pruner promises: a share of 0 changes nothing, nothing comes back to
// life, cutting to the same counts again changes nothing, and equal input
// gives equal masks.
func TestEveryPruner(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	layers := []Layer{randomLayer(rng, "conv1", 8, 3, 3, 3), randomLayer(rng, "conv2", 10, 8, 3, 3)}
	for _, p := range Pruners() {
		t.Run(p.Name(), func(t *testing.T) {
			in, share := inputOf(layers, 7), .3
			if nm, ok := p.(NM); ok {
				share = nm.Share()
			}
			score := func() []Scores {
				in.Rand = rand.New(rand.NewPCG(7, 7))
				s, err := p.Score(in)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			prune := func(alive *Masks, share float64) *Masks {
				ms, err := p.Prune(score(), alive, share)
				if err != nil {
					t.Fatal(err)
				}
				return ms
			}
			if !prune(nil, 0).Equal(FullMasks(layers)) {
				t.Error("a share of 0 pruned something")
			}
			once := prune(nil, share)
			if !once.Equal(prune(nil, share)) {
				t.Error("two runs differ")
			}
			if d := 1 - unitDensity(p, layers, once); math.Abs(d-share) > .06 {
				t.Errorf("pruned a share of %v, want about %v", d, share)
			}
			twice := prune(once, share)
			for name, m := range twice.All() {
				if m.AndNot(once.Get(name)).Count() > 0 {
					t.Errorf("%s: weights came back to life", name)
				}
			}
			again, err := Cut(score(), TargetOf(score(), p.Scope(), once))
			if err != nil {
				t.Fatal(err)
			}
			if !again.Equal(once) {
				t.Error("cutting to the same counts changed the masks")
			}
			whole := &Masks{}
			for _, s := range Unscored(p, layers) {
				s.spread(s.alive(once), whole)
			}
			if !whole.Equal(once) {
				t.Errorf("not pruned by whole %ss", p.Unit())
			}
			if _, err := p.Prune(score(), nil, 1); err == nil {
				t.Error("a share of 1 was accepted")
			}
			if byName, err := ByName(p.Name()); err != nil || byName.Name() != p.Name() {
				t.Errorf("found %v by name (%v)", byName, err)
			}
		})
	}
}

func unitDensity(p Pruner, layers []Layer, masks *Masks) float64 {
	kept, all := 0, 0
	for _, m := range Alive(Unscored(p, layers), masks) {
		kept, all = kept+m.Count(), all+m.Len()
	}
	return density(kept, all)
}

// inputOf gives pruners random numbers in place of what a network computes.
func inputOf(layers []Layer, seed uint64) Input {
	rng := rand.New(rand.NewPCG(seed, seed))
	tensors := map[string]*onnx.Tensor{}
	for _, l := range layers {
		tensors[l.Name] = randomLayer(rng, l.Name, l.Weight.Shape...).Weight
	}
	given := func() (map[string]*onnx.Tensor, error) { return tensors, nil }
	return Input{
		Layers: layers,
		Gradients: func() iter.Seq2[map[string]*onnx.Tensor, error] {
			return func(yield func(map[string]*onnx.Tensor, error) bool) { yield(given()) }
		},
		Curvature:  func(float64) (map[string]*onnx.Tensor, error) { return given() },
		Flow:       given,
		InputNorms: given,
		Mask:       func(*Masks) error { return nil },
	}
}

func TestScoreErrors(t *testing.T) {
	nan := linear("fc", 1, 2, 1, float32(math.NaN()))
	_, err := Magnitude{}.Score(Input{Layers: []Layer{nan}})
	wantError(t, err, `"fc" is NaN at index 1`)
	vector := Layer{Name: "bn", Weight: onnx.FromSlice([]float32{1}, 1), InAxis: 1}
	_, err = SFP{}.Score(Input{Layers: []Layer{vector}})
	wantError(t, err, "no filter axis")
	half := Layer{Name: "h", Weight: &onnx.Tensor{DType: onnx.Float16, Shape: []int{1, 1}, Data: []uint16{0}}, InAxis: 1}
	_, err = Magnitude{}.Score(Input{Layers: []Layer{half}})
	wantError(t, err, "needs float32 or float64")
	_, err = Random{}.Score(Input{})
	wantError(t, err, "random numbers")
	_, err = FPGM{NormDrop: 1}.Score(Input{})
	wantError(t, err, "below 1")
	_, err = ByName("nothing")
	wantError(t, err, "global-magnitude, lth")

	_, err = SNIP{}.Score(Input{})
	wantError(t, err, "give it samples")
	_, err = ByName("4:4")
	wantError(t, err, "1 <= N < M")
	_, err = NM{N: 2, M: 4, By: FilterL1}.Score(Input{})
	wantError(t, err, "scores of single weights")

	bad := []Scores{{Layer: linear("fc", 1, 2, 1, 2), Values: []float64{1, math.NaN()}}}
	_, err = Cut(bad, Target{PerLayer, []int{1}})
	wantError(t, err, "weight 1 of \"fc\" is not a number")
	good := []Scores{{Layer: linear("fc", 1, 2, 1, 2), Values: []float64{1, 2}}}
	_, err = Cut(good, Target{PerLayer, []int{1, 2}})
	wantError(t, err, "target for 2 groups")
	_, err = Cut(good, Target{PerLayer, nil})
	wantError(t, err, "target for 0 groups, there are more")
	_, err = Cut([]Scores{{Layer: linear("fc", 1, 2, 1, 2), Unit: Filter, Values: []float64{1}}}, Target{PerRow, []int{1}})
	wantError(t, err, "cannot compete per output unit")
	_, err = Cut(good, Target{PerLayer, []int{3}})
	wantError(t, err, "cannot keep 3 of the 2")
	_, err = Cut([]Scores{{Layer: linear("fc", 1, 2, 1, 2), Values: []float64{1}}}, Target{PerLayer, []int{1}})
	wantError(t, err, "1 scores for the 2 weights")
}

func TestSFPCount(t *testing.T) {
	if got := (SFP{ReferenceCount: true}).count(10, 1-.9); got != 0 {
		t.Errorf("reference count %d, want 0", got)
	}
	if got := (SFP{}).count(10, 1-.9); got != 1 {
		t.Errorf("count %d, want 1", got)
	}
}

func TestRecognise(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	fresh := func() []Layer {
		return []Layer{randomLayer(rng, "conv", 8, 3, 3, 3), matmul(randomLayer(rng, "fc", 10, 30))}
	}
	for _, c := range []struct {
		pruner string
		share  float64
		unit   Unit
		scope  Scope
	}{
		{"magnitude", .9, Weight, PerLayer},
		{"lth", .5, Weight, PerLayer},
		{"filter-l2", .5, Filter, PerLayer},
		{"channel-l1", .34, Channel, PerLayer},
		{"global-magnitude", .8, Weight, Global},
	} {
		t.Run(c.pruner, func(t *testing.T) {
			layers := fresh()
			if c.scope == Global {
				for i := range onnx.Of[float32](layers[1].Weight) {
					onnx.Of[float32](layers[1].Weight)[i] /= 4 // layers of different scale: their shares differ
				}
			}
			p, err := ByName(c.pruner)
			if err != nil {
				t.Fatal(err)
			}
			scores, err := p.Score(Input{Layers: layers})
			if err != nil {
				t.Fatal(err)
			}
			ms, err := p.Prune(scores, nil, c.share)
			if err != nil {
				t.Fatal(err)
			}
			if err := ms.Apply(layers); err != nil {
				t.Fatal(err)
			}
			got, err := Recognise(layers)
			if err != nil {
				t.Fatal(err)
			}
			if got.Dense || got.Unit != c.unit || got.Scope != c.scope || !got.Masks.Equal(ms) {
				t.Errorf("recognised unit %v, scope %v, dense %v", got.Unit, got.Scope, got.Dense)
			}
		})
	}
	dense, err := Recognise(fresh())
	if err != nil || !dense.Dense {
		t.Errorf("a dense model was recognised as %+v (%v)", dense, err)
	}
}

// A model pruned by PyTorch, whose zeros are -0 in part.
func TestRecogniseTorchModel(t *testing.T) {
	model, err := onnx.Read("../models/testdata/lenet-300-100/pruned.onnx")
	if err != nil {
		t.Fatal(err)
	}
	var layers []Layer
	for _, w := range model.Graph.Initializers {
		if len(w.Shape) == 2 {
			layers = append(layers, Layer{Name: w.Name, Weight: w, OutAxis: 0, InAxis: 1})
		}
	}
	got, err := Recognise(layers)
	if err != nil {
		t.Fatal(err)
	}
	if got.Unit != Weight || got.Scope != PerLayer || got.Dense || len(got.Layers) != 3 {
		t.Errorf("recognised %d layers, unit %v, scope %v, dense %v", len(got.Layers), got.Unit, got.Scope, got.Dense)
	}
	for _, l := range got.Layers {
		if want := l.Total - RoundHalfEven(l.Total, .9); l.Kept != want {
			t.Errorf("%s: %d weights kept, want %d", l.Name, l.Kept, want)
		}
	}
}

// Pruning a pruned model to the counts it has changes nothing.
func TestReprunePrunedModel(t *testing.T) {
	for _, name := range []string{"magnitude", "global-magnitude", "lth", "filter-l1", "filter-l2", "channel-l1", "sfp"} {
		p, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(9, 9))
		layers := []Layer{randomLayer(rng, "conv1", 8, 3, 3, 3), randomLayer(rng, "conv2", 10, 8, 3, 3)}
		scores, err := p.Score(Input{Layers: layers})
		if err != nil {
			t.Fatal(err)
		}
		masks, err := p.Prune(scores, nil, .6)
		if err != nil {
			t.Fatal(err)
		}
		if err := masks.Apply(layers); err != nil {
			t.Fatal(err)
		}
		if scores, err = p.Score(Input{Layers: layers}); err != nil {
			t.Fatal(err)
		}
		again, err := Cut(scores, TargetOf(scores, p.Scope(), masks))
		if err != nil || !again.Equal(masks) {
			t.Errorf("%s: the masks changed (%v)", name, err)
		}
	}
}

func TestStats(t *testing.T) {
	l := linear("fc", 3, 2, 0, 0, 1, 0, 2, 0)
	ms, err := MasksOf([]Layer{l})
	if err != nil {
		t.Fatal(err)
	}
	got := Stats([]Layer{l, linear("dense", 1, 2, 0, 0)}, ms)
	want := Stat{Name: "fc", Kept: 2, Total: 6, Filters: 2, TotalFilters: 3, Channels: 1, TotalChannels: 2}
	if got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	if total := Total(got); total.Kept != 4 || total.Total != 8 || total.Sparsity() != .5 {
		t.Errorf("total %+v", total)
	}
}
