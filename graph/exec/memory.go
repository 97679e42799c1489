package exec

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

const alignment = 64 // bytes: one cache line, one AVX-512 register

// maxMemory bounds the bytes that a program takes for its values, where the system
// does not say how many there are.
const maxMemory = 1 << 40

// A block is one stretch of memory that one or more values live in: a value,
// its views under other shapes, and results computed in place.
type block struct {
	size       int          // bytes
	first, end int          // steps between which it must keep its content
	offset     int          // in the arena; -1: memory of its own
	fixed      *onnx.Tensor // memory that was handed in, or a constant's
}

// layout says in which block every value lives.
type layout struct {
	blocks []*block
	of     map[*graph.Value]*block
	arena  []byte
	step   map[*graph.Node]int
	last   map[*graph.Value]int
	apart  []*graph.Value // with memory of their own: inputs that were given none, strings
}

const never = int(^uint(0) >> 1) // a block with this end is never reused

// plan assigns blocks to all values of g. given holds memory for values by
// name. into names the outputs that are to be written over an input's memory.
func plan(g *graph.Graph, given map[string]*onnx.Tensor, into map[string]string) (*layout, error) {
	l := &layout{of: map[*graph.Value]*block{}, step: map[*graph.Node]int{}, last: map[*graph.Value]int{}}
	for i, n := range g.Nodes {
		l.step[n] = i
		for _, in := range n.Inputs {
			if in != nil {
				l.last[in] = i
			}
		}
	}
	for _, v := range g.Outputs {
		l.last[v] = never
	}
	for _, n := range slices.Backward(g.Nodes) { // who reads a view reads what it shows
		if op, err := ops.Lookup(n); err == nil && op.View && n.Input(0) != nil {
			l.last[n.Input(0)] = max(l.last[n.Input(0)], l.last[n.Outputs[0]])
		}
	}
	for _, list := range [][]*graph.Value{g.Inputs, g.Inits} {
		for _, v := range list {
			if err := l.root(v, given[v.Name]); err != nil {
				return nil, err
			}
		}
	}
	for i, n := range g.Nodes {
		op, err := ops.Lookup(n)
		if err != nil {
			return nil, err
		}
		for j, out := range n.Outputs {
			if out == nil {
				continue
			}
			if err := ops.CheckType(out.DType); err != nil {
				return nil, &ops.NodeError{Node: n, Err: fmt.Errorf("output %q: %w", out.Name, err)}
			}
			l.place(g, op, n, i, j, out, into)
		}
	}
	return l, l.allocate(l.pack())
}

// allocate takes memory for an arena of the given size and for what stays apart
// from it. What a model file asks for beyond the machine's memory is an
// error, not an attempt that ends the process.
func (l *layout) allocate(arena int) error {
	total := arena
	for _, v := range l.apart {
		total += l.of[v].size
	}
	if most := cmp.Or(systemMemory(), maxMemory); total > most {
		return fmt.Errorf("exec: the values take %.1f GB of memory at once, and there are %.1f GB at most; take a smaller batch", float64(total)/1e9, float64(most)/1e9)
	}
	for _, v := range l.apart {
		t := onnx.NewTensor(v.DType, v.Shape...)
		t.Name = v.Name
		l.of[v].fixed = t
	}
	l.arena = aligned(arena)
	return nil
}

// root gives an input or initializer memory that is never reused; an input without
// memory gets it in the end.
func (l *layout) root(v *graph.Value, given *onnx.Tensor) error {
	b := &block{offset: -1, end: never}
	switch {
	case given != nil:
		if given.DType != v.DType || !slices.Equal(given.Shape, []int(v.Shape)) {
			return fmt.Errorf("exec: state %q is %v%v, the graph wants %v", v.Name, given.DType, given.Shape, v)
		}
		b.fixed = given
	case v.Const != nil:
		b.fixed = v.Const
	default:
		if !v.Shape.Known() {
			return fmt.Errorf("exec: input %v: every extent must be known; specialise the graph first", v)
		}
		// No node may have looked at it.
		if err := cmp.Or(ops.CheckType(v.DType), ops.CheckSize(v.Shape)); err != nil {
			return fmt.Errorf("exec: input %q: %w", v.Name, err)
		}
		b.size = memorySize(v)
		l.apart = append(l.apart, v)
	}
	l.of[v] = b
	return nil
}

