package ops

import (
	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
)

// ConvSampleSquares(x, dy) has the attributes of ConvGradWeight. It returns the
// sums over the batch of the squared gradients of single samples by the weight:
//
//	squares = sum over n of dw[n]^2    where sum over n of dw[n] = ConvGradWeight(x, dy)
func init() {
	register(Op{Domain: Domain, Name: "ConvSampleSquares", Infer: inferConvSampleSquares, Body: convSampleSquaresBody,
		Forward: kernels(runConvSampleSquares[float32], runConvSampleSquares[float64])})
}

// ConvSampleSquares appends the sums of squared gradients of single samples by
// n's weight, given the gradient dy of n's output.
func (b *Builder) ConvSampleSquares(n *graph.Node, dy *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	c, err := convOf(n)
	if err != nil {
		b.Fail("ops: %v", err)
		return nil
	}
	out := b.Own("ConvSampleSquares", 1, []*graph.Value{n.Inputs[0], dy}, c.attrs(c.kernelShape())...)
	if b.Err != nil {
		return nil
	}
	return out[0]
}

func inferConvSampleSquares(n *graph.Node) error {
	if err := floatInputs(n, 2, 2, 2); err != nil {
		return err
	}
	c, err := convSamplesOf(n)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, c.weight())
}

// convSamplesOf is the geometry, checked against the gradient.
func convSamplesOf(n *graph.Node) (*conv, error) {
	if _, err := spatial(n, n.Inputs[0]); err != nil {
		return nil, err
	}
	c, err := convOfGradWeight(n)
	if err != nil {
		return nil, err
	}
	return c, wantShape(n, 1, c.output()...)
}

// convSampleSquaresBody forms the gradient of every sample.
func convSampleSquaresBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c, err := convOfGradWeight(n)
	if err != nil {
		return nil, err
	}
	single := b.sampleGrads(c, n.Inputs[0], n.Inputs[1])
	return []*graph.Value{b.ReduceSum(b.Mul(single, single), false, 0)}, b.Err
}

func runConvSampleSquares[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := convOfGradWeight(c.Node)
	if err != nil {
		return nil, err
	}
	x, dy, squares := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	k := kernel.NewConvSampleSquares[T](geometry.geom(), kernel.ConvOptions{Winograd: c.Winograd})
	return func() error {
		k.Run(c.Team, x, dy, squares)
		return nil
	}, nil
}
