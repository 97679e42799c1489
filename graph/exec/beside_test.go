package exec

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// inverted is a network of small planes as MobileNetV2 has them, whose blocks'
// ends are joined, with an output at its end and one where watch says.
func inverted(t *testing.T, batch int, watch string) *graph.Graph {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 5))
	g := graph.New("inverted", 17)
	b := ops.NewBuilder(g)
	vector := func(shape ...int) *graph.Value {
		data := make([]float32, onnx.Size(shape))
		for i := range data {
			data[i] = float32(rng.NormFloat64() / 2)
		}
		return g.AddInit("w", onnx.FromSlice(data, shape...))
	}
	conv := func(x *graph.Value, out, group, size, stride int) *graph.Value {
		pad := int64(size / 2)
		return b.OpA("Conv", []*onnx.Attr{
			onnx.AttrInts("pads", pad, pad, pad, pad), onnx.AttrInts("strides", int64(stride), int64(stride)), onnx.AttrInt("group", int64(group)),
		}, x, vector(out, x.Shape[1]/group, size, size), vector(out))
	}
	clip := func(x *graph.Value) *graph.Value { return b.Op("Clip", x, b.Scalar(0, x), b.Scalar(1, x)) }
	block := func(x *graph.Value, out, stride int) *graph.Value {
		y := clip(conv(x, 3*x.Shape[1], 1, 1, 1))
		y = clip(conv(y, y.Shape[1], y.Shape[1], 3, stride))
		return conv(y, out, 1, 1, 1)
	}
	x := clip(conv(g.AddInput("x", onnx.Float32, batch, 3, 9, 9), 6, 1, 3, 2))
	x = block(x, 8, 2)
	middle := b.Add(x, block(x, 8, 1))
	x = b.Concat(1, middle, b.Op("Relu", block(middle, 5, 1)))
	y := b.Op("Flatten", b.Op("GlobalAveragePool", clip(conv(x, 20, 1, 1, 1))))
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	g.AddOutput(y)
	if watch == "middle" {
		g.AddOutput(middle)
	}
	return g
}

// TestBeside: a batch that fills blocks is computed with images side by side,
// whoever reads along, with the results that a smaller batch has.
func TestBeside(t *testing.T) {
	for _, watch := range []string{"", "middle"} {
		whole, half := inverted(t, 32, watch), inverted(t, 8, watch)
		p, q := compiled(t, whole, nil), compiled(t, half, nil)
		if n := count(p, "ConvBeside"); n != 11 {
			t.Errorf("watching %q: %d convolutions of images side by side, want 11", watch, n)
		}
		if n := count(q, "ConvBeside"); n != 0 {
			t.Errorf("a batch of 8 has %d convolutions of images side by side", n)
		}
		team := kernel.NewTeam(3)
		defer team.Close()
		threaded, err := Compile(whole, Options{Team: team})
		if err != nil {
			t.Fatal(err)
		}
		x := onnx.Of[float32](p.Input("x"))
		rng := rand.New(rand.NewPCG(7, 8))
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		copy(onnx.Of[float32](threaded.Input("x")), x)
		for _, program := range []*Program{p, threaded} {
			if err := program.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range whole.Outputs {
			if !slices.Equal(onnx.Of[float32](p.Output(v.Name)), onnx.Of[float32](threaded.Output(v.Name))) {
				t.Errorf("%s differs with three threads", v.Name)
			}
		}
		for part := range 4 {
			in := onnx.Of[float32](q.Input("x"))
			copy(in, x[part*len(in):])
			if err := q.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i, v := range half.Outputs {
				want := onnx.Of[float32](q.Output(v.Name))
				near(t, v.Name, onnx.Of[float32](p.Output(whole.Outputs[i].Name))[part*len(want):][:len(want)], want)
			}
		}
	}
}

// count is how many steps compute op.
func count(p *Program, op string) int {
	n := 0
	for _, s := range p.steps {
		if s.node.Op == op {
			n++
		}
	}
	return n
}
