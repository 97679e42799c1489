package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Matrix products.
func init() {
	register(
		Op{Name: "MatMul", Since: []int{1, 9, 13}, Infer: inferMatMul, Axes: axesMatMul, Grad: gradMatMul, Forward: forwardMatMul},
		Op{Name: "Gemm", Since: []int{7, 9, 11, 13}, Infer: inferGemm, Axes: axesGemm, Grad: gradGemm, Forward: forwardGemm},
	)
}

// A product3 is a MatMul seen as a batch of matrix products: a [m k] and
// b [k n] for each entry of the batch, with a batch shape of their own that is
// broadcast.
type product3 struct {
	m, n, k          int
	aBatch, bBatch   graph.Shape
	batch            graph.Shape
	aVector, bVector bool // given without the axis m or n
}

// matmul analyses the shapes of a MatMul (numpy.matmul): vectors get an axis
// that the result does not have.
func matmul(a, b graph.Shape) (p product3, err error) {
	if len(a) == 0 || len(b) == 0 {
		return p, fmt.Errorf("a scalar has no matrix product")
	}
	if p.aVector = len(a) == 1; p.aVector {
		a = graph.Shape{1, a[0]}
	}
	if p.bVector = len(b) == 1; p.bVector {
		b = graph.Shape{b[0], 1}
	}
	ra, rb := len(a)-2, len(b)-2
	if a[ra+1] != b[rb] {
		return p, fmt.Errorf("inner extents %d and %d differ", a[ra+1], b[rb])
	}
	p.m, p.k, p.n = a[ra], b[rb], b[rb+1]
	p.aBatch, p.bBatch = a[:ra], b[:rb]
	p.batch, err = broadcast(p.aBatch, p.bBatch)
	return p, err
}

// full is a shape with the batch in front, whatever axes were left out.
func full(batch graph.Shape, rows, cols int) graph.Shape {
	return append(append(graph.Shape{}, batch...), rows, cols)
}

