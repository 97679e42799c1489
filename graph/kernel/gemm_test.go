package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// gemmCase is one product to be checked against naive loops.
type gemmCase struct {
	m, n, k        int
	transA, transB bool
	opt            GemmOptions
}

func (c gemmCase) String() string {
	return fmt.Sprintf("%dx%dx%d transA %v transB %v %+v", c.m, c.n, c.k, c.transA, c.transB, c.opt)
}

var activationCases = []Activation{
	{}, Rectifier, {ClipActivation, 0, 0.5}, {ClipActivation, -0.25, 0.5}, {ClipActivation, math.Inf(-1), 0.5}, {ClipActivation, -0.25, math.Inf(1)},
}

func gemmCases() []gemmCase {
	var cases []gemmCase
	sizes := [][3]int{
		{0, 3, 3}, {3, 0, 3}, {3, 3, 0}, {1, 1, 1}, {1, 10, 84}, {1, 300, 784}, {64, 10, 100}, {64, 300, 784},
		{300, 784, 64}, {10, 300, 64}, {7, 47, 385}, {9, 49, 769}, {129, 97, 33}, {65, 400, 400}, {513, 50, 20},
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		sizes = append(sizes, [3]int{1 + rng.IntN(70), 1 + rng.IntN(120), 1 + rng.IntN(50)})
	}
	for i, s := range sizes {
		for trans := range 4 {
			c := gemmCase{m: s[0], n: s[1], k: s[2], transA: trans&1 != 0, transB: trans&2 != 0}
			c.opt.Alpha = []float64{0, 1, -0.5}[rng.IntN(3)]
			c.opt.Beta = []float64{0, 1, 0.25}[rng.IntN(3)]
			c.opt.Bias = Bias(rng.IntN(3))
			c.opt.Activation = activationCases[rng.IntN(len(activationCases))]
			if i%2 == 1 {
				c.opt.LDA, c.opt.LDB, c.opt.LDC = max(s[0], s[2])+3, max(s[1], s[2])+1, s[1]+2
			}
			cases = append(cases, c)
		}
	}
	return cases
}

func TestGemm(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, tl := range tilings[float32]() {
		t.Run("f32_"+tl.name, func(t *testing.T) {
			for i, c := range gemmCases() {
				testGemm(t, team, tl, c, uint64(i))
			}
		})
	}
	t.Run("f64", func(t *testing.T) {
		for i, c := range gemmCases() {
			testGemm(t, team, tilings[float64]()[0], c, uint64(i))
		}
	})
}

func testGemm[T Float](t *testing.T, team *Team, tl *tiling[T], gc gemmCase, seed uint64) {
	t.Helper()
	g := newGemm(tl, gc.m, gc.n, gc.k, gc.transA, gc.transB, gc.opt)
	a := newGuarded[T](extent(g.M, g.K, g.aRow, g.aCol))
	b := newGuarded[T](extent(g.K, g.N, g.bRow, g.bCol))
	c := newGuarded[T](extent(g.M, g.N, g.opt.LDC, 1))
	var bias []T
	if gc.opt.Bias != NoBias {
		bias = fill(newGuarded[T]([...]int{0, gc.m, gc.n}[gc.opt.Bias]).s, seed+3)
	}
	fill(a.s, seed)
	fill(b.s, seed+1)
	if gc.opt.Beta != 0 { // otherwise C holds NaN, which must not be read
		fill(c.s, seed+2)
	}
	before := append([]T(nil), c.s...)

	g.RunBias(team, a.s, b.s, c.s, bias)

	c.check(t, gc.String())
	for at, got := range c.s {
		i, j := at/g.opt.LDC, at%g.opt.LDC
		if j >= gc.n {
			if got != before[at] && got == got {
				t.Fatalf("%v: wrote between rows, C[%d][%d] = %v", gc, i, j, got)
			}
			continue
		}
		want := 0.0
		for p := range gc.k {
			want += float64(a.s[i*g.aRow+p*g.aCol]) * float64(b.s[p*g.bRow+j*g.bCol])
		}
		want *= float64(g.alpha)
		if gc.opt.Beta != 0 {
			want += gc.opt.Beta * float64(before[at])
		}
		switch gc.opt.Bias {
		case BiasPerRow:
			want += float64(bias[i])
		case BiasPerColumn:
			want += float64(bias[j])
		}
		if a := gc.opt.Activation; a.Kind == ClipActivation {
			want = min(max(want, a.Low), a.High)
		}
		if !nearSum(got, want, gc.k) {
			t.Fatalf("%v: C[%d][%d] = %v, want %v", gc, i, j, got, want)
		}
	}
}

