package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Products with a matrix of which some elements are kept, named by the attributes
// rows and cols: row is the output, column the input of a kept element. Both are
// bilinear, and each other's gradient:
//
//	SparseMatMul(x, values)     y[n,r]  = sum over i with rows[i] = r of x[n,cols[i]] values[i]
//	SparseMatMulGrad(x, dy)     dv[i]   = sum over n of x[n,cols[i]] dy[n,rows[i]]
//
// with x [N K], values and dv [kept], y and dy [N M]; the attribute outputs is M.
func init() {
	register(
		Op{Domain: Domain, Name: "SparseMatMul", Infer: inferSparseMatMul, Grad: gradSparseMatMul, Body: sparseMatMulBody,
			Forward: kernels(runSparseMatMul[float32], runSparseMatMul[float64])},
		Op{Domain: Domain, Name: "SparseMatMulGrad", Infer: inferSparseMatMulGrad, Grad: gradSparseMatMulGrad, Body: sparseMatMulGradBody,
			Forward: kernels(runSparseMatMulGrad[float32], runSparseMatMulGrad[float64])},
	)
}

// SparseMatMul appends the product of x with a matrix of out rows that has
// values at the given places.
func (b *Builder) SparseMatMul(x, values *graph.Value, rows, cols []int64, out int) *graph.Value {
	return b.Own("SparseMatMul", 1, []*graph.Value{x, values}, keptAttrs(rows, cols, onnx.AttrInt("outputs", int64(out)))...)[0]
}

func (b *Builder) sparseMatMulGrad(x, dy *graph.Value, rows, cols []int64) *graph.Value {
	return b.Own("SparseMatMulGrad", 1, []*graph.Value{x, dy}, keptAttrs(rows, cols)...)[0]
}

func keptAttrs(rows, cols []int64, more ...*onnx.Attr) []*onnx.Attr {
	return append([]*onnx.Attr{onnx.AttrInts("rows", rows...), onnx.AttrInts("cols", cols...)}, more...)
}

// kept are the places of the elements that are kept, in a matrix of out by in.
type kept struct {
	rows, cols     []int64
	batch, in, out int
}

// keptOf reads the places and checks that each is inside and there once.
func keptOf(n *graph.Node, out int) (*kept, error) {
	k := &kept{rows: attrInt64s(n, "rows"), cols: attrInt64s(n, "cols"), out: out}
	x := n.Inputs[0].Shape
	if len(x) != 2 {
		return nil, fmt.Errorf("input of rank %d, want [N K]", len(x))
	}
	if k.batch, k.in = x[0], x[1]; len(k.rows) != len(k.cols) {
		return nil, fmt.Errorf("attributes rows and cols have %d and %d entries", len(k.rows), len(k.cols))
	}
	if out < 1 || k.in < 1 || int64(k.in)*int64(out) > maxElements || int64(max(k.in, out))*int64(k.batch+64) > maxElements {
		return nil, fmt.Errorf("a matrix of %d by %d for %d samples", out, k.in, k.batch)
	}
	places := make([]int, len(k.rows))
	for i, r := range k.rows {
		c := k.cols[i]
		if r < 0 || r >= int64(out) || c < 0 || c >= int64(k.in) {
			return nil, fmt.Errorf("kept element %d is at row %d, column %d of a matrix of %d by %d", i, r, c, out, k.in)
		}
		places[i] = int(r)*k.in + int(c)
	}
	slices.Sort(places)
	if len(slices.Compact(places)) != len(k.rows) {
		return nil, fmt.Errorf("attributes rows and cols name an element twice")
	}
	return k, nil
}

func attrInt64s(n *graph.Node, name string) []int64 {
	if a := n.Attr(name); a != nil && a.Type == onnx.AttrTypeInts {
		return a.Ints
	}
	return nil
}

// flat are the places in the matrix stored as [K M].
func (k *kept) flat() []int {
	list := make([]int, len(k.rows))
	for i := range list {
		list[i] = int(k.cols[i])*k.out + int(k.rows[i])
	}
	return list
}

func keptOfMatMul(n *graph.Node) (*kept, error) { return keptOf(n, n.Int("outputs", 0)) }

func inferSparseMatMul(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	k, err := keptOfMatMul(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 1, len(k.rows)); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{k.batch, k.out})
}

func gradSparseMatMul(b *Builder, n *graph.Node, dy values) (values, error) {
	k, err := keptOfMatMul(n)
	if err != nil {
		return nil, err
	}
	x, v := n.Inputs[0], n.Inputs[1]
	return values{b.SparseMatMul(dy[0], v, k.cols, k.rows, k.in), b.sparseMatMulGrad(x, dy[0], k.rows, k.cols)}, nil
}

func sparseMatMulBody(b *Builder, n *graph.Node) (values, error) {
	k, err := keptOfMatMul(n)
	if err != nil {
		return nil, err
	}
	zeros := b.Fill(0, n.Inputs[1], k.in*k.out)
	dense := b.OpA("ScatterElements", []*onnx.Attr{onnx.AttrInt("axis", 0)}, zeros, b.Ints(k.flat()...), n.Inputs[1])
	return values{b.Op("MatMul", n.Inputs[0], b.Reshape(dense, k.in, k.out))}, nil
}

func runSparseMatMul[T kernel.Float](c *Call) (func() error, error) {
	k, err := keptOfMatMul(c.Node)
	if err != nil {
		return nil, err
	}
	x, v, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	s := kernel.NewSparseMatMul[T](k.batch, k.in, k.out, k.rows, k.cols)
	return func() error {
		s.Run(c.Team, x, v, y)
		return nil
	}, nil
}

func keptOfGrad(n *graph.Node) (*kept, error) {
	dy := n.Inputs[1].Shape
	if len(dy) != 2 {
		return nil, fmt.Errorf("gradient of rank %d, want [N M]", len(dy))
	}
	k, err := keptOf(n, dy[1])
	if err != nil {
		return nil, err
	}
	return k, wantShape(n, 1, k.batch, k.out)
}

func inferSparseMatMulGrad(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 1); err != nil {
		return err
	}
	k, err := keptOfGrad(n)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{len(k.rows)})
}

func gradSparseMatMulGrad(b *Builder, n *graph.Node, d values) (values, error) {
	k, err := keptOfGrad(n)
	if err != nil {
		return nil, err
	}
	x, dy := n.Inputs[0], n.Inputs[1]
	return values{b.SparseMatMul(dy, d[0], k.cols, k.rows, k.in), b.SparseMatMul(x, d[0], k.rows, k.cols, k.out)}, nil
}

func sparseMatMulGradBody(b *Builder, n *graph.Node) (values, error) {
	k, err := keptOfGrad(n)
	if err != nil {
		return nil, err
	}
	dense := b.Op("MatMul", b.Transpose(n.Inputs[0], 1, 0), n.Inputs[1])
	return values{b.OpA("Gather", []*onnx.Attr{onnx.AttrInt("axis", 0)}, b.Reshape(dense, k.in*k.out), b.Ints(k.flat()...))}, nil
}

func runSparseMatMulGrad[T kernel.Float](c *Call) (func() error, error) {
	k, err := keptOfGrad(c.Node)
	if err != nil {
		return nil, err
	}
	x, dy, v := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	s := kernel.NewSparseMatMul[T](k.batch, k.in, k.out, k.rows, k.cols)
	return func() error {
		s.RunGrad(c.Team, x, dy, v)
		return nil
	}, nil
}
