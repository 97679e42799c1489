package train

import (
	"slices"

	"github.com/unprune/unprune/onnx"
)

// A cut is a block of a tensor: of each axis the positions that are kept. Rows
// are what is contiguous in both, as long as possible. A cut may also be a list of
// single elements.
type cut struct {
	shape []int
	list  []int32 // nil: the block
	kept  [][]int // per axis
	first []int   // of each row, in the wide tensor; rows are side by side in the small one
	rows  []run   // within what first points to
}

// A run is a number of elements from an offset.
type run struct{ from, count int }

// newCut takes the positions per axis; an axis without a list keeps all.
func newCut(shape []int, kept map[int][]int) *cut {
	c := &cut{shape: shape, kept: make([][]int, len(shape))}
	last := -1 // axis that loses positions
	for axis, d := range shape {
		if c.kept[axis] = kept[axis]; c.kept[axis] == nil {
			c.kept[axis] = upTo(d)
		} else {
			last = axis
		}
	}
	if last < 0 {
		c.first, c.rows = []int{0}, []run{{0, onnx.Size(shape)}}
		return c
	}
	inner := onnx.Size(shape[last+1:])
	for _, p := range c.kept[last] {
		if n := len(c.rows); n > 0 && c.rows[n-1].from+c.rows[n-1].count == p*inner {
			c.rows[n-1].count += inner
		} else {
			c.rows = append(c.rows, run{p * inner, inner})
		}
	}
	c.first = []int{0}
	for axis := range last {
		var next []int
		for _, at := range c.first {
			for _, p := range c.kept[axis] {
				next = append(next, at+p*onnx.Size(shape[axis+1:]))
			}
		}
		c.first = next
	}
	return c
}

// only is the cut of some elements of c, numbers along its small tensor.
func (c *cut) only(some []int) *cut {
	var inside []int32
	for _, first := range c.first {
		for _, r := range c.rows {
			for i := range r.count {
				inside = append(inside, int32(first+r.from+i))
			}
		}
	}
	picked := &cut{shape: c.shape, list: make([]int32, len(some))}
	for i, at := range some {
		picked.list[i] = inside[at]
	}
	return picked
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// gather copies the block out of the wide tensor.
func (c *cut) gather(small, wide *onnx.Tensor) {
	switch w := wide.Data.(type) {
	case []float32:
		gather(c, small.Data.([]float32), w)
	case []float64:
		gather(c, small.Data.([]float64), w)
	}
}

// scatter copies the block back; the rest of the wide tensor stays as it is.
func (c *cut) scatter(wide, small *onnx.Tensor) {
	switch w := wide.Data.(type) {
	case []float32:
		scatter(c, w, small.Data.([]float32))
	case []float64:
		scatter(c, w, small.Data.([]float64))
	}
}

func gather[T float32 | float64](c *cut, small, wide []T) {
	for i, from := range c.list {
		small[i] = wide[from]
	}
	at := 0
	for _, first := range c.first {
		for _, r := range c.rows {
			copy(small[at:at+r.count], wide[first+r.from:])
			at += r.count
		}
	}
}

func scatter[T float32 | float64](c *cut, wide, small []T) {
	for i, to := range c.list {
		wide[to] = small[i]
	}
	at := 0
	for _, first := range c.first {
		for _, r := range c.rows {
			copy(wide[first+r.from:first+r.from+r.count], small[at:])
			at += r.count
		}
	}
}

// others lists the elements outside.
func (c *cut) others() []int {
	inside := make([]bool, onnx.Size(c.shape))
	for _, i := range c.list {
		inside[i] = true
	}
	for _, first := range c.first {
		for _, r := range c.rows {
			for i := range r.count {
				inside[first+r.from+i] = true
			}
		}
	}
	var list []int
	for i, in := range inside {
		if !in {
			list = append(list, i)
		}
	}
	return slices.Clip(list)
}
