package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// A Builder adds nodes to a graph and infers their types at once, so that a
// mistake is reported where it was made. The first error sticks in Err and
// turns the calls that follow into no-ops; gradient rules and bodies therefore
// read as formulas and the caller checks once.
//
// Most methods spell one operator; those that need more than a line stand
// beside that operator (Cast, Concat, Expand, Gemm, Pad, Split).
type Builder struct {
	G   *graph.Graph
	Err error

	// Name, when not empty, is put before the names of new values.
	Name string

	ints map[string]*graph.Value

	// body is set while a body is written: its operators may be newer than the
	// graph's operator set.
	body bool
}

// NewBuilder returns a builder that appends to g.
func NewBuilder(g *graph.Graph) *Builder { return &Builder{G: g, ints: map[string]*graph.Value{}} }

// Node adds a node of ONNX's own domain with nout outputs.
func (b *Builder) Node(op string, nout int, in []*graph.Value, attrs ...*onnx.Attr) []*graph.Value {
	return b.node("", op, nout, in, attrs)
}

// Own adds a node of our own domain with nout outputs.
func (b *Builder) Own(op string, nout int, in []*graph.Value, attrs ...*onnx.Attr) []*graph.Value {
	if b.Err == nil && b.G.Opsets[Domain] == 0 {
		b.G.Opsets[Domain] = 1
	}
	return b.node(Domain, op, nout, in, attrs)
}

// Op adds a node of ONNX's own domain and returns its only output.
func (b *Builder) Op(op string, in ...*graph.Value) *graph.Value {
	return b.Node(op, 1, in)[0]
}

// OpA is Op with attributes.
func (b *Builder) OpA(op string, attrs []*onnx.Attr, in ...*graph.Value) *graph.Value {
	return b.Node(op, 1, in, attrs...)[0]
}

func (b *Builder) node(domain, op string, nout int, in []*graph.Value, attrs []*onnx.Attr) []*graph.Value {
	if b.Err == nil {
		for i, v := range in {
			if v != nil && b.G.Value(v.Name) != v {
				b.Err = fmt.Errorf("ops: %s: input %d, %q, is of another graph", op, i, v.Name)
			}
		}
	}
	if b.Err != nil {
		return make([]*graph.Value, nout)
	}
	n := b.G.AddNode(domain, op, in, nout, attrs...)
	if def, err := Lookup(n); b.body && err == nil {
		n.Version = max(n.Version, def.Since[0])
	}
	if b.Name != "" {
		for _, out := range n.Outputs {
			// A free name cannot collide.
			b.Err = b.G.Rename(out, b.G.Unique(b.Name+"/"+op))
		}
		n.Name = n.Outputs[0].Name
	}
	if err := Infer(n); err != nil {
		b.Err = err
	}
	return slices.Clone(n.Outputs)
}

// Outputs returns the first count outputs of n, adding those that it leaves
// out: a gradient rule may ask the forward node for more than the model does.
func (b *Builder) Outputs(n *graph.Node, count int) []*graph.Value {
	if b.Err != nil {
		return make([]*graph.Value, count)
	}
	b.G.AddOutputs(n, count)
	b.Err = Infer(n)
	return slices.Clone(n.Outputs[:count])
}

// Fail records an error unless there is one already.
func (b *Builder) Fail(format string, args ...any) {
	if b.Err == nil {
		b.Err = fmt.Errorf(format, args...)
	}
}

// Ints adds a constant int64 vector; equal ones are shared.
func (b *Builder) Ints(list ...int) *graph.Value {
	return b.intConst(fmt.Sprint(list), list, len(list))
}

// Int adds a constant int64 scalar.
func (b *Builder) Int(i int) *graph.Value {
	return b.intConst(fmt.Sprint("scalar ", i), []int{i})
}

func (b *Builder) intConst(id string, list []int, shape ...int) *graph.Value {
	if v := b.ints[id]; v != nil && b.G.Value(v.Name) == v {
		return v
	}
	data := make([]int64, len(list))
	for i, x := range list {
		data[i] = int64(x)
	}
	v := b.G.AddInit("const", onnx.FromSlice(data, shape...))
	b.ints[id] = v
	return v
}

// Const adds a constant initializer.
func (b *Builder) Const(t *onnx.Tensor) *graph.Value { return b.G.AddInit("const", t) }

// Scalar adds a constant scalar of the float type of like.
func (b *Builder) Scalar(x float64, like *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	if like.DType == onnx.Float64 {
		return b.Const(onnx.FromSlice([]float64{x}))
	}
	return b.Const(onnx.FromSlice([]float32{float32(x)}))
}

// Add, Sub, Mul and Div are the broadcasting operators of ONNX.
func (b *Builder) Add(x, y *graph.Value) *graph.Value { return b.Op("Add", x, y) }
func (b *Builder) Sub(x, y *graph.Value) *graph.Value { return b.Op("Sub", x, y) }
func (b *Builder) Mul(x, y *graph.Value) *graph.Value { return b.Op("Mul", x, y) }
func (b *Builder) Div(x, y *graph.Value) *graph.Value { return b.Op("Div", x, y) }

// Neg is -x.
func (b *Builder) Neg(x *graph.Value) *graph.Value { return b.Op("Neg", x) }

