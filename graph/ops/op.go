package ops

import (
	"fmt"
	"slices"
	"sort"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Domain is the operator domain of the operators that are our own.
const Domain = "ai.unprune"

// An Op is everything known about one operator.
type Op struct {
	Domain string // "" is ONNX's own
	Name   string
	Since  []int // versions of the definition that are implemented, ascending

	// Infer sets type and shape of every output from the inputs' types,
	// shapes and, where the operator needs them, constant values.
	Infer func(n *graph.Node) error

	// Grad returns the gradients with respect to the inputs: nil where there
	// is none (integer inputs, omitted inputs). dy has one entry per output,
	// nil where the output's gradient is zero; at least one is not nil.
	// Nil Grad: NoGrad says why, or Body is differentiated instead.
	Grad   func(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error)
	NoGrad string

	// Forward prepares the node: it reads attributes, plans, and returns what
	// runs the node once. It is called once per program, the result often; so
	// the result allocates nothing. Nil: Body runs instead.
	Forward func(c *Call) (func() error, error)

	// Body spells the node in standard ONNX operators and returns the values
	// that stand for its outputs. Operators of our own have one.
	Body func(b *Builder, n *graph.Node) ([]*graph.Value, error)

	// Axes says which positions along the axes of inputs and outputs belong
	// together, for structured pruning. Nil: no position can go.
	Axes func(n *graph.Node, a *Axes) error

	// Beside says how a node over images is one over images side by side, nil
	// where it is not.
	Beside func(n *graph.Node) *Beside

	// View: output 0 is input 0's memory under another shape.
	View bool
	// InPlace: output 0 may be computed in the memory of any of these inputs
	// when type and size agree.
	InPlace []int
	// Updates lists the outputs that are the new value of an input and may be
	// written over it: an optimizer's weights, a normalisation's statistics.
	Updates []Update
}

// Update says that output Output may be written over input Input.
type Update struct{ Output, Input int }

// A Call is one node with its tensors, whose memory stays where it is for the
// life of the program. Omitted inputs and outputs are nil.
type Call struct {
	Node *graph.Node
	In   []*onnx.Tensor
	Out  []*onnx.Tensor
	Team *kernel.Team

	// Winograd says where convolutions may use Winograd's transforms.
	Winograd kernel.Winograd

	// Activation is to be done to the first output, in place of the node that
	// alone reads it; an operator that the executor does not ask need not look.
	Activation kernel.Activation

	// Fixed tells which inputs hold the same in every run, from the first on.
	Fixed []bool

	// Unread tells which outputs nothing reads, from the first on.
	Unread []bool
}

// values is what gradient rules and bodies take and return.
type values = []*graph.Value

type key struct{ domain, name string }

var registry = map[key]*Op{}

// register adds an entry. Only the package's own init functions call it, so a
// mistake is a programming error that the first test run shows.
func register(list ...Op) {
	for _, op := range list {
		k := key{op.Domain, op.Name}
		if registry[k] != nil {
			panic("ops: " + op.Name + " registered twice")
		}
		if len(op.Since) == 0 {
			op.Since = []int{1}
		}
		registry[k] = &op
	}
}

// All returns every entry, sorted by domain and name.
func All() []*Op {
	list := make([]*Op, 0, len(registry))
	for _, op := range registry {
		list = append(list, op)
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].Domain < list[j].Domain || list[i].Domain == list[j].Domain && list[i].Name < list[j].Name
	})
	return list
}

// Lookup returns the entry for a node's operator, or an *UnknownError.
func Lookup(n *graph.Node) (*Op, error) {
	domain := n.Domain
	if domain == "ai.onnx" {
		domain = ""
	}
	op := registry[key{domain, n.Op}]
	if op == nil {
		return nil, &UnknownError{Node: n}
	}
	return op, nil
}

// Infer sets types and shapes of n's outputs.
func Infer(n *graph.Node) error {
	op, err := Lookup(n)
	if err != nil {
		return err
	}
	if n.Version < op.Since[0] {
		return &NodeError{Node: n, Err: fmt.Errorf("operator set %d is older than the first definition that is implemented, %d; "+
			"convert the model to operator set 13 or later", n.Version, op.Since[0])}
	}
	if err := op.Infer(n); err != nil {
		return &NodeError{Node: n, Err: err}
	}
	return nil
}

// Version is the definition of the operator that applies to n: the highest
// implemented one that is not above the node's operator set.
func (op *Op) Version(n *graph.Node) int {
	i, found := slices.BinarySearch(op.Since, n.Version)
	if !found {
		i--
	}
	if i < 0 {
		return op.Since[0]
	}
	return op.Since[i]
}

// Eval computes the node's outputs from constant inputs, on one thread; by its
// body where the operator has no kernel. Types and shapes of the outputs must
// have been inferred.
func Eval(n *graph.Node) ([]*onnx.Tensor, error) {
	op, err := Lookup(n)
	if err != nil {
		return nil, err
	}
	for _, in := range n.Inputs {
		if in != nil && in.Const == nil {
			return nil, &NodeError{Node: n, Err: fmt.Errorf("input %q is not a constant", in.Name)}
		}
	}
	if op.Forward == nil {
		return evalBody(n)
	}
	c := &Call{Node: n}
	for _, in := range n.Inputs {
		if in == nil {
			c.In = append(c.In, nil)
			continue
		}
		c.In = append(c.In, in.Const)
	}
	for _, out := range n.Outputs {
		if out == nil {
			c.Out = append(c.Out, nil)
			continue
		}
		if err := CheckType(out.DType); err != nil {
			return nil, &NodeError{Node: n, Err: fmt.Errorf("output %q: %w", out.Name, err)}
		}
		c.Out = append(c.Out, onnx.NewTensor(out.DType, out.Shape...))
	}
	run, err := op.Forward(c)
	if err == nil {
		err = run()
	}
	if err != nil {
		return nil, &NodeError{Node: n, Err: err}
	}
	return c.Out, nil
}

// evalBody evaluates the nodes of n's body.
func evalBody(n *graph.Node) ([]*onnx.Tensor, error) {
	b := NewBuilder(graph.New(n.Op, n.Version))
	stand := &graph.Node{Name: n.Name, Op: n.Op, Domain: n.Domain, Version: n.Version, Attrs: n.Attrs, Outputs: n.Outputs}
	for _, in := range n.Inputs {
		if in != nil {
			in = b.G.AddInit("in", in.Const)
		}
		stand.Inputs = append(stand.Inputs, in)
	}
	outs, err := Inline(b, stand)
	if err != nil {
		return nil, err
	}
	for _, m := range b.G.Nodes {
		tensors, err := Eval(m)
		if err != nil {
			return nil, err
		}
		for i, out := range m.Outputs {
			if out != nil {
				out.Const = tensors[i]
			}
		}
	}
	list := make([]*onnx.Tensor, len(n.Outputs))
	for i, out := range n.Outputs {
		if out != nil {
			list[i] = outs[i].Const
		}
	}
	return list, nil
}
