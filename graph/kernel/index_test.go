package kernel

// The tests' own view of tensors: coordinates, one at a time.

// coordinates calls f for every index of a shape in row-major order.
func coordinates(shape []int, f func(flat int, at []int)) {
	at := make([]int, len(shape))
	for flat := range product(shape) {
		rest := flat
		for i := len(shape) - 1; i >= 0; i-- {
			at[i] = rest % shape[i]
			rest /= shape[i]
		}
		f(flat, at)
	}
}

// flatten is the row-major position of at; axes of size 1 are broadcast, and
// leading coordinates that the shape lacks are ignored.
func flatten(shape, at []int) int {
	at = at[len(at)-len(shape):]
	flat := 0
	for i, s := range shape {
		flat *= s
		if s > 1 {
			flat += at[i]
		}
	}
	return flat
}
