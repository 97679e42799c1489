package kernel

// weightPacker packs the weights of a correlation, a strip per unit.
type weightPacker[T Float] struct {
	product *correlation[T]
	strip   func(w []T, group, row, rows int, dst []T)
	fixed   bool // weights never change
	done    bool // and are packed
	w       []T
	packed  []T
	body    func(w *Worker, unit int)
}

func (wp *weightPacker[T]) init(p *correlation[T], strip func(w []T, group, row, rows int, dst []T)) {
	wp.product, wp.strip = p, strip
	wp.packed = alignedSlice[T](p.groups * p.strips() * p.channels * p.taps * packedRow)
	wp.body = wp.unit
}

func (wp *weightPacker[T]) pack(t *Team, w []T) []T {
	if wp.done {
		return wp.packed
	}
	wp.done = wp.fixed
	wp.w = w
	t.For(wp.product.groups*wp.product.strips(), wp.body)
	wp.w = nil
	return wp.packed
}

// packBeside packs other weights as like packs its own. wp is the zero value first.
func (wp *weightPacker[T]) packBeside(t *Team, like *weightPacker[T], w []T) []T {
	if wp.product == nil {
		wp.init(like.product, like.strip)
	}
	return wp.pack(t, w)
}

func (wp *weightPacker[T]) unit(_ *Worker, unit int) {
	p := wp.product
	row := unit % p.strips() * p.rows
	size := p.channels * p.taps * packedRow
	wp.strip(wp.w, unit/p.strips(), row, min(p.rows, p.m-row), wp.packed[unit*size:(unit+1)*size])
}
