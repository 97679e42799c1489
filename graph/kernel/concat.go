package kernel

import "sort"

// Concat joins tensors along an axis. Seen from there a tensor is a number of
// rows, the same for all, and those of the result are made of one of each part.
type Concat[E any] struct {
	starts []int // of the parts in a row of the result, and its end
	y      []E
	parts  [][]E
	body   func(w *Worker, unit int)
}

// NewConcat prepares rows that are made of parts of such sizes, in elements.
func NewConcat[E any](sizes []int) *Concat[E] {
	c := &Concat[E]{starts: []int{0}}
	for _, size := range sizes {
		c.starts = append(c.starts, c.starts[len(c.starts)-1]+size)
	}
	c.body = c.unit
	return c
}

// Run sets y to the parts joined.
func (c *Concat[E]) Run(t *Team, y []E, parts [][]E) {
	c.y, c.parts = y, parts
	t.For(unitsOf(len(y)), c.body)
	c.y, c.parts = nil, nil
}

func (c *Concat[E]) unit(_ *Worker, unit int) {
	size := c.starts[len(c.starts)-1]
	at, end := unitRange(unit, len(c.y))
	for at < end {
		row, place := at/size, at%size
		i := sort.SearchInts(c.starts, place+1) - 1 // the part that begins last at or before place
		for ; i < len(c.parts) && at < end; i++ {
			n := min(end-at, c.starts[i+1]-place)
			copy(c.y[at:at+n], c.parts[i][row*(c.starts[i+1]-c.starts[i])+place-c.starts[i]:])
			at, place = at+n, place+n
		}
	}
}
