package ops_test

import (
	"math"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// feeds are the tensors of graph inputs by name.
type feeds map[string]*onnx.Tensor

// A program runs a graph node by node, every value in memory of its own.
type program struct {
	g       *graph.Graph
	tensors map[*graph.Value]*onnx.Tensor
	steps   []step
}

type step struct {
	node *graph.Node
	run  func() error
}

// compile prepares every node of g, which it changes: nodes without a kernel
// are replaced by their body, and what no output needs is removed.
func compile(t testing.TB, g *graph.Graph) *program {
	t.Helper()
	return compileFor(t, g, nil)
}

// compileFor is compile for a team of threads.
func compileFor(t testing.TB, g *graph.Graph, team *kernel.Team) *program {
	t.Helper()
	lower(t, g)
	p := &program{g: g, tensors: map[*graph.Value]*onnx.Tensor{}}
	for _, v := range g.Inputs {
		p.tensors[v] = onnx.NewTensor(v.DType, v.Shape...)
	}
	for _, v := range g.Inits {
		p.tensors[v] = v.Const
	}
	for _, n := range g.Nodes {
		op, err := ops.Lookup(n)
		if err != nil {
			t.Fatal(err)
		}
		c := &ops.Call{Node: n, In: p.list(n.Inputs), Team: team}
		for _, v := range n.Outputs {
			if v != nil {
				p.tensors[v] = onnx.NewTensor(v.DType, v.Shape...)
			}
		}
		c.Out = p.list(n.Outputs)
		run, err := op.Forward(c)
		if err != nil {
			t.Fatal(&ops.NodeError{Node: n, Err: err})
		}
		p.steps = append(p.steps, step{n, run})
	}
	return p
}

// evalOver runs the sample's kernel with one output in the memory of an input,
// which the caller has seen to be alike.
func (s *sample) evalOver(t testing.TB, op *ops.Op, output, input int) []*onnx.Tensor {
	t.Helper()
	c := &ops.Call{Node: s.node}
	for _, v := range s.node.Inputs {
		var x *onnx.Tensor
		switch {
		case v == nil:
		case v.Const != nil:
			x = v.Const
		default:
			x = onnx.NewTensor(v.DType, v.Shape...)
			copyData(t, x, s.feeds[v.Name])
		}
		c.In = append(c.In, x)
	}
	for i, v := range s.node.Outputs {
		x := onnx.NewTensor(v.DType, v.Shape...)
		if i == output {
			x.Data = c.In[input].Data
		}
		c.Out = append(c.Out, x)
	}
	run, err := op.Forward(c)
	if err == nil {
		err = run()
	}
	if err != nil {
		t.Fatal(&ops.NodeError{Node: s.node, Err: err})
	}
	return c.Out
}

func (p *program) list(values []*graph.Value) []*onnx.Tensor {
	out := make([]*onnx.Tensor, len(values))
	for i, v := range values {
		if v != nil {
			out[i] = p.tensors[v]
		}
	}
	return out
}

// lower replaces nodes without a kernel by their bodies until all have one.
func lower(t testing.TB, g *graph.Graph) {
	t.Helper()
	for again := true; again; {
		again = false
		for _, n := range append([]*graph.Node{}, g.Nodes...) {
			op, err := ops.Lookup(n)
			if err != nil {
				t.Fatal(err)
			}
			if op.Forward == nil {
				inline(t, g, n)
				again = true
			}
		}
	}
	g.Prune()
}

// inline replaces n by its body.
func inline(t testing.TB, g *graph.Graph, n *graph.Node) {
	t.Helper()
	outs, err := ops.Inline(ops.NewBuilder(g), n)
	if err != nil {
		t.Fatal(err)
	}
	for i, out := range n.Outputs {
		if out == nil {
			continue
		}
		if got, want := outs[i], out; got.DType != want.DType || !sameShape(got.Shape, want.Shape) {
			t.Fatalf("%s: body makes %v for output %d, %v", n.Op, got, i, want)
		}
		g.ReplaceUses(out, outs[i])
	}
	if err := g.RemoveNode(n); err != nil {
		t.Fatal(err)
	}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
}

func sameShape(a, b graph.Shape) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// run feeds the inputs, runs every step and returns copies of the outputs.
func (p *program) run(t testing.TB, in feeds) []*onnx.Tensor {
	t.Helper()
	for _, v := range p.g.Inputs {
		copyData(t, p.tensors[v], in[v.Name])
	}
	for _, s := range p.steps {
		if err := s.run(); err != nil {
			t.Fatal(&ops.NodeError{Node: s.node, Err: err})
		}
	}
	var out []*onnx.Tensor
	for _, v := range p.g.Outputs {
		c := onnx.NewTensor(v.DType, v.Shape...)
		copyData(t, c, p.tensors[v])
		out = append(out, c)
	}
	return out
}

// inline replaces the sample's node by its body.
func (s *sample) inline(t testing.TB) *sample {
	t.Helper()
	inline(t, s.g, s.node)
	s.g.Prune()
	return s
}

// eval runs the sample natively.
func (s *sample) eval(t testing.TB) []*onnx.Tensor {
	t.Helper()
	return compile(t, s.g).run(t, s.feeds)
}

func copyData(t testing.TB, dst, src *onnx.Tensor) {
	t.Helper()
	switch d := dst.Data.(type) {
	case []float32:
		copy(d, onnx.Of[float32](src))
	case []float64:
		copy(d, onnx.Of[float64](src))
	case []int64:
		copy(d, onnx.Of[int64](src))
	case []int32:
		copy(d, onnx.Of[int32](src))
	case []uint8:
		copy(d, onnx.Of[uint8](src))
	case []bool:
		copy(d, onnx.Of[bool](src))
	default:
		t.Fatalf("no copy of %v", dst.DType)
	}
}

// value is the element of a scalar float64 tensor.
func value(t *onnx.Tensor) float64 { return onnx.Of[float64](t)[0] }

// numbers converts elements to float64.
func numbers(t testing.TB, x *onnx.Tensor) []float64 {
	t.Helper()
	switch d := x.Data.(type) {
	case []float64:
		return d
	case []float32:
		return convert(d)
	case []int64:
		return convert(d)
	case []int32:
		return convert(d)
	case []uint8:
		return convert(d)
	case []bool:
		out := make([]float64, len(d))
		for i, b := range d {
			if b {
				out[i] = 1
			}
		}
		return out
	}
	t.Fatalf("no comparison of %v", x.DType)
	return nil
}

func convert[T float32 | int64 | int32 | uint8](in []T) []float64 {
	out := make([]float64, len(in))
	for i, v := range in {
		out[i] = float64(v)
	}
	return out
}

// compareAll compares lists of tensors: shapes must be equal, elements within
// tol of the larger of 1 and the tensor's largest finite entry.
func compareAll(t testing.TB, what string, got, want []*onnx.Tensor, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d outputs, want %d", what, len(got), len(want))
	}
	for i := range got {
		compare(t, what, i, got[i], want[i], tol)
	}
}

func compare(t testing.TB, what string, output int, got, want *onnx.Tensor, tol float64) {
	t.Helper()
	if !sameShape(got.Shape, want.Shape) {
		t.Errorf("%s: output %d has shape %v, want %v", what, output, got.Shape, want.Shape)
		return
	}
	a, b := numbers(t, got), numbers(t, want)
	scale := 1.0
	for _, v := range b {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			scale = max(scale, math.Abs(v))
		}
	}
	for i := range b {
		same := a[i] == b[i] || math.IsNaN(a[i]) && math.IsNaN(b[i]) || math.Abs(a[i]-b[i]) <= tol*scale
		if !same {
			t.Errorf("%s: output %d%v element %d: have %v, want %v", what, output, got.Shape, i, a[i], b[i])
			return
		}
	}
}