func TestGemmSameBitsOnAnyTeam(t *testing.T) {
	const m, n, k = 300, 333, 500
	a, b := fill(make([]float32, m*k), 1), fill(make([]float32, k*n), 2)
	g := NewGemm[float32](m, n, k, false, false, GemmOptions{})
	want := make([]float32, m*n)
	g.Run(nil, a, b, want)
	for _, threads := range []int{1, 2, 3, 7} {
		team := NewTeam(threads)
		got := make([]float32, m*n)
		g.Run(team, a, b, got)
		team.Close()
		sameBits(t, fmt.Sprintf("%d threads", threads), got, want)
	}
	if g.sharing == nil || g.sharing.slabs < 2 {
		t.Fatal("want a product whose slabs are packed together")
	}
	g.sharing.slabs = 1
	got := make([]float32, m*n)
	g.Run(nil, a, b, got)
	sameBits(t, "one slab at a time", got, want)
}

func TestGemmAllocatesNothing(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	const n = 100
	a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	for _, transB := range []bool{false, true} {
		g := NewGemm[float32](n, n, n, false, transB, GemmOptions{Alpha: 2})
		g.Run(team, a, b, c)
		if allocs := steadyAllocs(20, func() { g.Run(team, a, b, c) }); allocs != 0 {
			t.Errorf("transB %v: Run allocates %v times", transB, allocs)
		}
	}
}

func TestGemmRefusesShortSlices(t *testing.T) {
	g := NewGemm[float32](4, 5, 6, false, false, GemmOptions{})
	for short := range 3 {
		lens := []int{24, 30, 20}
		lens[short]--
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("slices of %v elements were taken", lens)
				}
			}()
			g.Run(nil, make([]float32, lens[0]), make([]float32, lens[1]), make([]float32, lens[2]))
		}()
	}
}

// FuzzGemm lets the fuzzer look for sizes and options that a kernel gets wrong.
func FuzzGemm(f *testing.F) {
	f.Add(uint8(9), uint8(50), uint16(400), uint8(0b1011), uint8(3))
	f.Add(uint8(1), uint8(18), uint16(0), uint8('P'), uint8(8))
	f.Add(uint8(1), uint8('O'), uint16(0), uint8(2), uint8(50))
	f.Add(uint8(1), uint8(17), uint16(33), uint8(0b0010), uint8(0))
	f.Fuzz(func(t *testing.T, m, n uint8, k uint16, flags, pad uint8) {
		c := gemmCase{m: int(m), n: int(n), k: int(k % 1000), transA: flags&1 != 0, transB: flags&2 != 0}
		c.opt = GemmOptions{
			Alpha: []float64{0, -0.5}[flags>>2&1], Beta: []float64{0, 1, 0.25, 0}[flags>>3&3],
			Bias: []Bias{NoBias, BiasPerRow, BiasPerColumn, NoBias}[flags>>5&3], Activation: activationCases[flags>>7],
			LDA: max(c.m, c.k) + int(pad%8), LDB: max(c.n, c.k) + int(pad%8), LDC: c.n + int(pad%8),
		}
		for _, tl := range tilings[float32]() {
			testGemm(t, nil, tl, c, uint64(pad))
		}
	})
}

func BenchmarkGemm(b *testing.B) {
	shapes := []struct {
		name           string
		m, n, k        int
		transA, transB bool
	}{
		{"square/256", 256, 256, 256, false, false},
		{"square/512", 512, 512, 512, false, false},
		{"square/1024", 1024, 1024, 1024, false, false},
		{"square/2048", 2048, 2048, 2048, false, false},
		{"lenet300.fc1/forward", 64, 300, 784, false, true},
		{"lenet300.fc1/dx", 64, 784, 300, false, false},
		{"lenet300.fc1/dw", 300, 784, 64, true, false},
		{"lenet300.fc3/forward", 64, 10, 100, false, true},
		{"lenet300.fc3/dw", 10, 100, 64, true, false},
		{"lenet300.fc1/batch1", 1, 300, 784, false, true},
		{"lenet300.fc1/batch1dx", 1, 784, 300, false, false},
		{"vgg16.fc1/forward", 64, 4096, 512, false, true},
	}
	for _, threads := range []int{1, 2} {
		team := NewTeam(threads)
		defer team.Close()
		for _, s := range shapes {
			b.Run(fmt.Sprintf("%s/threads%d", s.name, threads), func(b *testing.B) {
				g := NewGemm[float32](s.m, s.n, s.k, s.transA, s.transB, GemmOptions{})
				x, y := fill(make([]float32, s.m*s.k), 1), fill(make([]float32, s.k*s.n), 2)
				z := make([]float32, s.m*s.n)
				for b.Loop() {
					g.Run(team, x, y, z)
				}
				reportGFLOPS(b, 2*s.m*s.n*s.k)
			})
		}
	}
}
