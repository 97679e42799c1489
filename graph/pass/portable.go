package pass

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// Portable converts a graph whose shapes are known to a model that any ONNX
// runtime executes: every node of our own domain becomes the call of a local
// function that holds the operator's body in standard operators.
//
// Nodes alike in operator, attributes and types share a function.
func Portable(g *graph.Graph) (*onnx.Model, error) {
	g = g.Clone()
	g.Opsets[""] = max(g.Opsets[""], 13) // the first that bodies are written in
	if err := ops.Raise(g); err != nil {
		return nil, err
	}
	m := g.ToONNX()
	m.IRVersion = max(m.IRVersion, 8) // the first with local functions
	m.Functions = slices.Clone(m.Functions)
	m.Graph.ValueInfo = nil
	made := map[string]string{} // signature to name
	for i, n := range g.Nodes {
		if n.Domain != ops.Domain {
			continue
		}
		sig := signature(n)
		name := made[sig]
		if name == "" {
			name = fmt.Sprintf("%s_%d", n.Op, len(made))
			f, err := function(n, name, g.Opsets[""])
			if err != nil {
				return nil, err
			}
			made[sig] = name
			m.Functions = append(m.Functions, f)
		}
		call := m.Graph.Nodes[i]
		call.OpType, call.Attrs = name, nil
	}
	return m, nil
}

// signature tells apart nodes that need bodies of their own.
func signature(n *graph.Node) string {
	var b strings.Builder
	fmt.Fprint(&b, n.Op)
	for _, a := range n.Attrs {
		fmt.Fprintf(&b, " %s=%v,%v,%s,%v,%v", a.Name, a.F, a.I, a.S, a.Floats, a.Ints)
	}
	for _, list := range [][]*graph.Value{n.Inputs, n.Outputs} {
		b.WriteString(" |")
		for _, v := range list {
			if v == nil {
				b.WriteString(" -")
				continue
			}
			fmt.Fprintf(&b, " %v%v", v.DType, []int(v.Shape))
		}
	}
	return b.String()
}

// function writes the body of n as a local function.
func function(n *graph.Node, name string, opset int) (*onnx.Function, error) {
	g := graph.New(name, opset)
	b := ops.NewBuilder(g)
	stand := &graph.Node{Name: name, Op: n.Op, Domain: n.Domain, Version: n.Version, Attrs: n.Attrs}
	f := &onnx.Function{Name: name, Domain: ops.Domain, Opsets: []onnx.OpsetID{{Version: int64(opset)}}}
	for i, in := range n.Inputs {
		arg := fmt.Sprintf("in%d", i)
		f.Inputs = append(f.Inputs, arg)
		if in == nil {
			stand.Inputs = append(stand.Inputs, nil)
			continue
		}
		stand.Inputs = append(stand.Inputs, g.AddInput(arg, in.DType, in.Shape...))
	}
	for _, out := range n.Outputs {
		if out == nil {
			stand.Outputs = append(stand.Outputs, nil)
			continue
		}
		stand.Outputs = append(stand.Outputs, &graph.Value{Name: out.Name, DType: out.DType, Shape: out.Shape})
	}
	outs, err := ops.Inline(b, stand)
	if err != nil {
		return nil, err
	}
	for i := range n.Outputs {
		out := outs[i]
		if out == nil || out.Producer() == nil { // hands an input or a constant through
			out = b.Op("Identity", out)
		}
		g.AddOutput(out)
		f.Outputs = append(f.Outputs, out.Name)
	}
	if b.Err != nil {
		return nil, b.Err
	}
	g.Prune()
	if f.Nodes, err = functionNodes(g); err != nil {
		return nil, err
	}
	return f, nil
}

// functionNodes is the graph's nodes with its constants in front: functions
// have no initializers.
func functionNodes(g *graph.Graph) ([]*onnx.Node, error) {
	m := g.ToONNX()
	var nodes []*onnx.Node
	for _, t := range m.Graph.Initializers {
		nodes = append(nodes, &onnx.Node{Name: t.Name, OpType: "Constant", Outputs: []string{t.Name}, Attrs: []*onnx.Attr{onnx.AttrTensor("value", t)}})
	}
	for _, n := range g.Nodes {
		if n.Domain == ops.Domain {
			return nil, fmt.Errorf("pass: the body of %s uses %s, which is not a standard operator", g.Name, n.Op)
		}
	}
	return append(nodes, m.Graph.Nodes...), nil
}
