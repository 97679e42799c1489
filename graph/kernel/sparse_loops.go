package kernel

//go:generate go -C _asm/sparse run . -out ../../sparse_amd64.s -stubs ../../sparse_amd64.go -pkg kernel

// sparseSamples is how many samples the loops over kept elements handle at once.
const sparseSamples = 64

// sparseLoops is one implementation of the loops over lists of kept elements. start has
// one entry more than there are rows: the elements of row r are those from start[r] to
// start[r+1]. at holds offsets of sparseSamples elements of x, and y has as many every
// pitch elements.
type sparseLoops[T Float] struct {
	name string
	// combine: y[r*pitch:] += Σ values[i]·x[at[i]:]; y begins with bias[r] where there is a bias.
	combine func(start, at []int32, values, x, y []T, pitch int, bias []T)
	// dots: out[i] += <y[r*pitch:], x[at[i]:]>
	dots func(start, at []int32, x, y []T, pitch int, out []T)
}

// sparseAvailable lists what this processor can run, fastest first.
func sparseAvailable[T Float]() []sparseLoops[T] {
	var list []sparseLoops[T]
	for _, l := range sparseF32() {
		if l, ok := any(l).(sparseLoops[T]); ok {
			list = append(list, l)
		}
	}
	return append(list, sparseLoops[T]{"go", combineRows[T], dotRows[T]})
}

func combineRows[T Float](start, at []int32, values, x, y []T, pitch int, bias []T) {
	for r := range len(start) - 1 {
		sums := y[r*pitch:][:sparseSamples]
		if bias != nil {
			for j := range sums {
				sums[j] = bias[r]
			}
		}
		for i := start[r]; i < start[r+1]; i++ {
			w, row := values[i], x[at[i]:][:sparseSamples]
			for j, v := range row {
				sums[j] += w * v
			}
		}
	}
}

func dotRows[T Float](start, at []int32, x, y []T, pitch int, out []T) {
	for r := range len(start) - 1 {
		side := y[r*pitch:][:sparseSamples]
		for i := start[r]; i < start[r+1]; i++ {
			row := x[at[i]:][:sparseSamples]
			var sum T
			for j, v := range row {
				sum += v * side[j]
			}
			out[i] += sum
		}
	}
}
