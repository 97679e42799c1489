package graph

import (
	"fmt"
	"slices"
)

// SetInput makes input slot of n read v (nil leaves the input out).
func (g *Graph) SetInput(n *Node, slot int, v *Value) {
	for len(n.Inputs) <= slot {
		n.Inputs = append(n.Inputs, nil)
	}
	if old := n.Inputs[slot]; old != nil {
		if i := slices.Index(old.uses, Use{n, slot}); i >= 0 {
			old.uses = slices.Delete(old.uses, i, i+1)
		}
	}
	n.Inputs[slot] = v
	if v != nil {
		v.uses = append(v.uses, Use{n, slot})
	}
}

// ReplaceUses makes every reader of old, graph outputs included, read v.
func (g *Graph) ReplaceUses(old, v *Value) {
	if old == v {
		return
	}
	for _, u := range old.uses {
		u.Node.Inputs[u.Slot] = v
	}
	if v != nil {
		v.uses = append(v.uses, old.uses...)
	}
	old.uses = nil
	for i, out := range g.Outputs {
		if out == old {
			g.Outputs[i] = v
		}
	}
}

// Supplant makes every reader of old read v. Where old is an output of the
// graph, v takes over its name and what the file says about it, behind an
// Identity if v has a name of its own that is asked for: as an input, an
// initializer or another output.
func (g *Graph) Supplant(old, v *Value) error {
	if !slices.Contains(g.Outputs, old) {
		g.ReplaceUses(old, v)
		return nil
	}
	if v.from == nil || slices.Contains(g.Outputs, v) {
		same := g.AddNode("", "Identity", []*Value{v}, 1).Outputs[0]
		same.DType, same.Shape = v.DType, v.Shape.Clone()
		v = same
	}
	v.Info = old.Info
	g.ReplaceUses(old, v)
	name := old.Name
	if err := g.Rename(old, g.Unique(name)); err != nil {
		return err
	}
	return g.Rename(v, name)
}

// Rename gives v a new name. It fails when another value has it.
func (g *Graph) Rename(v *Value, name string) error {
	if other := g.values[name]; other != nil && other != v {
		return fmt.Errorf("graph: rename %q: another value is called %q", v.Name, name)
	}
	delete(g.values, v.Name)
	v.Name = name
	g.values[name] = v
	return nil
}

// RemoveNode takes n out of the graph together with its outputs, which nobody
// may read any more.
func (g *Graph) RemoveNode(n *Node) error {
	for _, out := range n.Outputs {
		if out != nil && (len(out.uses) > 0 || slices.Contains(g.Outputs, out)) {
			return fmt.Errorf("graph: remove node %q: its output %q is still read", n.Name, out.Name)
		}
	}
	for i := range n.Inputs {
		g.SetInput(n, i, nil)
	}
	for _, out := range n.Outputs {
		if out != nil {
			delete(g.values, out.Name)
		}
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(m *Node) bool { return m == n })
	return nil
}

// RemoveInit takes an initializer that nobody reads out of the graph.
func (g *Graph) RemoveInit(v *Value) error {
	if len(v.uses) > 0 || slices.Contains(g.Outputs, v) {
		return fmt.Errorf("graph: remove initializer %q: it is still read", v.Name)
	}
	delete(g.values, v.Name)
	g.Inits = slices.DeleteFunc(g.Inits, func(w *Value) bool { return w == v })
	return nil
}

// Prune removes every node and initializer that no graph output needs. Graph
// inputs stay: they are the graph's signature.
func (g *Graph) Prune() {
	live := map[*Node]bool{}
	var visit func(v *Value)
	stack := []*Node{}
	visit = func(v *Value) {
		if v != nil && v.from != nil && !live[v.from] {
			live[v.from] = true
			stack = append(stack, v.from)
		}
	}
	for _, out := range g.Outputs {
		visit(out)
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, in := range n.Inputs {
			visit(in)
		}
	}
	kept := g.Nodes[:0:0]
	for _, n := range g.Nodes {
		if live[n] {
			kept = append(kept, n)
			continue
		}
		for _, out := range n.Outputs {
			if out != nil {
				delete(g.values, out.Name)
			}
		}
	}
	if len(kept) < len(g.Nodes) {
		for _, v := range g.values {
			v.uses = slices.DeleteFunc(v.uses, func(u Use) bool { return !live[u.Node] })
		}
	}
	g.Nodes = kept
	g.Inits = slices.DeleteFunc(g.Inits, func(v *Value) bool {
		if len(v.uses) > 0 || slices.Contains(g.Outputs, v) {
			return false
		}
		delete(g.values, v.Name)
		return true
	})
}

// DropOutputs removes the outputs of n from index first on. Nobody may read
// them any more.
func (g *Graph) DropOutputs(n *Node, first int) {
	if first >= len(n.Outputs) {
		return
	}
	for _, out := range n.Outputs[first:] {
		if out != nil {
			delete(g.values, out.Name)
		}
	}
	n.Outputs = n.Outputs[:first]
}

