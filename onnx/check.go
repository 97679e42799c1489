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
