package exec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// joinCases build sums. The labels are those of the steps with which the program
// computes them, without those that have nothing to do with it.
var joinCases = map[string]struct {
	opset  int // 0: 20
	build  func(j *joinGraph)
	labels string
}{
	"two convolutions": {build: func(j *joinGraph) {
		j.output(j.Add(j.conv(j.input("x")), j.conv(j.input("x2"))))
	}, labels: "JoinedConv"},
	"two convolutions with biases": {build: func(j *joinGraph) {
		j.output(j.Add(j.convBias(j.input("x")), j.convBias(j.input("x2"))))
	}, labels: "Conv JoinedConv"},
	"gradients": {build: func(j *joinGraph) {
		sum := j.Add(j.Add(j.gradInput(j.input("dy")), j.op("Neg", j.input("r"))), j.gradInput(j.input("dy2")))
		j.output(j.mask(sum, j.input("y")))
	}, labels: "Neg JoinedConvGradInput"},
	"gradient, mask": {build: func(j *joinGraph) {
		j.output(j.mask(j.gradInput(j.input("dy")), j.input("y")))
	}, labels: "JoinedConvGradInput"},
	"masked and added": {build: func(j *joinGraph) {
		masked := j.mask(j.Add(j.gradInput(j.input("dy")), j.input("r")), j.input("y"))
		j.output(j.Add(masked, j.op("Neg", j.input("r2"))))
		j.output(j.Add(j.mask(j.gradInput(j.input("dy3")), j.input("y")), j.gradInput(j.input("dy2"))))
	}, labels: "JoinedConvGradInput Neg Add JoinedConvGradInput JoinedConvGradInput"},
	"residual": {build: func(j *joinGraph) {
		j.output(j.op("Relu", j.Add(j.op("Neg", j.input("r")), j.convBias(j.input("x")))))
	}, labels: "Neg JoinedConv+Relu"},
	"residual of old": {opset: 7, build: func(j *joinGraph) {
		j.output(j.op("Relu", j.Add(j.op("Neg", j.input("r")), j.convBias(j.input("x")))))
	}, labels: "Neg JoinedConv+Relu"},
	"three convolutions": {build: func(j *joinGraph) {
		j.output(j.Add(j.conv(j.input("x")), j.Add(j.conv(j.input("x2")), j.conv(j.input("x3")))))
	}, labels: "Conv JoinedConv"},
	"a convolution and a gradient": {build: func(j *joinGraph) {
		j.output(j.Add(j.conv(j.input("x")), j.gradInput(j.input("dy"))))
	}, labels: "Conv JoinedConvGradInput"},
	"addend is read": {build: func(j *joinGraph) {
		x := j.op("Neg", j.input("x"))
		j.output(j.Add(x, j.conv(x)))
	}, labels: "Neg Conv Add"},
	"addend is a view of what is read": {build: func(j *joinGraph) {
		x := j.op("Neg", j.input("flat", 2*3*6*5))
		j.output(j.Add(j.Reshape(x, 2, 3, 6, 5), j.conv(j.Reshape(x, 2, 3, 6, 5))))
	}, labels: "Neg Conv Add"},
	"addend is read by one of two": {build: func(j *joinGraph) {
		x := j.op("Neg", j.input("x"))
		j.output(j.mask(j.Add(j.Add(x, j.conv(x)), j.conv(j.input("x2"))), j.input("y")))
	}, labels: "Neg JoinedConv WeightedSum"},
	"addend is the mask": {build: func(j *joinGraph) {
		r := j.op("Neg", j.input("r"))
		j.output(j.mask(j.Add(r, j.conv(j.input("x"))), r))
	}, labels: "Neg Conv Add ReluGrad"},
	"addend is read later": {build: func(j *joinGraph) {
		r := j.op("Neg", j.input("r"))
		y := j.op("Exp", j.Add(r, j.conv(j.input("x"))))
		j.output(j.mask(y, r))
	}, labels: "Neg JoinedConv Exp ReluGrad"},
	"addend is an output": {build: func(j *joinGraph) {
		r := j.op("Neg", j.input("r"))
		j.output(r)
		j.output(j.Add(r, j.conv(j.input("x"))))
	}, labels: "Neg JoinedConv"},
	"addend is an input": {build: func(j *joinGraph) {
		j.output(j.Add(j.input("r"), j.conv(j.input("x"))))
	}, labels: "JoinedConv"},
	"addend has other dimensions": {build: func(j *joinGraph) {
		j.output(j.Add(j.conv(j.input("x")), j.input("r", 2, 1, 6, 5)))
		j.output(j.Add(j.conv(j.input("x")), j.input("row", 5)))
	}, labels: "Conv Add Conv Add"},
	"sum has other dimensions": {build: func(j *joinGraph) {
		j.output(j.Add(j.conv(j.input("x", 1, 3, 6, 5)), j.input("r")))
	}, labels: "Conv Add"},
	"twice the same": {build: func(j *joinGraph) {
		y := j.conv(j.input("x"))
		j.output(j.Add(y, y))
	}, labels: "Conv Add"},
	"the result is read": {build: func(j *joinGraph) {
		y := j.conv(j.input("x"))
		j.output(j.Add(y, j.input("r")))
		j.output(j.op("Exp", y))
	}, labels: "Conv Add Exp"},
	"the result is an output": {build: func(j *joinGraph) {
		y := j.conv(j.input("x"))
		j.output(y)
		j.output(j.Add(y, j.input("r")))
	}, labels: "Conv Add"},
	"the sum is read": {build: func(j *joinGraph) {
		y := j.Add(j.conv(j.input("x")), j.input("r"))
		j.output(j.mask(y, j.input("y")))
		j.output(j.op("Exp", y))
	}, labels: "JoinedConv ReluGrad Exp"},
	"matrix products": {build: func(j *joinGraph) {
		point := func(x *graph.Value) *graph.Value { return j.Op("Conv", x, j.input("w"+x.Name, 3, 3, 1, 1)) }
		r := j.op("Neg", j.input("r", 2, 3, 8, 4))
		j.output(j.op("Relu", j.Add(r, j.Add(point(j.input("x", 2, 3, 8, 4)), point(j.input("x2", 2, 3, 8, 4))))))
	}, labels: "Neg JoinedConv+Relu"},
	"one axis": {build: func(j *joinGraph) {
		y := j.Op("Conv", j.input("x", 2, 3, 16), j.input("w", 4, 3, 1), j.input("b", 4))
		j.output(j.op("Relu", j.Add(y, j.input("r", 2, 4, 16))))
	}, labels: "JoinedConv+Relu"},
	"stride 2": {build: func(j *joinGraph) {
		y := j.OpA("Conv", []*onnx.Attr{onnx.AttrInts("strides", 2, 2), onnx.AttrInts("pads", 1, 1, 1, 1)}, j.input("x"), j.input("w", 3, 3, 3, 3))
		j.output(j.Add(y, j.input("r", 2, 3, 3, 3)))
	}, labels: "JoinedConv"},
	"stride 3": {build: func(j *joinGraph) {
		y := j.OpA("Conv", []*onnx.Attr{onnx.AttrInts("strides", 3, 3), onnx.AttrInts("pads", 1, 1, 1, 1)}, j.input("x"), j.input("w", 3, 3, 3, 3))
		j.output(j.Add(y, j.input("r", 2, 3, 2, 2)))
	}, labels: "Conv Add"},

	"normalised change": {build: func(j *joinGraph) {
		x := j.Mul(j.channels("f"), j.op("Neg", j.input("x")))
		sum := j.Add(j.Add(j.Add(j.channels("offset"), x), j.Mul(j.op("Abs", j.input("x2")), j.channels("f2"))), j.input("r"))
		j.output(j.mask(sum, j.input("y")))
	}, labels: "Neg Abs WeightedSum"},
	"sum and Relu": {build: func(j *joinGraph) {
		j.output(j.op("Relu", j.Add(j.op("Neg", j.input("x")), j.input("r"))))
	}, labels: "Neg WeightedSum+Relu"},
	"sum in place of the second": {build: func(j *joinGraph) {
		j.output(j.op("Relu", j.Add(j.input("r"), j.op("Neg", j.input("x")))))
	}, labels: "Neg WeightedSum+Relu"},
	"sum of one twice": {build: func(j *joinGraph) {
		x := j.op("Neg", j.input("x"))
		j.output(j.op("Relu", j.Add(j.Add(x, j.input("r")), x)))
	}, labels: "Neg Add Add Relu"},
	"sum masked by a term": {build: func(j *joinGraph) {
		x := j.op("Neg", j.input("x"))
		j.output(j.mask(j.Add(j.Add(x, j.input("r")), j.input("r2")), x))
	}, labels: "Neg Add Add ReluGrad"},
	"two offsets": {build: func(j *joinGraph) {
		j.output(j.op("Relu", j.Add(j.Add(j.Add(j.input("x"), j.channels("a")), j.channels("b")), j.input("r"))))
	}, labels: "Add WeightedSum+Relu"},
	"factor along another axis": {build: func(j *joinGraph) {
		j.output(j.op("Relu", j.Add(j.Mul(j.input("x"), j.input("row", 6, 1)), j.input("r"))))
	}, labels: "Mul WeightedSum+Relu"},
	"short planes": {build: func(j *joinGraph) {
		j.output(j.op("Relu", j.Add(j.Mul(j.input("x", 2, 3, 2, 2), j.channels("f")), j.input("r", 2, 3, 2, 2))))
	}, labels: "Mul WeightedSum+Relu"},
	"many terms": {build: func(j *joinGraph) {
		sum := j.input("r")
		for i := range ops.MaxSumTerms {
			sum = j.Add(sum, j.input(fmt.Sprint("r", i)))
		}
		j.output(sum)
	}, labels: strings.TrimSpace(strings.Repeat("Add ", ops.MaxSumTerms))},
	"a lone sum": {build: func(j *joinGraph) {
		j.output(j.Add(j.input("x"), j.input("r")))
	}, labels: "Add"},
	"integers": {build: func(j *joinGraph) {
		x := j.g.AddInput("i", onnx.Int64, 4)
		j.output(j.Add(j.Add(x, j.g.AddInput("j", onnx.Int64, 4)), x))
	}, labels: "Add Add"},
}

