package sparsity

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
)

func TestRuns(t *testing.T) {
	conv := Layer{Name: "conv", Weight: onnx.NewTensor(onnx.Float32, 1, 3, 1, 2), OutAxis: 0, InAxis: 1}
	transposed := Layer{Name: "convtranspose", Weight: onnx.NewTensor(onnx.Float32, 3, 2, 1, 1), OutAxis: 1, InAxis: 0}
	for _, c := range []struct {
		name  string
		layer Layer
		scope Scope
		want  [][]int
	}{
		{"rows of a linear layer", linear("fc", 2, 3, 0, 0, 0, 0, 0, 0), PerRow, [][]int{{0, 1, 2}, {3, 4, 5}}},
		{"rows of its transpose", matmul(linear("fc", 2, 3, 0, 0, 0, 0, 0, 0)), PerRow, [][]int{{0, 2, 4}, {1, 3, 5}}},
		{"pairs with a rest", linear("fc", 2, 3, 0, 0, 0, 0, 0, 0), 2, [][]int{{0, 1}, {2}, {3, 4}, {5}}},
		{"inputs at one kernel position", conv, 2, [][]int{{0, 2}, {4}, {1, 3}, {5}}},
		{"inputs in front of outputs", transposed, 2, [][]int{{0, 2}, {4}, {1, 3}, {5}}},
	} {
		var got [][]int
		for run := range c.layer.runs(c.scope) {
			got = append(got, slices.Clone(run))
		}
		if !slices.EqualFunc(got, c.want, slices.Equal[[]int]) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNMKeepsNOfM(t *testing.T) {
	l := linear("fc", 2, 6, 4, 3, 2, 1, 1, 1, -1, 5, 0, 5, 2, -3)
	scores, err := NM{N: 2, M: 4}.Score(Input{Layers: []Layer{l}})
	if err != nil {
		t.Fatal(err)
	}
	masks, err := NM{N: 2, M: 4}.Prune(scores, nil, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	want := maskOf(true, true, false, false, true, false, false, true, false, true, false, true)
	if got := masks.Get("fc"); !slices.Equal(got.Packed(), want.Packed()) {
		t.Errorf("got %x, want %x", got.Packed(), want.Packed())
	}
	_, err = NM{N: 2, M: 4}.Prune(scores, nil, 0.9)
	wantError(t, err, "removes a share of 0.5, not 0.9")
}

func TestWandaWeighsByInput(t *testing.T) {
	l := linear("fc", 2, 2, 1, 2, 3, 1)
	in := Input{Layers: []Layer{l}, InputNorms: func() (map[string]*onnx.Tensor, error) {
		return map[string]*onnx.Tensor{"fc": onnx.FromSlice([]float64{10, 1, 1, 10}, 2, 2)}, nil
	}}
	scores, err := Wanda{}.Score(in)
	if err != nil {
		t.Fatal(err)
	}
	masks, err := Wanda{}.Prune(scores, nil, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	if want := maskOf(true, false, false, true); !slices.Equal(masks.Get("fc").Packed(), want.Packed()) {
		t.Errorf("got %x, want %x", masks.Get("fc").Packed(), want.Packed())
	}
}

func TestSchedules(t *testing.T) {
	for _, s := range []Schedule{Iterative, Cubic} {
		for _, rounds := range []int{1, 2, 7, 100} {
			alive, first, last := 1.0, 0.0, 0.0
			for i := range rounds {
				r := s.Share(i, rounds, 0.9)
				if last = alive * r; i == 0 {
					first = last
				}
				alive *= 1 - r
			}
			if math.Abs(alive-0.1) > 1e-12 {
				t.Errorf("schedule %d in %d rounds leaves %v, want 0.1", s, rounds, alive)
			}
			if rounds > 1 && last >= first {
				t.Errorf("schedule %d removes %v first and %v last; it should slow down", s, first, last)
			}
		}
	}
	if _, err := ScheduleByName("linear"); err == nil {
		t.Error("an unknown schedule was accepted")
	}
}

func TestPlanEndsExactly(t *testing.T) {
	layers := []Layer{linear("a", 9, 4, seq(36)...), linear("b", 54, 4, seq(216)...)}
	in := inputOf(layers, 3)
	kept := func(p SynFlow) int {
		masks, err := PlanOf(p).Run(p, in, nil, 0.6)
		if err != nil {
			t.Fatal(err)
		}
		return masks.Count()
	}
	// Spec 3.5: of 252 weights the rounds' rounding leaves 108, not 101.
	if got := kept(SynFlow{}); got != 108 {
		t.Errorf("%d weights stay, want 108", got)
	}
	if got := kept(SynFlow{Exact: true}); got != 101 {
		t.Errorf("%d weights stay, want exactly 101", got)
	}
	if p, err := ByName("synflow"); err != nil || kept(p.(SynFlow)) != 101 {
		t.Errorf("by name, %v (%v) keeps another number than asked for", p, err)
	}
	in.Mask = nil
	_, err := PlanOf(SynFlow{}).Run(SynFlow{}, in, nil, 0.6)
	wantError(t, err, "hold weights at zero")
}

func seq(n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(i + 1)
	}
	return s
}

func TestBudgets(t *testing.T) {
	layers := []Layer{
		{Name: "conv1", Weight: onnx.NewTensor(onnx.Float32, 8, 3, 3, 3), InAxis: 1},
		{Name: "conv2", Weight: onnx.NewTensor(onnx.Float32, 64, 32, 3, 3), InAxis: 1},
		{Name: "fc", Weight: onnx.NewTensor(onnx.Float32, 10, 64), InAxis: 1},
	}
	d := ERK.Densities(layers, Weight, 0.1)
	kept, all := 0.0, 0.0
	for i, l := range layers {
		kept += d[i] * float64(l.Weight.Len())
		all += float64(l.Weight.Len())
	}
	if math.Abs(kept-0.1*all) > 1e-6 {
		t.Errorf("densities %v keep %v weights, want %v", d, kept, 0.1*all)
	}
	// conv1 and fc would be more than dense, conv2 takes what is left.
	if d[0] != 1 && d[2] != 1 || d[1] >= 0.1 {
		t.Errorf("densities %v", d)
	}
	for _, d := range Uniform.Densities(layers, Weight, 0.3) {
		if math.Abs(d-0.3) > 1e-12 {
			t.Errorf("uniform density %v", d)
		}
	}
	two := []Layer{linear("a", 2, 3, seq(6)...), linear("b", 20, 30, seq(600)...)}
	p := Budgeted{Pruner: Magnitude{Global: true}, Budget: ERK}
	scores, err := p.Score(Input{Layers: two})
	if err != nil {
		t.Fatal(err)
	}
	masks, err := p.Prune(scores, nil, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	if masks.Get("a").Count() != 6 || masks.Count() != 303 {
		t.Errorf("kept %d and %d of 606, want all 6 of the small layer and 303", masks.Get("a").Count(), masks.Count())
	}
}

func TestSkip(t *testing.T) {
	layers := []Layer{{Name: "conv1.weight"}, {Name: "layer1/conv.weight"}, {Name: "fc.weight"}}
	rest, skipped, err := Skip(layers, []string{"layer1*", "last"})
	if err != nil {
		t.Fatal(err)
	}
	if len(rest) != 1 || rest[0].Name != "conv1.weight" || strings.Join(skipped, " ") != "layer1/conv.weight fc.weight" {
		t.Errorf("rest %v, skipped %v", rest, skipped)
	}
	_, _, err = Skip(layers, []string{"conv9*"})
	wantError(t, err, `no layer is named "conv9*"`)
}
