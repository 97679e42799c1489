package kernel

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

func TestTeamRunsEveryUnitOnce(t *testing.T) {
	for _, threads := range []int{0, 1, 2, 3, 8} {
		team := NewTeam(threads)
		for _, units := range []int{0, 1, 2, 3, 7, 100, 1000} {
			counts := make([]atomic.Int32, units)
			for range 50 {
				team.For(units, func(w *Worker, unit int) {
					if w.ID < 0 || w.ID >= team.Threads() {
						t.Errorf("worker %d of %d", w.ID, team.Threads())
					}
					counts[unit].Add(1)
				})
			}
			for unit := range counts {
				if got := counts[unit].Load(); got != 50 {
					t.Fatalf("threads %d: unit %d of %d ran %d times in 50 calls", threads, unit, units, got)
				}
			}
		}
		team.Close()
		team.Close()
		ran := 0
		team.For(3, func(*Worker, int) { ran++ })
		if ran != 3 {
			t.Errorf("after Close: ran %d of 3 units", ran)
		}
	}
}

func TestTeamUsesItsThreads(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for range 3 {
		// Each unit waits for the other: one goroutine alone would never finish.
		var arrived atomic.Int32
		team.For(2, func(*Worker, int) {
			arrived.Add(1)
			for deadline := time.Now().Add(10 * time.Second); arrived.Load() < 2; {
				if time.Now().After(deadline) {
					t.Error("the second unit did not start while the first ran")
					return
				}
				time.Sleep(time.Microsecond)
			}
		})
		time.Sleep(2 * time.Millisecond) // let the worker fall asleep
	}
}

func TestTeamPanics(t *testing.T) {
	for _, threads := range []int{1, 2} {
		team := NewTeam(threads)
		for range 20 {
			func() {
				defer func() {
					if v := recover(); v != "unit 5" {
						t.Errorf("threads %d: recovered %v, want unit 5", threads, v)
					}
				}()
				team.For(10, func(_ *Worker, unit int) {
					if unit == 5 {
						panic("unit 5")
					}
				})
			}()
		}
		var ran atomic.Int32
		team.For(10, func(*Worker, int) { ran.Add(1) })
		if ran.Load() != 10 {
			t.Errorf("threads %d: after a panic ran %d of 10 units", threads, ran.Load())
		}
		team.Close()
	}
}

func TestNilTeam(t *testing.T) {
	var team *Team
	sum := 0
	team.For(5, func(w *Worker, unit int) { sum += unit + len(w.Float32(0, 1)) })
	if sum != 15 || team.Threads() != 1 {
		t.Errorf("nil team: sum %d, threads %d", sum, team.Threads())
	}
	team.Close()
}

func TestTeamAllocatesNothing(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	var sum atomic.Int64
	body := func(w *Worker, unit int) { sum.Add(int64(len(w.Float32(1, 100)))) }
	if n := steadyAllocs(100, func() { team.For(8, body) }); n != 0 {
		t.Errorf("For allocates %v times", n)
	}
}

func TestScratchIsAligned(t *testing.T) {
	var w Worker
	for _, n := range []int{1, 3, 17, 1000, 5} {
		if s := w.Float32(2, n); len(s) != n || uintptr(unsafe.Pointer(&s[0]))%64 != 0 {
			t.Errorf("Float32(%d): length %d at %p", n, len(s), &s[0])
		}
		if s := w.Float64(0, n); len(s) != n || uintptr(unsafe.Pointer(&s[0]))%64 != 0 {
			t.Errorf("Float64(%d): length %d at %p", n, len(s), &s[0])
		}
		if s := w.Int32(1, n); len(s) != n || uintptr(unsafe.Pointer(&s[0]))%64 != 0 {
			t.Errorf("Int32(%d): length %d at %p", n, len(s), &s[0])
		}
	}
	if &w.Float32(2, 10)[0] != &scratchOf[float32](&w, 2, 4)[0] {
		t.Error("scratch is not reused")
	}
	if &w.Float64(0, 10)[0] != &scratchOf[float64](&w, 0, 4)[0] {
		t.Error("scratch is not reused")
	}
}

func BenchmarkTeamFor(b *testing.B) {
	team := NewTeam(2)
	defer team.Close()
	body := func(*Worker, int) {}
	for b.Loop() {
		team.For(2, body)
	}
}
