//go:build !purego

package kernel

// peakLoop is the loop of independent multiply-adds for the widest registers
// that the processor has, and the operations of one round.
func peakLoop() (loop func(rounds int), operations int) {
	switch {
	case HasAVX512:
		return peak_f32_avx512, 2 * 12 * 16
	case HasAVX2:
		return peak_f32_avx2, 2 * 12 * 8
	}
	return nil, 0
}
