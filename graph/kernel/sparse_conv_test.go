package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// keptWeights keeps a share of a convolution's weights.
func keptWeights(g ConvGeom, share float64) []int64 {
	g = g.withDefaults()
	r := rand.New(rand.NewPCG(1, 2))
	var kept []int64
	for i := range g.wSize() {
		if r.Float64() < share {
			kept = append(kept, int64(i))
		}
	}
	return kept
}

func TestSparseConv(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, g := range convCases() {
		g = g.withDefaults()
		for _, share := range []float64{0, 0.1, 1} {
			t.Run(fmt.Sprintf("%+v %v", g, share), func(t *testing.T) {
				kept := keptWeights(g, share)
				for _, l := range sparseAvailable[float32]() {
					testSparseConv(t, team, l, g, kept)
				}
				if share == 0.1 {
					testSparseConv(t, team, sparseAvailable[float64]()[0], g, kept)
				}
			})
		}
	}
}

func testSparseConv[T Float](t *testing.T, team *Team, l sparseLoops[T], g ConvGeom, kept []int64) {
	t.Helper()
	x, dy, values := newGuarded[T](g.xSize()), newGuarded[T](g.ySize()), newGuarded[T](len(kept))
	y, dx, grads := newGuarded[T](g.ySize()), newGuarded[T](g.xSize()), newGuarded[T](len(kept))
	fill(x.s, 1)
	fill(dy.s, 2)
	fill(values.s, 3)
	bias := fill(make([]T, g.OutC), 4)
	at := make([]int, g.wSize()) // 1 more than the number of the kept weight
	for i, k := range kept {
		at[k] = i + 1
	}
	wantY, wantX, wantGrads := make([]float64, g.ySize()), make([]float64, g.xSize()), make([]float64, len(kept))
	for i := range wantY {
		wantY[i] = float64(bias[i/(g.OH*g.OW)%g.OutC])
	}
	if len(kept) > 0 {
		eachProduct(g, func(yi, wi, xi int) {
			if i := at[wi] - 1; i >= 0 {
				wantY[yi] += float64(x.s[xi]) * float64(values.s[i])
				wantX[xi] += float64(dy.s[yi]) * float64(values.s[i])
				wantGrads[i] += float64(x.s[xi]) * float64(dy.s[yi])
			}
		})
	}
	newSparseConv(l, g, kept).Run(team, x.s, values.s, bias, y.s)
	newSparseConvGradInput(l, g, kept).Run(team, dy.s, values.s, nil, dx.s)
	newSparseConvGradWeight(l, g, kept).Run(team, x.s, dy.s, grads.s)
	for _, c := range []struct {
		name  string
		got   guarded[T]
		want  []float64
		terms int
	}{
		{"y", y, wantY, g.C / g.Group * g.KH * g.KW},
		{"dx", dx, wantX, g.OutC / g.Group * g.KH * g.KW},
		{"gradient", grads, wantGrads, g.N * g.OH * g.OW},
	} {
		for i, want := range c.want {
			if !nearSum(c.got.s[i], want, c.terms) {
				t.Fatalf("%s: %s %d is %v, want %v", l.name, c.name, i, c.got.s[i], want)
			}
		}
		c.got.check(t, l.name+" "+c.name)
	}
}

// TestSparseConvThreads: the same bits for every number of threads, without
// allocations.
func TestSparseConvThreads(t *testing.T) {
	g := ConvGeom{N: 35, C: 40, H: 9, W: 8, OutC: 70, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadT: 1, PadL: 1, PadB: 1, PadR: 1}.withDefaults()
	kept := keptWeights(g, 0.1)
	x, dy, values := fill(make([]float32, g.xSize()), 1), fill(make([]float32, g.ySize()), 2), fill(make([]float32, len(kept)), 3)
	forward, input, weight := NewSparseConv[float32](g, kept), NewSparseConvGradInput[float32](g, kept), NewSparseConvGradWeight[float32](g, kept)
	var want []float32
	for _, threads := range []int{1, 2, 3} {
		team := NewTeam(threads)
		y, dx, dv := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(kept))
		run := func() {
			forward.Run(team, x, values, nil, y)
			input.Run(team, dy, values, nil, dx)
			weight.Run(team, x, dy, dv)
		}
		run()
		if n := testing.AllocsPerRun(3, run); n > 0 && threads == 1 {
			t.Errorf("%g allocations", n)
		}
		team.Close()
		got := append(append(append([]float32(nil), y...), dx...), dv...)
		if want == nil {
			want = got
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%d threads: element %d is %v, with one %v", threads, i, got[i], want[i])
			}
		}
	}
}

