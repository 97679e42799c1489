//go:build !purego

package kernel

// avx2Scattered serves AVX-512 too, where longer vectors would stay half empty.
var avx2Scattered = scatteredLoops[float32]{collectAVX2, scatteredDotAVX2, scatteredSpreadAVX2}

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
