package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// poolSpec fills what most cases leave alone.
func poolSpec(s PoolSpec) PoolSpec {
	s.StrideH, s.StrideW = max(1, s.StrideH), max(1, s.StrideW)
	s.DilationH, s.DilationW = max(1, s.DilationH), max(1, s.DilationW)
	return s
}

var poolCases = []PoolSpec{
	{Planes: 6, H: 8, W: 8, OH: 4, OW: 4, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
	{Planes: 3, H: 9, W: 7, OH: 4, OW: 3, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
	{Planes: 3, H: 9, W: 7, OH: 5, OW: 4, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2}, // rounded up
	{Planes: 2, H: 8, W: 8, OH: 4, OW: 4, KernelH: 3, KernelW: 3, StrideH: 2, StrideW: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1},
	{Planes: 2, H: 13, W: 13, OH: 6, OW: 6, KernelH: 3, KernelW: 3, StrideH: 2, StrideW: 2},
	{Planes: 2, H: 5, W: 6, OH: 5, OW: 6, KernelH: 3, KernelW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1},
	{Planes: 2, H: 5, W: 6, OH: 4, OW: 7, KernelH: 3, KernelW: 2, PadTop: 1, PadLeft: 1, PadRight: 1},
	{Planes: 2, H: 9, W: 9, OH: 5, OW: 5, KernelH: 3, KernelW: 3, DilationH: 2, DilationW: 2},
	{Planes: 5, H: 1, W: 30, OH: 1, OW: 10, KernelH: 1, KernelW: 3, StrideW: 3},
	{Planes: 2, H: 6, W: 33, OH: 3, OW: 16, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
	{Planes: 7, H: 4, W: 4, OH: 1, OW: 1, KernelH: 4, KernelW: 4},
	{Planes: 9, H: 128, W: 100, OH: 64, OW: 50, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
	{Planes: 5, H: 7, W: 4, OH: 3, OW: 2, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
	{Planes: 5, H: 9, W: 3, OH: 4, OW: 1, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
	{Planes: 3, H: 6, W: 22, OH: 3, OW: 11, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
	{Planes: 1, H: 2, W: 2, OH: 3, OW: 3, KernelH: 1, KernelW: 1, PadTop: 1}, // windows that see nothing
	{Planes: 0, H: 2, W: 2, OH: 1, OW: 1, KernelH: 2, KernelW: 2},
}

// taps lists what output (oh, ow) sees, and how many taps the padded image has.
func (s PoolSpec) taps(oh, ow int) (at []int, padded int) {
	for i := range s.KernelH {
		for j := range s.KernelW {
			h, w := oh*s.StrideH+i*s.DilationH-s.PadTop, ow*s.StrideW+j*s.DilationW-s.PadLeft
			if h < s.H+s.PadBottom && w < s.W+s.PadRight {
				padded++
			}
			if h >= 0 && h < s.H && w >= 0 && w < s.W {
				at = append(at, h*s.W+w)
			}
		}
	}
	return at, padded
}

func TestMaxPool(t *testing.T) {
	withLoops(t, testMaxPool)
}

func testMaxPool(t *testing.T) {
	for _, s := range poolCases {
		s = poolSpec(s)
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			x := make([]float32, s.Planes*s.H*s.W)
			for i := range x {
				x[i] = float32(rng.IntN(9) - 4) // with ties
				if x[i] == 0 && rng.IntN(2) == 0 {
					x[i] = float32(math.Copysign(0, -1))
				}
			}
			if len(x) > 20 {
				x[7], x[15] = float32(math.NaN()), -float32(math.NaN())
				x[9] = float32(math.Inf(-1))
			}
			n := s.Planes * s.OH * s.OW
			want, wantIndex := make([]float32, n), make([]int32, n)
			dy := normal[float32](rng, n)
			wantDx := make([]float32, len(x))
			coordinates([]int{s.Planes, s.OH, s.OW}, func(flat int, at []int) {
				want[flat], wantIndex[flat] = float32(math.Inf(-1)), -1
				base := at[0] * s.H * s.W
				taps, _ := s.taps(at[1], at[2])
				for _, k := range taps {
					if v := x[base+k]; v > want[flat] || v != v || wantIndex[flat] < 0 {
						want[flat], wantIndex[flat] = v, int32(k)
					}
				}
				if wantIndex[flat] >= 0 {
					wantDx[base+int(wantIndex[flat])] += dy[flat]
				}
			})
			p := NewMaxPool[float32](s)
			got := onTeams(t, func(team *Team) []float32 {
				y, index, dx, alone := make([]float32, n), make([]int32, n), make([]float32, len(x)), make([]float32, n)
				p.Forward(team, y, index, x)
				p.Backward(team, dx, dy, index)
				p.Forward(team, alone, nil, x)
				signless := make([]float32, n)
				Shift(signless, y, 0)
				Shift(alone, alone, 0)
				sameBits(t, "without index", alone, signless)
				checkIndex(t, index, wantIndex)
				return slices.Concat(y, dx)
			})
			sameBits(t, "y", got[:n], want)
			sameBits(t, "dx", got[n:], wantDx)

			y64, dx64, index := make([]float64, n), make([]float64, len(x)), make([]int32, n)
			p64 := NewMaxPool[float64](s)
			p64.Forward(nil, y64, index, widen(x))
			p64.Backward(nil, dx64, widen(dy), index)
			near(t, "float64", slices.Concat(y64, dx64), widen(got), 1e-6)
		})
	}
}

func checkIndex(t *testing.T, got, want []int32) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("maximum %d was found at %d, want %d", i, got[i], want[i])
		}
	}
}

func TestAveragePool(t *testing.T) {
	for _, s := range poolCases {
		s = poolSpec(s)
		for _, s.CountPadding = range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 2))
				n := s.Planes * s.OH * s.OW
				x, dy := normal[float64](rng, s.Planes*s.H*s.W), normal[float64](rng, n)
				want, wantDx := make([]float64, n), make([]float64, len(x))
				coordinates([]int{s.Planes, s.OH, s.OW}, func(flat int, at []int) {
					base := at[0] * s.H * s.W
					taps, count := s.taps(at[1], at[2])
					if !s.CountPadding {
						count = len(taps)
					}
					for _, k := range taps {
						want[flat] += x[base+k] / float64(count)
						wantDx[base+k] += dy[flat] / float64(count)
					}
				})
				y, dx := make([]float64, n), make([]float64, len(x))
				p := NewAveragePool[float64](s)
				p.Forward(nil, y, x)
				p.Backward(nil, dx, dy)
				near(t, "float64", slices.Concat(y, dx), slices.Concat(want, wantDx), 1e-14)
				single := NewAveragePool[float32](s)
				got := onTeams(t, func(team *Team) []float32 {
					y, dx := make([]float32, n), make([]float32, len(x))
					single.Forward(team, y, narrow(x))
					single.Backward(team, dx, narrow(dy))
					return slices.Concat(y, dx)
				})
				near(t, "float32", widen(got), slices.Concat(want, wantDx), 1e-6)
			})
		}
	}
}

