package graph

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// FromONNX converts a model's main graph. Nodes that call local functions
// stay calls. Initializers that are also graph inputs (a habit of old
// exporters) become initializers only. Sparse initializers become dense
// constants. Extents that the file leaves open are -1.
func FromONNX(m *onnx.Model) (*Graph, error) {
	if m.Graph == nil {
		return nil, fmt.Errorf("graph: the model has no graph")
	}
	src := m.Graph
	g := &Graph{Name: src.Name, Opsets: map[string]int{}, Source: m, values: map[string]*Value{}}
	for _, o := range m.Opsets {
		domain := o.Domain
		if domain == "ai.onnx" {
			domain = ""
		}
		g.Opsets[domain] = int(o.Version)
	}
	c := converter{g: g, infos: map[string]*onnx.ValueInfo{}}
	if err := c.inits(src); err != nil {
		return nil, err
	}
	for _, list := range [][]*onnx.ValueInfo{src.ValueInfo, src.Outputs, src.Inputs} {
		for _, vi := range list {
			c.infos[vi.Name] = vi
		}
	}
	for _, vi := range src.Inputs {
		if v := g.values[vi.Name]; v != nil {
			if v.Const == nil {
				return nil, fmt.Errorf("graph: input %q is declared twice", vi.Name)
			}
			v.Info = vi
			continue
		}
		v := &Value{Name: vi.Name}
		c.describe(v)
		g.values[v.Name] = v
		g.Inputs = append(g.Inputs, v)
	}
	if err := c.nodes(src.Nodes); err != nil {
		return nil, err
	}
	for _, vi := range src.Outputs {
		v := g.values[vi.Name]
		if v == nil {
			return nil, fmt.Errorf("graph: output %q is made by no node", vi.Name)
		}
		g.Outputs = append(g.Outputs, v)
	}
	return g, g.Sort()
}

type converter struct {
	g     *Graph
	infos map[string]*onnx.ValueInfo
}

func (c *converter) inits(src *onnx.Graph) error {
	add := func(t *onnx.Tensor) error {
		if t.Name == "" || c.g.values[t.Name] != nil {
			return fmt.Errorf("graph: initializer %q: the name is empty or taken", t.Name)
		}
		v := &Value{Name: t.Name, DType: t.DType, Shape: append(Shape{}, t.Shape...), Const: t}
		c.g.values[v.Name] = v
		c.g.Inits = append(c.g.Inits, v)
		return nil
	}
	for _, t := range src.Initializers {
		if err := add(t); err != nil {
			return err
		}
	}
	for _, s := range src.SparseInitializers {
		t, err := s.Dense()
		if err != nil {
			return err
		}
		if err := add(t); err != nil {
			return err
		}
	}
	return nil
}

// nodes creates the outputs first, so that a file whose nodes are out of order
// converts too; Sort then puts them right.
func (c *converter) nodes(list []*onnx.Node) error {
	for _, src := range list {
		n := &Node{Name: src.Name, Op: src.OpType, Domain: src.Domain, Attrs: src.Attrs, Source: src}
		if n.Domain == "ai.onnx" {
			n.Domain = ""
		}
		n.Version = c.g.Opsets[n.Domain]
		for _, name := range src.Outputs {
			if name == "" {
				n.Outputs = append(n.Outputs, nil)
				continue
			}
			if c.g.values[name] != nil {
				return fmt.Errorf("graph: node %q (%s): output %q is made twice", src.Name, src.OpType, name)
			}
			v := &Value{Name: name, from: n}
			c.describe(v)
			c.g.values[name] = v
			n.Outputs = append(n.Outputs, v)
		}
		c.g.Nodes = append(c.g.Nodes, n)
	}
	for i, src := range list {
		n := c.g.Nodes[i]
		n.Captured = Captures(src.Attrs)
		for slot, name := range slices.Concat(src.Inputs, n.Captured) {
			if name == "" {
				n.Inputs = append(n.Inputs, nil)
				continue
			}
			v := c.g.values[name]
			if v == nil {
				return fmt.Errorf("graph: node %q (%s): input %q is made by no node and is no input or initializer", src.Name, src.OpType, name)
			}
			n.Inputs = append(n.Inputs, v)
			v.uses = append(v.uses, Use{n, slot})
		}
	}
	return nil
}

// describe takes over what the file declares about a value.
func (c *converter) describe(v *Value) {
	v.Info = c.infos[v.Name]
	if v.Info == nil || v.Info.Type == nil {
		return
	}
	t := v.Info.Type.Tensor
	if t == nil {
		return // a sequence, map or optional: no operator here takes it
	}
	v.DType = t.Elem
	if t.Shape == nil {
		return
	}
	v.Shape = Shape{}
	for _, d := range t.Shape {
		extent := -1
		if n, ok := d.Known(); ok && n >= 0 && n <= math.MaxInt32 {
			extent = int(n)
		}
		v.Shape = append(v.Shape, extent)
	}
}

