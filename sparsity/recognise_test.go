package sparsity

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
)

// threeLayers have inputs that are multiples of 4 but for the first.
func threeLayers(rng *rand.Rand) []Layer {
	return []Layer{randomLayer(rng, "conv1", 16, 3, 3, 3), randomLayer(rng, "conv2", 32, 16, 3, 3), matmul(randomLayer(rng, "fc", 10, 64))}
}

func TestRecogniseEveryPruner(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	for _, c := range []struct {
		pruner string
		share  float64
		title  string
		again  string // the pruner that is proposed
	}{
		{"magnitude", .9, "weights, per layer", "magnitude"},
		{"2:4", .5, "2:4", "2:4"},
		{"4:8", .5, "4:8", "4:8"},
		{"1:4", .75, "1:4", "1:4"},
		{"wanda", .7, "weights, per output unit", "wanda"},
		{"filter-l1", .5, "filters, per layer", "filter-l2"},
		{"channel-l1", .5, "channels, per layer", "channel-l1"},
		{"taylor-filter", .4, "filters, global", "filter-l2"},
	} {
		t.Run(c.pruner, func(t *testing.T) {
			layers := threeLayers(rng)
			if c.pruner == "taylor-filter" || c.pruner == "channel-l1" {
				layers = layers[:2]
			}
			in := inputOf(layers, 5)
			p, err := ByName(c.pruner)
			if err != nil {
				t.Fatal(err)
			}
			masks, err := PlanOf(p).Run(p, in, nil, c.share)
			if err != nil {
				t.Fatal(err)
			}
			if err := masks.Apply(layers); err != nil {
				t.Fatal(err)
			}
			got, err := Recognise(layers)
			if err != nil {
				t.Fatal(err)
			}
			if got.Title() != c.title || got.Pruner().Name() != c.again {
				t.Errorf("recognised as %q, to be pruned again by %s; want %q, %s\n%s", got.Title(), got.Pruner().Name(), c.title, c.again, got.Text())
			}
			if err := got.Contradicts(layers, p); err != nil {
				t.Errorf("the pruner itself is contradicted: %v", err)
			}
		})
	}
}

func TestRecogniseERK(t *testing.T) {
	layers := threeLayers(rand.New(rand.NewPCG(12, 1)))
	p := Budgeted{Pruner: Magnitude{}, Budget: ERK}
	masks, err := PlanOf(p).Run(p, Input{Layers: layers}, nil, .8)
	if err != nil {
		t.Fatal(err)
	}
	if err := masks.Apply(layers); err != nil {
		t.Fatal(err)
	}
	got, err := Recognise(layers)
	if err != nil || got.Budget != ERK {
		t.Errorf("not recognised (%v):\n%s", err, got.Text())
	}
}

func TestRecogniseShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 1))
	conv, fc := randomLayer(rng, "conv", 16, 16, 3, 3), randomLayer(rng, "fc", 64, 64)
	for _, c := range []struct {
		name  string
		layer Layer
		keep  func(out, in int) bool
		shape Shape
		block [2]int
	}{
		{"kernels", conv, func(o, i int) bool { return (o*7+i*5)%11 < 5 }, Kernels, [2]int{1, 1}},
		{"blocks of 4", fc, func(o, i int) bool { return (o/4*7+i/4*5)%11 < 5 }, Blocks, [2]int{4, 4}},
		{"blocks of a row", fc, func(o, i int) bool { return (o*7+i/8*5)%11 < 5 }, Blocks, [2]int{1, 8}},
		{"a few zeros", fc, func(o, i int) bool { return o+i != 1 }, NoZeros, [2]int{}},
	} {
		l := Layer{Name: c.layer.Name, Weight: onnx.FromSlice(append([]float32{}, onnx.Of[float32](c.layer.Weight)...), c.layer.Weight.Shape...), InAxis: 1}
		outOf, inOf := l.coordinate(0), l.coordinate(1)
		for i := range l.Weight.Len() {
			if !c.keep(outOf(i), inOf(i)) {
				onnx.Of[float32](l.Weight)[i] = 0
			}
		}
		p, err := Recognise([]Layer{l})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Layers[0]; got.Shape != c.shape || got.Block != c.block {
			t.Errorf("%s: recognised as %s %v: %s", c.name, got.Shape, got.Block, got.Evidence)
		}
		if p.Dense != (c.shape == NoZeros) {
			t.Errorf("%s: dense is %v", c.name, p.Dense)
		}
	}
}

// A pruner that cannot have left the zeros is refused.
func TestContradictions(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 1))
	for _, c := range []struct{ made, claimed, why string }{
		{"magnitude", "2:4", "keeps more than 2 of some 4"},
		{"magnitude", "filter-l2", "zeros outside of such"},
		{"filter-l2", "magnitude", "are whole filters"},
		{"magnitude", "wanda", "same number in every output unit"},
	} {
		layers := threeLayers(rng)
		made, err := ByName(c.made)
		if err != nil {
			t.Fatal(err)
		}
		masks, err := PlanOf(made).Run(made, Input{Layers: layers}, nil, .5)
		if err != nil {
			t.Fatal(err)
		}
		if err := masks.Apply(layers); err != nil {
			t.Fatal(err)
		}
		p, err := Recognise(layers)
		if err != nil {
			t.Fatal(err)
		}
		claimed, err := ByName(c.claimed)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Contradicts(layers, claimed); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s called %s: %v", c.made, c.claimed, err)
		}
	}
}
