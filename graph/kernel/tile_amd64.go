//go:build amd64 && !purego

package kernel

var tilingsF32 = availableTilings()

func availableTilings() []*tiling[float32] {
	var list []*tiling[float32]
	if HasAVX512 {
		list = append(list, &tiling[float32]{
			name: "8x48_avx512", rows: 8, cols: 48, lanes: 8, tiles: avx512Tiles, strips: gemm_strips_f32_8x48_avx512,
			pairs: gemm_pairs_f32_8x16_avx512, momentum: gemm_momentum_f32_8x48_avx512, momentumRest: gemm_momentum_rest_f32_8x16_avx512, gaps: &avx512Gaps,
			columns:  []columnFunc[float32]{gemm_column_f32_8x16_avx512, gemm_column_f32_8x32_avx512, gemm_column_f32_8x48_avx512},
			copyRows: copyRowsAVX512, transpose: avx512Transposes.transpose, transposeLines: transposeLinesAVX2, window: window_f32_avx512,
			copyWhole: copyRowsAVX512, transposeWhole: avx512Transposes.transpose,
			winograd: &avx512Winograd, strided: &avx512Strided, direct: &avx512Direct, scattered: &avx2Scattered, squares: &avx512Squares, linked: avx512Linked,
			besideTaps: beside_taps_f32_avx512,
		})
	}
	if HasAVX2 {
		list = append(list, &tiling[float32]{
			name: "6x16_avx2", rows: 6, cols: 16, lanes: 8, tiles: avx2Tiles, strips: gemm_strips_f32_6x16_avx2, columns: []columnFunc[float32]{gemm_column_f32_6x16_avx2}, momentum: gemm_momentum_f32_6x16_avx2, gaps: &avx2Gaps,
			copyRows: copyRows[float32], transpose: avx2Transposes.transpose, transposeLines: transposeLinesAVX2, window: window_f32_avx2,
			copyWhole: copyWholeAVX2, transposeWhole: avx2Wholes.transpose,
			winograd: &avx2Winograd, strided: &avx2Strided, direct: &avx2Direct, scattered: &avx2Scattered, squares: &avx2Squares, linked: avx2Linked,
			besideTaps: beside_taps_f32_avx2,
		})
	}
	return list
}

// avx512Tiles steps by half vectors; only the narrowest tile has a half one.
var avx512Tiles = [][]tileFunc[float32]{
	{gemm_f32_1x8_avx512, gemm_f32_1x16_avx512, gemm_f32_1x32_avx512, gemm_f32_1x32_avx512, gemm_f32_1x48_avx512, gemm_f32_1x48_avx512},
	{gemm_f32_2x8_avx512, gemm_f32_2x16_avx512, gemm_f32_2x32_avx512, gemm_f32_2x32_avx512, gemm_f32_2x48_avx512, gemm_f32_2x48_avx512},
	{gemm_f32_3x8_avx512, gemm_f32_3x16_avx512, gemm_f32_3x32_avx512, gemm_f32_3x32_avx512, gemm_f32_3x48_avx512, gemm_f32_3x48_avx512},
	{gemm_f32_4x8_avx512, gemm_f32_4x16_avx512, gemm_f32_4x32_avx512, gemm_f32_4x32_avx512, gemm_f32_4x48_avx512, gemm_f32_4x48_avx512},
	{gemm_f32_5x8_avx512, gemm_f32_5x16_avx512, gemm_f32_5x32_avx512, gemm_f32_5x32_avx512, gemm_f32_5x48_avx512, gemm_f32_5x48_avx512},
	{gemm_f32_6x8_avx512, gemm_f32_6x16_avx512, gemm_f32_6x32_avx512, gemm_f32_6x32_avx512, gemm_f32_6x48_avx512, gemm_f32_6x48_avx512},
	{gemm_f32_7x8_avx512, gemm_f32_7x16_avx512, gemm_f32_7x32_avx512, gemm_f32_7x32_avx512, gemm_f32_7x48_avx512, gemm_f32_7x48_avx512},
	{gemm_f32_8x8_avx512, gemm_f32_8x16_avx512, gemm_f32_8x32_avx512, gemm_f32_8x32_avx512, gemm_f32_8x48_avx512, gemm_f32_8x48_avx512},
}

