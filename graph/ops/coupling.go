package ops

import (
	"slices"

	"github.com/unprune/unprune/graph"
)

// A Place is one position along one axis of a value.
type Place struct {
	Axis
	Position int
}

// A Class is places that stay or go together. A fixed class cannot go: one of
// its places belongs to an input or output of the graph, or to an axis whose
// operator cannot lose positions. Places of a mixed class are computed with
// together (normalised, say), so that taking some away changes the others'
// values.
type Class struct {
	Places       []Place
	Fixed, Mixed bool
}

// A Coupling is the classes of all places of a graph, and the sums through
// which values flow from one class to another.
type Coupling struct {
	Rules map[*graph.Node]*Axes // nil where the operator has none

	start  map[Axis]int // of the axis' first place
	axes   []Axis       // in the order of start
	parent []int32
	fixed  []bool // per root
	mixed  []bool
}

// Couple computes the classes of a graph whose shapes are known.
func Couple(g *graph.Graph) (*Coupling, error) {
	c := &Coupling{Rules: map[*graph.Node]*Axes{}, start: map[Axis]int{}}
	for _, v := range slices.Concat(g.Inputs, g.Inits) {
		c.add(v)
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			c.add(v)
		}
	}
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		c.fixAll(v)
	}
	var products []Product
	for _, n := range g.Nodes {
		rule, err := AxesOf(n)
		if err != nil {
			return nil, err
		}
		c.Rules[n] = rule
		c.apply(n, rule)
		if rule != nil {
			products = append(products, rule.Products...)
		}
	}
	for _, p := range products {
		c.choose(p)
	}
	return c, nil
}

// add gives the places of a value their numbers.
func (c *Coupling) add(v *graph.Value) {
	if v == nil {
		return
	}
	for i, d := range v.Shape {
		a := Axis{v, i}
		c.start[a] = len(c.parent)
		c.axes = append(c.axes, a)
		for range d {
			c.parent = append(c.parent, int32(len(c.parent)))
			c.fixed, c.mixed = append(c.fixed, false), append(c.mixed, false)
		}
	}
}

func (c *Coupling) fixAll(v *graph.Value) {
	if v == nil {
		return
	}
	for i := range v.Shape {
		c.mark(c.fixed, Axis{v, i}, 0, v.Shape[i])
	}
}

// mark sets a flag for the classes of count places.
func (c *Coupling) mark(flags []bool, a Axis, from, count int) {
	for k := range count {
		flags[c.root(c.start[a]+from+k)] = true
	}
}

// apply joins what the node's rule ties and fixes what it does not mention.
func (c *Coupling) apply(n *graph.Node, rule *Axes) {
	mentioned := map[Axis]bool{}
	if rule != nil {
		mentioned = rule.Mentioned()
	}
	for _, v := range slices.Concat(n.Inputs, n.Outputs) {
		if v == nil {
			continue
		}
		for i := range v.Shape {
			if a := (Axis{v, i}); !mentioned[a] {
				c.mark(c.fixed, a, 0, a.Extent())
			}
		}
	}
	if rule == nil {
		return
	}
	for _, t := range rule.Ties {
		for k := range t.Count {
			c.join(c.start[t.A]+t.I+k, c.start[t.B]+t.J+k)
		}
	}
	for _, t := range rule.Held {
		c.mark(c.fixed, t.A, t.I, t.Count)
	}
	for _, a := range rule.Mixed {
		c.mark(c.mixed, a, 0, a.Extent())
	}
}

// choose settles along which part positions of a merged axis can go: the
// first one that nothing fixes. Of query, key and value stacked in front of
// heads these are the heads, of channels and pixels the channels. The other
// parts are fixed.
func (c *Coupling) choose(p Product) {
	free := slices.IndexFunc(p.Parts, func(a Axis) bool {
		for k := range a.Extent() {
			if c.fixed[c.root(c.start[a]+k)] {
				return false
			}
		}
		return true
	})
	for i, part := range p.Parts {
		if i != free {
			c.mark(c.fixed, part, 0, part.Extent())
		}
	}
	if free < 0 {
		c.mark(c.fixed, p.Whole, 0, p.Whole.Extent())
		return
	}
	for j := range p.Whole.Extent() {
		c.join(c.start[p.Whole]+j, c.start[p.Parts[free]]+p.At(free, j))
	}
}

// At is the position along part i of position j of the whole.
func (p Product) At(i, j int) int {
	for _, later := range p.Parts[i+1:] {
		j /= later.Extent()
	}
	return j % p.Parts[i].Extent()
}

func (c *Coupling) root(i int) int {
	for int(c.parent[i]) != i {
		c.parent[i] = c.parent[c.parent[i]]
		i = int(c.parent[i])
	}
	return i
}

// join unites two classes; the lower place stays the root.
func (c *Coupling) join(i, j int) {
	i, j = c.root(i), c.root(j)
	if i > j {
		i, j = j, i
	}
	if i != j {
		c.parent[j] = int32(i)
		c.fixed[i] = c.fixed[i] || c.fixed[j]
		c.mixed[i] = c.mixed[i] || c.mixed[j]
	}
}

// Class identifies the class of a place: places of one class have one number.
func (c *Coupling) Class(a Axis, position int) int { return c.root(c.start[a] + position) }

// Fixed reports whether the places of an axis' position cannot go.
func (c *Coupling) Fixed(class int) bool { return c.fixed[c.root(class)] }

// Classes lists all classes in the order of their first place.
func (c *Coupling) Classes() []Class {
	at := map[int]int{}
	var classes []Class
	for _, a := range c.axes {
		for k := range a.Extent() {
			r := c.Class(a, k)
			i, ok := at[r]
			if !ok {
				i = len(classes)
				at[r] = i
				classes = append(classes, Class{Fixed: c.fixed[r], Mixed: c.mixed[r]})
			}
			classes[i].Places = append(classes[i].Places, Place{a, k})
		}
	}
	return classes
}
