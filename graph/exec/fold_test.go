package exec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// normalised is a convolution, a batch normalisation and a Relu, each of which
// may be read by others too.
func normalised(t *testing.T, bias bool, watch string) *graph.Graph {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	g := graph.New("normalised", 17)
	vector := func(name string, low float64, shape ...int) *graph.Value {
		data := make([]float32, onnx.Size(shape))
		for i := range data {
			data[i] = float32(low + rng.Float64())
		}
		return g.AddInit(name, onnx.FromSlice(data, shape...))
	}
	x := g.AddInput("x", onnx.Float32, 2, 3, 6, 7)
	in := []*graph.Value{x, vector("w", -0.5, 4, 3, 3, 3)}
	if bias {
		in = append(in, vector("b", -0.5, 4))
	}
	b := ops.NewBuilder(g)
	conv := b.Op("Conv", in...)
	norm := b.Op("BatchNormalization", conv, vector("scale", 0.5, 4), vector("shift", -0.5, 4), vector("mean", -0.5, 4), vector("var", 0.1, 4))
	y := b.Op("Relu", norm)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	g.AddOutput(y)
	switch watch {
	case "conv":
		g.AddOutput(conv)
	case "norm":
		g.AddOutput(norm)
	}
	return g
}

// TestFold: constant normalisations and Relus disappear into convolutions
// unless somebody else reads what they read, and the results stay.
func TestFold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bias  bool
		watch string // a value that is an output too
		state string // an initializer whose memory is handed in
		steps int
	}{
		{"all", false, "", "", 1},
		{"with bias", true, "", "", 1},
		{"convolution read", true, "conv", "", 2},
		{"normalisation read", true, "norm", "", 2},
		{"weights change", true, "", "w", 2},
		{"statistics change", false, "", "var", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := normalised(t, tt.bias, tt.watch)
			state := map[string]*onnx.Tensor{}
			if tt.state != "" {
				state[tt.state] = g.Value(tt.state).Const
			}
			p := compiled(t, g, state)
			if len(p.steps) != tt.steps {
				t.Errorf("%d steps, want %d", len(p.steps), tt.steps)
			}
			all := map[string]*onnx.Tensor{}
			for _, v := range g.Inits {
				all[v.Name] = v.Const
			}
			want := compiled(t, g, all)
			for range 2 { // packed weights are kept
				for _, v := range g.Outputs {
					near(t, v.Name, run(t, p, v.Name), run(t, want, v.Name))
				}
			}
		})
	}
}

// TestFoldInPlace: a program that owns the constants folds into weights where they
// are, unless something else reads them.
func TestFoldInPlace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		share func(g *graph.Graph) // gives the weights another reader
		moved bool
	}{
		{"alone", func(*graph.Graph) {}, true},
		{"read twice", func(g *graph.Graph) {
			b := ops.NewBuilder(g)
			g.AddOutput(b.Op("Conv", g.Value("x"), g.Value("w")))
		}, false},
		{"an output", func(g *graph.Graph) { g.AddOutput(g.Value("w")) }, false},
		{"memory read twice", func(g *graph.Graph) {
			b := ops.NewBuilder(g)
			g.AddOutput(b.Op("Conv", g.Value("x"), g.AddInit("twin", g.Value("w").Const)))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := normalised(t, true, "")
			tt.share(g)
			w := onnx.Of[float32](g.Value("w").Const)
			before := slices.Clone(w)
			want := map[string][]float32{}
			apart := compiled(t, g, nil)
			for _, v := range g.Outputs {
				want[v.Name] = slices.Clone(run(t, apart, v.Name))
			}
			p := compiledWith(t, g, Options{Own: true})
			for _, v := range g.Outputs {
				near(t, v.Name, run(t, p, v.Name), want[v.Name])
			}
			if moved := !slices.Equal(w, before); moved != tt.moved {
				t.Errorf("the weights were changed where they are: %v, want %v", moved, tt.moved)
			}
		})
	}
}

// TestRectifiedVolume: a convolution over three axes rectifies its result too.
func TestRectifiedVolume(t *testing.T) {
	g := graph.New("volume", 17)
	b := ops.NewBuilder(g)
	w := make([]float32, 2*3*2*2*2)
	for i := range w {
		w[i] = float32(math.Cos(float64(3 * i)))
	}
	y := b.Op("Conv", g.AddInput("x", onnx.Float32, 2, 3, 4, 5, 3), g.AddInit("w", onnx.FromSlice(w, 2, 3, 2, 2, 2)))
	z := b.Op("Relu", y)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	g.AddOutput(z)
	alone := g.Clone()
	alone.AddOutput(alone.Value(y.Name))
	near(t, z.Name, run(t, compiled(t, g, nil), z.Name), run(t, compiled(t, alone, nil), z.Name))
}

