//go:build amd64 && !purego

package kernel

import "testing"

// BenchmarkPeak measures what one core can do at most: the yardstick of the
// GFLOPS that the other benchmarks report.
func BenchmarkPeak(b *testing.B) {
	const rounds = 10_000
	run := func(name string, has bool, lanes int, peak func(int)) {
		b.Run(name, func(b *testing.B) {
			if !has {
				b.Skip("this processor lacks " + name)
			}
			for b.Loop() {
				peak(rounds)
			}
			reportGFLOPS(b, 2*12*lanes*rounds)
		})
	}
	run("avx512", HasAVX512, 16, peak_f32_avx512)
	run("avx2", HasAVX2, 8, peak_f32_avx2)
}