var avx2Tiles = [][]tileFunc[float32]{
	{gemm_f32_1x8_avx2, gemm_f32_1x16_avx2},
	{gemm_f32_2x8_avx2, gemm_f32_2x16_avx2},
	{gemm_f32_3x8_avx2, gemm_f32_3x16_avx2},
	{gemm_f32_4x8_avx2, gemm_f32_4x16_avx2},
	{gemm_f32_5x8_avx2, gemm_f32_5x16_avx2},
	{gemm_f32_6x8_avx2, gemm_f32_6x16_avx2},
}

var avx512Gaps = gapsLoops[float32]{
	lanes: 16, nonzero: nonzero_f32_avx2, nonzeroRow: nonzero_row_f32_avx2, copyLines: copy_lines_f32_avx2,
	whole: []gapsFunc[float32]{
		gemm_gaps_f32_16_avx512, gemm_gaps_f32_32_avx512, gemm_gaps_f32_48_avx512,
		gemm_gaps_f32_64_avx512, gemm_gaps_f32_80_avx512, gemm_gaps_f32_96_avx512,
		gemm_gaps_f32_112_avx512, gemm_gaps_f32_128_avx512,
	},
	cut: []gapsFunc[float32]{
		gemm_gaps_cut_f32_16_avx512, gemm_gaps_cut_f32_32_avx512, gemm_gaps_cut_f32_48_avx512,
		gemm_gaps_cut_f32_64_avx512, gemm_gaps_cut_f32_80_avx512, gemm_gaps_cut_f32_96_avx512,
		gemm_gaps_cut_f32_112_avx512, gemm_gaps_cut_f32_128_avx512,
	},
}

var avx2Gaps = gapsLoops[float32]{
	lanes: 8, nonzero: nonzero_f32_avx2, nonzeroRow: nonzero_row_f32_avx2, copyLines: copy_lines_f32_avx2,
	whole: []gapsFunc[float32]{
		gemm_gaps_f32_8_avx2, gemm_gaps_f32_16_avx2, gemm_gaps_f32_24_avx2,
		gemm_gaps_f32_32_avx2, gemm_gaps_f32_40_avx2, gemm_gaps_f32_48_avx2,
		gemm_gaps_f32_56_avx2, gemm_gaps_f32_64_avx2, gemm_gaps_f32_72_avx2,
		gemm_gaps_f32_80_avx2, gemm_gaps_f32_88_avx2,
	},
	cut: []gapsFunc[float32]{
		gemm_gaps_cut_f32_8_avx2, gemm_gaps_cut_f32_16_avx2, gemm_gaps_cut_f32_24_avx2,
		gemm_gaps_cut_f32_32_avx2, gemm_gaps_cut_f32_40_avx2, gemm_gaps_cut_f32_48_avx2,
		gemm_gaps_cut_f32_56_avx2, gemm_gaps_cut_f32_64_avx2, gemm_gaps_cut_f32_72_avx2,
		gemm_gaps_cut_f32_80_avx2, gemm_gaps_cut_f32_88_avx2,
	},
}

// avx512Winograd transforms weights by half vectors: those are packed so.
var avx512Winograd = winogradLoops[float32]{
	lanes: 16,
	input: winograd_input_f32_avx512, weight: winograd_weight_f32_avx2, mirror: winograd_mirror_f32_avx2,
	gradient: winograd_gradient_f32_avx512, sum: winograd_sum_f32_avx512, output: winograd_output_f32_avx512,
}

var avx2Winograd = winogradLoops[float32]{
	lanes: 8,
	input: winograd_input_f32_avx2, weight: winograd_weight_f32_avx2, mirror: winograd_mirror_f32_avx2,
	gradient: winograd_gradient_f32_avx2, sum: winograd_sum_f32_avx2, output: winograd_output_f32_avx2,
}

var avx512Strided = stridedLoops[float32]{
	input: strided_input_f32_avx512, weight: strided_weight_f32_avx2, output: strided_output_f32_avx512,
	inputBack: strided_input_back_f32_avx512, mirror: strided_mirror_f32_avx2, outputBack: strided_output_back_f32_avx512,
	gradient: strided_gradient_f32_avx512, sum: strided_sum_f32_avx512,
}

