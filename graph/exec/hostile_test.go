package exec_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// TestOutputThatIsAnInput: what a body only hands on keeps both its names, the
// input's and the output's.
func TestOutputThatIsAnInput(t *testing.T) {
	input := func(name string) *onnx.ValueInfo {
		return onnx.NewValueInfo(name, onnx.Float32, onnx.FixedDim(1), onnx.FixedDim(1), onnx.FixedDim(2), onnx.FixedDim(2))
	}
	m := &onnx.Model{IRVersion: 10, Opsets: []onnx.OpsetID{{Version: 23}}, Graph: &onnx.Graph{
		Name: "cache", Inputs: []*onnx.ValueInfo{input("q"), input("k"), input("v")},
		Outputs: []*onnx.ValueInfo{{Name: "y"}, {Name: "past_k"}, {Name: "past_v"}},
		Nodes:   []*onnx.Node{{OpType: "Attention", Inputs: []string{"q", "k", "v"}, Outputs: []string{"y", "past_k", "past_v"}}},
	}}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*onnx.Tensor{}
	for i, name := range []string{"q", "k", "v"} {
		x := float32(i)
		feeds[name] = onnx.FromSlice([]float32{x, x + 0.25, x + 0.5, x + 0.75}, 1, 1, 2, 2)
	}
	g, err := pass.Bind(im.Graph, feeds)
	if err != nil {
		t.Fatal(err)
	}
	out, err := execute(t.Context(), g, feeds, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"past_k": "k", "past_v": "v"} {
		if !slices.Equal(onnx.Of[float32](out[name]), onnx.Of[float32](feeds[want])) {
			t.Errorf("%s is %v, want %v", name, out[name].Data, feeds[want].Data)
		}
	}
}

// TestUnusableInput: an input of no type, or beyond all bounds, is refused even
// where no node reads it.
func TestUnusableInput(t *testing.T) {
	const huge = 1<<31 - 1
	for _, tt := range []struct {
		unread *onnx.ValueInfo
		want   string
	}{
		{onnx.NewValueInfo("unread", onnx.Undefined, onnx.FixedDim(2)), "not computed with"},
		{onnx.NewValueInfo("unread", onnx.Float32, onnx.ParamDim("n"), onnx.FixedDim(huge)), "more than"},
	} {
		m := &onnx.Model{IRVersion: 10, Opsets: []onnx.OpsetID{{Version: 23}}, Graph: &onnx.Graph{
			Name:    "unusable",
			Inputs:  []*onnx.ValueInfo{onnx.NewValueInfo("x", onnx.Float32, onnx.FixedDim(2)), tt.unread},
			Outputs: []*onnx.ValueInfo{{Name: "y"}},
			Nodes:   []*onnx.Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"y"}}},
		}}
		im, err := pass.Import(m)
		if err != nil {
			t.Fatal(err)
		}
		g, err := pass.Specialise(im.Graph, pass.Target{Batch: 2})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := exec.Compile(g, exec.Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

// TestUnusableTotal: values that are within bounds each, but need more memory
// together than any machine has, are refused before memory is taken.
func TestUnusableTotal(t *testing.T) {
	const large = 1<<31 - 1
	for name, build := range map[string]func(g *onnx.Graph, i string){
		"inputs": func(g *onnx.Graph, i string) {
			g.Inputs = append(g.Inputs, onnx.NewValueInfo("in"+i, onnx.Float32, onnx.FixedDim(1), onnx.FixedDim(large)))
		},
		"values": func(g *onnx.Graph, i string) {
			g.Nodes = append(g.Nodes, &onnx.Node{OpType: "Expand", Inputs: []string{"x", "extent"}, Outputs: []string{"y" + i}})
			g.Outputs = append(g.Outputs, &onnx.ValueInfo{Name: "y" + i})
		},
	} {
		g := &onnx.Graph{
			Name:         "total",
			Inputs:       []*onnx.ValueInfo{onnx.NewValueInfo("x", onnx.Float32, onnx.FixedDim(1), onnx.FixedDim(1))},
			Outputs:      []*onnx.ValueInfo{{Name: "y"}},
			Nodes:        []*onnx.Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"y"}}},
			Initializers: []*onnx.Tensor{{Name: "extent", DType: onnx.Int64, Shape: []int{2}, Data: []int64{1, large}}},
		}
		for i := range 10000 { // 80 TB
			build(g, strconv.Itoa(i))
		}
		im, err := pass.Import(&onnx.Model{IRVersion: 10, Opsets: []onnx.OpsetID{{Version: 23}}, Graph: g})
		if err != nil {
			t.Fatal(err)
		}
		bound, err := pass.Specialise(im.Graph, pass.Target{Batch: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := exec.Compile(bound, exec.Options{}); err == nil || !strings.Contains(err.Error(), "GB of memory") {
			t.Errorf("%s: error %v, want one that says how much memory they take", name, err)
		}
	}
}
