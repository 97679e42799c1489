package onnx

import (
	"errors"
	"fmt"
	"strings"
)

// CheckError lists everything that Check found, in the order of the file.
type CheckError struct{ Problems []*FormatError }

// Error implements error.
func (e *CheckError) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "onnx: the model has %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  %s: %s", p.Path, p.Problem)
	}
	return b.String()
}

// Unwrap makes errors.As find the first problem.
func (e *CheckError) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		errs[i] = p
	}
	return errs
}

// Check reports, as a CheckError, what makes m invalid whatever its operators
// mean: names that are missing, repeated or used before they are defined, types
// and attributes without a value, data that do not fit their shape, operator
// sets that are not imported.
func Check(m *Model) error {
	c := &checker{model: m, functions: map[[3]string]bool{}}
	c.modelFields()
	for i, f := range m.Functions {
		key := [3]string{canonicalDomain(f.Domain), f.Name, f.Overload}
		c.in(element("functions", i, f.Name), func() {
			c.require(!c.functions[key], "is defined twice")
			c.functions[key] = true
		})
	}
	if m.Graph != nil {
		c.opsets = m.Opsets
		c.in("graph", func() { c.graph(m.Graph, newScope(nil), true) })
	}
	for i, f := range m.Functions {
		c.in(element("functions", i, f.Name), func() { c.function(f) })
	}
	c.recursion()
	if len(c.problems) == 0 {
		return nil
	}
	return &CheckError{c.problems}
}

// checker walks a model and collects problems.
type checker struct {
	model     *Model
	path      []string
	problems  []*FormatError
	functions map[[3]string]bool // domain, name, overload
	opsets    []OpsetID          // of the graph or function at hand
	attrNames map[string]bool    // what the function at hand may refer to; nil in a graph
}

// in runs check with field added to the path.
func (c *checker) in(field string, check func()) {
	c.path = append(c.path, field)
	check()
	c.path = c.path[:len(c.path)-1]
}

// require notes a problem unless ok.
func (c *checker) require(ok bool, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, &FormatError{
			Path:    strings.Join(c.path, "."),
			Problem: fmt.Sprintf(format, args...),
		})
	}
}

// requireNil notes the problem that err is, unless it is only unsupported.
func (c *checker) requireNil(err error) {
	var formatErr *FormatError
	if errors.As(err, &formatErr) {
		c.require(false, "%s", formatErr.Problem)
	}
}

// scope is the names that a graph can use: its own and those around it.
type scope struct {
	outer *scope
	names map[string]bool
}

func newScope(outer *scope) *scope { return &scope{outer, map[string]bool{}} }

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.names[name] {
			return true
		}
	}
	return false
}

// define adds a name, which must be new (single assignment).
func (c *checker) define(s *scope, name string) {
	c.require(!s.has(name), "%q is defined already", shorten(name))
	s.names[name] = true
}

func (c *checker) modelFields() {
	m := c.model
	c.require(m.IRVersion > 0, "ir_version is missing")
	c.require(m.Graph != nil, "graph is missing")
	c.require(m.IRVersion < 3 || len(m.Opsets) > 0, "opset_import is missing")
	c.opsetList(m.Opsets)
	seen := map[string]bool{}
	for i, p := range m.Metadata {
		c.in(element("metadata_props", i, p.Key), func() {
			c.require(!seen[p.Key], "key is there twice")
		})
		seen[p.Key] = true
	}
}

func (c *checker) opsetList(opsets []OpsetID) {
	seen := map[string]bool{}
	for i, o := range opsets {
		c.in(element("opset_import", i, o.Domain), func() {
			c.require(o.Version > 0, "version is %d", o.Version)
			c.require(!seen[canonicalDomain(o.Domain)], "domain is imported twice")
		})
		seen[canonicalDomain(o.Domain)] = true
	}
}

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

func (c *checker) valueInfo(v *ValueInfo, typed bool) {
	c.require(v.Name != "", "name is missing")
	if v.Type == nil {
		c.require(!typed, "type is missing")
		return
	}
	c.in("type", func() { c.typ(v.Type) })
}

func (c *checker) typ(t *Type) {
	kinds := 0
	for _, set := range []bool{
		t.Tensor != nil, t.SparseTensor != nil, t.Sequence != nil,
		t.Optional != nil, t.Map != nil, t.Opaque != nil,
	} {
		if set {
			kinds++
		}
	}
	c.require(kinds <= 1, "is %d types at once", kinds)
	for _, tensor := range []*TensorType{t.Tensor, t.SparseTensor} {
		if tensor != nil {
			c.tensorType(tensor)
		}
	}
	if t.Sequence != nil {
		c.elemType(t.Sequence.Elem)
	}
	if t.Optional != nil {
		c.elemType(t.Optional.Elem)
	}
	if t.Map != nil {
		c.require(t.Map.Key != Undefined, "key_type is missing")
		c.elemType(t.Map.Value)
	}
}

func (c *checker) elemType(t *Type) {
	if t == nil {
		c.require(false, "elem_type is missing")
		return
	}
	c.in("elem_type", func() { c.typ(t) })
}

func (c *checker) tensorType(t *TensorType) {
	c.require(t.Elem != Undefined, "elem_type is missing")
	for i, d := range t.Shape {
		c.require(d.Value >= 0, "shape has the extent %d on axis %d", d.Value, i)
	}
}

// recursion reports functions that call themselves, directly or by others.
func (c *checker) recursion() {
	const (
		unseen = iota
		active
		done
	)
	index := map[[3]string]int{}
	for i, f := range c.model.Functions {
		index[[3]string{canonicalDomain(f.Domain), f.Name, f.Overload}] = i
	}
	state := make([]int, len(c.model.Functions))
	var visit func(i int)
	visit = func(i int) {
		f := c.model.Functions[i]
		switch state[i] {
		case active:
			c.in(element("functions", i, f.Name), func() { c.require(false, "calls itself") })
			return
		case done:
			return
		}
		state[i] = active
		walk(f.Nodes, func(n *Node) {
			if j, ok := index[[3]string{canonicalDomain(n.Domain), n.OpType, n.Overload}]; ok {
				visit(j)
			}
		})
		state[i] = done
	}
	for i := range c.model.Functions {
		visit(i)
	}
}

// walk calls visit for each of the nodes and for those of graphs inside them.
func walk(nodes []*Node, visit func(*Node)) {
	for _, n := range nodes {
		visit(n)
		for _, a := range n.Attrs {
			for _, g := range present(a.G, a.Graphs) {
				walk(g.Nodes, visit)
			}
		}
	}
}

// name is the name that s has as an initializer.
func (s *SparseTensor) name() string {
	if s.Values == nil {
		return ""
	}
	return s.Values.Name
}