var avx2Strided = stridedLoops[float32]{
	input: strided_input_f32_avx2, weight: strided_weight_f32_avx2, output: strided_output_f32_avx2,
	inputBack: strided_input_back_f32_avx2, mirror: strided_mirror_f32_avx2, outputBack: strided_output_back_f32_avx2,
	gradient: strided_gradient_f32_avx2, sum: strided_sum_f32_avx2,
}

// copyRowsAVX512 is copyRows with a row of a panel in registers.
func copyRowsAVX512(rows int, src []float32, srcRow int, dst []float32, dstRow, cols int) {
	switch {
	case rows == 0 || cols == 0 || cols > 48:
		copyRows(rows, src, srcRow, dst, dstRow, cols)
	case cols <= 16:
		copy_rows16_f32_avx512(rows, src, srcRow, dst, dstRow, cols)
	case cols <= 32:
		copy_rows32_f32_avx512(rows, src, srcRow, dst, dstRow, cols)
	default:
		copy_rows48_f32_avx512(rows, src, srcRow, dst, dstRow, cols)
	}
}

// copyWholeAVX2 copies whole vectors for rows of up to 16 elements. Only at the
// end of src it minds what is not there.
func copyWholeAVX2(rows int, src []float32, srcRow int, dst []float32, dstRow, cols int) {
	lanes := roundUp(cols, 8)
	whole := 0 // rows that have so many elements behind their beginning
	if lanes <= len(src) {
		whole = min(rows, (len(src)-lanes)/max(srcRow, 1)+1)
	}
	switch {
	case whole == 0 || cols == 0 || lanes > 16:
		whole = 0
	case lanes == 8:
		copy_rows8_f32_avx2(whole, src, srcRow, dst, dstRow, cols)
	default:
		copy_rows16_f32_avx2(whole, src, srcRow, dst, dstRow, cols)
	}
	if whole < rows {
		copyRows(rows-whole, src[whole*srcRow:], srcRow, dst[whole*dstRow:], dstRow, cols)
	}
}

// blockTransposes transpose 1 to 8 rows of some blocks of 8 columns.
type blockTransposes [8]func(blocks int, src []float32, srcRow int, dst []float32, dstRow int)

var avx512Transposes = blockTransposes{
	transpose1_f32_avx512, transpose2_f32_avx512, transpose3_f32_avx512, transpose4_f32_avx512,
	transpose5_f32_avx512, transpose6_f32_avx512, transpose7_f32_avx512, transpose8_f32_avx512,
}

var avx2Transposes = blockTransposes{
	transpose1_f32_avx2, transpose2_f32_avx2, transpose3_f32_avx2, transpose4_f32_avx2,
	transpose5_f32_avx2, transpose6_f32_avx2, transpose7_f32_avx2, transpose8_f32_avx2,
}

// avx2Wholes write 8 rows, whatever they read.
var avx2Wholes = blockTransposes{
	whole1_f32_avx2, whole2_f32_avx2, whole3_f32_avx2, whole4_f32_avx2,
	whole5_f32_avx2, whole6_f32_avx2, whole7_f32_avx2, transpose8_f32_avx2,
}

// transpose is the twin's, by blocks of 8 columns. The last block overlaps the
// one before when cols is no multiple; fewer columns are left to the twin.
func (bt *blockTransposes) transpose(rows, cols int, src []float32, srcRow int, dst []float32, dstRow int) {
	if cols < 8 {
		transpose(rows, cols, src, srcRow, dst, dstRow)
		return
	}
	for i := 0; i < rows; i += 8 {
		block := bt[min(8, rows-i)-1]
		block(cols/8, src[i*srcRow:], srcRow, dst[i:], dstRow)
		if cols%8 != 0 {
			block(1, src[i*srcRow+cols-8:], srcRow, dst[(cols-8)*dstRow+i:], dstRow)
		}
	}
}

