package pass_test

import (
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// TestSplit cuts x·w + v·(x·w)·2 at v.
func TestSplit(t *testing.T) {
	g := graph.New("split", 17)
	b := ops.NewBuilder(g)
	x, w, v := g.AddInput("x", onnx.Float32, 3, 4), g.AddInput("w", onnx.Float32, 4, 5), g.AddInput("v", onnx.Float32, 3, 5)
	product := b.Op("MatMul", x, w)
	y := b.Add(product, b.Mul(b.Mul(v, product), b.Scalar(2, v)))
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	if err := g.Rename(product, "product"); err != nil {
		t.Fatal(err)
	}
	g.AddOutput(y)
	first, rest, err := pass.Split(g, []string{"v"})
	if err != nil {
		t.Fatal(err)
	}
	names := func(list []*graph.Value) (out []string) {
		for _, v := range list {
			out = append(out, v.Name)
		}
		return out
	}
	kinds := func(g *graph.Graph) (out []string) {
		for _, n := range g.Nodes {
			out = append(out, n.Op)
		}
		return out
	}
	for _, c := range []struct {
		what      string
		got, want []string
	}{
		{"inputs of the first", names(first.Inputs), []string{"x", "w"}},
		{"outputs of the first", names(first.Outputs), []string{"product"}},
		{"nodes of the first", kinds(first), []string{"MatMul"}},
		{"inputs of the rest", names(rest.Inputs), []string{"x", "w", "v", "product"}},
		{"outputs of the rest", names(rest.Outputs), names(g.Outputs)},
		{"nodes of the rest", kinds(rest), []string{"Mul", "Mul", "Add"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if len(g.Nodes) != 4 || g.Value("product").Producer() == nil {
		t.Error("the graph was changed")
	}
}
