package train

import (
	"fmt"

	"github.com/unprune/unprune/unprune/data"
)

// noise draws the inputs that stand for dropout. Every draw has a stream of
// its own, so that a run can go on from any step.
type noise struct {
	seed  uint64
	draws int
}

func newNoise(seed uint64) *noise { return &noise{seed: seed} }

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
		scale := 1 / (1 - in.Ratio)
		for i := range t.Len() {
			x := scale
			if stream.Float64() < in.Ratio {
				x = 0
			}
			setElement(t, i, x)
		}
	}
}