// transposeLinesAVX2 is the twin's, by blocks of 8 by 8, of which neighbours overlap
// where rows or columns are no multiple. Fewer are transposed line by line.
func transposeLinesAVX2(lines, rows, cols int, src []float32, srcRow, srcLine int, dst []float32, dstRow, dstLine int) {
	switch {
	case lines == 0:
	case rows < 8 || cols < 8:
		for l := range lines {
			avx2Transposes.transpose(rows, cols, src[l*srcLine:], srcRow, dst[l*dstLine:], dstRow)
		}
	case rows%8 != 0:
		transposeLinesAVX2(lines, rows&^7, cols, src, srcRow, srcLine, dst, dstRow, dstLine)
		transposeLinesAVX2(lines, 8, cols, src[(rows-8)*srcRow:], srcRow, srcLine, dst[rows-8:], dstRow, dstLine)
	case cols%8 != 0:
		transposeLinesAVX2(lines, rows, cols&^7, src, srcRow, srcLine, dst, dstRow, dstLine)
		transposeLinesAVX2(lines, rows, 8, src[cols-8:], srcRow, srcLine, dst[(cols-8)*dstRow:], dstRow, dstLine)
	case rows < cols:
		for i := 0; i < rows; i += 8 {
			transpose_blocks_f32_avx2(lines, cols/8, src[i*srcRow:], srcRow, 8, srcLine, dst[i:], dstRow, 8*dstRow, dstLine)
		}
	default:
		for j := 0; j < cols; j += 8 {
			transpose_blocks_f32_avx2(lines, rows/8, src[j:], srcRow, 8*srcRow, srcLine, dst[j*dstRow:], dstRow, 8, dstLine)
		}
	}
}

var avx512Linked = []linkedLoops[float32]{
	{64, linked64_f32_avx512, linked_dot64_f32_avx512},
	{16, linked16_f32_avx512, linked_dot16_f32_avx512},
}

var avx2Linked = []linkedLoops[float32]{{16, linked16_f32_avx2, linked_dot16_f32_avx2}}

var avx512Direct = directLoops[float32]{
	images: 32, lanes: 16, most: 32,
	tiles: []directTile[float32]{direct_f32_1_avx512, direct_f32_2_avx512, direct_f32_3_avx512, direct_f32_4_avx512, direct_f32_5_avx512, direct_f32_6_avx512, direct_f32_7_avx512, direct_f32_8_avx512},
	dots: [][]directDot[float32]{
		{direct_dot_f32_1x1_avx512, direct_dot_f32_1x2_avx512, direct_dot_f32_1x3_avx512},
		{direct_dot_f32_2x1_avx512, direct_dot_f32_2x2_avx512, direct_dot_f32_2x3_avx512},
		{direct_dot_f32_3x1_avx512, direct_dot_f32_3x2_avx512, direct_dot_f32_3x3_avx512},
		{direct_dot_f32_4x1_avx512, direct_dot_f32_4x2_avx512, direct_dot_f32_4x3_avx512},
		{direct_dot_f32_5x1_avx512, direct_dot_f32_5x2_avx512, direct_dot_f32_5x3_avx512},
		{direct_dot_f32_6x1_avx512, direct_dot_f32_6x2_avx512, direct_dot_f32_6x3_avx512},
		{direct_dot_f32_7x1_avx512, direct_dot_f32_7x2_avx512, direct_dot_f32_7x3_avx512},
		{direct_dot_f32_8x1_avx512, direct_dot_f32_8x2_avx512, direct_dot_f32_8x3_avx512},
	},
}

var avx2Direct = directLoops[float32]{
	images: 16, lanes: 8, most: 256,
	tiles: []directTile[float32]{direct_f32_1_avx2, direct_f32_2_avx2, direct_f32_3_avx2, direct_f32_4_avx2, direct_f32_5_avx2, direct_f32_6_avx2},
	dots: [][]directDot[float32]{
		{direct_dot_f32_1x1_avx2, direct_dot_f32_1x2_avx2, direct_dot_f32_1x3_avx2},
		{direct_dot_f32_2x1_avx2, direct_dot_f32_2x2_avx2, direct_dot_f32_2x3_avx2},
		{direct_dot_f32_3x1_avx2, direct_dot_f32_3x2_avx2, direct_dot_f32_3x3_avx2},
		{direct_dot_f32_4x1_avx2, direct_dot_f32_4x2_avx2, direct_dot_f32_4x3_avx2},
	},
}
