package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestCopyRowsAndTranspose(t *testing.T) {
	for _, tl := range tilings[float32]() {
		t.Run(tl.name, func(t *testing.T) {
			for rows := 0; rows <= 50; rows++ {
				for _, cols := range []int{1, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 100} {
					testCopyRows(t, tl, rows, cols)
					testTranspose(t, tl, rows, cols)
					testTransposeLines(t, tl, rows, cols)
				}
			}
		})
	}
}

func testCopyRows(t *testing.T, tl *tiling[float32], rows, cols int) {
	what := fmt.Sprintf("copyRows %d by %d", rows, cols)
	srcRow, dstRow := cols+3, cols+1
	src := newGuarded[float32](extent(rows, cols, srcRow, 1))
	got, want := newGuarded[float32](extent(rows, cols, dstRow, 1)), newGuarded[float32](extent(rows, cols, dstRow, 1))
	fill(src.s, 1)
	tl.copyRows(rows, src.s, srcRow, got.s, dstRow, cols)
	for i := range rows {
		for j := range cols {
			want.s[i*dstRow+j] = src.s[i*srcRow+j]
		}
	}
	sameBits(t, what, got.s, want.s)
	got.check(t, what)

	dstRow = roundUp(cols, 8)
	whole := newGuarded[float32](rows * dstRow)
	tl.copyWhole(rows, src.s, srcRow, whole.s, dstRow, cols)
	for i := range rows {
		for j := range cols {
			if got := whole.s[i*dstRow+j]; got != src.s[i*srcRow+j] {
				t.Fatalf("whole %s: element %d of row %d is %v, want %v", what, j, i, got, src.s[i*srcRow+j])
			}
		}
	}
	whole.check(t, "whole "+what)
}

func testTranspose(t *testing.T, tl *tiling[float32], rows, cols int) {
	what := fmt.Sprintf("transpose %d by %d", rows, cols)
	srcRow, dstRow := cols+3, rows+1
	src := newGuarded[float32](extent(rows, cols, srcRow, 1))
	got, want := newGuarded[float32](extent(cols, rows, dstRow, 1)), newGuarded[float32](extent(cols, rows, dstRow, 1))
	fill(src.s, 1)
	tl.transpose(rows, cols, src.s, srcRow, got.s, dstRow)
	for i := range rows {
		for j := range cols {
			want.s[j*dstRow+i] = src.s[i*srcRow+j]
		}
	}
	sameBits(t, what, got.s, want.s)
	got.check(t, what)

	wholeRow := roundUp(rows, 8)
	whole := newGuarded[float32](cols * wholeRow)
	tl.transposeWhole(rows, cols, src.s, srcRow, whole.s, wholeRow)
	for j := range cols {
		for i := range rows {
			if got := whole.s[j*wholeRow+i]; got != src.s[i*srcRow+j] {
				t.Fatalf("whole %s: element %d of row %d is %v, want %v", what, i, j, got, src.s[i*srcRow+j])
			}
		}
	}
	whole.check(t, "whole "+what)
}

func testTransposeLines(t *testing.T, tl *tiling[float32], rows, cols int) {
	const lines = 3
	what := fmt.Sprintf("transpose %d by %d, %d times", rows, cols, lines)
	srcRow, srcLine, dstRow := lines*cols+3, cols+1, lines*rows+1
	dstLine := rows
	src := newGuarded[float32](extent(rows, (lines-1)*srcLine+cols, srcRow, 1))
	size := extent(cols, (lines-1)*dstLine+rows, dstRow, 1)
	got, want := newGuarded[float32](size), newGuarded[float32](size)
	fill(src.s, 1)
	if rows > 0 {
		tl.transposeLines(lines, rows, cols, src.s, srcRow, srcLine, got.s, dstRow, dstLine)
		transposeLines(lines, rows, cols, src.s, srcRow, srcLine, want.s, dstRow, dstLine)
	}
	sameBits(t, what, got.s, want.s)
	got.check(t, what)
}

// TestWindow compares every implementation with what sampling.read says, for
// geometries that need one window and many.
func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		s := sampling{
			planeH: 1 + rng.IntN(24), planeW: 1 + rng.IntN(20), rows: 1 + rng.IntN(16), cols: 1 + rng.IntN(20),
			stepH: 1 + rng.IntN(3), stepW: 1 + rng.IntN(4), originH: -rng.IntN(4), originW: -rng.IntN(4),
		}
		for range 1 + rng.IntN(12) {
			s.taps = append(s.taps, tap{rng.IntN(4), rng.IntN(6)})
		}
		for _, tl := range tilings[float32]() {
			testWindow(t, tl, &s, 1+rng.IntN(3), 1+rng.IntN(5))
		}
	}
}

func testWindow(t *testing.T, tl *tiling[float32], s *sampling, images, planes int) {
	what := fmt.Sprintf("%s: %+v, %d images of %d planes", tl.name, *s, images, planes)
	const base = 5
	plane := s.planeH * s.planeW
	src := newGuarded[float32](base + images*planes*plane)
	fill(src.s, 1)
	batch := newBatch(s, images, planes*plane)
	for v, vec := range batch.vectors {
		dstRow := pickLanes + 3
		dstPlane := len(s.taps)*dstRow + 2
		got := newGuarded[float32]((planes-1)*dstPlane + (len(s.taps)-1)*dstRow + pickLanes)
		want := newGuarded[float32](len(got.s))
		tl.window(vec.picks, src.s, base+vec.base, planes, plane, got.s, dstRow, dstPlane)
		for p := range planes {
			for n, tp := range s.taps {
				for lane := range pickLanes {
					q, value := v*pickLanes+lane, float32(0)
					if at, inside := s.read(q%(s.rows*s.cols), tp); inside && q < batch.pixels {
						value = src.s[base+(q/(s.rows*s.cols)*planes+p)*plane+at]
					}
					want.s[p*dstPlane+n*dstRow+lane] = value
				}
			}
		}
		sameBits(t, what, got.s, want.s)
		got.check(t, what)
	}
}
