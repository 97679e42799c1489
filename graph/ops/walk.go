package ops

import "slices"

// A walk visits the elements of several tensors together. Each tensor has an
// offset and one stride per axis of the common extents; the innermost axis is
// left to the visitor, who gets a row of it at a time.
type walk struct {
	extents []int   // outermost first; at least one
	strides [][]int // per tensor, per axis
	offsets []int   // per tensor
	index   []int   // odometer over the outer axes
	at      []int   // per tensor: offset of the present row
}

// newWalk plans a walk over extents, dropping axes of extent 1 and merging
// neighbours that every tensor passes through in one go.
func newWalk(extents []int, offsets []int, tensorStrides ...[]int) *walk {
	w := &walk{offsets: offsets, strides: make([][]int, len(tensorStrides)), at: make([]int, len(tensorStrides))}
	for i, d := range extents {
		if d == 1 {
			continue
		}
		last := len(w.extents) - 1
		merge := last >= 0
		for t, s := range tensorStrides {
			merge = merge && w.strides[t][last] == s[i]*d
		}
		if merge {
			w.extents[last] *= d
			for t, s := range tensorStrides {
				w.strides[t][last] = s[i]
			}
			continue
		}
		w.extents = append(w.extents, d)
		for t, s := range tensorStrides {
			w.strides[t] = append(w.strides[t], s[i])
		}
	}
	if len(w.extents) == 0 {
		w.extents = []int{1}
		for t := range w.strides {
			w.strides[t] = []int{0}
		}
	}
	if w.offsets == nil {
		w.offsets = make([]int, len(tensorStrides))
	}
	w.index = make([]int, len(w.extents)-1)
	return w
}

// row returns the length of a row and each tensor's stride along it.
func (w *walk) row() (length int, strides []int) {
	last := len(w.extents) - 1
	strides = make([]int, len(w.strides))
	for t, s := range w.strides {
		strides[t] = s[last]
	}
	return w.extents[last], strides
}

// reset goes before the first row; it reports whether there is one.
func (w *walk) reset() bool {
	clear(w.index)
	copy(w.at, w.offsets)
	return !slices.Contains(w.extents, 0)
}

// next goes to the next row and reports whether there is one.
func (w *walk) next() bool {
	for i := len(w.index) - 1; i >= 0; i-- {
		w.index[i]++
		if w.index[i] < w.extents[i] {
			for t := range w.at {
				w.at[t] += w.strides[t][i]
			}
			return true
		}
		w.index[i] = 0
		for t := range w.at {
			w.at[t] -= w.strides[t][i] * (w.extents[i] - 1)
		}
	}
	return false
}
