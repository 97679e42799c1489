package kernel

import "math/bits"

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

// pickLanes is how many neighbouring pixels picks serve at once.
const pickLanes = 16

// A pick moves up to 16 elements, one for each of 16 neighbouring pixels, from
// a window of 16 consecutive source elements. Picks are worked out once for a
// geometry and used for every channel and every group of images. Its words:
//
//	0: window's offset from the base (low half, signed), tap (high half)
//	1: three masks of 16 bits: window elements to load, lanes that receive
//	   one while the others get 0, lanes to write at all
//	2, 3: for each lane a byte, the window element that it receives
//
// Elements outside the load mask are never touched, so that a window may reach
// past either end of the source.
type pick = [4]uint64

// picks lists the moves for pixels first to first+15 of images that lie
// imageSize elements apart, tap by tap. Pixels from end on become zero.
func (s *sampling) picks(first, end, imageSize int) []pick {
	var list []pick
	for number, t := range s.taps {
		write := uint64(0xffff) // the first pick of a tap writes every lane
		for lane := 0; ; {
			var p pick
			p, lane = s.pick(t, first, end, imageSize, lane)
			if keep := p[1] >> 16 & 0xffff; write != 0xffff {
				if keep == 0 {
					break
				}
				write = keep
			}
			p[0] |= uint64(number) << 32
			p[1] |= write << 32
			list = append(list, p)
			write = 0
		}
	}
	return list
}

// pick covers the lanes from the given one on as far as one window reaches,
// and returns the first lane that it does not.
func (s *sampling) pick(t tap, first, end, imageSize, lane int) (p pick, next int) {
	var start int
	var load, keep uint64
	for ; lane < pickLanes && first+lane < end; lane++ {
		pixels := s.rows * s.cols
		at, inside := s.read((first+lane)%pixels, t)
		if !inside {
			continue
		}
		at += (first + lane) / pixels * imageSize
		if keep == 0 {
			start = at
		}
		element := at - start
		if element >= pickLanes {
			break
		}
		load |= 1 << element
		keep |= 1 << lane
		p[2+lane/8] |= uint64(element) << (8 * (lane % 8))
	}
	p[0] = uint64(uint32(int32(start)))
	p[1] = load | keep<<16
	return p, lane
}

// window carries out picks for a number of planes. Lane i of tap t of plane p
// goes to dst[p*dstPlane + t*dstRow + i].
func window[T Float](picks []pick, src []T, base, planes, srcPlane int, dst []T, dstRow, dstPlane int) {
	for _, p := range picks {
		from, to := base+int(int32(p[0])), int(p[0]>>32)*dstRow
		keep, write := p[1]>>16&0xffff, p[1]>>32&0xffff
		for range planes {
			if drop := write &^ keep; drop != 0 {
				for m := drop; m != 0; m &= m - 1 {
					dst[to+bits.TrailingZeros64(m)] = 0
				}
			}
			for m := keep; m != 0; m &= m - 1 {
				lane := bits.TrailingZeros64(m)
				dst[to+lane] = src[from+int(p[2+lane/8]>>(8*(lane%8))&0xff)]
			}
			from += srcPlane
			to += dstPlane
		}
	}
}
