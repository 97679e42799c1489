package pass

import (
	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Double returns a copy of g that computes in float64 where g computes in
// float32: inputs, initializers, and the types that nodes name. Shapes and
// types of inner values must be inferred anew. References are checked with it;
// rounding is then out of the way.
func Double(g *graph.Graph) *graph.Graph {
	c := g.Clone()
	for _, v := range c.Inputs {
		if v.DType == onnx.Float32 {
			v.DType, v.Info = onnx.Float64, nil
		}
	}
	for _, v := range c.Inits {
		if v.DType == onnx.Float32 {
			v.DType, v.Const = onnx.Float64, widen(v.Const)
		}
	}
	for _, v := range c.Outputs {
		v.Info = nil
	}
	for _, n := range c.Nodes {
		for _, a := range n.Attrs {
			if a.T != nil && a.T.DType == onnx.Float32 {
				n.SetAttr(onnx.AttrTensor(a.Name, widen(a.T)))
			}
		}
		if n.Op == "Cast" && onnx.DType(n.Int("to", 0)) == onnx.Float32 {
			n.SetAttr(onnx.AttrInt("to", int64(onnx.Float64)))
		}
	}
	return c
}

func widen(t *onnx.Tensor) *onnx.Tensor {
	w := onnx.NewTensor(onnx.Float64, t.Shape...)
	w.Name = t.Name
	dst := onnx.Of[float64](w)
	for i, x := range onnx.Of[float32](t) {
		dst[i] = float64(x)
	}
	return w
}
