package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators that pick elements by index.
func init() {
	register(
		Op{Name: "Gather", Since: []int{1, 11, 13}, Axes: axesGather, Infer: inferGather, Grad: gradGather, Forward: forwardGather},
		Op{Name: "GatherElements", Since: []int{11, 13}, Infer: inferGatherElements, Grad: gradGatherElements, Forward: forwardGatherElements},
		Op{Name: "GatherND", Since: []int{11, 12, 13}, Infer: inferGatherND, Grad: gradGatherND, Forward: forwardGatherND},
	)
}

// readIndex returns what copies an index tensor to dst: numbers from 0 to
// limit(i)-1, with those that count from the end made positive.
func readIndex(dst []int, t *onnx.Tensor, limit func(i int) int) (func() error, error) {
	check := func(i int, x int64) error {
		n := int64(limit(i))
		if x < -n || x >= n {
			return fmt.Errorf("index %d is out of range for extent %d", x, n)
		}
		if x < 0 {
			x += n
		}
		dst[i] = int(x)
		return nil
	}
	switch src := t.Data.(type) {
	case []int64:
		return func() error {
			for i, x := range src {
				if err := check(i, x); err != nil {
					return err
				}
			}
			return nil
		}, nil
	case []int32:
		return func() error {
			for i, x := range src {
				if err := check(i, int64(x)); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
	return nil, fmt.Errorf("indices are %v, want int64 or int32", t.DType)
}

func inferGather(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	if err := wantType(n, 1, indexes...); err != nil {
		return err
	}
	x, index := n.Inputs[0], n.Inputs[1]
	axis, err := normAxis(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return err
	}
	shape := append(graph.Shape{}, x.Shape[:axis]...)
	shape = append(append(shape, index.Shape...), x.Shape[axis+1:]...)
	return setOutput(n, 0, x.DType, shape)
}

func forwardGather(c *Call) (func() error, error) {
	x, index := c.In[0], c.In[1]
	axis, err := normAxis(c.Node.Int("axis", 0), len(x.Shape))
	if err != nil {
		return nil, err
	}
	e, err := elementFor(x)
	if err != nil {
		return nil, err
	}
	l := linesAlong(x.Shape, axis)
	picks := make([]int, index.Len())
	read, err := readIndex(picks, index, func(int) int { return l.n })
	if err != nil {
		return nil, err
	}
	from := make([]int, l.outer*len(picks))
	move := e.gather(c.Out[0], x, l.inner, from)
	return func() error {
		if err := read(); err != nil {
			return err
		}
		for o := range l.outer {
			for k, p := range picks {
				from[o*len(picks)+k] = (o*l.n + p) * l.inner
			}
		}
		move()
		return nil
	}, nil
}

// gradGather adds each piece of dy to where it was taken from. One constant
// index, as in qkv[i], needs zeros around dy only.
func gradGather(b *Builder, n *graph.Node, dy values) (values, error) {
	x, index := n.Inputs[0], n.Inputs[1]
	axis, err := normAxis(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return nil, err
	}
	if i, ok := constScalar(index); ok {
		at, extent := int(i), x.Shape[axis]
		if at < 0 {
			at += extent
		}
		one := x.Shape.Clone()
		one[axis] = 1
		before, after := make([]int, len(one)), make([]int, len(one))
		before[axis], after[axis] = at, extent-1-at
		return values{b.Pad(b.Reshape(dy[0], one...), before, after), nil}, nil
	}
	// ScatterND counts along the first axes, so the indexed one goes there.
	rank, count := len(x.Shape), len(index.Shape)
	front, back := make([]int, 0, rank), make([]int, rank)
	front = append(front, axis)
	for i := range rank {
		if i != axis {
			front = append(front, i)
		}
	}
	turned := make([]int, rank)
	for i, p := range front {
		back[p], turned[i] = i, x.Shape[p]
	}
	var perm []int
	for i := range count {
		perm = append(perm, axis+i)
	}
	for i := range rank - 1 + count {
		if i < axis || i >= axis+count {
			perm = append(perm, i)
		}
	}
	updates := dy[0]
	if axis != 0 {
		updates = b.Transpose(updates, perm...)
	}
	picks := b.Reshape(index, append(append(graph.Shape{}, index.Shape...), 1)...)
	dx := b.OpA("ScatterND", b.adding(), b.Fill(0, x, turned...), picks, updates)
	if axis != 0 {
		dx = b.Transpose(dx, back...)
	}
	return values{dx, nil}, nil
}

// adding is the attribute of a scatter that sums; it exists from version 16 on.
func (b *Builder) adding() []*onnx.Attr {
	if v := b.G.Opsets[""]; v < 16 {
		b.Fail("the gradient of an indexed read needs operator set 16 or later, the graph has %d", v)
	}
	return []*onnx.Attr{onnx.AttrString("reduction", "add")}
}

// checkElements checks an operator with one index per element: the indices have
// the rank of the data and are not larger on any axis but the indexed one.
func checkElements(n *graph.Node) (axis int, err error) {
	if err := wantType(n, 1, indexes...); err != nil {
		return 0, err
	}
	x, index := n.Inputs[0].Shape, n.Inputs[1].Shape
	if axis, err = normAxis(n.Int("axis", 0), len(x)); err != nil {
		return 0, err
	}
	if len(index) != len(x) {
		return 0, fmt.Errorf("indices have rank %d, the data %d", len(index), len(x))
	}
	for i := range x {
		if i != axis && index[i] > x[i] {
			return 0, fmt.Errorf("indices of shape %v do not fit data of shape %v", []int(index), []int(x))
		}
	}
	return axis, nil
}

func inferGatherElements(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	if _, err := checkElements(n); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, n.Inputs[1].Shape)
}

// elementOffsets returns the list of offsets into data, one per element of
// index, and what fills it from the present indices.
func elementOffsets(n *graph.Node, data, index *onnx.Tensor) (at []int, read func() error, err error) {
	axis, err := normAxis(n.Int("axis", 0), len(data.Shape))
	if err != nil {
		return nil, nil, err
	}
	picks, base := make([]int, index.Len()), make([]int, index.Len())
	check, err := readIndex(picks, index, func(int) int { return data.Shape[axis] })
	if err != nil {
		return nil, nil, err
	}
	inIndex, inData := strides(index.Shape), strides(data.Shape)
	for i := range base {
		for a, s := range inIndex {
			if a != axis {
				base[i] += i / s % index.Shape[a] * inData[a]
			}
		}
	}
	at = make([]int, len(picks))
	return at, func() error {
		if err := check(); err != nil {
			return err
		}
		for i, p := range picks {
			at[i] = base[i] + p*inData[axis]
		}
		return nil
	}, nil
}

func forwardGatherElements(c *Call) (func() error, error) {
	e, err := elementFor(c.In[0])
	if err != nil {
		return nil, err
	}
	if from, ok := c.In[1].Data.([]int64); ok && len(c.In[0].Shape) == 1 {
		return e.pick(c.Team, c.Out[0], c.In[0], from), nil
	}
	at, read, err := elementOffsets(c.Node, c.In[0], c.In[1])
	if err != nil {
		return nil, err
	}
	return readThen(read, e.gather(c.Out[0], c.In[0], 1, at)), nil
}

// readThen reads indices and, if they are good, moves elements.
func readThen(read func() error, move func()) func() error {
	return func() error {
		if err := read(); err != nil {
			return err
		}
		move()
		return nil
	}
}

func gradGatherElements(b *Builder, n *graph.Node, dy values) (values, error) {
	x, index := n.Inputs[0], n.Inputs[1]
	attrs := append(b.adding(), onnx.AttrInt("axis", int64(n.Int("axis", 0))))
	return values{b.OpA("ScatterElements", attrs, b.Zeros(x), index, dy[0]), nil}, nil
}

// tuples describes the indices of GatherND and ScatterND: after batch axes in
// common, the last axis of the indices holds coordinates along the next axes of
// the data, each naming a block of length elements.
type tuples struct{ batch, count, depth, length int }

// indexTuples checks index against data; counts are per batch.
func indexTuples(data, index graph.Shape, batchDims int) (t tuples, err error) {
	if len(data) == 0 || len(index) == 0 || batchDims < 0 || batchDims >= min(len(data), len(index)) {
		return t, fmt.Errorf("%d batch axes do not fit data of shape %v and indices of shape %v", batchDims, []int(data), []int(index))
	}
	for i := range batchDims {
		if data[i] != index[i] {
			return t, fmt.Errorf("batch axis %d has extent %d in the data and %d in the indices", i, data[i], index[i])
		}
	}
	depth := index[len(index)-1]
	if depth > len(data)-batchDims {
		return t, fmt.Errorf("coordinates of length %d for data of shape %v", depth, []int(data))
	}
	return tuples{
		batch: product(data[:batchDims]), count: product(index[batchDims : len(index)-1]),
		depth: depth, length: product(data[batchDims+depth:]),
	}, nil
}

// offsets returns the list of block offsets into data and what fills it.
func (t tuples) offsets(data, index *onnx.Tensor, batchDims int) (at []int, read func() error, err error) {
	extents := data.Shape[batchDims : batchDims+t.depth]
	step := strides(data.Shape)[batchDims:]
	picks := make([]int, index.Len())
	check, err := readIndex(picks, index, func(i int) int { return extents[i%t.depth] })
	if err != nil {
		return nil, nil, err
	}
	at = make([]int, t.batch*t.count)
	perBatch := product(data.Shape[batchDims:])
	return at, func() error {
		if err := check(); err != nil {
			return err
		}
		for i := range at {
			at[i] = i / t.count * perBatch
			for d, p := range picks[i*t.depth : (i+1)*t.depth] {
				at[i] += p * step[d]
			}
		}
		return nil
	}, nil
}

func inferGatherND(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	if err := wantType(n, 1, onnx.Int64); err != nil {
		return err
	}
	x, index, batch := n.Inputs[0].Shape, n.Inputs[1].Shape, n.Int("batch_dims", 0)
	t, err := indexTuples(x, index, batch)
	if err != nil {
		return err
	}
	shape := append(graph.Shape{}, index[:len(index)-1]...)
	return setOutput(n, 0, n.Inputs[0].DType, append(shape, x[batch+t.depth:]...))
}

func forwardGatherND(c *Call) (func() error, error) {
	e, err := elementFor(c.In[0])
	if err != nil {
		return nil, err
	}
	batch := c.Node.Int("batch_dims", 0)
	t, err := indexTuples(c.In[0].Shape, c.In[1].Shape, batch)
	if err != nil {
		return nil, err
	}
	at, read, err := t.offsets(c.In[0], c.In[1], batch)
	if err != nil {
		return nil, err
	}
	return readThen(read, e.gather(c.Out[0], c.In[0], t.length, at)), nil
}

func gradGatherND(b *Builder, n *graph.Node, dy values) (values, error) {
	if n.Int("batch_dims", 0) != 0 {
		return nil, fmt.Errorf("the gradient of GatherND with batch_dims is not implemented")
	}
	return values{b.OpA("ScatterND", b.adding(), b.Zeros(n.Inputs[0]), n.Inputs[1], dy[0]), nil}, nil
}
