package train

import (
	"math/rand/v2"

	"github.com/unprune/unprune/unprune/data"
)

// noise draws the inputs that stand for dropout, from a stream of its own.
type noise struct{ rand *rand.Rand }

func newNoise(seed uint64) *noise { return &noise{data.Stream(seed, "train", "dropout")} }

// draw fills the noise inputs that a program has.
func (n *noise) draw(p *compiled) {
	for _, in := range p.noise {
		t := p.Input(in.Input)
		if t == nil {
			continue
		}
		scale := 1 / (1 - in.Ratio)
		for i := range t.Len() {
			x := scale
			if n.rand.Float64() < in.Ratio {
				x = 0
			}
			setElement(t, i, x)
		}
	}
}
