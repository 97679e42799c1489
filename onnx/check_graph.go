package onnx

// graph checks g, whose nodes see the names of scope s too. The inputs and
// outputs of the main graph must have types.
func (c *checker) graph(g *Graph, s *scope, main bool) {
	c.require(g.Name != "", "name is missing")
	for i, v := range g.Inputs {
		c.in(element("input", i, v.Name), func() {
			c.valueInfo(v, main)
			c.define(s, v.Name)
		})
	}
	c.initializers(g, s)
	c.nodes(g.Nodes, s)
	outputs := map[string]bool{}
	for i, v := range g.Outputs {
		c.in(element("output", i, v.Name), func() {
			c.valueInfo(v, main)
			c.require(v.Name == "" || s.has(v.Name), "no node yields it")
			c.require(!outputs[v.Name], "is an output twice")
		})
		outputs[v.Name] = true
	}
	for i, v := range g.ValueInfo {
		c.in(element("value_info", i, v.Name), func() { c.valueInfo(v, false) })
	}
}

// initializers defines the initializers of g. Before IR version 4 each had to be
// an input too; since then it may, and gives the input's default.
func (c *checker) initializers(g *Graph, s *scope) {
	inputs := map[string]bool{}
	for _, v := range g.Inputs {
		inputs[v.Name] = true
	}
	one := func(name string) {
		c.require(name != "", "name is missing")
		if inputs[name] {
			delete(inputs, name) // a second initializer of that name is a mistake
			return
		}
		c.define(s, name)
		c.require(c.model.IRVersion > 3, "must be a graph input, too, in ir_version %d", c.model.IRVersion)
	}
	for i, t := range g.Initializers {
		c.in(element("initializer", i, t.Name), func() {
			one(t.Name)
			c.tensor(t)
		})
	}
	for i, t := range g.SparseInitializers {
		c.in(element("sparse_initializer", i, t.name()), func() {
			one(t.name())
			c.sparse(t)
		})
	}
}

func (c *checker) tensor(t *Tensor) {
	c.require(t.DType != Undefined, "data_type is missing")
	c.requireNil(t.check())
}

func (c *checker) sparse(s *SparseTensor) {
	if s.Values == nil || s.Indices == nil {
		c.require(false, "needs both values and indices")
		return
	}
	c.in("values", func() { c.tensor(s.Values) })
	c.in("indices", func() { c.tensor(s.Indices) })
	_, _, err := s.positions()
	c.requireNil(err)
}

func (c *checker) function(f *Function) {
	c.require(f.Name != "", "name is missing")
	c.opsetList(f.Opsets)
	c.opsets = f.Opsets
	c.attrNames = map[string]bool{}
	for _, name := range f.AttrNames {
		c.attrNames[name] = true
	}
	for i, a := range f.AttrDefaults {
		c.in(element("attribute_proto", i, a.Name), func() { c.attr(a, newScope(nil)) })
		c.attrNames[a.Name] = true
	}
	s := newScope(nil)
	for i, name := range f.Inputs {
		c.in(element("input", i, name), func() { c.define(s, name) })
	}
	c.nodes(f.Nodes, s)
	for i, name := range f.Outputs {
		c.in(element("output", i, name), func() { c.require(s.has(name), "no node yields it") })
	}
	c.attrNames = nil
}

// nodes checks a list of nodes, which must be in topological order.
func (c *checker) nodes(nodes []*Node, s *scope) {
	for i, n := range nodes {
		c.in(element("node", i, n.Name), func() { c.node(n, s) })
	}
}

func (c *checker) node(n *Node, s *scope) {
	c.require(n.OpType != "", "op_type is missing")
	c.require(c.imports(n), "domain %q of operator %s is not in opset_import", n.Domain, n.OpType)
	for i, name := range n.Inputs {
		c.require(name == "" || s.has(name), "input %d, %q, is not defined before the node", i, shorten(name))
	}
	seen := map[string]bool{}
	for i, a := range n.Attrs {
		c.in(element("attribute", i, a.Name), func() {
			c.require(!seen[a.Name], "is there twice")
			c.attr(a, s)
		})
		seen[a.Name] = true
	}
	for _, name := range n.Outputs {
		if name != "" {
			c.define(s, name)
		}
	}
}

// imports reports whether the operator set of n is imported where n stands, or
// n calls a function of the model.
func (c *checker) imports(n *Node) bool {
	domain := canonicalDomain(n.Domain)
	for _, o := range c.opsets {
		if canonicalDomain(o.Domain) == domain {
			return true
		}
	}
	return c.functions[[3]string{domain, n.OpType, n.Overload}] || c.model.IRVersion < 3 && domain == ""
}

// attr checks an attribute; the graphs in it see the names of s.
func (c *checker) attr(a *Attr, s *scope) {
	c.require(a.Name != "", "name is missing")
	c.require(a.Type != AttrTypeUndefined || c.model.IRVersion < 2, "type is missing")
	if a.RefName != "" {
		c.require(c.attrNames[a.RefName], "refers to %q, which is no attribute of the function", a.RefName)
		return
	}
	c.require(a.hasValue(), "type is %v but there is no such value", a.Type)
	for i, t := range present(a.T, a.Tensors) {
		c.in(element("tensors", i, t.Name), func() { c.requireNil(t.check()) })
	}
	for i, t := range present(a.Sparse, a.SparseTensors) {
		c.in(element("sparse_tensors", i, t.name()), func() { c.sparse(t) })
	}
	for i, g := range present(a.G, a.Graphs) {
		c.in(element("graphs", i, g.Name), func() { c.graph(g, newScope(s), false) })
	}
	for i, t := range present(a.TP, a.Types) {
		c.in(element("types", i, ""), func() { c.typ(t) })
	}
}

// present is the values that an attribute has in one kind's two fields.
func present[T any](one *T, more []*T) []*T {
	if one == nil {
		return more
	}
	return append([]*T{one}, more...)
}

// hasValue reports whether the value is there that a's type promises. Numbers,
// strings and lists always are: zero and empty ones need not be written.
func (a *Attr) hasValue() bool {
	switch a.Type {
	case AttrTypeTensor:
		return a.T != nil
	case AttrTypeGraph:
		return a.G != nil
	case AttrTypeSparseTensor:
		return a.Sparse != nil
	case AttrTypeType:
		return a.TP != nil
	}
	return a.Type >= AttrTypeUndefined && a.Type <= AttrTypeTypes
}
