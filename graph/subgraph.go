package graph

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// Subgraphs lists the graphs among n's attributes: the branches of If, the
// bodies of Loop and Scan.
func (n *Node) Subgraphs() []*onnx.Graph { return subgraphs(n.Attrs) }

func subgraphs(attrs []*onnx.Attr) []*onnx.Graph {
	var list []*onnx.Graph
	for _, a := range attrs {
		if a.G != nil {
			list = append(list, a.G)
		}
		list = append(list, a.Graphs...)
	}
	return list
}

// Explicit is n's inputs without those that only its subgraphs read.
func (n *Node) Explicit() []*Value { return n.Inputs[:len(n.Inputs)-len(n.Captured)] }

// Captures lists, in order of first use, the names that the graphs among attrs
// read from around them.
func Captures(attrs []*onnx.Attr) []string {
	c := captures{seen: map[string]bool{}}
	for _, g := range subgraphs(attrs) {
		c.graph(g, nil)
	}
	return c.names
}

type captures struct {
	names []string
	seen  map[string]bool
}

// graph collects what g reads and neither it nor the graphs around it define.
// Within one graph names are unique, so definitions may be gathered first.
func (c *captures) graph(g *onnx.Graph, around []map[string]bool) {
	own := map[string]bool{"": true}
	for _, t := range g.Initializers {
		own[t.Name] = true
	}
	for _, s := range g.SparseInitializers {
		if s.Values != nil {
			own[s.Values.Name] = true
		}
	}
	for _, v := range g.Inputs {
		own[v.Name] = true
	}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			own[out] = true
		}
	}
	scopes := append(slices.Clip(around), own)
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			c.read(in, scopes)
		}
		for _, sub := range subgraphs(n.Attrs) {
			c.graph(sub, scopes)
		}
	}
	for _, v := range g.Outputs {
		c.read(v.Name, scopes)
	}
}

func (c *captures) read(name string, scopes []map[string]bool) {
	known := slices.ContainsFunc(scopes, func(s map[string]bool) bool { return s[name] })
	if !known && !c.seen[name] {
		c.seen[name] = true
		c.names = append(c.names, name)
	}
}

// renamed returns attrs with the names that subgraphs read from around them
// replaced. Names are unique along nested scopes, so nothing is shadowed.
func renamed(attrs []*onnx.Attr, to map[string]string) []*onnx.Attr {
	out := slices.Clone(attrs)
	for i, a := range attrs {
		if a.G == nil && len(a.Graphs) == 0 {
			continue
		}
		b := *a
		if a.G != nil {
			b.G = renamedGraph(a.G, to)
		}
		b.Graphs = nil
		for _, g := range a.Graphs {
			b.Graphs = append(b.Graphs, renamedGraph(g, to))
		}
		out[i] = &b
	}
	return out
}

func renamedGraph(g *onnx.Graph, to map[string]string) *onnx.Graph {
	c := *g
	c.Nodes = nil
	for _, n := range g.Nodes {
		m := *n
		m.Inputs = renameAll(n.Inputs, to)
		m.Attrs = renamed(n.Attrs, to)
		c.Nodes = append(c.Nodes, &m)
	}
	c.Outputs = slices.Clone(g.Outputs)
	for i, v := range g.Outputs {
		if name, ok := to[v.Name]; ok {
			w := *v
			w.Name = name
			c.Outputs[i] = &w
		}
	}
	return &c
}

func renameAll(list []string, to map[string]string) []string {
	out := slices.Clone(list)
	for i, name := range list {
		if new, ok := to[name]; ok {
			out[i] = new
		}
	}
	return out
}

// A Body is a list of nodes to be copied into a graph: a function's, or a
// subgraph's.
type Body struct {
	Nodes   []*onnx.Node
	Inits   []*onnx.Tensor
	Outputs []string
	Opsets  map[string]int // what the nodes are written in; nil: as the graph
	Prefix  string         // for the names of new values
}

// Instantiate copies a body into g. scope gives the values that the body reads
// by name, its inputs and those around it; a nil entry is an input left out.
// The new nodes stand at the end of g; Sort puts them in their place.
func (g *Graph) Instantiate(body Body, scope map[string]*Value) (nodes []*Node, outputs []*Value, err error) {
	known := make(map[string]*Value, len(scope)+len(body.Nodes))
	for name, v := range scope {
		known[name] = v
	}
	for _, t := range body.Inits {
		known[t.Name] = g.AddInit(body.Prefix+t.Name, t)
	}
	for _, src := range body.Nodes {
		n, err := g.instantiate(src, body, known)
		if err != nil {
			return nil, nil, err
		}
		nodes = append(nodes, n)
	}
	for _, name := range body.Outputs {
		v, ok := known[name]
		if !ok {
			return nil, nil, fmt.Errorf("graph: output %q of %q is made by no node", name, body.Prefix)
		}
		outputs = append(outputs, v)
	}
	return nodes, outputs, nil
}

func (g *Graph) instantiate(src *onnx.Node, body Body, known map[string]*Value) (*Node, error) {
	captured := Captures(src.Attrs)
	var inputs []*Value
	for _, name := range slices.Concat(src.Inputs, captured) {
		v, ok := known[name]
		if !ok && name != "" {
			return nil, fmt.Errorf("graph: node %q (%s) reads %q, which nothing in front of it makes", body.Prefix+src.Name, src.OpType, name)
		}
		inputs = append(inputs, v)
	}
	domain := src.Domain
	if domain == "ai.onnx" {
		domain = ""
	}
	n := g.AddNode(domain, src.OpType, inputs, 0, src.Attrs...)
	n.Captured, n.Source = captured, src
	if body.Opsets != nil {
		n.Version = body.Opsets[domain]
	}
	for _, name := range src.Outputs {
		if name == "" {
			n.Outputs = append(n.Outputs, nil)
			continue
		}
		if known[name] != nil {
			return nil, fmt.Errorf("graph: node %q (%s): output %q is made twice", body.Prefix+src.Name, src.OpType, name)
		}
		out := g.declare(body.Prefix + name)
		out.from = n
		known[name] = out
		n.Outputs = append(n.Outputs, out)
	}
	if n.Name = body.Prefix + src.Name; src.Name == "" && n.Output(0) != nil {
		n.Name = n.Output(0).Name
	}
	return n, nil
}
