package kernel

import (
	"fmt"
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
