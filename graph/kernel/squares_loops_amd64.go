//go:build !purego

package kernel

var avx512Squares = squaresLoops[float32]{
	lanes:       16,
	tileRows:    4,
	tiles:       []squaresTile[float32]{squares_tile_f32_4x16_avx512, squares_tile_f32_4x32_avx512, squares_tile_f32_4x48_avx512},
	productRows: 8,
	products:    []squaresProducts[float32]{squares_products_f32_8x16_avx512, squares_products_f32_8x32_avx512, squares_products_f32_8x48_avx512},
	sum:         squares_sum_f32_avx512,
	stridedSum:  squares_strided_sum_f32_avx512,
}

var avx2Squares = squaresLoops[float32]{
	lanes:       8,
	tileRows:    3,
	tiles:       []squaresTile[float32]{squares_tile_f32_3x8_avx2, squares_tile_f32_3x16_avx2},
	productRows: 4,
	products:    []squaresProducts[float32]{squares_products_f32_4x8_avx2, squares_products_f32_4x16_avx2},
	sum:         squares_sum_f32_avx2,
	stridedSum:  squares_strided_sum_f32_avx2,
}
