package kernel

//go:generate go -C _asm/scattered run . -out ../../scattered_amd64.s -stubs ../../scattered_amd64.go -pkg kernel

const (
	// scatteredLanes is the length of the vectors that kernels are made of, filled
	// up with zeros.
	scatteredLanes = 8
	// scatteredRows is how many vectors a plane of a kernel may have.
	scatteredRows = 7
)

// scatteredLoops is one implementation of the loops over elements that are not
// zero.
type scatteredLoops[T Float] struct {
	collect collectFunc[T]
	pooled  pooledFunc[T] // nil: listPooled does it
	open    openFunc[T]   // nil: listOpen does it
	dot     scatteredDot[T]
	spread  scatteredSpread[T]
	at      scatteredAt[T]
}

// collectFunc lists the elements of a plane that are not zero: their values, and
// where they lie by the table of all places. It returns how many there are. at
// and values are as long as the plane and what is undefined behind the list.
type collectFunc[T Float] func(plane []T, places, at []int32, values []T) int

// pooledFunc is collect for blocks of 8 elements of a pooled plane, whose places
// in dy less first must be between 0 and last: where they are is
//
//	place*line[1] + floor((place + 1/2) * line[0]) * line[2]
//
// in float32. ok tells whether all places were within.
type pooledFunc[T Float] func(plane []T, index []int64, first, last int64, line *[3]float32, at []int32, values []T) (n int, ok bool)

// openFunc is pooledFunc for the elements above zero, whose numbers it lists in the
// place of their values.
type openFunc[T Float] func(plane []T, index []int64, first, last int64, line *[3]float32, at, numbers []int32) (n int, ok bool)

// scatteredAt is a correlation at some places, a multiple of 4: for each i
//
//	y[i] += sum over p, r and j of x[at[i] + p*xPlane + r*xRow + j] * w[(p*rows + r)*8 + j]
type scatteredAt[T Float] func(rows int, at []int32, planes int, w, x []T, xPlane, xRow int, y []T)

// scatteredDot adds, for each plane p, row r of it and lane j of a kernel,
//
//	sums[(p*rows + r)*8 + j] += sum over i of values[i] * x[at[i] + p*xPlane + r*xRow + j]
type scatteredDot[T Float] func(rows int, at []int32, values []T, planes int, x []T, xPlane, xRow int, sums []T)

// scatteredSpread does the converse: for each i in order,
//
//	x[at[i] + p*xPlane + r*xRow + j] += values[i] * w[(p*rows + r)*8 + j]
type scatteredSpread[T Float] func(rows int, at []int32, values []T, planes int, w, x []T, xPlane, xRow int)

func newGoScattered[T Float]() *scatteredLoops[T] {
	return &scatteredLoops[T]{collect: goCollect[T], dot: goScatteredDot[T], spread: goScatteredSpread[T], at: goScatteredAt[T]}
}

func goCollect[T Float](plane []T, places, at []int32, values []T) int {
	n := 0
	for i, v := range plane {
		if v != 0 {
			at[n], values[n] = places[i], v
			n++
		}
	}
	return n
}

func goScatteredDot[T Float](rows int, at []int32, values []T, planes int, x []T, xPlane, xRow int, sums []T) {
	for p := range planes {
		for r := range rows {
			to := sums[(p*rows+r)*scatteredLanes:][:scatteredLanes]
			for i, v := range values[:len(at)] {
				for j, xv := range x[int(at[i])+p*xPlane+r*xRow:][:scatteredLanes] {
					to[j] += v * xv
				}
			}
		}
	}
}

func goScatteredSpread[T Float](rows int, at []int32, values []T, planes int, w, x []T, xPlane, xRow int) {
	for i, v := range values[:len(at)] {
		for p := range planes {
			for r := range rows {
				from := w[(p*rows+r)*scatteredLanes:][:scatteredLanes]
				to := x[int(at[i])+p*xPlane+r*xRow:][:scatteredLanes]
				for j, wv := range from {
					to[j] += v * wv
				}
			}
		}
	}
}

func goScatteredAt[T Float](rows int, at []int32, planes int, w, x []T, xPlane, xRow int, y []T) {
	for i, first := range at {
		var sum [scatteredLanes]T
		for p := range planes {
			for r := range rows {
				from := w[(p*rows+r)*scatteredLanes:][:scatteredLanes]
				for j, xv := range x[int(first)+p*xPlane+r*xRow:][:scatteredLanes] {
					sum[j] += from[j] * xv
				}
			}
		}
		for _, v := range sum {
			y[i] += v
		}
	}
}
