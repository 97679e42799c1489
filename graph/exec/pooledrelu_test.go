package exec_test

import (
	"math"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// TestPooledReluGradient: what a ReLU lets through is looked at before the
// gradient of a max pooling of it is spread, overlapping windows included.
func TestPooledReluGradient(t *testing.T) {
	const rows, cols = 5, 7
	g := graph.New("pool", 17)
	b := ops.NewBuilder(g)
	x := g.AddInput("x", onnx.Float64, 1, 1, rows, cols)
	y := b.OpA("MaxPool", []*onnx.Attr{onnx.AttrInts("kernel_shape", 3, 3), onnx.AttrInts("strides", 2, 2)}, b.Op("Relu", x))
	sum := b.ReduceSum(b.Mul(y, y), false, 0, 1, 2, 3)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	grads, err := autodiff.Gradient(g, sum, nil, []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	g.AddOutput(grads[0])
	for _, n := range g.Nodes {
		if n.Op == "ReluGrad" && !slices.Equal(n.Outputs[0].Shape, y.Shape) {
			t.Errorf("ReluGrad has shape %v, want the pooled %v", n.Outputs[0].Shape, y.Shape)
		}
	}
	p, err := exec.Compile(g, exec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := onnx.Of[float64](p.Input("x"))
	for i := range in {
		in[i] = math.Sin(float64(i*i)) - 0.4
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := make([]float64, rows*cols)
	for r := 0; r+3 <= rows; r += 2 {
		for c := 0; c+3 <= cols; c += 2 {
			best := r*cols + c
			for i := range 9 {
				if at := (r+i/3)*cols + c + i%3; in[at] > in[best] {
					best = at
				}
			}
			want[best] += 2 * max(in[best], 0)
		}
	}
	if got := onnx.Of[float64](p.Output(grads[0].Name)); !slices.Equal(got, want) {
		t.Errorf("the gradient is %v, want %v", got, want)
	}
}
