package pass

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// maxNodes bounds what a model may grow to when its functions are inlined and
// its loops unrolled: a small file can ask for any number of nodes.
const maxNodes = 1 << 16

// functionID names a local function.
type functionID struct{ domain, name, overload string }

// inlineFunctions replaces the calls of the model's local functions by their
// bodies, until none is left. It returns how many calls there were.
func inlineFunctions(g *graph.Graph) (int, error) {
	in := newInliner(g)
	if _, err := in.all(slices.Clone(g.Nodes), nil); err != nil || in.calls == 0 {
		return in.calls, err
	}
	g.Prune()
	return in.calls, g.Sort()
}

func standard(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// An inliner replaces calls of the local functions of a graph's model.
type inliner struct {
	g         *graph.Graph
	functions map[functionID]*onnx.Function
	calls     int
	nodes     int
	stands    map[*graph.Value]*graph.Value // for outputs of calls that are gone
}

func newInliner(g *graph.Graph) inliner {
	in := inliner{g: g, functions: map[functionID]*onnx.Function{}, stands: map[*graph.Value]*graph.Value{}}
	if g.Source != nil {
		for _, f := range g.Source.Functions {
			in.functions[functionID{standard(f.Domain), f.Name, f.Overload}] = f
		}
	}
	return in
}

// all returns list with every call replaced by the nodes of its function's
// body. around lists the functions that the nodes stand in.
func (in *inliner) all(list []*graph.Node, around []*onnx.Function) ([]*graph.Node, error) {
	if len(in.functions) == 0 {
		return list, nil
	}
	var out []*graph.Node
	for _, n := range list {
		f := in.function(n)
		if f == nil {
			out = append(out, n)
			continue
		}
		if slices.Contains(around, f) {
			return nil, fmt.Errorf("pass: node %q: function %s calls itself", n.Name, f.Name)
		}
		nodes, err := in.call(n, f)
		if err == nil {
			nodes, err = in.all(nodes, append(slices.Clip(around), f))
		}
		if err != nil {
			return nil, err
		}
		out = append(out, nodes...)
	}
	return out, nil
}

// function is the local function that n calls, nil if it calls none.
func (in *inliner) function(n *graph.Node) *onnx.Function {
	id := functionID{domain: n.Domain, name: n.Op}
	if n.Source != nil {
		id.overload = n.Source.Overload
	}
	return in.functions[id]
}

// call replaces one call by the function's body.
func (in *inliner) call(n *graph.Node, f *onnx.Function) ([]*graph.Node, error) {
	in.calls++
	if in.nodes += len(f.Nodes); in.nodes > maxNodes {
		return nil, fmt.Errorf("pass: the local functions of the model amount to more than %d nodes", maxNodes)
	}
	if len(n.Inputs) > len(f.Inputs) || len(n.Outputs) > len(f.Outputs) {
		return nil, fmt.Errorf("pass: node %q calls function %s with %d inputs and %d outputs; it has %d and %d",
			n.Name, f.Name, len(n.Inputs), len(n.Outputs), len(f.Inputs), len(f.Outputs))
	}
	scope := map[string]*graph.Value{}
	for i, name := range f.Inputs {
		scope[name] = n.Input(i)
	}
	body := graph.Body{Nodes: bindAttrs(f.Nodes, arguments(n, f)), Outputs: f.Outputs, Opsets: map[string]int{}, Prefix: n.Name + "/"}
	for _, o := range f.Opsets {
		body.Opsets[standard(o.Domain)] = int(o.Version)
		if in.g.Opsets[standard(o.Domain)] == 0 {
			in.g.Opsets[standard(o.Domain)] = int(o.Version)
		}
	}
	nodes, outputs, err := in.g.Instantiate(body, scope)
	if err != nil {
		return nil, err
	}
	return nodes, in.replace(n, outputs)
}

// replace makes values stand for the outputs of n, which Prune then removes. A
// graph output keeps its name.
func (in *inliner) replace(n *graph.Node, by []*graph.Value) error {
	g := in.g
	for i, out := range n.Outputs {
		if out == nil {
			continue
		}
		if i >= len(by) || by[i] == nil {
			return fmt.Errorf("pass: node %q (%s): output %d, %q, is left out by its body", n.Name, n.Op, i, out.Name)
		}
		if !slices.Contains(g.Outputs, out) {
			in.stands[out] = by[i]
		}
		if err := g.Supplant(out, by[i]); err != nil {
			return err
		}
	}
	return nil
}

// present is what v became.
func (in *inliner) present(v *graph.Value) *graph.Value {
	for in.stands[v] != nil {
		v = in.stands[v]
	}
	return v
}

// arguments are the attributes that a call gives, and the defaults of those
// that it leaves out. A nil entry is an attribute that has neither.
func arguments(n *graph.Node, f *onnx.Function) map[string]*onnx.Attr {
	args := map[string]*onnx.Attr{}
	for _, name := range f.AttrNames {
		args[name] = nil
	}
	for _, a := range f.AttrDefaults {
		args[a.Name] = a
	}
	for _, a := range n.Attrs {
		args[a.Name] = a
	}
	return args
}

// bindAttrs replaces references to a function's attributes by their values. A
// reference to an attribute that the call leaves out goes.
func bindAttrs(nodes []*onnx.Node, args map[string]*onnx.Attr) []*onnx.Node {
	out := make([]*onnx.Node, len(nodes))
	for i, n := range nodes {
		m := *n
		m.Attrs = nil
		for _, a := range n.Attrs {
			if a.RefName != "" {
				arg := args[a.RefName]
				if arg == nil {
					continue
				}
				b := *arg
				b.Name, b.RefName = a.Name, ""
				a = &b
			} else if a.G != nil {
				b, g := *a, *a.G
				g.Nodes = bindAttrs(g.Nodes, args)
				b.G = &g
				a = &b
			}
			m.Attrs = append(m.Attrs, a)
		}
		out[i] = &m
	}
	return out
}
