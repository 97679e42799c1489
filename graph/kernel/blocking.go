package kernel

// Scratch slots of the matrix products.
const (
	slotA = iota
	slotB
	slotC
)

const (
	// maxDepth bounds how many products a tile sums before it goes back to
	// memory: a panel of A of this depth fits the first-level cache.
	maxDepth = 384
	// blockElements bounds a packed block of B and the block of C that it is
	// multiplied into, so that both fit the second-level cache.
	blockElements = 160 << 10
	// unitProducts is what a unit should at least do, some ten microseconds
	// of multiply-adds, and maxUnits how many units are plenty.
	unitProducts = 1 << 19
	maxUnits     = 64
	// blockProducts is what a block of a product that is not shared should at
	// least do: few microseconds, so that small layers split evenly too.
	blockProducts = 1 << 17
)

// blocking cuts a product of m by k by n into blocks. It follows from the sizes
// alone, never from the number of threads.
type blocking struct {
	m, n       int
	rows, cols int // of a block of C; multiples of the tile but for the last
	depth      int // products summed at once
	rowBlocks  int
	colBlocks  int
}

func newBlocking(m, n, k, tileRows, tileCols, products int) blocking {
	s := blocking{m: m, n: n, depth: even(k, maxDepth)}
	target := min(max(m*n*k/products, 1), maxUnits)

	// Columns first: their blocks share no packing. Tall problems keep some
	// width, because their rows can be split too.
	panels := ceilDiv(n, tileCols)
	fit := max(blockElements/(tileCols*(s.depth+min(m, 512))), 1)
	perBlock := max(ceilDiv(panels, target), min(max(m/128, 1), 4))
	s.cols = tileCols * even(panels, min(perBlock, fit))
	s.colBlocks = ceilDiv(n, s.cols)

	strips := ceilDiv(m, tileRows)
	perBlock = max(ceilDiv(strips*s.colBlocks, target), min(strips, 32))
	s.rows = tileRows * even(strips, perBlock)
	s.rowBlocks = ceilDiv(m, s.rows)
	return s
}

func (s blocking) units() int { return s.rowBlocks * s.colBlocks }

// block returns the rows and columns of C that a unit owns.
func (s blocking) block(unit int) (i0, i1, j0, j1 int) {
	i0, j0 = unit%s.rowBlocks*s.rows, unit/s.rowBlocks*s.cols
	return i0, min(i0+s.rows, s.m), j0, min(j0+s.cols, s.n)
}

// panelWidth is the distance of rows in packed panels of up to n columns.
func panelWidth(n, tileCols int) int { return min(tileCols, roundUp(max(n, 1), pickLanes)) }

// even returns the size of parts when n is cut into as few as possible, none
// above limit and all about the same. It is at least 1.
func even(n, limit int) int { return max(ceilDiv(n, max(ceilDiv(n, max(limit, 1)), 1)), 1) }

func roundUp(n, unit int) int { return ceilDiv(n, unit) * unit }