// joinGraph builds a graph of images [2 3 6 5].
type joinGraph struct {
	*ops.Builder
	g  *graph.Graph
	dt onnx.DType
}

func (j *joinGraph) input(name string, shape ...int) *graph.Value {
	if v := j.g.Value(name); v != nil {
		return v
	}
	if shape == nil {
		shape = []int{2, 3, 6, 5}
	}
	return j.g.AddInput(name, j.dt, shape...)
}

func (j *joinGraph) channels(name string) *graph.Value { return j.input(name, 1, 3, 1, 1) }
func (j *joinGraph) output(v *graph.Value)             { j.g.AddOutput(v) }

func (j *joinGraph) op(name string, x ...*graph.Value) *graph.Value { return j.Op(name, x...) }

func (j *joinGraph) mask(v, y *graph.Value) *graph.Value {
	return j.Own("ReluGrad", 1, []*graph.Value{v, y})[0]
}

func (j *joinGraph) conv(x *graph.Value) *graph.Value {
	return j.OpA("Conv", []*onnx.Attr{onnx.AttrInts("pads", 1, 1, 1, 1)}, x, j.input("w"+x.Name, 3, 3, 3, 3))
}

func (j *joinGraph) convBias(x *graph.Value) *graph.Value {
	return j.OpA("Conv", []*onnx.Attr{onnx.AttrInts("pads", 1, 1, 1, 1)}, x, j.input("w"+x.Name, 3, 3, 3, 3), j.input("b"+x.Name, 3))
}

