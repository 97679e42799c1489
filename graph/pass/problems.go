package pass

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// newestOpset is that of onnx 1.23, whose node cases the executor runs.
const newestOpset = 28

// An ImportError lists everything that keeps a model from being used.
type ImportError struct{ Problems []Problem }

// A Problem is one reason, and the nodes or values that it holds for.
type Problem struct {
	Operator string   // "GridSample", with its domain in front when it has one; empty for a value
	Nodes    []string // names of nodes, or of values
	Why      string   // what is wrong and what to do
	Unknown  *ops.UnknownError
}

func (e *ImportError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	if len(lines) == 1 {
		return "pass: " + lines[0]
	}
	return fmt.Sprintf("pass: %d reasons why the model cannot be used:\n  %s", len(lines), strings.Join(lines, "\n  "))
}

// Unwrap gives the errors of package ops behind the problems.
func (e *ImportError) Unwrap() []error {
	var list []error
	for _, p := range e.Problems {
		if p.Unknown != nil {
			list = append(list, p.Unknown)
		}
	}
	return list
}

func (p Problem) String() string {
	if p.Operator == "" {
		return fmt.Sprintf("%s (%s)", p.Why, p.Where())
	}
	return fmt.Sprintf("operator %s: %s (nodes %s)", p.Operator, p.Why, p.Where())
}

// Where names the first nodes or values, and says how many more there are.
func (p Problem) Where() string {
	const shown = 3
	names := make([]string, 0, shown)
	for _, n := range p.Nodes[:min(len(p.Nodes), shown)] {
		names = append(names, fmt.Sprintf("%.80q", n))
	}
	list := strings.Join(names, ", ")
	if more := len(p.Nodes) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// Check lists what of g is not implemented, in the bodies of its branches and
// loops too. Calls of local functions must have been inlined.
func Check(g *graph.Graph) []Problem {
	c := checker{found: map[string]int{}}
	for _, in := range g.Inputs {
		c.value(in.Info)
		c.input(in)
	}
	for _, n := range g.Nodes {
		c.node(n, 0)
	}
	for _, out := range g.Outputs {
		c.value(out.Info)
	}
	return c.list
}

type checker struct {
	list  []Problem
	found map[string]int // reason to place in list
}

func (c *checker) add(p Problem, name string) {
	key := p.Operator + " " + p.Why
	i, ok := c.found[key]
	if !ok {
		i = len(c.list)
		c.found[key] = i
		c.list = append(c.list, p)
	}
	c.list[i].Nodes = append(c.list[i].Nodes, name)
}

// value refuses inputs and outputs that are no tensors of numbers.
func (c *checker) value(v *onnx.ValueInfo) {
	if v == nil || v.Type == nil {
		return
	}
	t := v.Type
	switch {
	case t.Sequence != nil:
		c.add(Problem{Why: "sequences are not implemented: a network takes and gives tensors"}, v.Name)
	case t.Optional != nil, t.Map != nil, t.Opaque != nil, t.SparseTensor != nil:
		c.add(Problem{Why: "optionals, maps, sparse and opaque values are not implemented: a network takes and gives dense tensors"}, v.Name)
	case t.Tensor != nil && t.Tensor.Elem == onnx.String:
		c.add(Problem{Why: "strings are not implemented: turn text into numbers in front of the network"}, v.Name)
	}
}

// input refuses what no program can hold.
func (c *checker) input(v *graph.Value) {
	if v.DType.IsPacked() {
		c.add(Problem{Why: fmt.Sprintf("inputs of type %v are not implemented: feed a wider type", v.DType)}, v.Name)
	}
	known := v.Shape.Clone()
	for i, d := range known {
		known[i] = max(d, 1)
	}
	if err := ops.CheckSize(known); err != nil {
		c.add(Problem{Why: err.Error()}, v.Name)
	}
}

func (c *checker) node(n *graph.Node, depth int) {
	if isControl(n) && depth > maxDepth {
		c.add(Problem{Operator: n.Op, Why: fmt.Sprintf("branches and loops nest deeper than %d", maxDepth)}, nodeName(n))
		return
	}
	if isControl(n) {
		for _, g := range n.Subgraphs() {
			for _, m := range g.Nodes {
				c.node(&graph.Node{Name: m.Name, Op: m.OpType, Domain: standard(m.Domain), Version: n.Version, Attrs: m.Attrs}, depth+1)
			}
		}
		return
	}
	if _, err := ops.Lookup(n); err == nil {
		return
	}
	name := n.Op
	if n.Domain != "" {
		name = n.Domain + "." + n.Op
	}
	unknown := &ops.UnknownError{Node: n}
	c.add(Problem{Operator: name, Why: fmt.Sprintf("not implemented in opset %d; %s", n.Version, unknown.Hint()), Unknown: unknown}, nodeName(n))
}

func nodeName(n *graph.Node) string {
	if n.Name == "" && n.Output(0) != nil {
		return n.Output(0).Name
	}
	return n.Name
}

// importable is the error for what Check finds, nil if it finds nothing.
func importable(g *graph.Graph) error {
	problems := Check(g)
	if v := g.Opsets[""]; v > newestOpset {
		problems = append(problems, Problem{Why: fmt.Sprintf("operator set %d is newer than %d, the newest that is known; export the model with an older one", v, newestOpset), Nodes: []string{g.Name}})
	}
	if len(g.Outputs) == 0 {
		problems = append(problems, Problem{Why: "the model has no output", Nodes: []string{g.Name}})
	}
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return strings.Compare(a.Operator, b.Operator) })
	return &ImportError{problems}
}

// integerOps are the operators of quantised models.
var integerOps = []string{
	"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul",
}

// Untrainable lists the nodes that keep the model from being trained or pruned
// although it can be run: those of a quantised model, whose weights are whole
// numbers, and branches and loops whose course depends on the input.
func (im *Model) Untrainable() []Problem {
	c := checker{found: map[string]int{}}
	for _, n := range im.Trunk().Nodes {
		switch {
		case n.Domain == "" && slices.Contains(integerOps, n.Op):
			c.add(Problem{Operator: n.Op, Why: "the model is quantised, and whole numbers cannot be trained; use the file before quantisation"}, nodeName(n))
		case isControl(n):
			c.add(Problem{Operator: n.Op, Why: "its course depends on the input, which training does not follow; export the model without it"}, nodeName(n))
		}
	}
	return c.list
}