// ToONNX converts back. What the graph does not represent comes from the
// model it was read from, if there is one: an untouched graph gives the same
// model. Nodes and values that are new get plain entries.
func (g *Graph) ToONNX() *onnx.Model {
	m := &onnx.Model{IRVersion: 8, Producer: "unprune", Graph: &onnx.Graph{}}
	if g.Source != nil {
		src, graph := *g.Source, *g.Source.Graph
		m = &src
		m.Graph = &graph
	}
	m.Graph.Name = g.Name
	m.Opsets = g.opsets(m.Opsets)
	m.Graph.Nodes = make([]*onnx.Node, 0, len(g.Nodes))
	for i, name := range g.nodeNames() {
		n := g.Nodes[i].toONNX()
		n.Name = name
		m.Graph.Nodes = append(m.Graph.Nodes, n)
	}
	m.Graph.Inputs = infos(g.Inputs)
	m.Graph.Outputs = infos(g.Outputs)
	g.initsToONNX(m.Graph)
	m.Graph.ValueInfo = slices.DeleteFunc(slices.Clone(m.Graph.ValueInfo), func(vi *onnx.ValueInfo) bool {
		return g.values[vi.Name] == nil
	})
	return m
}

// opsets keeps the file's list and adds the domains that are new.
func (g *Graph) opsets(list []onnx.OpsetID) []onnx.OpsetID {
	out := slices.Clone(list)
	seen := map[string]bool{}
	for i, o := range out {
		domain := o.Domain
		if domain == "ai.onnx" {
			domain = ""
		}
		seen[domain] = true
		out[i].Version = int64(g.Opsets[domain])
	}
	var added []string
	for domain := range g.Opsets {
		if !seen[domain] {
			added = append(added, domain)
		}
	}
	slices.Sort(added)
	for _, domain := range added {
		out = append(out, onnx.OpsetID{Domain: domain, Version: int64(g.Opsets[domain])})
	}
	return out
}

// initsToONNX writes initializers back in file order, dense: what the file kept
// sparse has become a dense constant, which onnx.Sparsify undoes on request.
func (g *Graph) initsToONNX(dst *onnx.Graph) {
	asInput := map[string]bool{}
	for _, vi := range dst.Inputs {
		asInput[vi.Name] = true
	}
	dst.Initializers = nil
	dst.SparseInitializers = nil
	for _, v := range g.Inits {
		t := v.Const
		if t.Name != v.Name { // shared with another graph or renamed
			named := *t
			named.Name = v.Name
			t = &named
		}
		dst.Initializers = append(dst.Initializers, t)
		if v.Info != nil && g.Source != nil && g.declaredInput(v.Name) && !asInput[v.Name] {
			dst.Inputs = append(dst.Inputs, v.Info)
		}
	}
}

func (g *Graph) declaredInput(name string) bool {
	return slices.ContainsFunc(g.Source.Graph.Inputs, func(vi *onnx.ValueInfo) bool { return vi.Name == name })
}

// nodeNames are the names of the nodes, made unique, as ONNX Runtime wants
// them: nodes that came from a file keep theirs, new ones get a number where
// another has the name.
func (g *Graph) nodeNames() []string {
	names := make([]string, len(g.Nodes))
	taken := map[string]bool{}
	for i, n := range g.Nodes {
		if n.Source != nil {
			names[i] = n.Name
			taken[n.Name] = true
		}
	}
	for i, n := range g.Nodes {
		if n.Source != nil || n.Name == "" {
			continue
		}
		name := n.Name
		for k := 2; taken[name]; k++ {
			name = fmt.Sprintf("%s_%d", n.Name, k)
		}
		names[i] = name
		taken[name] = true
	}
	return names
}

func (n *Node) toONNX() *onnx.Node {
	out := &onnx.Node{}
	if n.Source != nil {
		src := *n.Source
		out = &src
	}
	out.Name, out.OpType, out.Attrs = n.Name, n.Op, n.Attrs
	if out.Domain != "ai.onnx" || n.Domain != "" {
		out.Domain = n.Domain
	}
	out.Inputs, out.Outputs = names(n.Explicit()), names(n.Outputs)
	to := map[string]string{}
	for i, v := range n.Inputs[len(n.Explicit()):] {
		if v.Name != n.Captured[i] {
			to[n.Captured[i]] = v.Name
		}
	}
	if len(to) > 0 {
		out.Attrs = renamed(n.Attrs, to)
	}
	return out
}

func names(list []*Value) []string {
	out := make([]string, len(list))
	for i, v := range list {
		if v != nil {
			out[i] = v.Name
		}
	}
	return out
}

// infos describes graph inputs or outputs, with the file's own entry where
// there is one.
func infos(list []*Value) []*onnx.ValueInfo {
	out := make([]*onnx.ValueInfo, len(list))
	for i, v := range list {
		if v.Info != nil && v.Info.Name == v.Name {
			out[i] = v.Info
			continue
		}
		t := onnx.NewTensorType(v.DType)
		if v.Shape == nil {
			t.Tensor.Shape = nil
		}
		for _, d := range v.Shape {
			dim := onnx.Dim{}
			if d >= 0 {
				dim = onnx.FixedDim(int64(d))
			}
			t.Tensor.Shape = append(t.Tensor.Shape, dim)
		}
		out[i] = &onnx.ValueInfo{Name: v.Name, Type: t}
	}
	return out
}
