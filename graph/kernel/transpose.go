package kernel

// Transpose permutes the axes of a tensor with elements of any type.
type Transpose[E any] struct {
	outer []transposeDim // all axes but those of the tile, innermost first
	tile  transposeTile
	count int // tiles' worth of outer positions
	strip int // rows of a tile per unit
	block func(rows, cols int, src []E, srcRow int, dst []E, dstRow int)
	y, x  []E
	body  func(*Worker, int)
}

// transposeDim is one axis with its distances in input and output.
type transposeDim struct{ size, x, y int }

// transposeTile is the part that moves at once: the axis that is innermost in
// the output (cols, y stride 1) and the one that is innermost in the input
// (rows, x stride 1). If both are the same axis there is one row to copy.
type transposeTile struct {
	rows, cols   int
	rowY, colX   int // output distance of rows, input distance of columns
	isContiguous bool
}

// NewTranspose prepares y = x transposed: axis i of y is axis perm[i] of x.
func NewTranspose[E any](shape, perm []int) *Transpose[E] {
	dims := mergeTranspose(shape, perm)
	t := &Transpose[E]{count: 1, tile: transposeTile{rows: 1, cols: 1, colX: 1, isContiguous: true}}
	for _, d := range dims {
		switch {
		case d.x == 1 && d.y == 1:
			t.tile.cols = d.size
		case d.y == 1:
			t.tile.cols, t.tile.colX, t.tile.isContiguous = d.size, d.x, false
		case d.x == 1:
			t.tile.rows, t.tile.rowY = d.size, d.y
		default:
			t.outer = append(t.outer, d)
			t.count *= d.size
		}
	}
	if product(shape) == 0 {
		t.count = 0
	}
	t.strip = max(1, unitSize/max(1, t.tile.cols))
	t.block = transposeBlock[E]
	if f, ok := any(tilings[float32]()[0].transpose).(func(int, int, []E, int, []E, int)); ok {
		t.block = f
	}
	t.body = t.unit
	return t
}

// mergeTranspose returns the axes in the order of the output, innermost first,
// without those of size 1, and joins axes that stay neighbours.
func mergeTranspose(shape, perm []int) []transposeDim {
	strides := make([]int, len(shape))
	stride := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = stride
		stride *= shape[i]
	}
	var dims []transposeDim
	out := 1
	for i := len(perm) - 1; i >= 0; i-- {
		d := transposeDim{shape[perm[i]], strides[perm[i]], out}
		out *= d.size
		n := len(dims) - 1
		switch {
		case d.size == 1:
		case n >= 0 && dims[n].x*dims[n].size == d.x:
			dims[n].size *= d.size
		default:
			dims = append(dims, d)
		}
	}
	return dims
}

// Run sets y to x transposed; they must not overlap.
func (p *Transpose[E]) Run(t *Team, y, x []E) {
	p.y, p.x = y, x
	t.For(p.units(), p.body)
	p.y, p.x = nil, nil
}

// units is the number of strips of all tiles; small tiles share a unit.
func (p *Transpose[E]) units() int {
	if strips := ceilDiv(p.tile.rows, p.strip); strips > 1 {
		return p.count * strips
	}
	return ceilDiv(p.count, p.tilesPerUnit())
}

func (p *Transpose[E]) tilesPerUnit() int {
	return max(1, unitSize/max(1, p.tile.rows*p.tile.cols))
}

func (p *Transpose[E]) unit(_ *Worker, unit int) {
	if strips := ceilDiv(p.tile.rows, p.strip); strips > 1 {
		first := unit % strips * p.strip
		p.move(unit/strips, first, min(first+p.strip, p.tile.rows))
		return
	}
	n := p.tilesPerUnit()
	for i := unit * n; i < min((unit+1)*n, p.count); i++ {
		p.move(i, 0, p.tile.rows)
	}
}

// move copies rows first to last of the tile at outer position i, in blocks
// small enough that the lines read and the lines written stay in cache.
func (p *Transpose[E]) move(i, first, last int) {
	var atX, atY int
	for _, d := range p.outer {
		k := i % d.size
		i /= d.size
		atX += k * d.x
		atY += k * d.y
	}
	t := &p.tile
	if t.isContiguous {
		copy(p.y[atY:atY+t.cols], p.x[atX:atX+t.cols])
		return
	}
	const width, height = 16, 64
	for col := 0; col < t.cols; col += width {
		for row := first; row < last; row += height {
			p.block(min(width, t.cols-col), min(height, last-row), p.x[atX+col*t.colX+row:], t.colX, p.y[atY+row*t.rowY+col:], t.rowY)
		}
	}
}

// transposeBlock is transpose for elements of any type.
func transposeBlock[E any](rows, cols int, src []E, srcRow int, dst []E, dstRow int) {
	for j := range cols {
		to, from := dst[j*dstRow:j*dstRow+rows], j
		for i := range to {
			to[i] = src[from]
			from += srcRow
		}
	}
}