// place decides where output j of node n, out, lives.
func (l *layout) place(g *graph.Graph, op *ops.Op, n *graph.Node, step, j int, out *graph.Value, into map[string]string) {
	if name, ok := into[out.Name]; ok && slices.Contains(g.Outputs, out) {
		if in := g.Value(name); in != nil && overwrites(op, n, j, in) && l.last[in] <= step {
			l.of[out] = l.of[in]
			return
		}
	}
	if op.View && j == 0 && n.Input(0) != nil {
		l.share(out, l.of[n.Input(0)])
		return
	}
	if j == 0 {
		for _, slot := range op.InPlace {
			in := n.Input(slot)
			if in == nil || in.DType != out.DType || !slices.Equal(in.Shape, out.Shape) {
				continue
			}
			if b := l.of[in]; b.fixed == nil && b.end == step {
				l.share(out, b)
				return
			}
		}
	}
	b := &block{size: memorySize(out), first: step, offset: -1}
	l.share(out, b)
	if out.DType == onnx.String {
		l.apart = append(l.apart, out)
		return
	}
	l.blocks = append(l.blocks, b)
}

// memorySize is how many bytes v takes, without the characters of strings.
func memorySize(v *graph.Value) int {
	size := v.DType.Size()
	if v.DType == onnx.String {
		size = int(unsafe.Sizeof(""))
	}
	return v.Shape.Size() * size
}

// overwrites reports whether output j of n may be written over the memory of
// the input in.
func overwrites(op *ops.Op, n *graph.Node, j int, in *graph.Value) bool {
	for _, p := range op.Updates {
		if p.Output == j && n.Input(p.Input) == in {
			return true
		}
	}
	return false
}

// share puts v into b and keeps b alive as long as v is read.
func (l *layout) share(v *graph.Value, b *block) {
	l.of[v] = b
	last, read := l.last[v]
	if !read {
		last = b.first // written, never read
	}
	b.end = max(b.end, last)
}

// pack gives every block an offset in one arena: the largest first, each at
// the lowest place that no block alive at the same time has taken. It returns the
// arena's size in bytes.
func (l *layout) pack() int {
	order := slices.Clone(l.blocks)
	slices.SortStableFunc(order, func(a, b *block) int {
		if a.size != b.size {
			return cmp.Compare(b.size, a.size)
		}
		return cmp.Compare(a.first, b.first)
	})
	var placed []*block // by offset
	total := 0
	for _, b := range order {
		size := (b.size + alignment - 1) / alignment * alignment
		at := 0
		for _, p := range placed {
			if p.end < b.first || b.end < p.first {
				continue
			}
			if at+size <= p.offset {
				break
			}
			at = max(at, (p.offset+p.size+alignment-1)/alignment*alignment)
		}
		b.offset = at
		total = max(total, at+size)
		i, _ := slices.BinarySearchFunc(placed, b, func(p, q *block) int { return cmp.Compare(p.offset, q.offset) })
		placed = slices.Insert(placed, i, b)
	}
	return total
}

// aligned allocates n bytes that start at a multiple of alignment.
func aligned(n int) []byte {
	raw := make([]byte, n+alignment)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&raw[0])) % alignment); rest != 0 {
		skip = alignment - rest
	}
	return raw[skip : skip+n : skip+n]
}

// tensor is v's memory under v's shape.
func (l *layout) tensor(v *graph.Value) *onnx.Tensor {
	b := l.of[v]
	if b.fixed != nil {
		if slices.Equal(b.fixed.Shape, []int(v.Shape)) {
			return b.fixed
		}
		t := *b.fixed
		t.Shape = v.Shape.Clone()
		return &t
	}
	return view(l.arena[b.offset:], v)
}

// view interprets the head of memory as v's elements.
func view(memory []byte, v *graph.Value) *onnx.Tensor {
	t := &onnx.Tensor{Name: v.Name, DType: v.DType, Shape: v.Shape.Clone()}
	switch v.DType {
	case onnx.Float32:
		t.Data = slice[float32](memory, v)
	case onnx.Float64:
		t.Data = slice[float64](memory, v)
	case onnx.Int64:
		t.Data = slice[int64](memory, v)
	case onnx.Int32:
		t.Data = slice[int32](memory, v)
	case onnx.Int16:
		t.Data = slice[int16](memory, v)
	case onnx.Int8:
		t.Data = slice[int8](memory, v)
	case onnx.Uint64:
		t.Data = slice[uint64](memory, v)
	case onnx.Uint32:
		t.Data = slice[uint32](memory, v)
	case onnx.Uint16, onnx.Float16, onnx.BFloat16:
		t.Data = slice[uint16](memory, v)
	case onnx.Uint8:
		t.Data = slice[uint8](memory, v)
	case onnx.Bool:
		t.Data = slice[bool](memory, v)
	default:
		return onnx.NewTensor(v.DType, v.Shape...)
	}
	return t
}

func slice[T onnx.Element](memory []byte, v *graph.Value) []T {
	n := v.Shape.Size()
	if n == 0 {
		return []T{}
	}
	s := unsafe.Slice((*T)(unsafe.Pointer(&memory[0])), n)
	return s[:n:n]
}