// AddOutputs gives n new outputs until it has count of them, none left out.
// Their types are unknown until they are inferred.
func (g *Graph) AddOutputs(n *Node, count int) {
	n.Outputs = slices.Clone(n.Outputs)
	for len(n.Outputs) < count {
		n.Outputs = append(n.Outputs, nil)
	}
	for i, out := range n.Outputs[:count] {
		if out == nil {
			v := g.declare(n.Op)
			v.from = n
			n.Outputs[i] = v
		}
	}
}

// Promote turns an initializer into a graph input of the same name.
func (g *Graph) Promote(v *Value) {
	g.Inits = slices.DeleteFunc(g.Inits, func(w *Value) bool { return w == v })
	v.Const, v.Info = nil, nil
	g.Inputs = append(g.Inputs, v)
}

// Demote turns a graph input whose data were set in Const into an initializer.
func (g *Graph) Demote(v *Value) {
	g.Inputs = slices.DeleteFunc(g.Inputs, func(w *Value) bool { return w == v })
	g.Inits = append(g.Inits, v)
}

// MakeConst turns the output of a node into an initializer with the data t
// and leaves the node without that output.
func (g *Graph) MakeConst(v *Value) {
	n := v.from
	for i, out := range n.Outputs {
		if out == v {
			n.Outputs[i] = nil
		}
	}
	v.from = nil
	g.Inits = append(g.Inits, v)
}

// Sort puts the nodes into topological order, keeping their present order
// where it is one. It fails, naming a node, when there is a cycle.
func (g *Graph) Sort() error {
	waits := make(map[*Node]int, len(g.Nodes)) // inputs not made yet
	readers := make(map[*Node][]*Node, len(g.Nodes))
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			if in != nil && in.from != nil {
				waits[n]++
				readers[in.from] = append(readers[in.from], n)
			}
		}
	}
	place := make(map[*Node]int, len(g.Nodes))
	for i, n := range g.Nodes {
		place[n] = i
	}
	ready := nodeHeap{place: place}
	for _, n := range g.Nodes {
		if waits[n] == 0 {
			ready.push(n)
		}
	}
	sorted := make([]*Node, 0, len(g.Nodes))
	for len(ready.nodes) > 0 {
		n := ready.pop()
		sorted = append(sorted, n)
		for _, r := range readers[n] {
			if waits[r]--; waits[r] == 0 {
				ready.push(r)
			}
		}
	}
	if len(sorted) < len(g.Nodes) {
		for _, n := range g.Nodes {
			if waits[n] > 0 {
				return fmt.Errorf("graph: node %q (%s) is part of a cycle", n.Name, n.Op)
			}
		}
	}
	g.Nodes = sorted
	return nil
}

// Clone returns a deep copy of the graph's structure. Tensors of initializers
// and what came from the file are shared.
func (g *Graph) Clone() *Graph {
	c := &Graph{
		Name: g.Name, Opsets: map[string]int{}, Source: g.Source, Noise: slices.Clone(g.Noise),
		values: make(map[string]*Value, len(g.values)), fresh: g.fresh,
	}
	for d, v := range g.Opsets {
		c.Opsets[d] = v
	}
	twin := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		if t := c.values[v.Name]; t != nil {
			return t
		}
		t := &Value{Name: v.Name, DType: v.DType, Shape: v.Shape.Clone(), Const: v.Const, Info: v.Info}
		c.values[v.Name] = t
		return t
	}
	for _, v := range g.Inputs {
		c.Inputs = append(c.Inputs, twin(v))
	}
	for _, v := range g.Inits {
		c.Inits = append(c.Inits, twin(v))
	}
	for _, n := range g.Nodes {
		m := &Node{Name: n.Name, Op: n.Op, Domain: n.Domain, Version: n.Version, Attrs: slices.Clone(n.Attrs), Captured: n.Captured, Source: n.Source}
		for i, in := range n.Inputs {
			t := twin(in)
			m.Inputs = append(m.Inputs, t)
			if t != nil {
				t.uses = append(t.uses, Use{m, i})
			}
		}
		for _, out := range n.Outputs {
			t := twin(out)
			if t != nil {
				t.from = m
			}
			m.Outputs = append(m.Outputs, t)
		}
		c.Nodes = append(c.Nodes, m)
	}
	for _, v := range g.Outputs {
		c.Outputs = append(c.Outputs, twin(v))
	}
	return c
}

// nodeHeap is a binary heap of nodes, first place first.
type nodeHeap struct {
	nodes []*Node
	place map[*Node]int
}

func (h *nodeHeap) less(i, j int) bool { return h.place[h.nodes[i]] < h.place[h.nodes[j]] }

func (h *nodeHeap) push(n *Node) {
	h.nodes = append(h.nodes, n)
	for i := len(h.nodes) - 1; i > 0; {
		p := (i - 1) / 2
		if !h.less(i, p) {
			break
		}
		h.nodes[i], h.nodes[p] = h.nodes[p], h.nodes[i]
		i = p
	}
}

func (h *nodeHeap) pop() *Node {
	n := h.nodes[0]
	last := len(h.nodes) - 1
	h.nodes[0] = h.nodes[last]
	h.nodes = h.nodes[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			break
		}
		h.nodes[i], h.nodes[c] = h.nodes[c], h.nodes[i]
		i = c
	}
	return n
}
