package kernel

import (
	"fmt"
	"math"
	"testing"
)

// TestDirectLoops compares every loop with a plain sum.
func TestDirectLoops(t *testing.T) {
	for _, tl := range tilings[float32]() {
		t.Run("f32_"+tl.name, func(t *testing.T) { testDirectLoops(t, tl.direct) })
	}
	t.Run("f64_go", func(t *testing.T) { testDirectLoops(t, goTiling[float64]().direct) })
}

func testDirectLoops[T Float](t *testing.T, l *directLoops[T]) {
	for rows := 1; rows <= len(l.tiles); rows++ {
		for _, places := range []int{1, 2, 5} {
			for _, flags := range []int{0, addRowBias, rectify, addRowBias | rectify} {
				testDirectTile(t, l, rows, places, flags)
			}
		}
	}
	for taps := 1; taps <= len(l.dots); taps++ {
		for outs := 1; outs <= len(l.dots[0]); outs++ {
			testDirectDot(t, l, taps, outs, 1, 1)
			testDirectDot(t, l, taps, outs, 3, 4)
		}
	}
}

func testDirectTile[T Float](t *testing.T, l *directLoops[T], rows, places, flags int) {
	name := fmt.Sprintf("%d rows, %d places, flags %b", rows, places, flags)
	offsets := []int32{7, 0, 3, 40}
	bNext, cRow := 2*l.images-3, places*l.images+5
	a, bias := newGuarded[T]((len(offsets)-1)*packedRow+rows), newGuarded[T](rows)
	b := newGuarded[T]((places-1)*bNext + 40 + l.images)
	c := newGuarded[T]((rows-1)*cRow + places*l.images)
	fill(a.s, 1)
	fill(b.s, 2)
	fill(bias.s, 3)
	l.tiles[rows-1](places, offsets, a.s, b.s, bNext, c.s, cRow, bias.s, flags)
	for at, got := range c.s {
		i, p, n := at/cRow, at%cRow/l.images, at%cRow%l.images
		if p >= places {
			if got == got {
				t.Fatalf("%s: wrote between rows, at %d", name, at)
			}
			continue
		}
		var want float64
		for k, offset := range offsets {
			want += float64(a.s[k*packedRow+i]) * float64(b.s[p*bNext+int(offset)+n])
		}
		if flags&addRowBias != 0 {
			want += float64(bias.s[i])
		}
		if flags&rectify != 0 {
			want = max(want, 0)
		}
		if !nearSum(got, want, len(offsets)) {
			t.Fatalf("%s: element %d is %v, want %v", name, at, got, want)
		}
	}
	c.check(t, name)
}

func testDirectDot[T Float](t *testing.T, l *directLoops[T], taps, outs, rows, cols int) {
	name := fmt.Sprintf("%d taps, %d channels, %d by %d places", taps, outs, rows, cols)
	offsets := make([]int32, taps)
	for i := range offsets {
		offsets[i] = int32(i * i)
	}
	next, skip := l.images+2, 9
	plane := rows*cols*l.images + 6
	x := newGuarded[T](int(offsets[taps-1]) + rows*cols*next + rows*skip + l.images)
	dy, sums := newGuarded[T]((outs-1)*plane+rows*cols*l.images), newGuarded[T](taps*outs*l.lanes)
	fill(x.s, 1)
	fill(dy.s, 2)
	fill(sums.s, 3)
	before := append([]T(nil), sums.s...)
	l.dots[taps-1][outs-1](rows, cols, offsets, x.s, next, skip, dy.s, plane, sums.s)
	for at, got := range sums.s {
		i, j, lane := at/l.lanes/outs, at/l.lanes%outs, at%l.lanes
		want := float64(before[at])
		for r := range rows {
			for c := range cols {
				for n := lane; n < l.images; n += l.lanes {
					want += float64(x.s[int(offsets[i])+(r*cols+c)*next+r*skip+n]) * float64(dy.s[j*plane+(r*cols+c)*l.images+n])
				}
			}
		}
		if !nearSum(got, want, 2*rows*cols) {
			t.Fatalf("%s: sum %d is %v, want %v", name, at, got, want)
		}
	}
	sums.check(t, name)
}

// TestConvMaxPool compares with pooling a convolution's result.
func TestConvMaxPool(t *testing.T) {
	cases := 0
	for _, g := range []ConvGeom{
		{N: 32, C: 1, H: 28, W: 28, OutC: 3, KH: 5, KW: 5, PadT: 2, PadL: 2, PadB: 2, PadR: 2},
		{N: 28, C: 6, H: 14, W: 14, OutC: 7, KH: 5, KW: 5},
		{N: 26, C: 3, H: 9, W: 8, OutC: 5, KH: 2, KW: 3, StrideW: 2},
		{N: 26, C: 2, H: 70, W: 12, OutC: 3, KH: 3, KW: 5, PadT: 1},
	} {
		g = g.withDefaults()
		if !ConvMaxPoolFits[float32](g) {
			continue
		}
		cases++
		for _, tl := range tilings[float32]() {
			testConvMaxPool(t, tl, g)
		}
		testConvMaxPool(t, goTiling[float64](), g)
	}
	if cases < 3 {
		t.Errorf("%d cases fit, want 3 or more", cases)
	}
}

func testConvMaxPool[T Float](t *testing.T, tl *tiling[T], g ConvGeom) {
	t.Helper()
	x, w, bias := fill(make([]T, g.xSize()), 1), fill(make([]T, g.wSize()), 2), fill(make([]T, g.OutC), 3)
	x[5] = T(math.NaN())
	pool := NewMaxPool[T](poolSpec(PoolSpec{
		Planes: g.N * g.OutC, H: g.OH, W: g.OW, OH: g.OH / 2, OW: g.OW / 2, KernelH: 2, KernelW: 2, StrideH: 2, StrideW: 2,
	}))
	size := pool.spec.Planes * pool.spec.OH * pool.spec.OW
	for _, opt := range []ConvOptions{{}, {Activation: Rectifier}} {
		full, want, index := make([]T, g.ySize()), make([]T, size), make([]int32, size)
		newConv(tl, g, opt).Run(nil, x, w, bias, full)
		pool.Forward(nil, want, index, full)
		k := newConvMaxPool(tl, g, opt)
		for threads := 1; threads <= 3; threads++ {
			name := fmt.Sprintf("%s, %+v, %d threads", tl.name, g, threads)
			team, y, places := NewTeam(threads), newGuarded[T](size), make([]int64, size)
			k.Run(team, x, w, bias, y.s, nil)
			k.Run(team, x, w, bias, y.s, places)
			for i, v := range want {
				plane := i / (pool.spec.OH * pool.spec.OW)
				if at := int64(plane*g.OH*g.OW) + int64(index[i]); places[i] != at || y.s[i] != v && v == v {
					t.Fatalf("%s: maximum %d is %v at %d, want %v at %d", name, i, y.s[i], places[i], v, at)
				}
			}
			y.check(t, name)
			if allocs := steadyAllocs(5, func() { k.Run(team, x, w, bias, y.s, places) }); allocs != 0 {
				t.Errorf("%s: %v allocations", name, allocs)
			}
			team.Close()
		}
	}
}
