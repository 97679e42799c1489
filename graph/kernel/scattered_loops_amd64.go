//go:build !purego

package kernel

// avx2Scattered serves AVX-512 too, where longer vectors would stay half empty.
var avx2Scattered = scatteredLoops[float32]{
	collect: collectAVX2, pooled: collectPooledAVX2, open: collectOpenAVX2,
	dot: scatteredDotAVX2, spread: scatteredSpreadAVX2, at: scatteredAtAVX2,
}

// collectAVX2 lists whole blocks of lanes; the twin does the rest.
func collectAVX2(plane []float32, places, at []int32, values []float32) int {
	_, _, _ = places[:len(plane)], at[:len(plane)], values[:len(plane)]
	whole, n := len(plane)/scatteredLanes, 0
	if whole > 0 {
		n = collect_f32_avx2(whole, &plane[0], &places[0], &at[0], &values[0])
	}
	whole *= scatteredLanes
	return n + goCollect(plane[whole:], places[whole:], at[n:], values[n:])
}

func collectPooledAVX2(plane []float32, index []int64, first, last int64, line *[3]float32, at []int32, values []float32) (int, bool) {
	size := len(plane)
	_, _, _ = index[size-1], at[size-1], values[size-1]
	n, stray := collectPooled_f32_avx2(size/scatteredLanes, &plane[0], &index[0], first, last, &line[0], &at[0], &values[0])
	return n, stray == 0
}

func collectOpenAVX2(plane []float32, index []int64, first, last int64, line *[3]float32, at, numbers []int32) (int, bool) {
	size := len(plane)
	_, _, _ = index[size-1], at[size-1], numbers[size-1]
	n, stray := collectOpen_f32_avx2(size/scatteredLanes, &plane[0], &index[0], first, last, &line[0], &at[0], &numbers[0])
	return n, stray == 0
}

var scatteredAts = [scatteredRows]func(fours int, at *int32, planes int, w, x *float32, xPlane, xRow int, y *float32){
	scattered_at_f32_1_avx2, scattered_at_f32_2_avx2, scattered_at_f32_3_avx2, scattered_at_f32_4_avx2,
	scattered_at_f32_5_avx2, scattered_at_f32_6_avx2, scattered_at_f32_7_avx2,
}

func scatteredAtAVX2(rows int, at []int32, planes int, w, x []float32, xPlane, xRow int, y []float32) {
	if len(at) > 0 && planes > 0 {
		_, _ = y[len(at)-1], w[planes*rows*scatteredLanes-1]
		scatteredAts[rows-1](len(at)/4, &at[0], planes, &w[0], &x[0], xPlane, xRow, &y[0])
	}
}

var scatteredDots = [scatteredRows]func(n int, at *int32, values *float32, planes int, x *float32, xPlane, xRow int, sums *float32){
	scattered_dot_f32_1_avx2, scattered_dot_f32_2_avx2, scattered_dot_f32_3_avx2, scattered_dot_f32_4_avx2,
	scattered_dot_f32_5_avx2, scattered_dot_f32_6_avx2, scattered_dot_f32_7_avx2,
}

func scatteredDotAVX2(rows int, at []int32, values []float32, planes int, x []float32, xPlane, xRow int, sums []float32) {
	if len(at) > 0 && planes > 0 {
		_, _ = values[len(at)-1], sums[planes*rows*scatteredLanes-1]
		scatteredDots[rows-1](len(at), &at[0], &values[0], planes, &x[0], xPlane, xRow, &sums[0])
	}
}

var scatteredSpreads = [scatteredRows]func(n int, at *int32, values *float32, planes int, w, x *float32, xPlane, xRow int){
	scattered_spread_f32_1_avx2, scattered_spread_f32_2_avx2, scattered_spread_f32_3_avx2, scattered_spread_f32_4_avx2,
	scattered_spread_f32_5_avx2, scattered_spread_f32_6_avx2, scattered_spread_f32_7_avx2,
}

func scatteredSpreadAVX2(rows int, at []int32, values []float32, planes int, w, x []float32, xPlane, xRow int) {
	if len(at) > 0 && planes > 0 {
		_, _ = values[len(at)-1], w[planes*rows*scatteredLanes-1]
		scatteredSpreads[rows-1](len(at), &at[0], &values[0], planes, &w[0], &x[0], xPlane, xRow)
	}
}
