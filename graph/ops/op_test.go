package ops_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// A Case is one sample node. From the cases of an operator its tests are
// generated: parity of kernels with ONNX Runtime and with the body, gradients
// of first and second order, no allocation per run, and robustness of Infer.
type Case struct {
	Op     string
	Name   string // tells the cases of an operator apart
	Domain string
	Opset  int // version of ONNX's operator set; 0: defaultOpset, in ONNX Runtime others too
	In     []input
	Attrs  []*onnx.Attr
	NOut   int     // number of outputs; 0: one
	Diff   []int   // inputs to differentiate
	Tol    float64 // for ONNX Runtime and kernel against body, relative to the largest entry; 0: 2e-5
	NoORT  string  // why ONNX Runtime cannot be asked
}

const (
	defaultOpset  = 20
	newestOpset   = 24
	trainingOpset = 17 // the oldest that bodies are written in
)

var cases []Case

// addCases registers the cases of a file: var _ = addCases(Case{...}, ...).
func addCases(list ...Case) bool {
	cases = append(cases, list...)
	return true
}

func (c *Case) String() string { return c.Op + "/" + cmp.Or(c.Name, "plain") }

// sample is a case as a graph of one node, with values to feed.
type sample struct {
	g     *graph.Graph
	node  *graph.Node
	in    []*graph.Value // as Case.In; nil: left out
	feeds feeds
}

