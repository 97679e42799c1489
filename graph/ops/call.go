package ops

import (
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// kernels makes a Forward of a kernel in both precisions.
func kernels(single, double func(*Call) (func() error, error)) func(*Call) (func() error, error) {
	return func(c *Call) (func() error, error) { return byFloat(c, single, double) }
}

// slot returns the elements of tensor i of a list, nil when it is left out.
func slot[T kernel.Float](list []*onnx.Tensor, i int) []T {
	if i >= len(list) || list[i] == nil {
		return nil
	}
	return onnx.Of[T](list[i])
}

// fixed tells whether input i holds the same in every run.
func (c *Call) fixed(i int) bool { return i < len(c.Fixed) && c.Fixed[i] }

// unread tells whether nothing reads output i.
func (c *Call) unread(i int) bool {
	return i >= len(c.Out) || c.Out[i] == nil || i < len(c.Unread) && c.Unread[i]
}

// orScratch is slot, or scratch memory of that size for what is left out.
func orScratch[T kernel.Float](list []*onnx.Tensor, i, size int) []T {
	if s := slot[T](list, i); s != nil {
		return s
	}
	return make([]T, size)
}

// inPlace prepares output out to be computed in place from input in: it
// returns the memory to work in and what to do first, which is to copy the
// input unless output and input share memory. An output that is left out is
// worked on in scratch memory; an input that is left out gives nil.
func inPlace[T kernel.Float](c *Call, out, in int) (work []T, begin func()) {
	src := slot[T](c.In, in)
	if src == nil {
		return nil, func() {}
	}
	work = slot[T](c.Out, out)
	if work == nil {
		work = make([]T, len(src))
	}
	if len(src) == 0 || &work[0] == &src[0] {
		return work, func() {}
	}
	return work, func() { copy(work, src) }
}
