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
	dot     scatteredDot[T]
	spread  scatteredSpread[T]
}

// collectFunc lists the elements of a plane that are not zero: their values, and
// where they lie by the table of all places. It returns how many there are. at
// and values are as long as the plane and what is undefined behind the list.
type collectFunc[T Float] func(plane []T, places, at []int32, values []T) int

// scatteredDot adds, for each plane p, row r of it and lane j of a kernel,
//
//	sums[(p*rows + r)*8 + j] += sum over i of values[i] * x[at[i] + p*xPlane + r*xRow + j]
type scatteredDot[T Float] func(rows int, at []int32, values []T, planes int, x []T, xPlane, xRow int, sums []T)

// scatteredSpread does the converse: for each i in order,
//
//	x[at[i] + p*xPlane + r*xRow + j] += values[i] * w[(p*rows + r)*8 + j]
type scatteredSpread[T Float] func(rows int, at []int32, values []T, planes int, w, x []T, xPlane, xRow int)

func newGoScattered[T Float]() *scatteredLoops[T] {
	return &scatteredLoops[T]{goCollect[T], goScatteredDot[T], goScatteredSpread[T]}
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