func TestPoolAllocs(t *testing.T) {
	s := poolSpec(poolCases[10])
	x, y, index := make([]float32, s.Planes*s.H*s.W), make([]float32, s.Planes*s.OH*s.OW), make([]int32, s.Planes*s.OH*s.OW)
	p, q := NewMaxPool[float32](s), NewAveragePool[float32](s)
	noAllocs(t, func(team *Team) { p.Forward(team, y, index, x); p.Backward(team, x, y, index) })
	noAllocs(t, func(team *Team) { q.Forward(team, y, x); q.Backward(team, x, y) })
}

func BenchmarkMaxPool(b *testing.B) {
	for _, s := range []PoolSpec{
		{Planes: 64 * 6, H: 28, W: 28, OH: 14, OW: 14, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
		{Planes: 64 * 16, H: 10, W: 10, OH: 5, OW: 5, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
		{Planes: 64 * 64, H: 32, W: 32, OH: 16, OW: 16, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2},
		{Planes: 64 * 64, H: 27, W: 27, OH: 13, OW: 13, KernelH: 3, KernelW: 3, StrideH: 2, StrideW: 2},
	} {
		s = poolSpec(s)
		b.Run(fmt.Sprintf("%dx%dx%d/%d", s.Planes, s.H, s.W, s.KernelH), func(b *testing.B) {
			x := normal[float32](rand.New(rand.NewPCG(1, 2)), s.Planes*s.H*s.W)
			y, index := make([]float32, s.Planes*s.OH*s.OW), make([]int32, s.Planes*s.OH*s.OW)
			p := NewMaxPool[float32](s)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				p.Forward(nil, y, index, x)
			}
		})
	}
}
