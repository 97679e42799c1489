package ops

import (
	"fmt"
	"sync/atomic"

	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// An element moves elements of one type; what they are does not matter. There
// is one per element type in the table elements.
type element interface {
	// copyRows copies in to out along a walk over (out, in).
	copyRows(out, in *onnx.Tensor, w *walk) func() error
	// transpose permutes axes.
	transpose(team *kernel.Team, out, in *onnx.Tensor, perm []int) func() error
	// concat joins tensors along an axis.
	concat(team *kernel.Team, out *onnx.Tensor, parts []*onnx.Tensor, axis int) func() error
	// fill sets every element of out to the only element of value; to zero
	// when value is nil.
	fill(out, value *onnx.Tensor) func() error
	// gather copies blocks of length elements, in[from[j]:] to the j-th of out.
	gather(out, in *onnx.Tensor, length int, from []int) func()
	// pick copies in[from[j]] to the j-th of out; numbers below 0 count from the end.
	pick(team *kernel.Team, out, in *onnx.Tensor, from []int64) func() error
	// scatter copies the j-th block of in to out[to[j]:].
	scatter(out, in *onnx.Tensor, length int, to []int) func()
	// choose takes a where cond and b elsewhere, on a walk over (out, cond, a, b).
	choose(out, cond, a, b *onnx.Tensor, w *walk) func() error
}

type elementOf[T onnx.Element] struct{}

var elements = map[onnx.DType]element{
	onnx.Float32: elementOf[float32]{}, onnx.Float64: elementOf[float64]{},
	onnx.Float16: elementOf[uint16]{}, onnx.BFloat16: elementOf[uint16]{},
	onnx.Int8: elementOf[int8]{}, onnx.Int16: elementOf[int16]{},
	onnx.Int32: elementOf[int32]{}, onnx.Int64: elementOf[int64]{},
	onnx.Uint8: elementOf[uint8]{}, onnx.Uint16: elementOf[uint16]{},
	onnx.Uint32: elementOf[uint32]{}, onnx.Uint64: elementOf[uint64]{},
	onnx.Bool: elementOf[bool]{}, onnx.String: elementOf[string]{},
	onnx.Complex64: elementOf[complex64]{}, onnx.Complex128: elementOf[complex128]{},
}

// elementFor returns the entry for t's type.
func elementFor(t *onnx.Tensor) (element, error) {
	if e := elements[t.DType]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("elements of type %v are not supported", t.DType)
}

func (elementOf[T]) copyRows(out, in *onnx.Tensor, w *walk) func() error {
	dst, src := onnx.Of[T](out), onnx.Of[T](in)
	length, step := w.row()
	so, si := step[0], step[1] // variables, so that they stay in registers
	return func() error {
		for ok := w.reset(); ok; ok = w.next() {
			o, i := w.at[0], w.at[1]
			if so == 1 && si == 1 {
				copy(dst[o:o+length], src[i:i+length])
				continue
			}
			for range length {
				dst[o] = src[i]
				o += so
				i += si
			}
		}
		return nil
	}
}

func (elementOf[T]) concat(team *kernel.Team, out *onnx.Tensor, parts []*onnx.Tensor, axis int) func() error {
	var sizes []int
	var data [][]T
	for _, part := range parts {
		sizes = append(sizes, product(part.Shape[axis:]))
		data = append(data, onnx.Of[T](part))
	}
	y, k := onnx.Of[T](out), kernel.NewConcat[T](sizes)
	return func() error {
		k.Run(team, y, data)
		return nil
	}
}

func (elementOf[T]) transpose(team *kernel.Team, out, in *onnx.Tensor, perm []int) func() error {
	dst, src, k := onnx.Of[T](out), onnx.Of[T](in), kernel.NewTranspose[T](in.Shape, perm)
	return func() error {
		k.Run(team, dst, src)
		return nil
	}
}

func (elementOf[T]) fill(out, value *onnx.Tensor) func() error {
	dst, one := onnx.Of[T](out), make([]T, 1)
	if value != nil {
		one = onnx.Of[T](value)
	}
	return func() error {
		x := one[0]
		for i := range dst {
			dst[i] = x
		}
		return nil
	}
}

func (elementOf[T]) gather(out, in *onnx.Tensor, length int, from []int) func() {
	dst, src := onnx.Of[T](out), onnx.Of[T](in)
	return func() {
		if length == 1 {
			for j, f := range from {
				dst[j] = src[f]
			}
			return
		}
		for j, f := range from {
			copy(dst[j*length:(j+1)*length], src[f:f+length])
		}
	}
}

// unitElements is how many elements a thread takes at once.
const unitElements = 16 << 10

func (elementOf[T]) pick(team *kernel.Team, out, in *onnx.Tensor, from []int64) func() error {
	dst, src := onnx.Of[T](out), onnx.Of[T](in)
	n := int64(len(src))
	var strays atomic.Int64
	body := func(_ *kernel.Worker, unit int) {
		for j, at := range from[unit*unitElements : min((unit+1)*unitElements, len(from))] {
			if at < 0 {
				at += n
			}
			if uint64(at) >= uint64(n) {
				strays.Add(1)
				continue
			}
			dst[unit*unitElements+j] = src[at]
		}
	}
	return func() error {
		strays.Store(0)
		team.For((len(from)+unitElements-1)/unitElements, body)
		if count := strays.Load(); count > 0 {
			return fmt.Errorf("%d indices are out of range for extent %d", count, n)
		}
		return nil
	}
}

func (elementOf[T]) scatter(out, in *onnx.Tensor, length int, to []int) func() {
	dst, src := onnx.Of[T](out), onnx.Of[T](in)
	return func() {
		for j, t := range to {
			copy(dst[t:t+length], src[j*length:(j+1)*length])
		}
	}
}

func (elementOf[T]) choose(out, cond, a, b *onnx.Tensor, w *walk) func() error {
	dst, c, x, y := onnx.Of[T](out), onnx.Of[bool](cond), onnx.Of[T](a), onnx.Of[T](b)
	length, step := w.row()
	so, sc, sx, sy := step[0], step[1], step[2], step[3]
	return func() error {
		for ok := w.reset(); ok; ok = w.next() {
			o, ci, xi, yi := w.at[0], w.at[1], w.at[2], w.at[3]
			for range length {
				if c[ci] {
					dst[o] = x[xi]
				} else {
					dst[o] = y[yi]
				}
				o += so
				ci += sc
				xi += sx
				yi += sy
			}
		}
		return nil
	}
}

// copyAll copies a tensor to one with as many elements, unless they already
// share their memory.
func copyAll(out, in *onnx.Tensor) (func() error, error) {
	e, err := elementFor(in)
	if err != nil {
		return nil, err
	}
	flat := []int{in.Len()}
	one := []int{1}
	return e.copyRows(out, in, newWalk(flat, nil, one, one)), nil
}

// copyWalk copies in to out on a walk over (out, in).
func copyWalk(out, in *onnx.Tensor, w *walk) (func() error, error) {
	e, err := elementFor(in)
	if err != nil {
		return nil, err
	}
	return e.copyRows(out, in, w), nil
}

// inOrder runs steps one after the other.
func inOrder(steps []func() error) func() error {
	if len(steps) == 1 {
		return steps[0]
	}
	return func() error {
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}
}