func (j *joinGraph) gradInput(dy *graph.Value) *graph.Value {
	return j.Own("ConvGradInput", 1, []*graph.Value{dy, j.input("w"+dy.Name, 3, 3, 3, 3)},
		onnx.AttrInts("pads", 1, 1, 1, 1), onnx.AttrInts("input_shape", 2, 3, 6, 5))[0]
}

// TestJoin compares sums with those of a graph whose every value is an output, so
// that nothing can be joined, and looks at what is computed.
func TestJoin(t *testing.T) {
	for name, c := range joinCases {
		for _, dt := range []onnx.DType{onnx.Float32, onnx.Float64} {
			t.Run(fmt.Sprint(name, "/", dt), func(t *testing.T) {
				j := joinGraph{g: graph.New("join", max(c.opset, 7)), dt: dt}
				if c.opset == 0 {
					j.g = graph.New("join", 20)
				}
				j.Builder = ops.NewBuilder(j.g)
				c.build(&j)
				if j.Err != nil {
					t.Fatal(j.Err)
				}
				plain := j.g.Clone()
				for _, n := range plain.Nodes {
					if v := n.Outputs[0]; !slices.Contains(plain.Outputs, v) {
						plain.AddOutput(v)
					}
				}
				p, got := runJoin(t, j.g, kernel.WinogradWhereFits)
				q, want := runJoin(t, plain, kernel.WinogradNever)
				if labels := stepsOf(p); labels != c.labels {
					t.Errorf("computed by %s, want %s", labels, c.labels)
				}
				if labels := stepsOf(q); strings.Contains(labels, "Joined") || strings.Contains(labels, "WeightedSum") {
					t.Errorf("what it is compared with is computed by %s", labels)
				}
				tolerance := 1e-12
				if dt == onnx.Float32 {
					tolerance = 1e-5
				}
				for i, w := range want[:len(got)] {
					compareJoined(t, j.g.Outputs[i].Name, got[i], w, tolerance)
				}
			})
		}
	}
}

