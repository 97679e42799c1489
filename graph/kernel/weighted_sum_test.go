package kernel

import (
	"fmt"
	"testing"
)

// TestWeightedSum compares with sums in double precision: rows longer and shorter than
// a unit, with and without channels, in place of the first two terms, on one thread and two.
func TestWeightedSum(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, c := range []struct{ n, channels, spatial, terms int }{
		{0, 3, 4, 1}, {2, 3, 16, 1}, {3, 5, 7, 2}, {2, 3, unitSize + 5, 2}, {40, 70, 20, 3}, {1, 1, 3*unitSize + 1, 4},
	} {
		for way := range 16 {
			factors, offset, mask, relu := way&1 != 0, way&2 != 0, way&4 != 0, way&8 != 0
			name := fmt.Sprintf("%+v, factors %v, offset %v, mask %v, relu %v", c, factors, offset, mask, relu)
			size := c.n * c.channels * c.spatial
			s := &WeightedSum[float32]{N: c.n, Channels: c.channels, Spatial: c.spatial, Relu: relu}
			for i := range c.terms {
				term := SumTerm[float32]{X: fill(make([]float32, size), uint64(i))}
				if factors && i != 1 {
					term.Factor = fill(make([]float32, c.channels), uint64(10+i))
				}
				s.Terms = append(s.Terms, term)
			}
			if offset {
				s.Offset = fill(make([]float32, c.channels), 20)
			}
			if mask {
				s.Mask = fill(make([]float32, size), 21)
			}
			z := newGuarded[float32](size)
			s.Run(team, z.s)
			z.check(t, name)
			for i, got := range z.s {
				channel, want := i/c.spatial%c.channels, 0.0
				if offset {
					want = float64(s.Offset[channel])
				}
				for _, term := range s.Terms {
					want += float64(term.factor(channel)) * float64(term.X[i])
				}
				if relu {
					want = max(want, 0)
				}
				if mask && !(s.Mask[i] > 0) {
					want = 0
				}
				if !nearSum(got, want, c.terms+1) {
					t.Fatalf("%s: element %d is %v, want %v", name, i, got, want)
				}
			}
			sameBits(t, name+", one thread", func() []float32 {
				one := make([]float32, size)
				s.Run(nil, one)
				return one
			}(), z.s)
			place := s.Terms[min(way&1, c.terms-1)].X
			s.Run(team, place)
			sameBits(t, name+", in place", place, z.s)
		}
	}
}
