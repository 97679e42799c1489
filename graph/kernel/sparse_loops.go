package kernel

//go:generate go -C _asm/sparse run . -out ../../sparse_amd64.s -stubs ../../sparse_amd64.go -pkg kernel

// sparseSamples is how many samples the loops over kept elements handle at once.
const sparseSamples = 64

// sparseLoops is one implementation of the loops over kept elements. at holds
// offsets of sparseSamples elements of x.
type sparseLoops[T Float] struct {
	name    string
	combine func(at []int32, values, x, y []T) // y += Σ values[i]·x[at[i]:]
	dots    func(at []int32, x, y, out []T)    // out[i] += <y, x[at[i]:]>
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

func combineRows[T Float](at []int32, values, x, y []T) {
	y = y[:sparseSamples]
	for i, from := range at {
		w, row := values[i], x[from:][:sparseSamples]
		for j, v := range row {
			y[j] += w * v
		}
	}
}

func dotRows[T Float](at []int32, x, y, out []T) {
	y = y[:sparseSamples]
	for i, from := range at {
		row := x[from:][:sparseSamples]
		var sum T
		for j, v := range row {
			sum += v * y[j]
		}
		out[i] += sum
	}
}