// TestActivations: what follows a matrix product goes with it where bounds stay
// and nobody else reads the product.
func TestActivations(t *testing.T) {
	for _, tt := range []struct {
		name     string
		activate func(b *ops.Builder, x *graph.Value) *graph.Value
		watched  bool
		state    string
		label    string // "": the activation takes a step of its own
	}{
		{name: "Relu", activate: func(b *ops.Builder, x *graph.Value) *graph.Value { return b.Op("Relu", x) }, label: "Gemm+Relu"},
		{name: "Relu6", activate: func(b *ops.Builder, x *graph.Value) *graph.Value {
			return b.Op("Clip", x, b.Scalar(0, x), b.Scalar(6, x))
		}, label: "Gemm+Clip"},
		{name: "one bound", activate: func(b *ops.Builder, x *graph.Value) *graph.Value {
			return b.Op("Clip", x, nil, b.Scalar(0.5, x))
		}, label: "Gemm+Clip"},
		{name: "bound changes", activate: func(b *ops.Builder, x *graph.Value) *graph.Value {
			return b.Op("Clip", x, b.G.AddInit("low", onnx.FromSlice([]float32{-0.5})))
		}, state: "low"},
		{name: "product read", activate: func(b *ops.Builder, x *graph.Value) *graph.Value { return b.Op("Relu", x) }, watched: true},
		{name: "Tanh", activate: func(b *ops.Builder, x *graph.Value) *graph.Value { return b.Op("Tanh", x) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := graph.New("activated", 17)
			b := ops.NewBuilder(g)
			w := make([]float32, 4*5)
			for i := range w {
				w[i] = float32(math.Cos(float64(3 * i)))
			}
			y := b.Op("Gemm", g.AddInput("x", onnx.Float32, 3, 4), g.AddInit("w", onnx.FromSlice(w, 4, 5)))
			z := tt.activate(b, y)
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			g.AddOutput(z)
			alone := g.Clone()
			alone.AddOutput(alone.Value(y.Name))
			if tt.watched {
				g.AddOutput(y)
			}
			state := map[string]*onnx.Tensor{}
			if tt.state != "" {
				state[tt.state] = g.Value(tt.state).Const
			}
			p := compiled(t, g, state)
			if fused := len(p.steps) == 1; fused != (tt.label != "") || fused && p.steps[0].label != tt.label {
				t.Errorf("%d steps, the first is %s, want %q", len(p.steps), p.steps[0].label, tt.label)
			}
			near(t, z.Name, run(t, p, z.Name), run(t, compiled(t, alone, nil), z.Name))
		})
	}
}

// TestPooledSums: a sum over planes of a spread gradient becomes one of the pooled
// gradient, a sum along rows does not.
func TestPooledSums(t *testing.T) {
	sums := map[string][]float32{}
	for _, name := range []string{"planes", "rows first"} {
		g := graph.New("pooled", 17)
		b := ops.NewBuilder(g)
		x := g.AddInput("x", onnx.Float32, 2, 3, 6, 6)
		pooled := b.Node("MaxPool", 2, []*graph.Value{x}, onnx.AttrInts("kernel_shape", 3, 2), onnx.AttrInts("strides", 2, 2))
		spread := b.Own("MaxPoolGrad", 1, pooled, onnx.AttrInts("input_shape", 2, 3, 6, 6))[0]
		sum := b.ReduceSum(spread, false, 0, 2, 3)
		if name != "planes" {
			sum = b.ReduceSum(b.ReduceSum(spread, true, 3), false, 0, 2, 3)
		}
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		g.AddOutput(sum)
		p := compiled(t, g, nil)
		if spreads := slices.ContainsFunc(p.steps, func(s step) bool { return s.node.Op == "MaxPoolGrad" }); spreads == (name == "planes") {
			t.Errorf("%s: spreads the gradient: %v", name, spreads)
		}
		sums[name] = slices.Clone(run(t, p, sum.Name))
	}
	near(t, "sum", sums["planes"], sums["rows first"])
}

