package kernel

// A direct convolution brings some images side by side, [channel][row][column]
// [image] with padding written out, so that a tap is a fixed offset and what
// several images read at one place is a vector. Nothing is sampled: sums run
// over a list of offsets.

// directTile computes some rows of results for places that follow each other,
//
//	c[i*cRow + p*images + n] = sum over t of a[t*packedRow + i] * b[p*bNext + offsets[t] + n]
//
// for p < places > 0 and n < images, with at least one offset; then it adds
// bias[i] and rectifies as the flags say.
type directTile[T Float] func(places int, offsets []int32, a, b []T, bNext int, c []T, cRow int, bias []T, flags int)

// directDot adds, for some taps i and channels j and each lane n,
//
//	sums[(i*outs + j)*lanes + n] += sum over rows, columns and m of
//	    x[offsets[i] + place + m*lanes + n] * dy[j*dyPlane + number*images + m*lanes + n]
//
// where place moves by xNext per column and by xSkip more per row, number
// counts the columns through, and m runs over images/lanes.
type directDot[T Float] func(rows, cols int, offsets []int32, x []T, xNext, xSkip int, dy []T, dyPlane int, sums []T)

// directLoops are the loops of one tiling.
type directLoops[T Float] struct {
	images int              // side by side
	lanes  int              // of a sum
	most   int              // rows of results up to which this is faster than samples
	tiles  []directTile[T]  // [rows-1]
	dots   [][]directDot[T] // [taps-1][outs-1]
}

// newGoDirect makes the twins.
func newGoDirect[T Float]() *directLoops[T] {
	const images, lanes, rows, taps, outs = 16, 8, 6, 4, 3
	l := &directLoops[T]{images: images, lanes: lanes, most: 256}
	for r := range rows {
		l.tiles = append(l.tiles, func(places int, offsets []int32, a, b []T, bNext int, c []T, cRow int, bias []T, flags int) {
			goDirectTile(images, r+1, places, offsets, a, b, bNext, c, cRow, bias, flags)
		})
	}
	for t := range taps {
		var line []directDot[T]
		for o := range outs {
			line = append(line, func(rows, cols int, offsets []int32, x []T, xNext, xSkip int, dy []T, dyPlane int, sums []T) {
				goDirectDot(images, lanes, t+1, o+1, rows, cols, offsets, x, xNext, xSkip, dy, dyPlane, sums)
			})
		}
		l.dots = append(l.dots, line)
	}
	return l
}

func goDirectTile[T Float](images, rows, places int, offsets []int32, a, b []T, bNext int, c []T, cRow int, bias []T, flags int) {
	for p := range places {
		for i := range rows {
			to := c[i*cRow+p*images : i*cRow+(p+1)*images]
			clear(to)
			for t, offset := range offsets {
				w := a[t*packedRow+i]
				for n, v := range b[p*bNext+int(offset) : p*bNext+int(offset)+images] {
					to[n] += w * v
				}
			}
			goEpilogue(to, to, bias, i, 0, flags)
		}
	}
}

func goDirectDot[T Float](images, lanes, taps, outs, rows, cols int, offsets []int32, x []T, xNext, xSkip int, dy []T, dyPlane int, sums []T) {
	for i := range taps {
		for j := range outs {
			to := sums[(i*outs+j)*lanes : (i*outs+j+1)*lanes]
			at, number := int(offsets[i]), j*dyPlane
			for range rows {
				for range cols {
					for n := range images {
						to[n%lanes] += x[at+n] * dy[number+n]
					}
					at += xNext
					number += images
				}
				at += xSkip
			}
		}
	}
}
