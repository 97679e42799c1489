package ops

import (
	"fmt"
	"strings"

	"github.com/unprune/unprune/graph"
)

// A NodeError says which node failed, with the shapes it was given, and why.
type NodeError struct {
	Node *graph.Node
	Err  error
}

func (e *NodeError) Error() string {
	n := e.Node
	var b strings.Builder
	fmt.Fprintf(&b, "ops: node %q (%s-%d)", n.Name, n.Op, n.Version)
	for _, in := range n.Inputs {
		if in != nil {
			fmt.Fprintf(&b, " %s%v", in.Name, []int(in.Shape))
		}
	}
	return b.String() + ": " + e.Err.Error()
}

func (e *NodeError) Unwrap() error { return e.Err }

// An UnknownError says that an operator is not implemented.
type UnknownError struct{ Node *graph.Node }

func (e *UnknownError) Error() string {
	n := e.Node
	name := n.Op
	if n.Domain != "" {
		name = n.Domain + "." + n.Op
	}
	return fmt.Sprintf("ops: node %q: operator %s (opset %d) is not implemented; %s", n.Name, name, n.Version, e.Hint())
}

// Hint says what to do about it.
func (e *UnknownError) Hint() string {
	switch domain := e.Node.Domain; {
	case strings.HasPrefix(domain, "com.microsoft"):
		return "this file went through an offline optimiser; use the file before it"
	case domain == "ai.onnx.ml":
		return "trees, label encoders and the like are no neural networks"
	}
	return "export the model with another opset, or open an issue that names the operator"
}

// A ConstError says that the shape of a node's result depends on the elements
// of an input that is not a constant.
type ConstError struct {
	Input int
	Value *graph.Value
}

func (e *ConstError) Error() string {
	return fmt.Sprintf("input %d, %q, must be a constant: the shape of the result depends on its elements", e.Input, e.Value.Name)
}
