package kernel

import (
	"sync/atomic"
	"unsafe"
)

// Worker is one thread of a Team, as a body sees it: an identity and scratch
// memory of its own.
type Worker struct {
	ID int // 0 .. Threads-1

	f32 []aligned[float32]
	f64 []aligned[float64]
	i32 []aligned[int32]

	parker parker
	quit   atomic.Bool
}

// Float32 returns the worker's scratch slice number slot, of length n and
// aligned to 64 bytes. It is kept and handed out again; what it contains is
// undefined.
func (w *Worker) Float32(slot, n int) []float32 { return scratch(&w.f32, slot, n) }

// Float64 is Float32 for float64.
func (w *Worker) Float64(slot, n int) []float64 { return scratch(&w.f64, slot, n) }

// Int32 is Float32 for int32.
func (w *Worker) Int32(slot, n int) []int32 { return scratch(&w.i32, slot, n) }

// aligned is a slice whose first element lies at a multiple of 64 bytes.
type aligned[T any] []T

func scratch[T any](slots *[]aligned[T], slot, n int) []T {
	for len(*slots) <= slot {
		*slots = append(*slots, nil)
	}
	s := (*slots)[slot]
	if cap(s) < n {
		s = alignedSlice[T](n)
		(*slots)[slot] = s
	}
	return s[:n:n]
}

// alignedSlice allocates n elements that begin at a multiple of 64 bytes.
func alignedSlice[T any](n int) []T {
	const line = 64
	var zero T
	size := int(unsafe.Sizeof(zero))
	s := make([]T, n+line/size)
	address := uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	skip := int(-address%line) / size
	return s[skip : skip+n : skip+n]
}

// scratchOf is Float32 or Float64, by the type asked for.
func scratchOf[T Float](w *Worker, slot, n int) []T {
	switch s := any(&w.f32).(type) {
	case *[]aligned[T]:
		return scratch(s, slot, n)
	}
	return scratch(any(&w.f64).(*[]aligned[T]), slot, n)
}
