package kernel

// unitSize is how many elements one unit of an element-wise kernel has: small
// enough to stay in the first two caches, large enough to be worth handing out.
const unitSize = 16 << 10

// unitsOf is the number of units that n elements are split into.
func unitsOf(n int) int { return ceilDiv(n, unitSize) }

// unitRange is the part of n elements that belongs to unit.
func unitRange(unit, n int) (lo, hi int) {
	return unit * unitSize, min((unit+1)*unitSize, n)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// product multiplies sizes; that of none is 1.
func product(sizes []int) int {
	p := 1
	for _, s := range sizes {
		p *= s
	}
	return p
}
