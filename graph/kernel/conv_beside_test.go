package kernel

import (
	"fmt"
	"math"
	"testing"
)

// TestBesideConv compares the convolution of images side by side with the sum
// that defines it, for every geometry that is small and whatever its batch.
func TestBesideConv(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	cases := append(convCases(),
		ConvGeom{N: 64, C: 400, H: 1, W: 1, OutC: 50, KH: 1, KW: 1},
		ConvGeom{N: 48, C: 20, H: 3, W: 1, OutC: 24, KH: 1, KW: 1},
		ConvGeom{N: 48, C: 18, H: 3, W: 2, OutC: 48, KH: 1, KW: 1, Group: 2},
		ConvGeom{N: 48, C: 30, H: 3, W: 2, OutC: 28, KH: 1, KW: 1, Group: 2},
		ConvGeom{N: 16, C: 390, H: 2, W: 2, OutC: 13, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
	)
	for _, g := range cases {
		g = g.withDefaults()
		if g.N = roundUp(g.N, BesideImages); g.N*g.OutC*g.OH*g.OW*g.C/g.Group*g.KH*g.KW > 1e5 {
			continue
		}
		t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
			for _, tl := range tilings[float32]() {
				testBesideConv(t, team, tl, g)
			}
			testBesideConv(t, team, tilings[float64]()[0], g)
		})
	}
}

func testBesideConv[T Float](t *testing.T, team *Team, tl *tiling[T], g ConvGeom) {
	t.Helper()
	x, w, bias, y := newGuarded[T](g.xSize()), newGuarded[T](g.wSize()), newGuarded[T](g.OutC), newGuarded[T](g.ySize())
	fill(x.s, 1)
	fill(w.s, 2)
	fill(bias.s, 3)
	// beside is where element i of [N channels pixels] lies.
	beside := func(i, channels, pixels int) int {
		n, c, q := i/(channels*pixels), i/pixels%channels, i%pixels
		return (((n/BesideImages*pixels)+q)*channels+c)*BesideImages + n%BesideImages
	}
	sum := make([]float64, g.ySize())
	eachProduct(g, func(yi, wi, xi int) {
		sum[yi] += float64(w.s[wi]) * float64(x.s[beside(xi, g.C, g.H*g.W)])
	})
	for i, a := range activationCases {
		b := bias.s
		if i%2 == 1 {
			b = nil
		}
		c := newBesideConv(tl, g, ConvOptions{Activation: a, FixedWeights: true})
		for range 2 {
			c.Run(team, x.s, w.s, b, y.s)
		}
		for i, want := range sum {
			if b != nil {
				want += float64(b[i/(g.OH*g.OW)%g.OutC])
			}
			if a.Kind == ClipActivation {
				want = math.Min(math.Max(want, a.Low), a.High)
			}
			if got := y.s[beside(i, g.OutC, g.OH*g.OW)]; !nearSum(got, want, g.C/g.Group*g.KH*g.KW) {
				t.Fatalf("%s, %+v: y[%d] = %v, want %v", tl.name, a, i, got, want)
			}
		}
	}
	y.check(t, "y")
}

func TestBesideConvAllocatesNothing(t *testing.T) {
	for _, g := range []ConvGeom{
		{N: 32, C: 3, H: 5, W: 5, OutC: 8, KH: 3, KW: 3},
		{N: 32, C: 20, H: 5, W: 5, OutC: 20, KH: 3, KW: 3},
		{N: 32, C: 20, H: 5, W: 5, OutC: 20, KH: 3, KW: 3, Group: 20},
	} {
		c := NewBesideConv[float32](g, ConvOptions{})
		g = c.Geom
		x, w, y := make([]float32, g.xSize()), make([]float32, g.wSize()), make([]float32, g.ySize())
		noAllocs(t, func(team *Team) { c.Run(team, x, w, nil, y) })
	}
}
