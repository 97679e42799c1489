package kernel

import (
	"math"
	"math/bits"
)

// tap is where one kernel element reads, relative to a pixel's own place.
type tap struct{ h, w int }

// sampling says which elements of images a convolution reads: the pixel in row
// r and column c of a grid reads, for each tap, the plane's element
//
//	(originH + r*stepH + tap.h, originW + c*stepW + tap.w)
//
// or zero where the plane has none. As a matrix of taps by pixels this is what
// is known as im2col; here it is only ever made a panel at a time.
type sampling struct {
	planeH, planeW   int
	rows, cols       int
	stepH, stepW     int
	originH, originW int
	taps             []tap
}

// read returns the place in the plane that a pixel's tap reads, or false.
func (s *sampling) read(pixel int, t tap) (int, bool) {
	h := s.originH + pixel/s.cols*s.stepH + t.h
	w := s.originW + pixel%s.cols*s.stepW + t.w
	return h*s.planeW + w, h >= 0 && h < s.planeH && w >= 0 && w < s.planeW
}

const (
	// pickLanes is how many neighbouring pixels picks serve at once.
	pickLanes = 16
	// pickTaps is how many taps may share a pick's windows.
	pickTaps = 5
	allLanes = 1<<pickLanes - 1
)

// Picks say how samples for 16 neighbouring pixels come out of a plane. They
// are worked out once for a geometry and used for every channel and every
// batch of images. Each has a head and then one row for each of up to pickTaps
// consecutive taps, which all take their elements from the same two windows of
// 16 consecutive source elements:
//
//	head 0: offsets of the windows from the base, signed (low half, high half)
//	head 1: masks of the elements to load (16 bits, 16 bits), number of rows
//	head 2: number of the first tap
//	row 0:  masks of the lanes that receive an element while the others get 0,
//	        and of the lanes to write (16 bits, 16 bits); where a pick has
//	        several rows, they write all lanes
//	row 1:  for each four lanes that read a run of the source, where it begins;
//	        see runsOf
//	row 2, 3: for each lane a byte, the element's number in the two windows
//
// Elements outside the load masks are never touched, so that a window may
// reach past either end of the source.
type pick = [4]uint64

// reads are the places in the source that the lanes of one tap read, or nowhere.
type reads [pickLanes]int

const nowhere = math.MinInt

// picks lists the moves for pixels first to first+15 of images that lie
// imageSize elements apart. Pixels from end on become zero.
func (s *sampling) picks(first, end, imageSize int) []pick {
	taps := s.reads(first, end, imageSize)
	var list []pick
	for t := 0; t < len(taps); {
		n := 1
		for n < pickTaps && t+n < len(taps) {
			if _, fits := cover(taps[t : t+n+1]); !fits {
				break
			}
			n++
		}
		if n > 1 {
			list = appendPick(list, t, taps[t:t+n], allLanes)
		} else {
			list = appendPieces(list, t, taps[t])
		}
		t += n
	}
	return list
}

// inside tells whether pixels first to first+15 are before end, of one image, and
// read no row outside of its plane.
func (s *sampling) inside(first, end int) bool {
	last := first + pickLanes - 1
	if last >= end || first/(s.rows*s.cols) != last/(s.rows*s.cols) {
		return false
	}
	top, bottom := s.originH+first/s.cols%s.rows*s.stepH, s.originH+last/s.cols%s.rows*s.stepH
	for _, t := range s.taps {
		if top+t.h < 0 || bottom+t.h >= s.planeH {
			return false
		}
	}
	return true
}

// place is where a pixel itself lies in images imageSize elements apart.
func (s *sampling) place(pixel, imageSize int) int {
	image, row, col := pixel/(s.rows*s.cols), pixel/s.cols%s.rows, pixel%s.cols
	return image*imageSize + (s.originH+row*s.stepH)*s.planeW + s.originW + col*s.stepW
}

// reads works out what each tap of 16 pixels reads.
func (s *sampling) reads(first, end, imageSize int) []reads {
	var pixels [pickLanes]struct{ image, h, w int }
	n := min(max(end-first, 0), pickLanes)
	for lane := range n {
		image, pixel := (first+lane)/(s.rows*s.cols), (first+lane)%(s.rows*s.cols)
		p := &pixels[lane]
		p.image, p.h, p.w = image*imageSize, s.originH+pixel/s.cols*s.stepH, s.originW+pixel%s.cols*s.stepW
	}
	taps := make([]reads, len(s.taps))
	for i, t := range s.taps {
		for lane := range taps[i] {
			taps[i][lane] = nowhere
		}
		for lane, p := range pixels[:n] {
			if h, w := p.h+t.h, p.w+t.w; h >= 0 && h < s.planeH && w >= 0 && w < s.planeW {
				taps[i][lane] = p.image + h*s.planeW + w
			}
		}
	}
	return taps
}

