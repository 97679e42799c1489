package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// GemmSGD(rate, w, a, b, [v], [mask]) is SGD of a weight matrix whose gradient
// is the product of a and b, with Gemm's attributes alpha, transA and transB:
// the gradient itself is never stored.

// product is the Gemm, and sgd the SGD, that a GemmSGD stands for.
func gemmSGDParts(n *graph.Node) (product, sgd *graph.Node) {
	product = &graph.Node{Op: "Gemm", Version: n.Version, Inputs: n.Inputs[2:4], Attrs: n.Attrs}
	sgd = &graph.Node{Op: "SGD", Version: n.Version, Attrs: n.Attrs, Outputs: n.Outputs,
		Inputs: values{n.Inputs[0], n.Inputs[1], n.Inputs[1], n.Input(4), n.Input(5)}}
	return product, sgd
}

func inferGemmSGD(n *graph.Node) error {
	if err := floatInputs(n, 4, 6, 2); err != nil {
		return err
	}
	product, sgd := gemmSGDParts(n)
	g, err := gemmOf(product)
	if err != nil {
		return err
	}
	if w := n.Inputs[1].Shape; !slices.Equal(w, graph.Shape{g.m, g.n}) {
		return fmt.Errorf("the weight has shape %v, its gradient %v", []int(w), []int{g.m, g.n})
	}
	if g.k > kernel.MaxStepDepth || g.k == 0 || g.alpha == 0 {
		return fmt.Errorf("the gradient sums %d products with factor %g; want 1 to %d and a factor", g.k, g.alpha, kernel.MaxStepDepth)
	}
	return inferSGD(sgd)
}

func gemmSGDBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	product, sgd := gemmSGDParts(n)
	g, err := gemmOf(product)
	if err != nil {
		return nil, err
	}
	attrs := append(transposed(g.transA, g.transB), onnx.AttrFloat("alpha", float32(g.alpha)))
	sgd.Inputs[2] = b.OpA("Gemm", attrs, n.Inputs[2], n.Inputs[3])
	if b.Err != nil {
		return nil, b.Err
	}
	return sgdBody(b, sgd)
}

func runGemmSGD[T kernel.Float](c *Call) (func() error, error) {
	product, _ := gemmSGDParts(c.Node)
	g, err := gemmOf(product)
	if err != nil {
		return nil, err
	}
	o := sgdOf(c.Node)
	w, beginW := inPlace[T](c, 0, 1)
	v, beginV := inPlace[T](c, 1, 4)
	rate, a, b, mask := slot[T](c.In, 0), slot[T](c.In, 2), slot[T](c.In, 3), slot[T](c.In, 5)
	step := kernel.NewGemmStep[T](g.m, g.n, g.k, g.transA, g.transB, kernel.GemmOptions{Alpha: g.alpha})
	return func() error {
		beginW()
		beginV()
		o.Rate = float64(rate[0])
		step.SGD(c.Team, o, w, a, b, mask, v)
		return nil
	}, nil
}
