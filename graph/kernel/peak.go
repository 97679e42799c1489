package kernel

import "time"

// peakRounds is how many rounds of multiply-adds are timed at once, about 30 µs.
const peakRounds = 10_000

// PeakRate measures what the team's threads can do at most, in float32
// operations per second: independent multiply-adds, each of which counts as two
// operations, on registers alone. The fastest of several runs within a twentieth
// of a second counts. It is 0 where there is no such loop.
func PeakRate(t *Team) float64 {
	loop, operations := peakLoop()
	if loop == nil {
		return 0
	}
	units := t.Threads()
	body := func(*Worker, int) { loop(20 * peakRounds) }
	best := time.Duration(0)
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
		began := time.Now()
		t.For(units, body)
		if d := time.Since(began); best == 0 || d < best {
			best = d
		}
	}
	return float64(units*20*peakRounds*operations) / best.Seconds()
}