// cover places two windows over all reads, and tells whether that is possible.
func cover(taps []reads) (windows [2]int, fits bool) {
	low, next, high := math.MaxInt, math.MaxInt, math.MinInt
	for t := range taps {
		for _, at := range taps[t] {
			if at != nowhere {
				low, high = min(low, at), max(high, at)
			}
		}
	}
	if low > high {
		return windows, true // nothing to read
	}
	for t := range taps {
		for _, at := range taps[t] {
			if at != nowhere && at-low >= pickLanes {
				next = min(next, at)
			}
		}
	}
	if next > high {
		next = low // one window is enough
	}
	return [2]int{low, next}, high-next < pickLanes
}

// appendPieces appends picks for one tap, as many as its reach needs. The
// first writes all lanes, the others their own.
func appendPieces(list []pick, number int, tap reads) []pick {
	for lane := 0; lane < pickLanes; {
		first := lane
		piece := []reads{{}}
		for i := range piece[0] {
			piece[0][i] = nowhere
		}
		for ; lane < pickLanes; lane++ {
			piece[0][lane] = tap[lane]
			if _, fits := cover(piece); !fits {
				piece[0][lane] = nowhere
				break
			}
		}
		write := uint64(allLanes)
		if first > 0 {
			write = 1<<lane - 1<<first
		}
		list = appendPick(list, number, piece, write)
	}
	return list
}

// appendPick appends a pick for taps that two windows cover.
func appendPick(list []pick, number int, taps []reads, write uint64) []pick {
	windows, _ := cover(taps)
	head := len(list)
	list = append(list, pick{
		uint64(uint32(int32(windows[0]))) | uint64(uint32(int32(windows[1])))<<32,
		uint64(len(taps)) << 32,
		uint64(number),
	})
	for t := range taps {
		row := pick{write << 16}
		for lane, at := range taps[t] {
			if at == nowhere {
				continue
			}
			element := at - windows[0]
			if element >= pickLanes {
				element = at - windows[1] + pickLanes
			}
			list[head][1] |= 1 << element
			row[0] |= 1 << lane
			row[2+lane/8] |= uint64(element) << (8 * (lane % 8))
		}
		row[1] = runsOf(windows, taps[t], write)
		list = append(list, row)
	}
	return list
}

// noRuns says that some four lanes read places that do not follow each other.
const noRuns = 1<<64 - 1

// runsOf describes, in 16 bits for each four lanes, the run of consecutive
// elements that they read: lane i reads element number + i of a window. The low
// byte is that number, which may be negative where the first lanes read nothing;
// bit 8 says which window.
func runsOf(windows [2]int, r reads, write uint64) uint64 {
	if write != allLanes {
		return noRuns
	}
	var runs uint64
	for q := range pickLanes / 4 {
		begin, any := 0, false
		for i, at := range r[4*q : 4*q+4] {
			switch {
			case at == nowhere:
			case !any:
				begin, any = at-i, true
			case at-i != begin:
				return noRuns
			}
		}
		if !any {
			begin = windows[0]
		}
		number, second := begin-windows[0], 0
		if number >= pickLanes {
			number, second = begin-windows[1], 1
		}
		if number < -3 || number >= pickLanes+4 {
			return noRuns // a run that reaches far back from the second window
		}
		runs |= uint64(second<<8|number&0xff) << (16 * q)
	}
	return runs
}

// window carries out picks for a number of planes. Lane i of tap t of plane p
// goes to dst[p*dstPlane + t*dstRow + i].
func window[T Float](picks []pick, src []T, base, planes, srcPlane int, dst []T, dstRow, dstPlane int) {
	for len(picks) > 0 {
		head, rows := picks[0], int(picks[0][1]>>32)
		for t, row := range picks[1 : 1+rows] {
			var from [pickLanes]int
			for lane := range from {
				element := int(row[2+lane/8] >> (8 * (lane % 8)) & 0xff)
				from[lane] = base + int(int32(head[0]>>(element/pickLanes*32))) + element%pickLanes
			}
			keep, write := row[0]&allLanes, row[0]>>16
			for p := range planes {
				to := p*dstPlane + (int(head[2])+t)*dstRow
				for m := write; m != 0; m &= m - 1 {
					lane := bits.TrailingZeros64(m)
					var v T
					if keep>>lane&1 != 0 {
						v = src[from[lane]+p*srcPlane]
					}
					dst[to+lane] = v
				}
			}
		}
		picks = picks[1+rows:]
	}
}
