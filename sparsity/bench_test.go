package sparsity

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkPrune scores and cuts a network of ResNet-18's size (11 million weights).
func BenchmarkPrune(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	var layers []Layer
	for i, c := range []int{64, 128, 256, 512, 512, 512, 512} {
		layers = append(layers, randomLayer(rng, string(rune('a'+i)), c, min(c, 512), 3, 3))
	}
	for _, name := range []string{"magnitude", "global-magnitude", "lth", "filter-l2", "fpgm"} {
		p, err := ByName(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				scores, err := p.Score(Input{Layers: layers})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Prune(scores, nil, .9); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
