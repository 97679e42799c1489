package graph

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// Shape is a list of extents, outermost first. -1 is an extent that is not
// known; a nil Shape has unknown rank, an empty one is a scalar.
type Shape []int

// Known reports whether rank and every extent are known.
func (s Shape) Known() bool { return s != nil && !slices.Contains(s, -1) }

// Size is the number of elements of a known shape.
func (s Shape) Size() int { return onnx.Size(s) }

// Clone returns a copy that keeps nil and empty apart.
func (s Shape) Clone() Shape {
	if s == nil {
		return nil
	}
	return append(Shape{}, s...)
}

// A Value is one tensor of the graph: an input, an initializer, or what a node
// makes.
type Value struct {
	Name  string
	DType onnx.DType
	Shape Shape

	// Const holds the data of an initializer. It is nil for everything that
	// is computed or fed.
	Const *onnx.Tensor

	// Info is what the file declared (dim_params, documentation), nil if it
	// declared nothing. Shape above is what the program works with.
	Info *onnx.ValueInfo

	from *Node
	uses []Use
}

// A Use is one place that reads a value: input Slot of Node.
type Use struct {
	Node *Node
	Slot int
}

// Producer is the node that makes v, nil for inputs and initializers.
func (v *Value) Producer() *Node { return v.from }

// Uses lists the node inputs that read v. The slice belongs to v.
func (v *Value) Uses() []Use { return v.uses }

func (v *Value) String() string {
	return fmt.Sprintf("%s %v%v", v.Name, v.DType, []int(v.Shape))
}

// A Node is one operator application.
type Node struct {
	Name, Op, Domain string
	Version          int      // version of Domain's operator set the node is written in
	Inputs           []*Value // nil where an optional input is left out
	Outputs          []*Value // nil where an optional output is left out
	Attrs            []*onnx.Attr

	// Captured lists the names under which the graphs among the attributes
	// read values from around them. Those values are the last inputs.
	Captured []string

	// Source is the node in the file this one came from: its documentation,
	// metadata and unknown fields go back to the file. Nil for new nodes.
	Source *onnx.Node
}

// Input returns input i, nil when it is left out.
func (n *Node) Input(i int) *Value {
	if i >= len(n.Inputs) {
		return nil
	}
	return n.Inputs[i]
}

// Output returns output i, nil when it is left out.
func (n *Node) Output(i int) *Value {
	if i >= len(n.Outputs) {
		return nil
	}
	return n.Outputs[i]
}

// A Graph is an editable model. Nodes are in topological order.
type Graph struct {
	Name    string
	Opsets  map[string]int // domain ("" is ONNX's own) to version
	Inputs  []*Value
	Outputs []*Value
	Inits   []*Value // initializers, in file order
	Nodes   []*Node

	// Noise lists the inputs that want fresh random values in every run.
	Noise []Noise

	// Source is the model this graph was read from; what the graph does not
	// represent (producer, metadata, unknown fields) goes back from there.
	Source *onnx.Model

	values map[string]*Value
	fresh  int
}

// Noise is a graph input that stands for dropout: its elements are 0 with
// probability Ratio and 1/(1-Ratio) otherwise.
type Noise struct {
	Input string
	Ratio float64
}

// New returns an empty graph that speaks the given version of ONNX's own
// operator set.
func New(name string, opset int) *Graph {
	return &Graph{Name: name, Opsets: map[string]int{"": opset}, values: map[string]*Value{}}
}

// Value returns the value of that name, nil if there is none.
func (g *Graph) Value(name string) *Value { return g.values[name] }

// AddInput adds a graph input.
func (g *Graph) AddInput(name string, dt onnx.DType, shape ...int) *Value {
	v := g.declare(name)
	v.DType, v.Shape = dt, append(Shape{}, shape...)
	g.Inputs = append(g.Inputs, v)
	return v
}

// AddInit adds an initializer holding t. The name is made unique.
func (g *Graph) AddInit(name string, t *onnx.Tensor) *Value {
	v := g.declare(name)
	v.DType, v.Shape, v.Const = t.DType, append(Shape{}, t.Shape...), t
	g.Inits = append(g.Inits, v)
	return v
}

// AddOutput makes v a graph output.
func (g *Graph) AddOutput(v *Value) { g.Outputs = append(g.Outputs, v) }

// AddNode appends a node with nout new outputs. Their types are unknown until
// somebody infers them; ops.Builder adds nodes and infers in one step.
// Every input must belong to g.
func (g *Graph) AddNode(domain, op string, inputs []*Value, nout int, attrs ...*onnx.Attr) *Node {
	n := &Node{
		Name: "", Op: op, Domain: domain, Version: g.Opsets[domain],
		Inputs: slices.Clone(inputs), Attrs: attrs,
	}
	for i, v := range n.Inputs {
		if v != nil {
			v.uses = append(v.uses, Use{n, i})
		}
	}
	for range nout {
		out := g.declare(op)
		out.from = n
		n.Outputs = append(n.Outputs, out)
	}
	if nout > 0 {
		n.Name = n.Outputs[0].Name
	}
	g.Nodes = append(g.Nodes, n)
	return n
}

// declare makes a value whose name is hint, or hint with a number behind it
// when the name is taken.
func (g *Graph) declare(hint string) *Value {
	name := hint
	for g.values[name] != nil || name == "" {
		g.fresh++
		name = fmt.Sprintf("%s_%d", hint, g.fresh)
	}
	v := &Value{Name: name}
	g.values[name] = v
	return v
}

// Unique returns a value name derived from hint that is not taken.
func (g *Graph) Unique(hint string) string {
	v := g.declare(hint)
	delete(g.values, v.Name)
	return v.Name
}
