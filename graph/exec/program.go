package exec

import (
	"context"
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// Options of Compile.
type Options struct {
	// Team runs the kernels; nil runs them on the calling goroutine.
	Team *kernel.Team

	// State gives memory to inputs and initializers by name, for parameters
	// and whatever else lives longer than a run or is shared by programs.
	State map[string]*onnx.Tensor

	// Into names, for outputs that are the new value of an input, that input:
	// after a run the input's memory holds the output.
	Into map[string]string

	// Winograd says where convolutions may use Winograd's transforms; the zero
	// value is wherever they are faster.
	Winograd kernel.Winograd

	// Own says that nothing but the program uses the memory of the graph's
	// constants from here on. Weights into which something is folded then change
	// where they are instead of being copied. The graph is of no more use, nor is
	// any other with the same constants.
	Own bool
}

// A Program is a compiled graph with its memory.
type Program struct {
	steps   []step
	inputs  map[string]*onnx.Tensor
	outputs map[string]*onnx.Tensor
	copies  []func() // outputs that could not be computed over their input
	arena   int
	trace   *Trace

	team *kernel.Team
	part func(part int) // what For runs
	call func(w *kernel.Worker, part int)
}

type step struct {
	node  *graph.Node
	label string // what it computes, for traces: "Conv+Relu"
	run   func() error
}

// Compile plans memory and prepares every node. The graph is not changed, unless
// the program owns its constants, and must not be changed while the program is
// used.
func Compile(g *graph.Graph, o Options) (*Program, error) {
	g = g.Clone()
	g.Source = nil // a program is not written
	if err := pass.Contract(g); err != nil {
		return nil, err
	}
	if err := lower(g); err != nil {
		return nil, err
	}
	var own owned
	if o.Own {
		own = ownedBy(g)
	}
	if err := fuse(g, o.State, own); err != nil {
		return nil, err
	}
	if err := placeBeside(g); err != nil {
		return nil, err
	}
	if err := joinConvs(g, o.Winograd); err != nil {
		return nil, err
	}
	if err := joinSums(g); err != nil {
		return nil, err
	}
	if err := orderResults(g, o.Into); err != nil {
		return nil, err
	}
	l, err := plan(g, o.State, o.Into)
	if err != nil {
		return nil, err
	}
	p := &Program{inputs: map[string]*onnx.Tensor{}, outputs: map[string]*onnx.Tensor{}, arena: len(l.arena), team: o.Team}
	p.call = func(_ *kernel.Worker, part int) { p.part(part) }
	tensors := map[*graph.Value]*onnx.Tensor{}
	at := func(v *graph.Value) *onnx.Tensor {
		if v == nil {
			return nil
		}
		if tensors[v] == nil {
			tensors[v] = l.tensor(v)
		}
		return tensors[v]
	}
	for _, n := range g.Nodes {
		if err := p.prepare(g, n, l, at, o); err != nil {
			return nil, err
		}
	}
	for _, v := range g.Inputs {
		p.inputs[v.Name] = at(v)
	}
	for _, v := range g.Outputs {
		p.outputs[v.Name] = at(v)
		if in := g.Value(o.Into[v.Name]); in != nil && l.of[in] != l.of[v] {
			c, err := copier(at(in), at(v))
			if err != nil {
				return nil, fmt.Errorf("exec: output %q is to become the value of input %q: %w", v.Name, in.Name, err)
			}
			p.copies = append(p.copies, c)
			p.outputs[v.Name] = at(in)
		}
	}
	return p, nil
}

// lower replaces nodes without a kernel by their body in standard operators.
func lower(g *graph.Graph) error {
	b := ops.NewBuilder(g)
	for again := true; again; {
		again = false
		for _, n := range slices.Clone(g.Nodes) {
			op, err := ops.Lookup(n)
			if err != nil {
				return err
			}
			if op.Forward != nil {
				continue
			}
			outs, err := ops.Inline(b, n)
			if err != nil {
				return err
			}
			for i, out := range n.Outputs {
				if out == nil {
					continue
				}
				// The program's outputs go by name.
				if err := g.Supplant(out, outs[i]); err != nil {
					return err
				}
			}
			if err := g.RemoveNode(n); err != nil {
				return err
			}
			again = true
		}
		if err := g.Sort(); err != nil {
			return err
		}
	}
	g.Prune()
	return nil
}

func (p *Program) prepare(g *graph.Graph, n *graph.Node, l *layout, at func(*graph.Value) *onnx.Tensor, o Options) error {
	op, err := ops.Lookup(n)
	if err != nil {
		return err
	}
	if op.View && l.of[n.Input(0)] == l.of[n.Output(0)] {
		return nil // same memory, nothing to do
	}
	state := constants(o.State)
	if ops.Activation(n, state.fixed).Kind != kernel.NoActivation {
		if m := shows(n.Inputs[0]).Producer(); m != nil && activates(g, m, l, state).Kind != kernel.NoActivation {
			return nil // the producer did it
		}
	}
	label := n.Op
	c := &ops.Call{Node: n, Team: o.Team, Winograd: o.Winograd, Activation: activates(g, n, l, state)}
	if c.Activation.Kind != kernel.NoActivation {
		label += "+" + follower(g, n, l).Op
	}
	for _, v := range n.Inputs {
		c.In = append(c.In, at(v))
		c.Fixed = append(c.Fixed, state.fixed(v))
	}
	for _, v := range n.Outputs {
		c.Out = append(c.Out, at(v))
		c.Unread = append(c.Unread, v != nil && len(v.Uses()) == 0 && !slices.Contains(g.Outputs, v))
	}
	run, err := op.Forward(c)
	if err != nil {
		return &ops.NodeError{Node: n, Err: err}
	}
	p.steps = append(p.steps, step{n, label, run})
	return nil
}

// Input is the memory of an input: fill it before Run. It is nil when the
// graph has no input of that name.
func (p *Program) Input(name string) *onnx.Tensor { return p.inputs[name] }

// Output is the memory of an output, valid until the next Run.
func (p *Program) Output(name string) *onnx.Tensor { return p.outputs[name] }

// ArenaBytes is the size of the memory that intermediate values share.
func (p *Program) ArenaBytes() int { return p.arena }

// For runs body for every part from 0 to parts-1 on the program's threads, which take
// neighbouring parts as they do in its kernels: what fills an input so is mostly
// read from the cache of whoever wrote it. It allocates nothing.
func (p *Program) For(parts int, body func(part int)) {
	p.part = body
	p.team.For(parts, p.call)
	p.part = nil
}

// Run executes the program once.
func (p *Program) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.trace != nil {
		return p.runTraced()
	}
	for i := range p.steps {
		if err := p.steps[i].run(); err != nil {
			return &ops.NodeError{Node: p.steps[i].node, Err: err}
		}
	}
	for _, c := range p.copies {
		c()
	}
	return nil
}

// copier returns what copies src over dst, or says why it cannot be.
func copier(dst, src *onnx.Tensor) (func(), error) {
	if dst.DType != src.DType || !slices.Equal(dst.Shape, src.Shape) {
		return nil, fmt.Errorf("it is %v%v, the input %v%v", src.DType, src.Shape, dst.DType, dst.Shape)
	}
	switch s := src.Data.(type) {
	case []float32:
		return func() { copy(onnx.Of[float32](dst), s) }, nil
	case []float64:
		return func() { copy(onnx.Of[float64](dst), s) }, nil
	case []int64:
		return func() { copy(onnx.Of[int64](dst), s) }, nil
	}
	return nil, fmt.Errorf("state of type %v is not supported; want float32, float64 or int64", src.DType)
}