// TestKeepsPooled: gradients of a convolution are computed from a pooled gradient,
// and its change where the maxima are, unless somebody wants to see the rest.
func TestKeepsPooled(t *testing.T) {
	results := map[string][]float32{}
	for _, name := range []string{"pooled", "seen"} {
		g := graph.New("pooled", 17)
		b := ops.NewBuilder(g)
		x, w := g.AddInput("x", onnx.Float32, 2, 1, 12, 12), g.AddInit("w", onnx.NewTensor(onnx.Float32, 3, 1, 5, 5))
		for i := range onnx.Of[float32](w.Const) {
			onnx.Of[float32](w.Const)[i] = float32(math.Cos(float64(i)))
		}
		y := b.Op("Conv", x, w)
		pooled := b.Node("MaxPool", 2, []*graph.Value{y}, onnx.AttrInts("kernel_shape", 3, 3), onnx.AttrInts("strides", 2, 2))
		spread := b.Own("MaxPoolGrad", 1, pooled, onnx.AttrInts("input_shape", 2, 3, 8, 8))[0]
		dw := b.Own("ConvGradWeight", 1, []*graph.Value{x, spread}, onnx.AttrInts("kernel_shape", 5, 5))[0]
		dx := b.Own("ConvGradInput", 1, []*graph.Value{spread, w}, onnx.AttrInts("input_shape", 2, 1, 12, 12))[0]
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		change := b.Add(b.Op("Conv", b.Op("Neg", x), w), b.Op("Conv", x, b.Op("Neg", w)))
		picked := b.Own("ReluGrad", 1, []*graph.Value{b.Own("MaxPoolPick", 1, []*graph.Value{change, pooled[1]})[0], pooled[0]})[0]
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		for _, v := range []*graph.Value{dw, dx, picked} {
			g.AddOutput(v)
		}
		if name == "seen" {
			g.AddOutput(spread)
			g.AddOutput(change)
		}
		p := compiled(t, g, nil)
		if spreads := slices.ContainsFunc(p.steps, func(s step) bool { return s.node.Op == "MaxPoolGrad" }); spreads != (name == "seen") {
			t.Errorf("%s: spreads the gradient: %v", name, spreads)
		}
		if at := slices.ContainsFunc(p.steps, func(s step) bool { return s.node.Op == "ConvAt" }); at == (name == "seen") {
			t.Errorf("%s: convolves at the maxima alone: %v", name, at)
		}
		results[name] = slices.Concat(run(t, p, dw.Name), run(t, p, dx.Name), run(t, p, picked.Name))
	}
	near(t, "gradient", results["pooled"], results["seen"])
}

// TestMovesFactors: the factors of a normalisation's gradient go to what is computed
// from it, unless somebody wants to see it, or what they would go to is large.
func TestMovesFactors(t *testing.T) {
	vector := func(g *graph.Graph, name string) *graph.Value {
		return g.AddInit(name, onnx.FromSlice([]float32{0.5, 2, 0, -1.5}, 4))
	}
	for _, size := range []int{3, 12} {
		results := map[string][]float32{}
		for _, name := range []string{"moved", "seen"} {
			g := graph.New("factors", 17)
			b := ops.NewBuilder(g)
			x := g.AddInput("x", onnx.Float32, 2, 4, size, size)
			w := g.AddInit("w", onnx.NewTensor(onnx.Float32, 4, 2, 3, 3))
			for i := range onnx.Of[float32](w.Const) {
				onnx.Of[float32](w.Const)[i] = float32(math.Cos(float64(i)))
			}
			scale, mean := vector(g, "scale"), vector(g, "mean")
			variance := g.AddInit("var", onnx.FromSlice([]float32{0.1, 1, 2, 3}, 4))
			dy := b.Op("Neg", x)
			d := b.Own("BatchNormalizationInferenceGrad", 3, []*graph.Value{dy, x, scale, mean, variance})
			conv := []*onnx.Attr{onnx.AttrInts("kernel_shape", 3, 3), onnx.AttrInts("pads", 1, 1, 1, 1), onnx.AttrInt("group", 2)}
			dx := b.Own("ConvGradInput", 1, []*graph.Value{d[0], w}, append(conv, onnx.AttrInts("input_shape", 2, 4, int64(size), int64(size)))...)[0]
			squares := b.Own("ConvSampleSquares", 1, []*graph.Value{x, d[0]}, conv...)[0]
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			g.AddOutput(dx)
			g.AddOutput(squares)
			if name == "seen" {
				g.AddOutput(d[0])
			}
			p := compiled(t, g, nil)
			moves := !slices.ContainsFunc(p.steps, func(s step) bool { return s.node.Op == "BatchNormalizationInferenceGrad" })
			if want := name == "moved" && size == 12; moves != want {
				t.Errorf("%s, size %d: moves the factors: %v", name, size, moves)
			}
			results[name] = slices.Concat(run(t, p, dx.Name), run(t, p, squares.Name))
		}
		near(t, fmt.Sprint("size ", size), results["moved"], results["seen"])
	}
}

func compiled(t *testing.T, g *graph.Graph, state map[string]*onnx.Tensor) *Program {
	t.Helper()
	return compiledWith(t, g, Options{State: state})
}

func compiledWith(t *testing.T, g *graph.Graph, o Options) *Program {
	t.Helper()
	p, err := Compile(g, o)
	if err != nil {
		t.Fatal(err)
	}
	x := onnx.Of[float32](p.Input("x"))
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	return p
}

func run(t *testing.T, p *Program, output string) []float32 {
	t.Helper()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return onnx.Of[float32](p.Output(output))
}

func near(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i, v := range want {
		if math.Abs(float64(got[i]-v)) > 1e-5*max(1, math.Abs(float64(v))) {
			t.Fatalf("%s: element %d is %v, want %v", name, i, got[i], v)
		}
	}
}
