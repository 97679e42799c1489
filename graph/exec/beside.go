package exec

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// placeBeside brings images side by side (see ops.Beside) in those parts of g
// whose kernels would otherwise do so one by one. A part is as large as nodes
// that have that form hang together. What it reads, and what others read of it,
// is turned at its border; the part counts only if less is moved there.
func placeBeside(g *graph.Graph) error {
	p := placement{b: ops.NewBuilder(g), forms: map[*graph.Node]*ops.Beside{}, parent: map[*graph.Node]*graph.Node{}, turned: map[*graph.Value]*graph.Value{}}
	for _, n := range g.Nodes {
		if err := p.look(n); err != nil {
			return err
		}
	}
	gain := map[*graph.Node]int{} // of each part
	read := map[border]bool{}
	for n, form := range p.forms {
		part := p.part(n)
		gain[part] += form.Moves
		for _, v := range p.images(n) {
			if at := (border{v, part}); !p.within(v.Producer(), part) && !read[at] {
				read[at] = true
				gain[part] -= v.Shape.Size()
			}
		}
		if y := n.Outputs[0]; p.leaves(y) {
			gain[part] -= y.Shape.Size()
		}
	}
	for _, n := range slices.Clone(g.Nodes) {
		if p.forms[n] != nil && gain[p.part(n)] > 0 {
			if err := p.rebuild(n); err != nil {
				return err
			}
		}
	}
	g.Prune()
	return g.Sort()
}

// border is where a part reads a value that is not its own.
type border struct {
	v    *graph.Value
	part *graph.Node
}

// placement is the work of placeBeside.
type placement struct {
	b      *ops.Builder
	forms  map[*graph.Node]*ops.Beside
	parent map[*graph.Node]*graph.Node   // towards the node that stands for the part
	turned map[*graph.Value]*graph.Value // values side by side
}

// look finds out whether n has the form and joins it to the parts it reads.
func (p *placement) look(n *graph.Node) error {
	op, err := ops.Lookup(n)
	if err != nil || op.Beside == nil || len(n.Outputs[0].Shape) != 4 || !n.Outputs[0].Shape.Known() {
		return err
	}
	form := op.Beside(n)
	if form == nil {
		return nil
	}
	p.forms[n] = form
	for _, v := range p.images(n) {
		if from := v.Producer(); p.forms[from] != nil {
			p.parent[p.part(from)] = p.part(n)
		}
	}
	return nil
}

// part is the node that stands for n's part. Ways to it are halved as they are
// gone, so that long chains of nodes take no square of their length.
func (p *placement) part(n *graph.Node) *graph.Node {
	for p.parent[n] != nil && p.parent[n] != n {
		if next := p.parent[p.parent[n]]; next != nil {
			p.parent[n] = next
		}
		n = p.parent[n]
	}
	return n
}

func (p *placement) within(n, part *graph.Node) bool { return p.forms[n] != nil && p.part(n) == part }

// images lists the inputs of n that are images.
func (p *placement) images(n *graph.Node) []*graph.Value {
	var list []*graph.Value
	for _, i := range p.forms[n].Images {
		list = append(list, n.Inputs[i])
	}
	return list
}

// leaves tells whether anybody reads v as it was.
func (p *placement) leaves(v *graph.Value) bool {
	return slices.Contains(p.b.G.Outputs, v) || slices.ContainsFunc(v.Uses(), func(u graph.Use) bool {
		form := p.forms[u.Node]
		return form == nil || !slices.Contains(form.Images, u.Slot)
	})
}

// rebuild replaces n by its other form.
func (p *placement) rebuild(n *graph.Node) error {
	in := slices.Clone(n.Inputs)
	for _, i := range p.forms[n].Images {
		in[i] = p.beside(in[i])
	}
	y, leaves := n.Outputs[0], p.leaves(n.Outputs[0])
	z := p.forms[n].Build(p.b, in)
	p.turned[y] = z
	if !leaves {
		return p.b.Err
	}
	back := p.b.Apart(z)
	if p.b.Err != nil {
		return p.b.Err
	}
	p.turned[back] = z
	return replace(p.b.G, y, back)
}

// beside is v with images side by side.
func (p *placement) beside(v *graph.Value) *graph.Value {
	if p.turned[v] == nil {
		p.turned[v] = p.b.Beside(v)
	}
	return p.turned[v]
}
