package onnxgo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	onnxgo "github.com/owulveryck/onnx-go"
	gorgonia "gorgonia.org/tensor"

	backend "github.com/unprune/unprune/graph/onnxgo"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

const dialects = "../../models/testdata/dialects"

// TestExports runs PyTorch's exports through onnx-go's decoder at two batch
// sizes, with one graph, and compares with PyTorch's outputs. An output that
// was handed out stays as it is.
func TestExports(t *testing.T) {
	for _, name := range []string{
		"lenet-5.trained.ts13-plain", "lenet-5.trained.ts17-plain", "lenet-5-softmax.trained.ts17-plain",
		"alexnet.trained.ts17-plain", "conv-norm.hooked.ts17-unfolded", "alexnet.trained.dyn20-dynamic", "conv-norm.trained.dyn20-unoptimized",
	} {
		t.Run(name, func(t *testing.T) {
			m, g := decode(t, filepath.Join(dialects, name+".onnx"))
			data, err := npz.ReadFile(filepath.Join(dialects, name[:len(name)-len(filepath.Ext(name))]+".npz"))
			if err != nil {
				t.Fatal(err)
			}
			var kept []gorgonia.Tensor
			for _, batch := range []int{5, 2, 5} {
				kept = append(kept, infer(t, m, g, data[fmt.Sprintf("x%d", batch)]))
			}
			for i, batch := range []int{5, 2, 5} {
				y := data[fmt.Sprintf("y%d", batch)]
				near(t, kept[i], gorgonia.New(gorgonia.WithShape(y.Shape...), gorgonia.WithBacking(y.Data)))
			}
		})
	}
}

func decode(t *testing.T, file string) (*onnxgo.Model, *backend.Graph) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := onnx.Decode(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := backend.NewGraph(int(ours.Opsets[0].Version))
	m := onnxgo.NewModel(g)
	if err := m.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return m, g
}

func infer(t *testing.T, m *onnxgo.Model, g *backend.Graph, x *onnx.Tensor) gorgonia.Tensor {
	t.Helper()
	if err := m.SetInput(0, gorgonia.New(gorgonia.WithShape(x.Shape...), gorgonia.WithBacking(x.Data))); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(); err != nil {
		t.Fatal(err)
	}
	outs, err := m.GetOutputTensors()
	if err != nil {
		t.Fatal(err)
	}
	return outs[0]
}

// near compares with a tolerance of 1e-4 of the largest entry.
func near(t *testing.T, got, want gorgonia.Tensor) {
	t.Helper()
	if !got.Shape().Eq(want.Shape()) {
		t.Fatalf("output has shape %v, want %v", got.Shape(), want.Shape())
	}
	a, b := got.Data().([]float32), want.Data().([]float32)
	largest := float32(0)
	for _, y := range b {
		largest = max(largest, y, -y)
	}
	for i := range b {
		if d := a[i] - b[i]; !(max(d, -d) <= 1e-4*largest) {
			t.Fatalf("output %d is %v, want %v", i, a[i], b[i])
		}
	}
}

// TestGraphOfOperations builds a graph without a file: one value twice among
// the inputs, an input left out, an output that is read as well, and an input
// whose elements the shape of a result depends on.
func TestGraphOfOperations(t *testing.T) {
	g := backend.NewGraph(13)
	add := func(name string, data ...float32) *backend.Node {
		n := g.NewNode().(*backend.Node)
		n.SetName(name)
		g.AddNode(n)
		if data != nil {
			set(t, n, gorgonia.New(gorgonia.WithShape(len(data)), gorgonia.WithBacking(data)))
		}
		return n
	}
	apply := func(op string, out *backend.Node, in ...*backend.Node) {
		for i, n := range in {
			g.SetWeightedEdge(g.NewWeightedEdge(out, n, float64(i)))
		}
		if err := g.ApplyOperation(onnxgo.Operation{Name: op}, out); err != nil {
			t.Fatal(err)
		}
	}
	x, absent, limit, shape := add("x", 1, 2, 3, 4), add(""), add("limit"), add("shape")
	square, clipped, out := add("square", 0), add("clipped"), add("out")
	apply("Mul", square, x, x)
	apply("Clip", clipped, square, absent, limit)
	apply("Reshape", out, clipped, shape)
	if err := g.Run(); err == nil {
		t.Error("inputs without a value: want an error")
	}
	set(t, x, gorgonia.New(gorgonia.WithShape(4), gorgonia.WithBacking([]float32{1, 2, 3, 4})))
	set(t, limit, gorgonia.New(gorgonia.FromScalar(float32(5))))
	for _, want := range [][]int{{2, 2}, {4, 1}, {2, 2}} {
		set(t, shape, gorgonia.New(gorgonia.WithShape(2), gorgonia.WithBacking([]int64{int64(want[0]), int64(want[1])})))
		if err := g.Run(); err != nil {
			t.Fatal(err)
		}
		near(t, out.GetTensor(), gorgonia.New(gorgonia.WithShape(want...), gorgonia.WithBacking([]float32{1, 4, 5, 5})))
		near(t, square.GetTensor(), gorgonia.New(gorgonia.WithShape(4), gorgonia.WithBacking([]float32{1, 4, 9, 16})))
	}
	if err := g.ApplyOperation(onnxgo.Operation{Name: "Abracadabra"}, add("y")); err == nil {
		t.Error("an unknown operator is not refused")
	} else if _, ok := err.(*onnxgo.ErrNotImplemented); !ok {
		t.Errorf("an unknown operator gives %T, want *onnx.ErrNotImplemented", err)
	}
}

func set(t *testing.T, n *backend.Node, x gorgonia.Tensor) {
	t.Helper()
	if err := n.SetTensor(x); err != nil {
		t.Fatal(err)
	}
}
