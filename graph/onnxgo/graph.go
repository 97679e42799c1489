package onnxgo

import (
	"fmt"
	"math"
	"slices"

	onnxgo "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	gonum "gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

var _ backend.ComputationBackend = (*Graph)(nil)

// A Graph is a backend of onnx-go: a gonum graph with an edge from each result
// to what it is computed from, the weight of an edge being the place among the
// inputs, and the operations that onnx-go announces.
type Graph struct {
	*simple.WeightedDirectedGraph
	opset      int
	nodes      []*Node // in the order in which they were added
	operations []operation
	program    *program // nil until Run, and when the graph has changed
}

// An operation is one operator application. A nil node is left out.
type operation struct {
	onnxgo.Operation
	inputs, outputs []*Node
}

// NewGraph returns an empty graph whose operators have the meaning that the
// given version of ONNX's operator set gives them. onnx-go does not pass on
// the version that a file states.
func NewGraph(opset int) *Graph {
	return &Graph{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, math.Inf(1)), opset: opset}
}

// NewNode returns a node to be added to g.
func (g *Graph) NewNode() gonum.Node {
	return &Node{graph: g, id: g.WeightedDirectedGraph.NewNode().ID()}
}

// AddNode adds a node that NewNode made.
func (g *Graph) AddNode(n gonum.Node) {
	g.WeightedDirectedGraph.AddNode(n)
	g.nodes = append(g.nodes, n.(*Node))
	g.program = nil
}

// SetWeightedEdge notes that the node at the edge's start is computed from the
// one at its end, which is the input of the number that the weight gives. The
// same node may be several inputs; as an edge of the gonum graph it then has
// the last of their numbers. An input that is left out has no edge.
func (g *Graph) SetWeightedEdge(e gonum.WeightedEdge) {
	from, to, slot := e.From().(*Node), e.To().(*Node), int(e.Weight())
	for len(from.pending) <= slot {
		from.pending = append(from.pending, nil)
	}
	if to.absent() {
		return
	}
	from.pending[slot] = to
	if from.id != to.id {
		g.WeightedDirectedGraph.SetWeightedEdge(e)
	}
}

// ApplyOperation says what computes the nodes ns from those their edges lead
// to. An operator that the native executor lacks is an *onnx.ErrNotImplemented.
func (g *Graph) ApplyOperation(o onnxgo.Operation, ns ...gonum.Node) error {
	if _, err := ops.Lookup(&graph.Node{Op: o.Name, Version: g.opset}); err != nil {
		return &onnxgo.ErrNotImplemented{Operator: o.Name, Message: err.Error()}
	}
	op := operation{Operation: o}
	for _, n := range ns {
		node := n.(*Node)
		op.inputs = slices.Clone(node.pending) // the same for each output
		op.outputs = append(op.outputs, node)
	}
	for i, node := range op.outputs {
		node.pending = nil
		switch {
		case node.absent():
			op.outputs[i] = nil
		case node.computed:
			return fmt.Errorf("onnxgo: value %q is computed twice", node.name)
		default:
			node.computed = true
		}
	}
	switch o.Name {
	case "Constant", "RandomNormal", "RandomUniform": // onnx-go invents an input for them
		op.inputs = nil
	}
	g.operations = append(g.operations, op)
	g.program = nil
	return nil
}

// A Node is one value.
type Node struct {
	graph    *Graph
	id       int64
	name     string
	data     tensor.Tensor // what was set
	result   *onnx.Tensor  // what was computed; the program's memory
	fed      bool          // was given data after the file was decoded: an input, no weight
	computed bool
	pending  []*Node // inputs of the operation that is being decoded
}

var (
	_ onnxgo.Namer       = (*Node)(nil)
	_ onnxgo.DataCarrier = (*Node)(nil)
)

// ID is the node's number in its graph.
func (n *Node) ID() int64 { return n.id }

// GetName returns the name that the file gives the value.
func (n *Node) GetName() string { return n.name }

// SetName names the value.
func (n *Node) SetName(name string) { n.name = name }

// GetTensor returns the value's data: for an output a copy of what the last run
// computed, otherwise what was set. It is nil if there is none, or none that
// gorgonia.org/tensor can hold.
func (n *Node) GetTensor() tensor.Tensor {
	if n.result != nil {
		return toTensor(n.result)
	}
	return n.data
}

// SetTensor gives the value data. What onnx-go sets while it decodes a file
// counts as constant; what is set later, for graph inputs, may change between
// runs. The tensor's memory is read by every run that follows.
func (n *Node) SetTensor(t tensor.Tensor) error {
	if t == nil {
		return fmt.Errorf("onnxgo: value %q: no tensor given", n.name)
	}
	if decoded := len(n.graph.operations) > 0; !decoded || !n.fed {
		n.fed, n.graph.program = decoded, nil
	}
	n.data = t
	return nil
}

// absent tells the node by which onnx-go represents inputs and outputs that
// are left out: their name is empty.
func (n *Node) absent() bool { return n.name == "" }
