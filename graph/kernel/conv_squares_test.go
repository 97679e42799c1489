package kernel

import (
	"fmt"
	"testing"
)

func TestConvSampleSquares(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, g := range convCases() {
		g = g.withDefaults()
		t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
			wishes := []Winograd{WinogradNever}
			if newConvSampleSquares(goTiling[float32](), g, ConvOptions{Winograd: WinogradWhereFits}).winograd != nil {
				wishes = append(wishes, WinogradWhereFits)
			}
			for _, wish := range wishes {
				opt := ConvOptions{Winograd: wish}
				for _, tl := range tilings[float32]() {
					testConvSampleSquares(t, team, tl, g, opt)
				}
				testConvSampleSquares(t, team, tilings[float64]()[0], g, opt)
			}
		})
	}
}

// testConvSampleSquares compares with the gradient of one image at a time.
func testConvSampleSquares[T Float](t *testing.T, team *Team, tl *tiling[T], g ConvGeom, opt ConvOptions) {
	t.Helper()
	x, dy := newGuarded[T](g.xSize()), newGuarded[T](g.ySize())
	squares := newGuarded[T](g.wSize())
	fill(x.s, 1)
	fill(dy.s, 3)
	single := make([][]float64, g.N)
	for n := range single {
		single[n] = make([]float64, g.wSize())
	}
	eachProduct(g, func(yi, wi, xi int) {
		single[yi/(g.OutC*g.OH*g.OW)][wi] += float64(x.s[xi]) * float64(dy.s[yi])
	})
	newConvSampleSquares(tl, g, opt).Run(team, x.s, dy.s, squares.s)
	terms := g.N * g.OH * g.OW
	if opt.Winograd != WinogradNever {
		terms *= 36 // as in testConv
	}
	for i := range g.wSize() {
		want, scale := 0.0, 0.0
		for n := range single {
			v := single[n][i]
			want += v * v
			scale = max(scale, v*v)
		}
		if !nearSum(squares.s[i], want, 2*terms*max(1, int(scale))) {
			t.Fatalf("%s: square %d is %v, want %v", tl.name, i, squares.s[i], want)
		}
	}
	squares.check(t, tl.name+" squares")
}

func TestConvSampleSquaresSameBitsOnAnyTeam(t *testing.T) {
	for _, g := range steadyGeoms {
		g = g.withDefaults()
		x, dy := fill(make([]float32, g.xSize()), 1), fill(make([]float32, g.ySize()), 3)
		for _, opt := range []ConvOptions{{}, {Winograd: WinogradWhereFits}} {
			k := NewConvSampleSquares[float32](g, opt)
			run := func(team *Team) []float32 {
				squares := make([]float32, g.wSize())
				k.Run(team, x, dy, squares)
				return squares
			}
			want := run(nil)
			for threads := 1; threads <= 3; threads++ {
				team := NewTeam(threads)
				sameBits(t, fmt.Sprintf("%+v, %+v: %d threads", g, opt, threads), run(team), want)
				team.Close()
			}
		}
	}
}
