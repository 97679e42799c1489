//go:build !purego

package kernel

import "unsafe"

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
func sparseOf(name string, combine func(rows int, start, at *int32, values, x, y *float32, pitch int, bias *float32),
	dots func(rows int, start, at *int32, x, y *float32, pitch int, out *float32)) sparseLoops[float32] {
	return sparseLoops[float32]{
		name: name,
		combine: func(start, at []int32, values, x, y []float32, pitch int, bias []float32) {
			rows := len(start) - 1
			_, _, _ = values[:start[rows]], at[:start[rows]], y[(rows-1)*pitch+sparseSamples-1]
			if bias != nil {
				_ = bias[rows-1]
			}
			combine(rows, &start[0], unsafe.SliceData(at), unsafe.SliceData(values), unsafe.SliceData(x), &y[0], pitch, unsafe.SliceData(bias))
		},
		dots: func(start, at []int32, x, y []float32, pitch int, out []float32) {
			rows := len(start) - 1
			_, _, _ = out[:start[rows]], at[:start[rows]], y[(rows-1)*pitch+sparseSamples-1]
			dots(rows, &start[0], unsafe.SliceData(at), unsafe.SliceData(x), &y[0], pitch, unsafe.SliceData(out))
		},
	}
}