func inferMatMul(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := sameType(n, 0, 1); err != nil {
		return err
	}
	p, err := matmul(n.Inputs[0].Shape, n.Inputs[1].Shape)
	if err != nil {
		return err
	}
	shape := p.batch
	if !p.aVector {
		shape = append(shape, p.m)
	}
	if !p.bVector {
		shape = append(shape, p.n)
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

// gradMatMul: da = dy b', db = a' dy. When b is one matrix for the whole batch
// (a linear layer), the batch counts as rows.
func gradMatMul(b *Builder, n *graph.Node, dy values) (values, error) {
	x, w := n.Inputs[0], n.Inputs[1]
	p, err := matmul(x.Shape, w.Shape)
	if err != nil {
		return nil, err
	}
	var dx, dw *graph.Value
	if len(p.bBatch) == 0 {
		rows := product(p.batch) * p.m
		x2, w2, dy2 := b.Reshape(x, rows, p.k), b.Reshape(w, p.k, p.n), b.Reshape(dy[0], rows, p.n)
		dx, dw = b.Gemm(dy2, w2, false, true), b.Gemm(x2, dy2, true, false)
	} else {
		dy3 := b.Reshape(dy[0], full(p.batch, p.m, p.n)...)
		xShape, wShape := full(p.aBatch, p.m, p.k), full(p.bBatch, p.k, p.n)
		dx = b.Unbroadcast(b.Op("MatMul", dy3, b.flip(b.Reshape(w, wShape...))), xShape)
		dw = b.Unbroadcast(b.Op("MatMul", b.flip(b.Reshape(x, xShape...)), dy3), wShape)
	}
	return values{b.Reshape(dx, x.Shape...), b.Reshape(dw, w.Shape...)}, nil
}

// flip exchanges the last two axes.
func (b *Builder) flip(x *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	perm := make([]int, len(x.Shape))
	for i := range perm {
		perm[i] = i
	}
	last := len(perm) - 1
	perm[last], perm[last-1] = perm[last-1], perm[last]
	return b.Transpose(x, perm...)
}

// Gemm is the product of two matrices, each transposed if asked for.
func (b *Builder) Gemm(x, y *graph.Value, transX, transY bool) *graph.Value {
	return b.OpA("Gemm", transposed(transX, transY), x, y)
}

func transposed(a, b bool) []*onnx.Attr {
	var attrs []*onnx.Attr
	if a {
		attrs = append(attrs, onnx.AttrInt("transA", 1))
	}
	if b {
		attrs = append(attrs, onnx.AttrInt("transB", 1))
	}
	return attrs
}

func forwardMatMul(c *Call) (func() error, error) {
	return byFloat(c, forwardMatMulOf[float32], forwardMatMulOf[float64])
}

func forwardMatMulOf[T kernel.Float](c *Call) (func() error, error) {
	p, err := matmul(c.In[0].Shape, c.In[1].Shape)
	if err != nil {
		return nil, err
	}
	a, b, y := onnx.Of[T](c.In[0]), onnx.Of[T](c.In[1]), onnx.Of[T](c.Out[0])
	if len(p.bBatch) == 0 {
		g := kernel.NewGemm[T](product(p.batch)*p.m, p.n, p.k, false, false, kernel.GemmOptions{})
		return func() error {
			g.Run(c.Team, a, b, y)
			return nil
		}, nil
	}
	run := newBatch[T](p)
	return func() error {
		run.run(c.Team, a, b, y)
		return nil
	}, nil
}

// A batch multiplies many matrices. Large ones are each spread over all
// threads; of small ones, every thread does whole ones.
type batch[T kernel.Float] struct {
	p        product3
	a, b     []int // offsets of the factors, in units of their matrices
	products []*kernel.Gemm[T]
	x, y, z  []T
	body     func(w *kernel.Worker, unit int)
}

// spreadFrom is the number of multiplications from which on a product is
// spread over threads, and batchUnits into how many units a batch of smaller
// ones is divided.
const (
	spreadFrom = 1 << 22
	batchUnits = 64
)

func newBatch[T kernel.Float](p product3) *batch[T] {
	size := product(p.batch)
	r := &batch[T]{p: p, a: make([]int, size), b: make([]int, size)}
	w := newWalk(p.batch, nil, repeatStrides(p.aBatch, p.batch), repeatStrides(p.bBatch, p.batch))
	length, step := w.row()
	i := 0
	for ok := w.reset(); ok; ok = w.next() {
		for k := range length {
			r.a[i], r.b[i] = w.at[0]+k*step[0], w.at[1]+k*step[1]
			i++
		}
	}
	units := 1
	if p.m*p.n*p.k < spreadFrom {
		units = min(size, batchUnits)
	}
	for range units {
		r.products = append(r.products, kernel.NewGemm[T](p.m, p.n, p.k, false, false, kernel.GemmOptions{}))
	}
	r.body = func(_ *kernel.Worker, unit int) {
		for i := unit; i < len(r.a); i += len(r.products) {
			r.one(r.products[unit], nil, i)
		}
	}
	return r
}

func (r *batch[T]) run(team *kernel.Team, x, y, z []T) {
	r.x, r.y, r.z = x, y, z
	if len(r.products) > 1 {
		team.For(len(r.products), r.body)
		return
	}
	for i := range r.a {
		r.one(r.products[0], team, i)
	}
}

// one computes product i of the batch.
func (r *batch[T]) one(g *kernel.Gemm[T], team *kernel.Team, i int) {
	p := &r.p
	a, b, z := r.a[i]*p.m*p.k, r.b[i]*p.k*p.n, i*p.m*p.n
	g.Run(team, r.x[a:a+p.m*p.k], r.y[b:b+p.k*p.n], r.z[z:z+p.m*p.n])
}

// gemm is what a Gemm node computes: y = alpha op(a) op(b) + beta c.
type gemm struct {
	m, n, k        int
	transA, transB bool
	alpha, beta    float64
}

func gemmOf(n *graph.Node) (g gemm, err error) {
	a, b := n.Inputs[0].Shape, n.Inputs[1].Shape
	if len(a) != 2 || len(b) != 2 {
		return g, fmt.Errorf("factors have shapes %v and %v, want matrices", []int(a), []int(b))
	}
	g = gemm{
		m: a[0], k: a[1], n: b[1],
		transA: n.Int("transA", 0) != 0, transB: n.Int("transB", 0) != 0,
		alpha: n.Float("alpha", 1), beta: n.Float("beta", 1),
	}
	inner := b[0]
	if g.transA {
		g.m, g.k = a[1], a[0]
	}
	if g.transB {
		g.n, inner = b[0], b[1]
	}
	if inner != g.k {
		return g, fmt.Errorf("inner extents %d and %d differ", g.k, inner)
	}
	return g, nil
}

func inferGemm(n *graph.Node) error {
	if err := arity(n, 2, 3, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := sameType(n, 0, 1, 2); err != nil {
		return err
	}
	g, err := gemmOf(n)
	if err != nil {
		return err
	}
	if c := n.Input(2); c != nil {
		shape, err := broadcast(c.Shape, graph.Shape{g.m, g.n})
		if err != nil || len(shape) != 2 || shape[0] != g.m || shape[1] != g.n {
			return fmt.Errorf("input C of shape %v does not fit a product of %d by %d", []int(c.Shape), g.m, g.n)
		}
	}
	return setOutput(n, 0, n.Inputs[0].DType, graph.Shape{g.m, g.n})
}

// gradGemm: with P = op(a) and Q = op(b), dP = alpha dy Q', dQ = alpha P' dy,
// each written so that Gemm's flags do the transposing; dc = beta dy.
func gradGemm(b *Builder, n *graph.Node, dy values) (values, error) {
	g, err := gemmOf(n)
	if err != nil {
		return nil, err
	}
	scaled := func(x, y *graph.Value, transX, transY bool) *graph.Value {
		attrs := transposed(transX, transY)
		if g.alpha != 1 {
			attrs = append(attrs, onnx.AttrFloat("alpha", float32(g.alpha)))
		}
		return b.OpA("Gemm", attrs, x, y)
	}
	x, w, d := n.Inputs[0], n.Inputs[1], dy[0]
	grads := make(values, len(n.Inputs))
	if g.transA {
		grads[0] = scaled(w, d, g.transB, true)
	} else {
		grads[0] = scaled(d, w, false, !g.transB)
	}
	if g.transB {
		grads[1] = scaled(d, x, true, g.transA)
	} else {
		grads[1] = scaled(x, d, !g.transA, false)
	}
	if c := n.Input(2); c != nil {
		dc := b.Unbroadcast(d, c.Shape)
		if g.beta != 1 {
			dc = b.Mul(dc, b.Scalar(g.beta, dc))
		}
		grads[2] = dc
	}
	return grads, nil
}

func forwardGemm(c *Call) (func() error, error) {
	return byFloat(c, forwardGemmOf[float32], forwardGemmOf[float64])
}

func forwardGemmOf[T kernel.Float](c *Call) (func() error, error) {
	g, err := gemmOf(c.Node)
	if err != nil {
		return nil, err
	}
	if g.alpha == 0 {
		g.k, g.alpha = 0, 1 // an empty product is zero
	}
	a, b, y := onnx.Of[T](c.In[0]), onnx.Of[T](c.In[1]), onnx.Of[T](c.Out[0])
	opt := kernel.GemmOptions{Alpha: g.alpha, Activation: c.Activation}
	if g.k == 0 { // leading dimensions are those of what is stored
		opt.LDA, opt.LDB = c.In[0].Shape[1], c.In[1].Shape[1]
	}
	var bias []T
	place := func() error { return nil } // puts c where beta finds it
	if len(c.In) > 2 && c.In[2] != nil && g.beta != 0 {
		s := c.In[2].Shape
		switch {
		case g.beta == 1 && len(s) > 0 && product(s) == g.n && s[len(s)-1] == g.n:
			opt.Bias, bias = kernel.BiasPerColumn, onnx.Of[T](c.In[2])
		case g.beta == 1 && len(s) == 2 && s[0] == g.m && s[1] == 1:
			opt.Bias, bias = kernel.BiasPerRow, onnx.Of[T](c.In[2])
		default:
			opt.Beta = g.beta
			shape := c.Out[0].Shape
			w := newWalk(shape, nil, strides(shape), repeatStrides(s, shape))
			if place, err = copyWalk(c.Out[0], c.In[2], w); err != nil {
				return nil, err
			}
		}
	}
	k := kernel.NewGemm[T](g.m, g.n, g.k, g.transA, g.transB, opt)
	return func() error {
		if err := place(); err != nil {
			return err
		}
		k.RunBias(c.Team, a, b, y, bias)
		return nil
	}, nil
}
