//go:build amd64 && !purego

package kernel

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

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

// BenchmarkGemmShare measures square products by turns with the loop of BenchmarkPeak
// on as many threads, and reports the share of the loop's rate that they reach: that
// of the median product, in percent, where the better tenth of the loop's runs counts.
func BenchmarkGemmShare(b *testing.B) {
	loop, operations := peakLoop()
	if loop == nil {
		b.Skip("this processor has no loop that measures its peak")
	}
	for _, n := range []int{512, 1024, 2048} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%d/threads%d", n, threads), func(b *testing.B) {
				team := NewTeam(threads)
				defer team.Close()
				g := NewGemm[float32](n, n, n, false, false, GemmOptions{})
				x, y, z := fill(make([]float32, n*n), 1), fill(make([]float32, n*n), 2), make([]float32, n*n)
				flat := func(*Worker, int) { loop(peakRounds) }
				var products, peaks []float64 // operations a nanosecond
				for b.Loop() {
					start := time.Now()
					g.Run(team, x, y, z)
					products = append(products, float64(2*n*n*n)/float64(time.Since(start)))
					for range n / 256 {
						start := time.Now()
						team.For(8*threads, flat)
						peaks = append(peaks, float64(8*threads*peakRounds*operations)/float64(time.Since(start)))
					}
				}
				slices.Sort(products)
				slices.Sort(peaks)
				b.ReportMetric(0, "ns/op") // of both
				b.ReportMetric(products[len(products)/2], "GFLOPS")
				b.ReportMetric(100*products[len(products)/2]/peaks[len(peaks)*9/10], "%peak")
			})
		}
	}
}