// stepsOf lists the steps of a program.
func stepsOf(p *Program) string {
	var list []string
	for _, s := range p.steps {
		list = append(list, s.label)
	}
	return strings.Join(list, " ")
}

// runJoin runs a graph on normal numbers, which follow from the order of inputs.
func runJoin(t *testing.T, g *graph.Graph, wish kernel.Winograd) (*Program, [][]float64) {
	t.Helper()
	p, err := Compile(g, Options{Winograd: wish})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, v := range g.Inputs {
		switch d := p.Input(v.Name).Data.(type) {
		case []float32:
			for i := range d {
				d[i] = float32(rng.NormFloat64())
			}
		case []float64:
			for i := range d {
				d[i] = float64(float32(rng.NormFloat64()))
			}
		}
	}
	for range 2 { // nothing is left of the first run
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var out [][]float64
	for _, v := range g.Outputs {
		var list []float64
		switch d := p.Output(v.Name).Data.(type) {
		case []float32:
			for _, x := range d {
				list = append(list, float64(x))
			}
		case []float64:
			list = d
		case []int64:
			for _, x := range d {
				list = append(list, float64(x))
			}
		}
		out = append(out, list)
	}
	return p, out
}

func compareJoined(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	largest := 1.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(got[i]-w) <= tolerance*largest) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], w)
		}
	}
}

// TestJoinedDerivatives compares gradient and Hessian-vector product of residual
// blocks with normalisation in double precision, with and without what is joined.
func TestJoinedDerivatives(t *testing.T) {
	build := func() *graph.Graph {
		j := joinGraph{g: graph.New("blocks", 20), dt: onnx.Float64}
		j.Builder = ops.NewBuilder(j.g)
		var params, directions []*graph.Value
		param := func(name string, shape ...int) *graph.Value {
			v := j.input(name, shape...)
			params, directions = append(params, v), append(directions, j.input("v"+name, shape...))
			return v
		}
		x := j.input("x")
		for i := range 3 {
			name := fmt.Sprint(i)
			y := j.OpA("Conv", []*onnx.Attr{onnx.AttrInts("pads", 1, 1, 1, 1)}, x, param("w"+name, 3, 3, 3, 3))
			mean, variance := make([]float64, 3), []float64{1, 2, 3}
			y = j.op("BatchNormalization", y, param("scale"+name, 3), param("bias"+name, 3), j.Const(onnx.FromSlice(mean, 3)), j.Const(onnx.FromSlice(variance, 3)))
			if i > 0 {
				y = j.Add(y, x)
			}
			x = j.op("Relu", y)
		}
		loss := j.ReduceSum(j.Mul(x, x), false, 0, 1, 2, 3)
		if j.Err != nil {
			t.Fatal(j.Err)
		}
		products, err := autodiff.HVP(j.g, loss, params, directions)
		if err != nil {
			t.Fatal(err)
		}
		grads, err := autodiff.Gradient(j.g, loss, nil, params)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range append(products, grads...) {
			j.output(v)
		}
		return j.g
	}
	p, got := runJoin(t, build(), kernel.WinogradWhereFits)
	_, want := runJoin(t, build(), kernel.WinogradNever)
	labels := stepsOf(p)
	for _, op := range []string{"JoinedConv", "JoinedConvGradInput", "WeightedSum"} {
		if !strings.Contains(labels+" ", op+" ") {
			t.Errorf("no %s in %s", op, labels)
		}
	}
	for i, w := range want {
		compareJoined(t, fmt.Sprint("output ", i), got[i], w, 1e-11)
	}
}