// build makes the graph of c with floats of type dt. The values do not depend
// on dt: they are rounded to single precision.
func (c *Case) build(t testing.TB, dt onnx.DType) *sample {
	t.Helper()
	s, err := c.sample(dt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sample is build for nodes that may be refused.
func (c *Case) sample(dt onnx.DType) (*sample, error) {
	s := &sample{g: graph.New(c.Op, cmp.Or(c.Opset, defaultOpset)), feeds: feeds{}}
	rng := stream(c.String())
	for i, in := range c.In {
		if in.make == nil {
			s.in = append(s.in, nil)
			continue
		}
		data := in.make(rng, dt)
		name := fmt.Sprintf("in%d", i)
		if in.fixed {
			s.in = append(s.in, s.g.AddInit(name, data))
			continue
		}
		v := s.g.AddInput(name, data.DType, data.Shape...)
		s.in = append(s.in, v)
		s.feeds[v.Name] = data
	}
	b := ops.NewBuilder(s.g)
	add := b.Node
	if c.Domain == ops.Domain {
		add = b.Own
	}
	outs := add(c.Op, max(c.NOut, 1), s.in, c.Attrs...)
	if b.Err != nil {
		return nil, b.Err
	}
	for _, out := range outs {
		s.g.AddOutput(out)
	}
	s.node = outs[0].Producer()
	return s, nil
}

// TestEveryOperatorHasCases keeps the registry and the cases together.
func TestEveryOperatorHasCases(t *testing.T) {
	type id struct{ domain, name string }
	has, diff := map[id]bool{}, map[id]bool{}
	for _, c := range cases {
		k := id{c.Domain, c.Op}
		has[k] = true
		diff[k] = diff[k] || len(c.Diff) > 0
	}
	for _, op := range ops.All() {
		k := id{op.Domain, op.Name}
		differentiable := op.Grad != nil || op.Body != nil && op.NoGrad == ""
		switch {
		case op.Infer == nil:
			t.Errorf("%s: no Infer", op.Name)
		case op.Forward == nil && op.Body == nil:
			t.Errorf("%s: neither Forward nor Body", op.Name)
		case op.Domain == ops.Domain && op.Body == nil:
			t.Errorf("%s: an operator of our own without a body", op.Name)
		case !differentiable && op.NoGrad == "":
			t.Errorf("%s: no gradient and no reason", op.Name)
		case !has[k]:
			t.Errorf("%s: no cases", op.Name)
		case differentiable && !diff[k]:
			t.Errorf("%s: no case differentiates it", op.Name)
		}
	}
}

// forEach runs a subtest per case.
func forEach(t *testing.T, test func(t *testing.T, c *Case)) {
	seen := map[string]bool{}
	for i := range cases {
		c := &cases[i]
		if seen[c.String()] {
			t.Errorf("two cases are called %s", c)
		}
		seen[c.String()] = true
		t.Run(c.String(), func(t *testing.T) { test(t, c) })
	}
}

// TestKernelsAgree compares kernels in single and double precision with each
// other and with the operator's body.
func TestKernelsAgree(t *testing.T) {
	forEach(t, func(t *testing.T, c *Case) {
		tol := cmp.Or(c.Tol, 2e-5)
		single := c.build(t, onnx.Float32).eval(t)
		double := c.build(t, onnx.Float64).eval(t)
		compareAll(t, "float32 against float64", single, double, tol)
		op, err := ops.Lookup(c.build(t, onnx.Float32).node)
		if err != nil {
			t.Fatal(err)
		}
		if op.Forward == nil || op.Body == nil {
			return
		}
		compareAll(t, "float32 against body", single, c.build(t, onnx.Float32).inline(t).eval(t), tol)
		compareAll(t, "float64 against body", double, c.build(t, onnx.Float64).inline(t).eval(t), 1e-10)
	})
}

// TestONNXRuntime compares kernels in both precisions with ONNX Runtime in
// single precision, which is all that it has for many operators. Of our own
// operators it runs the body.
func TestONNXRuntime(t *testing.T) {
	needORT(t)
	forEach(t, func(t *testing.T, c *Case) {
		if c.NoORT != "" {
			t.Skip("not run in ONNX Runtime: ", c.NoORT)
		}
		for _, opset := range c.opsets() {
			at := *c
			at.Opset = opset
			want := at.build(t, onnx.Float32).evalORT(t)
			tol := cmp.Or(c.Tol, 2e-5)
			compareAll(t, fmt.Sprint("float32, operator set ", opset), at.build(t, onnx.Float32).eval(t), want, tol)
			compareAll(t, fmt.Sprint("float64, operator set ", opset), at.build(t, onnx.Float64).eval(t), want, tol)
		}
	})
}

// opsets are the operator sets that c is run in ONNX Runtime with.
func (c *Case) opsets() []int {
	switch {
	case c.Opset != 0:
		return []int{c.Opset}
	case c.Domain == ops.Domain:
		return []int{trainingOpset, defaultOpset, newestOpset}
	}
	return []int{defaultOpset, newestOpset}
}

// TestGradients compares derivatives of first and second order with central
// differences along random directions, in double precision.
func TestGradients(t *testing.T) {
	forEach(t, func(t *testing.T, c *Case) {
		if len(c.Diff) == 0 {
			return // TestEveryOperatorHasCases sees to it that there are others
		}
		s := c.build(t, onnx.Float64)
		y := s.objective(t)
		var xs []*graph.Value
		for _, i := range c.Diff {
			xs = append(xs, s.in[i])
		}
		dy := s.derivative(t, y, xs)
		ddy := s.derivative(t, dy, xs)
		s.g.Outputs = []*graph.Value{y, dy, ddy}
		p := compile(t, s.g)
		got := p.run(t, s.feeds)
		const h = 1e-5
		hi := p.run(t, s.moved(c.Diff, h))
		lo := p.run(t, s.moved(c.Diff, -h))
		for order := 1; order <= 2; order++ {
			want := (value(hi[order-1]) - value(lo[order-1])) / (2 * h)
			have := value(got[order])
			scale := max(1, math.Abs(want), math.Abs(value(got[order-1])))
			if !(math.Abs(have-want) <= 1e-6*scale) {
				t.Errorf("derivative of order %d: have %.10g, finite differences give %.10g", order, have, want)
			}
		}
	})
}

// objective appends sum(y*y + c*y) over all floating outputs, with random c:
// a scalar that is not linear in any of them.
func (s *sample) objective(t *testing.T) *graph.Value {
	s.g.Opsets[""] = max(s.g.Opsets[""], 17) // as autodiff.Train does
	b := ops.NewBuilder(s.g)
	rng := stream("objective")
	var total *graph.Value
	for _, y := range slices.Clone(s.node.Outputs) {
		if y == nil || !y.DType.IsFloat() {
			continue
		}
		c := b.Const(uniform(-1, 1, y.Shape...).make(rng, y.DType))
		axes := make([]int, len(y.Shape))
		for i := range axes {
			axes[i] = i
		}
		term := b.Mul(y, b.Add(y, c))
		if len(axes) > 0 {
			term = b.ReduceSum(term, false, axes...)
		}
		if total == nil {
			total = term
		} else {
			total = b.Add(total, term)
		}
	}
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	s.g.Outputs = []*graph.Value{total}
	return total
}

// direction is where input i is moved to, the same for every caller.
func (s *sample) direction(i int) *onnx.Tensor {
	return uniform(-1, 1, s.in[i].Shape...).make(stream(fmt.Sprint("direction ", i)), onnx.Float64)
}

// derivative appends the derivative of y along the direction of all xs. A y
// that does not depend on them has derivative zero.
func (s *sample) derivative(t *testing.T, y *graph.Value, xs []*graph.Value) *graph.Value {
	s.g.Outputs = append(s.g.Outputs, y) // follows y should it be replaced
	grads, err := autodiff.Gradient(s.g, y, nil, xs)
	if err != nil {
		t.Fatal(err)
	}
	b := ops.NewBuilder(s.g)
	total := b.Scalar(0, y)
	for k, d := range grads {
		if d == nil {
			continue
		}
		i := slices.Index(s.in, xs[k])
		term := b.Mul(d, b.Const(s.direction(i)))
		if axes := axesOf(d); len(axes) > 0 {
			term = b.ReduceSum(term, false, axes...)
		}
		total = b.Add(total, term)
	}
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	return total
}

func axesOf(v *graph.Value) []int {
	axes := make([]int, len(v.Shape))
	for i := range axes {
		axes[i] = i
	}
	return axes
}

// moved is the feeds with the inputs listed moved by h along their directions.
func (s *sample) moved(list []int, h float64) feeds {
	out := feeds{}
	for name, x := range s.feeds {
		out[name] = x
	}
	for _, i := range list {
		x := s.feeds[s.in[i].Name]
		y := onnx.NewTensor(onnx.Float64, x.Shape...)
		data, dir := onnx.Of[float64](y), onnx.Of[float64](s.direction(i))
		for k, v := range onnx.Of[float64](x) {
			data[k] = v + h*dir[k]
		}
		out[s.in[i].Name] = y
	}
	return out
}

// TestInPlace checks the promises of Op.InPlace and Op.Updates: that an output
// may be written over an input.
func TestInPlace(t *testing.T) {
	forEach(t, func(t *testing.T, c *Case) {
		want := c.build(t, onnx.Float32).eval(t)
		op, err := ops.Lookup(c.build(t, onnx.Float32).node)
		if err != nil {
			t.Fatal(err)
		}
		over := slices.Clone(op.Updates)
		for _, i := range op.InPlace {
			over = append(over, ops.Update{Output: 0, Input: i})
		}
		for _, u := range over {
			s := c.build(t, onnx.Float32)
			in, out := s.node.Input(u.Input), s.node.Output(u.Output)
			if in == nil || out == nil || in.DType != out.DType || in.Shape.Size() != out.Shape.Size() {
				continue
			}
			got := s.evalOver(t, op, u.Output, u.Input)
			compareAll(t, fmt.Sprintf("output %d over input %d", u.Output, u.Input), got, want, 0)
		}
	})
}

// TestThreadsAgree checks that results have the same bits however many threads
// compute them.
func TestThreadsAgree(t *testing.T) {
	team := kernel.NewTeam(3)
	defer team.Close()
	forEach(t, func(t *testing.T, c *Case) {
		want := c.build(t, onnx.Float32).eval(t)
		s := c.build(t, onnx.Float32)
		got := compileFor(t, s.g, team).run(t, s.feeds)
		compareAll(t, "three threads against one", got, want, 0)
	})
}

// TestForwardAllocatesNothing checks the promise of Op.Forward.
func TestForwardAllocatesNothing(t *testing.T) {
	forEach(t, func(t *testing.T, c *Case) {
		s := c.build(t, onnx.Float32)
		p := compile(t, s.g)
		p.run(t, s.feeds)
		for _, step := range p.steps {
			n := testing.AllocsPerRun(20, func() {
				if err := step.run(); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%s allocates %v times per run", step.node.Op, n)
			}
		}
	})
}