// Reshape gives x another shape with as many elements.
func (b *Builder) Reshape(x *graph.Value, shape ...int) *graph.Value {
	if b.Err != nil {
		return nil
	}
	if slices.Equal(x.Shape, shape) {
		return x
	}
	return b.Op("Reshape", x, b.Ints(shape...))
}

// Transpose permutes axes.
func (b *Builder) Transpose(x *graph.Value, perm ...int) *graph.Value {
	return b.OpA("Transpose", []*onnx.Attr{onnx.AttrInts("perm", toInt64(perm)...)}, x)
}

// ReduceSum sums over axes; with keep they stay with extent 1. Without axes
// it is x.
func (b *Builder) ReduceSum(x *graph.Value, keep bool, axes ...int) *graph.Value {
	if b.Err != nil || len(axes) == 0 {
		return x
	}
	k := int64(0)
	if keep {
		k = 1
	}
	attrs := []*onnx.Attr{onnx.AttrInt("keepdims", k)}
	if b.G.Opsets[""] < 13 {
		attrs = append(attrs, onnx.AttrInts("axes", toInt64(axes)...))
		return b.OpA("ReduceSum", attrs, x)
	}
	return b.OpA("ReduceSum", attrs, x, b.Ints(axes...))
}

// Unbroadcast undoes broadcasting: it sums dy over the axes along which a
// value of the given shape was repeated. Every gradient rule of a
// broadcasting operator ends in it.
func (b *Builder) Unbroadcast(dy *graph.Value, shape graph.Shape) *graph.Value {
	if b.Err != nil || dy == nil || slices.Equal(dy.Shape, shape) {
		return dy
	}
	lead := len(dy.Shape) - len(shape)
	var axes []int
	for i := range dy.Shape {
		if i < lead || shape[i-lead] == 1 && dy.Shape[i] != 1 {
			axes = append(axes, i)
		}
	}
	if len(axes) > 0 {
		dy = b.ReduceSum(dy, true, axes...)
	}
	return b.Reshape(dy, shape...)
}

// sum adds two gradients, either of which may be nil for zero.
func (b *Builder) sum(x, y *graph.Value) *graph.Value {
	switch {
	case x == nil:
		return y
	case y == nil:
		return x
	}
	return b.Add(x, y)
}

// reduce applies a reduction other than ReduceSum over axes, which keep extent
// 1. The axes are an input from operator set 18 on, an attribute before.
func (b *Builder) reduce(op string, x *graph.Value, axes ...int) *graph.Value {
	if b.Err != nil {
		return nil
	}
	if b.G.Opsets[""] < 18 {
		return b.OpA(op, []*onnx.Attr{onnx.AttrInts("axes", toInt64(axes)...)}, x)
	}
	return b.Op(op, x, b.Ints(axes...))
}

// mean is the mean over axes, which keep extent 1.
func (b *Builder) mean(x *graph.Value, axes ...int) *graph.Value {
	return b.reduce("ReduceMean", x, axes...)
}

// perChannel reshapes a vector of channels so that it broadcasts over images
// with the given number of spatial axes; nil stays nil.
func (b *Builder) perChannel(v *graph.Value, spatial int) *graph.Value {
	if b.Err != nil || v == nil {
		return nil
	}
	return b.Reshape(v, append([]int{1, v.Shape.Size()}, slices.Repeat([]int{1}, spatial)...)...)
}

// flat makes a vector of v.
func (b *Builder) flat(v *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	return b.Reshape(v, v.Shape.Size())
}

// floatConst adds a constant of float type dt.
func (b *Builder) floatConst(data []float64, dt onnx.DType, shape ...int) *graph.Value {
	if b.Err != nil {
		return nil
	}
	if dt == onnx.Float64 {
		return b.Const(onnx.FromSlice(data, shape...))
	}
	single := make([]float32, len(data))
	for i, v := range data {
		single[i] = float32(v)
	}
	return b.Const(onnx.FromSlice(single, shape...))
}

// channelReduction lists every axis but the channels'.
func channelReduction(v *graph.Value) []int {
	axes := []int{0}
	if v == nil { // the builder failed before
		return axes
	}
	for i := 2; i < len(v.Shape); i++ {
		axes = append(axes, i)
	}
	return axes
}

// sequence counts up from first.
func sequence(first, count int) []int {
	out := make([]int, count)
	for i := range out {
		out[i] = first + i
	}
	return out
}

// Fill is a tensor of the given shape whose elements are x, of like's type.
func (b *Builder) Fill(x float64, like *graph.Value, shape ...int) *graph.Value {
	return b.Op("Expand", b.Scalar(x, like), b.Ints(shape...))
}

// Zeros is a tensor of zeros with v's type and shape.
func (b *Builder) Zeros(v *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	return b.Fill(0, v, v.Shape...)
}

// Inline replaces n by its operator's body.
func Inline(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	op, err := Lookup(n)
	if err != nil {
		return nil, err
	}
	if op.Body == nil {
		return nil, &NodeError{Node: n, Err: fmt.Errorf("%s has no body in standard operators", n.Op)}
	}
	b.body = true
	out, err := op.Body(b, n)
	b.body = false
	if err == nil {
		err = b.Err
	}
	if err != nil {
		return nil, &NodeError{Node: n, Err: err}
	}
	return out, nil
}

func toInt64(list []int) []int64 {
	out := make([]int64, len(list))
	for i, v := range list {
		out[i] = int64(v)
	}
	return out
}
