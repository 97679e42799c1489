package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune/data"
)

// noise draws the inputs that stand for dropout. Every draw has a stream of
// its own, so that a run can go on from any step.
type noise struct {
	seed  uint64
	draws int

	// from, if not nil, is what the network was narrowed by: it gets the noise
	// that its units get in the whole network.
	from *pass.Narrowing
}

func newNoise(seed uint64) *noise { return &noise{seed: seed} }

// A noiseInput wants noise. kept, if not nil, says which of the numbers drawn
// go into it.
type noiseInput struct {
	graph.Noise
	kept []bool
}

// inputs lists what g wants noise in.
func (n *noise) inputs(g *graph.Graph) []noiseInput {
	var list []noiseInput
	for _, in := range g.Noise {
		list = append(list, noiseInput{in, n.kept(in.Input, g)})
	}
	return list
}

// kept says which elements of a dropout's whole output are left.
func (n *noise) kept(input string, g *graph.Graph) []bool {
	if n.from == nil {
		return nil
	}
	name := strings.TrimSuffix(input, pass.NoiseSuffix)
	dropped := n.from.Dropped[name]
	if dropped == nil {
		return nil
	}
	shape := slices.Clone(n.from.Wide[name])
	shape[0] = g.Value(input).Shape[0]
	kept := make([]bool, onnx.Size(shape))
	c := newCut(shape, dropped)
	for _, first := range c.first {
		for _, r := range c.rows {
			for i := range r.count {
				kept[first+r.from+i] = true
			}
		}
	}
	return kept
}

// draw fills the noise inputs that a program has.
func (n *noise) draw(p *compiled) {
	if len(p.noise) == 0 {
		return
	}
	n.draws++
	stream := data.Stream(n.seed, "train", fmt.Sprintf("dropout %d", n.draws))
	for _, in := range p.noise {
		t := p.Input(in.Input)
		if t == nil {
			continue
		}
		scale, at := 1/(1-in.Ratio), 0
		next := func() float64 {
			if stream.Float64() < in.Ratio {
				return 0
			}
			return scale
		}
		if in.kept == nil {
			for i := range t.Len() {
				setElement(t, i, next())
			}
			continue
		}
		for _, kept := range in.kept {
			if x := next(); kept {
				setElement(t, at, x)
				at++
			}
		}
	}
}
