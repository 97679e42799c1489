package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// convCases covers each term of the geometry, and what makes kernels branch:
// images smaller than a vector, batches that do not divide, many channels.
func convCases() []ConvGeom {
	cases := []ConvGeom{
		{N: 1, C: 1, H: 1, W: 1, OutC: 1, KH: 1, KW: 1},
		{N: 0, C: 2, H: 5, W: 5, OutC: 3, KH: 3, KW: 3},
		{N: 2, C: 1, H: 28, W: 28, OutC: 6, KH: 5, KW: 5, PadT: 2, PadL: 2, PadB: 2, PadR: 2},
		{N: 3, C: 6, H: 14, W: 14, OutC: 16, KH: 5, KW: 5},
		{N: 5, C: 16, H: 4, W: 4, OutC: 24, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
		{N: 19, C: 50, H: 2, W: 2, OutC: 9, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
		{N: 33, C: 7, H: 1, W: 1, OutC: 5, KH: 1, KW: 1},
		{N: 3, C: 70, H: 8, W: 8, OutC: 50, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
		{N: 2, C: 5, H: 9, W: 8, OutC: 7, KH: 1, KW: 1, StrideH: 2, StrideW: 2},
		{N: 2, C: 4, H: 17, W: 13, OutC: 6, KH: 3, KW: 2, StrideH: 3, StrideW: 2, PadT: 1, PadR: 1},
		{N: 1, C: 3, H: 35, W: 35, OutC: 8, KH: 11, KW: 11, StrideH: 4, StrideW: 4, PadT: 2, PadL: 2, PadB: 2, PadR: 2},
		{N: 2, C: 4, H: 12, W: 20, OutC: 6, KH: 3, KW: 3, DilH: 2, DilW: 3, PadT: 2, PadL: 3, PadB: 1},
		{N: 2, C: 4, H: 10, W: 10, OutC: 4, KH: 3, KW: 3, StrideH: 2, StrideW: 2, DilH: 2, DilW: 2, PadT: 2, PadL: 2},
		{N: 19, C: 5, H: 7, W: 9, OutC: 5, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1, Group: 5},
		{N: 80, C: 3, H: 16, W: 16, OutC: 3, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1, Group: 3},
		{N: 33, C: 4, H: 2, W: 1, OutC: 4, KH: 5, KW: 3, DilH: 2, PadT: 4, PadL: 2, PadB: 4, PadR: 1, Group: 4},
		{N: 2, C: 6, H: 10, W: 11, OutC: 9, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1, Group: 3},
		{N: 2, C: 8, H: 9, W: 9, OutC: 8, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1, Group: 8},
		{N: 18, C: 40, H: 4, W: 4, OutC: 19, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1, Group: 1},
		{N: 53, C: 32, H: 2, W: 3, OutC: 34, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1, Group: 2},
		{N: 16, C: 17, H: 4, W: 4, OutC: 16, KH: 5, KW: 5, StrideH: 2, StrideW: 2, PadT: 2, PadL: 2, PadB: 2, PadR: 2},
		{N: 17, C: 20, H: 2, W: 2, OutC: 20, KH: 2, KW: 2, PadT: 2, PadL: 1, PadB: 3, PadR: 2},
		{N: 13, C: 3, H: 9, W: 12, OutC: 7, KH: 3, KW: 5, PadT: 1, PadL: 2, PadB: 1, PadR: 2},
		{N: 30, C: 2, H: 11, W: 6, OutC: 13, KH: 3, KW: 3, StrideH: 2, StrideW: 3, DilW: 2, PadL: 1},
		{N: 31, C: 5, H: 12, W: 13, OutC: 5, KH: 2, KW: 3},
		{N: 32, C: 1, H: 40, W: 37, OutC: 6, KH: 5, KW: 5, PadT: 2, PadL: 2, PadB: 2, PadR: 2},
		{N: 3, C: 30, H: 4, W: 8, OutC: 28, KH: 1, KW: 1, Group: 2},
		{N: 2, C: 400, H: 4, W: 4, OutC: 50, KH: 1, KW: 1},
		{N: 2, C: 7, H: 16, W: 18, OutC: 50, KH: 1, KW: 1},
		{N: 3, C: 2, H: 1, W: 50, OutC: 3, KH: 1, KW: 7, PadL: 3, PadR: 3},
		{N: 3, C: 65, H: 7, W: 7, OutC: 49, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
		{N: 2, C: 17, H: 30, W: 9, OutC: 20, KH: 3, KW: 3},
		{N: 9, C: 5, H: 3, W: 40, OutC: 7, KH: 3, KW: 3, PadT: 2, PadL: 3, PadB: 1, PadR: 2},
		{N: 2, C: 20, H: 70, W: 66, OutC: 3, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
		{N: 2, C: 100, H: 6, W: 6, OutC: 100, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
		{N: 1, C: 3, H: 3, W: 3, OutC: 2, KH: 3, KW: 3, StrideH: 2, StrideW: 2},
		{N: 1, C: 9, H: 16, W: 16, OutC: 17, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
		{N: 2, C: 17, H: 15, W: 22, OutC: 9, KH: 3, KW: 3, StrideH: 2, StrideW: 2},
		{N: 3, C: 16, H: 20, W: 9, OutC: 20, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadL: 2, PadB: 3, PadR: 1},
		{N: 2, C: 4, H: 7, W: 40, OutC: 5, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 3, PadL: 4, PadR: 3},
		{N: 2, C: 3, H: 1, W: 1, OutC: 4, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 3, PadL: 5},
		{N: 2, C: 8, H: 70, W: 67, OutC: 3, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1},
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for len(cases) < 81 {
		group := 1 + rng.IntN(3)
		g := ConvGeom{
			N: 1 + rng.IntN(5), C: group * (1 + rng.IntN(6)), H: 1 + rng.IntN(14), W: 1 + rng.IntN(20),
			OutC: group * (1 + rng.IntN(10)), KH: 1 + rng.IntN(4), KW: 1 + rng.IntN(4),
			StrideH: 1 + rng.IntN(3), StrideW: 1 + rng.IntN(3), DilH: 1 + rng.IntN(2), DilW: 1 + rng.IntN(2),
			PadT: rng.IntN(3), PadL: rng.IntN(3), PadB: rng.IntN(3), PadR: rng.IntN(3), Group: group,
		}
		if g.H+g.PadT+g.PadB > g.DilH*(g.KH-1) && g.W+g.PadL+g.PadR > g.DilW*(g.KW-1) {
			cases = append(cases, g)
		}
	}
	return cases
}

// eachProduct calls f for every product w*x that a convolution adds to y, with
// the elements' indices.
func eachProduct(g ConvGeom, f func(y, w, x int)) {
	channels, outs := g.C/g.Group, g.OutC/g.Group
	for n := range g.N {
		for o := range g.OutC {
			for oh := range g.OH {
				for ow := range g.OW {
					for c := range channels {
						for kh := range g.KH {
							for kw := range g.KW {
								h, w := oh*g.StrideH-g.PadT+kh*g.DilH, ow*g.StrideW-g.PadL+kw*g.DilW
								if h >= 0 && h < g.H && w >= 0 && w < g.W {
									f(((n*g.OutC+o)*g.OH+oh)*g.OW+ow,
										((o*channels+c)*g.KH+kh)*g.KW+kw,
										((n*g.C+o/outs*channels+c)*g.H+h)*g.W+w)
								}
							}
						}
					}
				}
			}
		}
	}
}

func TestConv(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, g := range convCases() {
		g = g.withDefaults()
		t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
			for _, tl := range tilings[float32]() {
				testConv(t, team, tl, g, WinogradNever)
				testConv(t, team, tl, g, WinogradWhereFits)
			}
			testConv(t, team, tilings[float64]()[0], g, WinogradNever)
			testConv(t, team, tilings[float64]()[0], g, WinogradWhereFits)
		})
	}
}

func testConv[T Float](t *testing.T, team *Team, tl *tiling[T], g ConvGeom, wish Winograd) {
	t.Helper()
	x, w, dy := newGuarded[T](g.xSize()), newGuarded[T](g.wSize()), newGuarded[T](g.ySize())
	y, dx, dw := newGuarded[T](g.ySize()), newGuarded[T](g.xSize()), newGuarded[T](g.wSize())
	bias, db := newGuarded[T](g.OutC), newGuarded[T](g.OutC)
	fill(x.s, 1)
	fill(w.s, 2)
	fill(dy.s, 3)
	fill(bias.s, 4)

	wantY, wantDX, wantDW := make([]float64, g.ySize()), make([]float64, g.xSize()), make([]float64, g.wSize())
	wantDB := make([]float64, g.OutC)
	for i := range wantY {
		o := i / (g.OH * g.OW) % g.OutC
		wantY[i] = float64(bias.s[o])
		wantDB[o] += float64(dy.s[i])
	}
	eachProduct(g, func(yi, wi, xi int) {
		wantY[yi] += float64(w.s[wi]) * float64(x.s[xi])
		wantDX[xi] += float64(w.s[wi]) * float64(dy.s[yi])
		wantDW[wi] += float64(x.s[xi]) * float64(dy.s[yi])
	})
	wantRelu := make([]float64, len(wantY))
	for i, v := range wantY {
		wantRelu[i] = max(v, 0)
	}

	compare := func(what string, got guarded[T], want []float64, terms int) {
		t.Helper()
		if wish != WinogradNever {
			terms *= 36 // errors are up to 6 times as large, see TestWinogradError
		}
		for i, v := range got.s {
			if !nearSum(v, want[i], terms) {
				t.Fatalf("%s: %s: element %d is %v, want %v", tl.name, what, i, v, want[i])
			}
		}
		got.check(t, tl.name+" "+what)
	}
	k := g.C / g.Group * g.KH * g.KW
	newConv(tl, g, ConvOptions{Winograd: wish}).Run(team, x.s, w.s, bias.s, y.s)
	compare("y", y, wantY, k)
	newConv(tl, g, ConvOptions{Activation: Rectifier, Winograd: wish}).Run(team, x.s, w.s, bias.s, y.s)
	compare("relu(y)", y, wantRelu, k)
	newConvGradInput(tl, g, ConvOptions{Winograd: wish}).Run(team, dy.s, w.s, dx.s)
	compare("dx", dx, wantDX, g.OutC/g.Group*g.KH*g.KW)
	newConvGradWeight(tl, g, ConvOptions{Winograd: wish}).Run(team, x.s, dy.s, dw.s)
	compare("dw", dw, wantDW, g.N*g.OH*g.OW)
	NewConvGradBias[T](g).Run(team, dy.s, db.s)
	compare("db", db, wantDB, g.N*g.OH*g.OW)
}

// steadyGeoms are large enough for several units in every kernel: four that
// Winograd's transforms compute, by groups and by steps, of stride 1 and 2, one
// that is computed pixel by pixel, a depthwise one, one whose input gradient has phases, one of
// few channels, with images side by side, and one of single pixels.
var steadyGeoms = []ConvGeom{
	{N: 7, C: 32, H: 16, W: 16, OutC: 48, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
	{N: 40, C: 80, H: 8, W: 8, OutC: 240, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
	{N: 40, C: 48, H: 16, W: 16, OutC: 56, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
	{N: 70, C: 104, H: 8, W: 8, OutC: 184, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
	{N: 40, C: 64, H: 2, W: 2, OutC: 80, KH: 3, KW: 3, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
	{N: 20, C: 24, H: 9, W: 9, OutC: 24, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1, Group: 24},
	{N: 9, C: 24, H: 12, W: 12, OutC: 40, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1},
	{N: 12, C: 40, H: 16, W: 16, OutC: 50, KH: 1, KW: 1},
	{N: 60, C: 3, H: 17, W: 18, OutC: 10, KH: 5, KW: 3, PadT: 2, PadL: 1, PadB: 2, PadR: 1},
}

func TestConvSameBitsOnAnyTeam(t *testing.T) {
	for _, g := range steadyGeoms {
		g = g.withDefaults()
		x, w, dy := fill(make([]float32, g.xSize()), 1), fill(make([]float32, g.wSize()), 2), fill(make([]float32, g.ySize()), 3)
		conv, input, weight := NewConv[float32](g, ConvOptions{}), NewConvGradInput[float32](g, ConvOptions{}), NewConvGradWeight[float32](g, ConvOptions{})
		run := func(team *Team) [][]float32 {
			y, dx, dw := make([]float32, g.ySize()), make([]float32, g.xSize()), make([]float32, g.wSize())
			conv.Run(team, x, w, nil, y)
			input.Run(team, dy, w, dx)
			weight.Run(team, x, dy, dw)
			return [][]float32{y, dx, dw}
		}
		want := run(nil)
		for threads := 1; threads <= 3; threads++ {
			team := NewTeam(threads)
			for i, got := range run(team) {
				sameBits(t, fmt.Sprintf("%+v: %d threads, result %d", g, threads, i), got, want[i])
			}
			team.Close()
		}
	}
}

func TestConvAllocatesNothing(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, g := range steadyGeoms {
		testConvAllocatesNothing(t, team, g.withDefaults())
	}
}

func testConvAllocatesNothing(t *testing.T, team *Team, g ConvGeom) {
	x, w, y, b := make([]float32, g.xSize()), make([]float32, g.wSize()), make([]float32, g.ySize()), make([]float32, g.OutC)
	conv, input, weight, bias := NewConv[float32](g, ConvOptions{}), NewConvGradInput[float32](g, ConvOptions{}), NewConvGradWeight[float32](g, ConvOptions{}), NewConvGradBias[float32](g)
	run := func() {
		conv.Run(team, x, w, b, y)
		input.Run(team, y, w, x)
		weight.Run(team, x, y, w)
		bias.Run(team, y, b)
	}
	run()
	if allocs := steadyAllocs(5, run); allocs != 0 {
		t.Errorf("%+v: a convolution and its gradients allocate %v times", g, allocs)
	}
}

func TestConvRefusesImpossibleGeometry(t *testing.T) {
	for _, g := range []ConvGeom{
		{N: 1, C: 3, H: 4, W: 4, OutC: 2, KH: 5, KW: 5},
		{N: 1, C: 3, H: 4, W: 4, OutC: 2, KH: 1, KW: 1, Group: 2},
		{N: 1, C: 3, H: 4, W: 4, OutC: 2, KH: 3, KW: 3, OH: 4, OW: 4},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken", g)
				}
			}()
			NewConv[float32](g, ConvOptions{})
		}()
	}
}

// FuzzConv lets the fuzzer look for geometries that a kernel gets wrong.
func FuzzConv(f *testing.F) {
	f.Add([]byte{2, 3, 5, 6, 4, 3, 3, 1, 1, 0, 0, 1, 1, 1, 1, 0})
	f.Add([]byte{19, 20, 3, 2, 17, 3, 3, 0, 0, 0, 0, 1, 2, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 16 {
			return
		}
		at := func(i, n int) int { return int(b[i]) % n }
		group := 1 + at(15, 3)
		g := ConvGeom{
			N: 1 + at(0, 20), C: group * (1 + at(1, 20)), H: 1 + at(2, 12), W: 1 + at(3, 20), OutC: group * (1 + at(4, 20)),
			KH: 1 + at(5, 5), KW: 1 + at(6, 5), StrideH: 1 + at(7, 4), StrideW: 1 + at(8, 4), DilH: 1 + at(9, 3), DilW: 1 + at(10, 3),
			PadT: at(11, 4), PadL: at(12, 4), PadB: at(13, 4), PadR: at(14, 4), Group: group,
		}
		if g.H+g.PadT+g.PadB <= g.DilH*(g.KH-1) || g.W+g.PadL+g.PadR <= g.DilW*(g.KW-1) {
			return
		}
		for _, tl := range tilings[float32]() {
			testConv(t, nil, tl, g.withDefaults(), WinogradNever)
			testConv(t, nil, tl, g.withDefaults(), WinogradWhereFits)
		}
	})
}
