package kernel

// packedRow is the distance of columns in a packed panel of A. It is the same
// for every tiling, so that panels are made of whole 8x8 blocks.
const packedRow = 8

// pack copies a panel of width by k elements, the element (i, p) from
// src[i*across + p*along] to dst[p*dstRow + i], multiplied by factor. One of
// across and along is 1. What is behind width in a row of dst is undefined
// afterwards.
func (t *tiling[T]) pack(width, k int, src []T, across, along int, dst []T, dstRow int, factor T) {
	switch {
	case k == 0:
		return
	case across == 1:
		t.copyWhole(k, src, along, dst, dstRow, width)
	default:
		t.transposeWhole(width, k, src, across, dst, dstRow)
	}
	if factor != 1 {
		dst = dst[:(k-1)*dstRow+width]
		Scale(dst, factor, dst)
	}
}

// copyRows copies a matrix of rows by cols elements.
func copyRows[T Float](rows int, src []T, srcRow int, dst []T, dstRow, cols int) {
	for i := range rows {
		copy(dst[i*dstRow:i*dstRow+cols], src[i*srcRow:])
	}
}

// transpose writes dst[j*dstRow+i] = src[i*srcRow+j] for i < rows and j < cols.
func transpose[T Float](rows, cols int, src []T, srcRow int, dst []T, dstRow int) {
	for i := range rows {
		row := src[i*srcRow : i*srcRow+cols]
		for j, v := range row {
			dst[j*dstRow+i] = v
		}
	}
}

// transposeLines transposes matrices that lie srcLine and dstLine apart.
func transposeLines[T Float](lines, rows, cols int, src []T, srcRow, srcLine int, dst []T, dstRow, dstLine int) {
	for l := range lines {
		transpose(rows, cols, src[l*srcLine:], srcRow, dst[l*dstLine:], dstRow)
	}
}
