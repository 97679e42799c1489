package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Gradients of a convolution whose result a max pooling reads: the operators of
// the same names without Pooled, of
//
//	dy = MaxPoolGrad(pooled, indices)
//
// which is mostly zero and is not written out. The executor puts them in.
func init() {
	register(
		Op{Domain: Domain, Name: "PooledConvGradInput", Infer: inferPooled(0, convOfGradInput, (*conv).input), Body: pooledBody("ConvGradInput", 0),
			Forward: kernels(runPooledConvGradInput[float32], runPooledConvGradInput[float64])},
		Op{Domain: Domain, Name: "PooledConvGradWeight", Infer: inferPooled(1, convOfGradWeight, (*conv).weight), Body: pooledBody("ConvGradWeight", 1),
			Forward: kernels(runPooledConvGradWeight[float32], runPooledConvGradWeight[float64])},
		Op{Domain: Domain, Name: "PooledConvSampleSquares", Infer: inferPooled(1, convOfGradWeight, (*conv).weight), Body: pooledBody("ConvSampleSquares", 1),
			Forward: kernels(runPooledConvSampleSquares[float32], runPooledConvSampleSquares[float64])},
	)
}

// PooledConvGrad appends what computes n, an operator that reads the result of the
// MaxPoolGrad m as the gradient of a convolution, from m's inputs. It returns nil
// where there is no such operator or writing out the gradient is faster.
func (b *Builder) PooledConvGrad(n, m *graph.Node) []*graph.Value {
	slot, geometry := 1, convOfGradWeight
	switch (key{n.Domain, n.Op}) {
	case key{Domain, "ConvGradInput"}:
		slot, geometry = 0, convOfGradInput
	case key{Domain, "ConvGradWeight"}, key{Domain, "ConvSampleSquares"}:
	default:
		return nil
	}
	dy := m.Inputs[0]
	c, err := geometry(n)
	if b.Err != nil || err != nil || c.isVolume() || n.Inputs[slot] != m.Outputs[0] || n.Inputs[1-slot] == m.Outputs[0] {
		return nil
	}
	if !pooledFits(dy.DType, c, dy.Shape) {
		return nil
	}
	in := append(values{}, n.Inputs...)
	in[slot] = dy
	return b.Own("Pooled"+n.Op, len(n.Outputs), append(in, m.Inputs[1]), n.Attrs...)
}

// pooledFits tells whether kernels take planes of c's result pooled to a shape.
func pooledFits(dt onnx.DType, c *conv, pooled graph.Shape) bool {
	if dt == onnx.Float64 {
		return kernel.PooledFits[float64](c.geom(), pooled[2:].Size())
	}
	return kernel.PooledFits[float32](c.geom(), pooled[2:].Size())
}

// inferPooled checks a node whose input slot is a pooled dy and the last its
// places; all its outputs have one shape.
func inferPooled(slot int, geometry func(*graph.Node) (*conv, error), output func(*conv) graph.Shape) func(*graph.Node) error {
	return func(n *graph.Node) error {
		if err := arity(n, 3, 3, 2); err != nil {
			return err
		}
		if err := wantType(n, 0, floats...); err != nil {
			return err
		}
		if err := sameType(n, 0, 1); err != nil {
			return err
		}
		if err := wantType(n, 2, onnx.Int64); err != nil {
			return err
		}
		if _, err := spatial(n, n.Inputs[0]); err != nil {
			return err
		}
		c, err := geometry(n)
		if err != nil {
			return err
		}
		if err := CheckSize(c.output()); err != nil {
			return fmt.Errorf("the gradient that is spread: %w", err)
		}
		dy := n.Inputs[slot].Shape
		if err := wantShape(n, slot, images(c.output(), dy[2:])...); err != nil {
			return err
		}
		if err := wantShape(n, 2, dy...); err != nil {
			return err
		}
		for i := range n.Outputs {
			if err := setOutput(n, i, n.Inputs[0].DType, output(c)); err != nil {
				return err
			}
		}
		return nil
	}
}

// pooledBody spreads the gradient, input slot, for the operator of that name.
func pooledBody(op string, slot int) func(*Builder, *graph.Node) ([]*graph.Value, error) {
	geometry := convOfGradWeight
	if slot == 0 {
		geometry = convOfGradInput
	}
	return func(b *Builder, n *graph.Node) ([]*graph.Value, error) {
		c, err := geometry(n)
		if err != nil {
			return nil, err
		}
		in := values{n.Inputs[0], n.Inputs[1]}
		in[slot] = b.maxPoolGrad(in[slot], n.Inputs[2], c.output())
		return b.Own(op, len(n.Outputs), in, n.Attrs...), b.Err
	}
}

// pooledCall is the geometry of a call whose dy is input slot, and that input.
func pooledCall[T kernel.Float](c *Call, slotDY int, geometry func(*graph.Node) (*conv, error)) (kernel.ConvGeom, kernel.Pooled[T], error) {
	g, err := geometry(c.Node)
	if err != nil {
		return kernel.ConvGeom{}, kernel.Pooled[T]{}, err
	}
	dy := kernel.Pooled[T]{Elements: slot[T](c.In, slotDY), Places: onnx.Of[int64](c.In[2])}
	if g.isVolume() || !pooledFits(c.In[slotDY].DType, g, c.In[slotDY].Shape) {
		err = fmt.Errorf("this convolution does not take its gradient pooled; spread it by MaxPoolGrad")
	}
	return g.geom(), dy, err
}

func runPooledConvGradInput[T kernel.Float](c *Call) (func() error, error) {
	g, dy, err := pooledCall[T](c, 0, convOfGradInput)
	if err != nil {
		return nil, err
	}
	w, dx := slot[T](c.In, 1), slot[T](c.Out, 0)
	k := kernel.NewPooledGradInput[T](g)
	return func() error { return k.Run(c.Team, dy, w, dx) }, nil
}

func runPooledConvGradWeight[T kernel.Float](c *Call) (func() error, error) {
	g, dy, err := pooledCall[T](c, 1, convOfGradWeight)
	if err != nil {
		return nil, err
	}
	x, dw := slot[T](c.In, 0), slot[T](c.Out, 0)
	k := kernel.NewPooledGradWeight[T](g)
	return func() error { return k.Run(c.Team, x, dy, dw) }, nil
}

func runPooledConvSampleSquares[T kernel.Float](c *Call) (func() error, error) {
	g, dy, err := pooledCall[T](c, 1, convOfGradWeight)
	if err != nil {
		return nil, err
	}
	x, squares := slot[T](c.In, 0), slot[T](c.Out, 0)
	k := kernel.NewPooledSampleSquares[T](g)
	return func() error { return k.Run(c.Team, x, dy, squares) }, nil
}
