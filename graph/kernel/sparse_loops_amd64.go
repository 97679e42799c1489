//go:build !purego

package kernel

func sparseF32() []sparseLoops[float32] {
	var list []sparseLoops[float32]
	if HasAVX512 {
		list = append(list, sparseOf("avx512", combineRows_f32_avx512, dotRows_f32_avx512))
	}
	if HasAVX2 {
		list = append(list, sparseOf("avx2", combineRows_f32_avx2, dotRows_f32_avx2))
	}
	return list
}

// sparseOf checks lengths before the assembly runs.
func sparseOf(name string, combine func(n int, at *int32, values, x, y *float32), dots func(n int, at *int32, x, y, out *float32)) sparseLoops[float32] {
	return sparseLoops[float32]{
		name: name,
		combine: func(at []int32, values, x, y []float32) {
			if len(at) > 0 {
				_, _, _ = values[len(at)-1], y[sparseSamples-1], x[sparseSamples-1]
				combine(len(at), &at[0], &values[0], &x[0], &y[0])
			}
		},
		dots: func(at []int32, x, y, out []float32) {
			if len(at) > 0 {
				_, _, _ = out[len(at)-1], y[sparseSamples-1], x[sparseSamples-1]
				dots(len(at), &at[0], &x[0], &y[0], &out[0])
			}
		},
	}
}
