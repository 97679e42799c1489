package exec_test

import (
	"math"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// TestSparesExpand: sums and products repeat operands themselves.
func TestSparesExpand(t *testing.T) {
	g := graph.New("expand", 17)
	b := ops.NewBuilder(g)
	x, v := g.AddInput("x", onnx.Float64, 2, 3, 4), g.AddInput("v", onnx.Float64, 1, 3, 1)
	wide := b.Expand(v, graph.Shape{2, 3, 4})
	y := b.Mul(b.Add(wide, x), wide)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	g.AddOutput(y)
	p, err := exec.Compile(g, exec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range onnx.Of[float64](p.Input("x")) {
		onnx.Of[float64](p.Input("x"))[i] = float64(i)
	}
	copy(onnx.Of[float64](p.Input("v")), []float64{2, 3, 5})
	trace := p.Trace()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(trace.Nodes) != 2 {
		t.Errorf("the program has %v, want a sum and a product", trace.Nodes)
	}
	for i, got := range onnx.Of[float64](p.Output(y.Name)) {
		c := []float64{2, 3, 5}[i/4%3]
		if want := (c + float64(i)) * c; got != want {
			t.Fatalf("element %d is %v, want %v", i, got, want)
		}
	}
}

// TestExpandedBias: what is expanded to the result of a convolution or product and
// added to it is its bias.
func TestExpandedBias(t *testing.T) {
	for _, op := range []string{"Conv", "Gemm"} {
		x, w, shape := []int{2, 3, 4, 4}, []int{5, 3, 2, 2}, graph.Shape{2, 5, 3, 3}
		if op == "Gemm" {
			x, w, shape = []int{4, 3}, []int{3, 5}, graph.Shape{4, 5}
		}
		run := func(bias func(b *ops.Builder, x, w, v *graph.Value) *graph.Value) (map[string]bool, []float64) {
			g := graph.New("bias", 17)
			b := ops.NewBuilder(g)
			y := bias(b, g.AddInput("x", onnx.Float64, x...), g.AddInput("w", onnx.Float64, w...), g.AddInput("v", onnx.Float64, 5))
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			g.AddOutput(y)
			p, err := exec.Compile(g, exec.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"x", "w", "v"} {
				for i := range onnx.Of[float64](p.Input(name)) {
					onnx.Of[float64](p.Input(name))[i] = math.Sin(float64(i + len(name)))
				}
			}
			trace := p.Trace()
			if err := p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			kinds := map[string]bool{}
			for _, n := range trace.ByOp() {
				kinds[n.Op] = true
			}
			return kinds, onnx.Of[float64](p.Output(y.Name))
		}
		_, want := run(func(b *ops.Builder, x, w, v *graph.Value) *graph.Value { return b.Op(op, x, w, v) })
		kinds, got := run(func(b *ops.Builder, x, w, v *graph.Value) *graph.Value {
			single := []int{1, 5, 1, 1}[:len(shape)]
			return b.Add(b.Expand(b.Reshape(v, single...), shape), b.Op(op, x, w))
		})
		if kinds["Add"] || kinds["Expand"] {
			t.Errorf("%s: the program has %v, want a bias instead of Add and Expand", op, kinds)
		}
		for i := range want {
			if !(math.Abs(got[i]-want[i]) <= 1e-14) {
				t.Fatalf("%s: element %d is %v, want %v", op, i, got[i], want[i])
			}
		}
	}
}