// TestSparsePays: a tenth of the weights of ResNet-18 is multiplied sparsely, half
// of them, the first layer and single images are not.
func TestSparsePays(t *testing.T) {
	layer := func(n, c, size, out, stride int) ConvGeom {
		return ConvGeom{N: n, C: c, H: size, W: size, OutC: out, KH: 3, KW: 3, StrideH: stride, StrideW: stride, PadT: 1, PadL: 1, PadB: 1, PadR: 1}
	}
	for _, c := range []struct {
		g     ConvGeom
		share float64
		want  bool
	}{
		{layer(64, 64, 32, 64, 1), 0.1, true},
		{layer(64, 128, 16, 128, 1), 0.1, true},
		{layer(64, 256, 8, 256, 1), 0.1, true},
		{layer(64, 512, 4, 512, 1), 0.1, true},
		{layer(64, 128, 16, 256, 2), 0.1, true},
		{layer(64, 64, 32, 64, 1), 0.5, false},
		{layer(64, 512, 4, 512, 1), 0.5, false},
		{layer(64, 3, 32, 64, 1), 0.1, false},
		{layer(1, 64, 32, 64, 1), 0.1, false},
		{layer(64, 64, 224, 64, 1), 0.1, false},
	} {
		if got := c.g.SparsePays(int(c.share * float64(c.g.C*c.g.OutC*9))); got != c.want {
			t.Errorf("%+v, %g kept: pays is %v, want %v", c.g, c.share, got, c.want)
		}
	}
}

// BenchmarkSparseConv times convolutions of 64 images with a share of the
// weights kept, and what they are instead of.
func BenchmarkSparseConv(b *testing.B) {
	team := NewTeam(1)
	defer team.Close()
	for _, s := range []struct {
		name                              string
		c, size, out, kernel, pad, stride int
	}{
		{"resnet 64", 64, 32, 64, 3, 1, 1},
		{"resnet 128", 128, 16, 128, 3, 1, 1},
		{"resnet 256", 256, 8, 256, 3, 1, 1},
		{"resnet 512", 512, 4, 512, 3, 1, 1},
		{"vgg 512", 512, 2, 512, 3, 1, 1},
		{"resnet 64 stride 2", 64, 32, 128, 3, 1, 2},
		{"resnet 256 stride 2", 256, 8, 512, 3, 1, 2},
		{"resnet 1x1 stride 2", 128, 16, 256, 1, 0, 2},
		{"densenet 1x1", 256, 16, 128, 1, 0, 1},
		{"densenet 3x3", 128, 8, 32, 3, 1, 1},
		{"lenet-5", 6, 14, 16, 5, 0, 1},
		{"alexnet 5x5", 64, 8, 192, 5, 2, 1},
	} {
		g := ConvGeom{N: 64, C: s.c, H: s.size, W: s.size, OutC: s.out, KH: s.kernel, KW: s.kernel, StrideH: s.stride, StrideW: s.stride,
			PadT: s.pad, PadL: s.pad, PadB: s.pad, PadR: s.pad}.withDefaults()
		x, dy, dense := fill(make([]float32, g.xSize()), 1), fill(make([]float32, g.ySize()), 2), fill(make([]float32, g.wSize()), 3)
		y, dx := make([]float32, len(dy)), make([]float32, len(x))
		conv, input, weight := NewConv[float32](g, ConvOptions{}), NewConvGradInput[float32](g, ConvOptions{}), NewConvGradWeight[float32](g, ConvOptions{})
		run := func(name string, f func()) {
			b.Run(s.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					f()
				}
			})
		}
		run("dense/forward", func() { conv.Run(team, x, dense, nil, y) })
		run("dense/input", func() { input.Run(team, dy, dense, dx) })
		run("dense/weight", func() { weight.Run(team, x, dy, dense) })
		for _, share := range []float64{0.1, 0.05, 0.02} {
			kept := keptWeights(g, share)
			values := fill(make([]float32, len(kept)), 3)
			forward, input, weight := NewSparseConv[float32](g, kept), NewSparseConvGradInput[float32](g, kept), NewSparseConvGradWeight[float32](g, kept)
			run(fmt.Sprint("kept", share, "/forward"), func() { forward.Run(team, x, values, nil, y) })
			run(fmt.Sprint("kept", share, "/input"), func() { input.Run(team, dy, values, nil, dx) })
			run(fmt.Sprint("kept", share, "/weight"), func() { weight.Run(team, x, dy, values) })
		}
	}
}
