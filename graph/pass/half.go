package pass

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// single makes a graph that stores or computes in half precision compute in
// float32: initializers get a float32 master copy, inputs are converted behind
// the signature and outputs in front of it, and conversions to half precision
// go to float32. It returns the types that the initializers had.
func (im *Model) single() (map[string]onnx.DType, error) {
	g, stored := im.Graph, map[string]onnx.DType{}
	for _, v := range g.Inits {
		if !half(v.DType) {
			continue
		}
		if !im.affordable(v.Const.Len()) { // calls of a function may share one
			return nil, fmt.Errorf("pass: in single precision the constants take much more memory than the file")
		}
		full, err := onnx.Convert(v.Const, onnx.Float32)
		if err != nil {
			return nil, err
		}
		full.Name = v.Name
		stored[v.Name] = v.DType
		v.Const, v.DType, v.Info = full, onnx.Float32, nil
	}
	for _, n := range g.Nodes {
		if err := singleNode(n); err != nil {
			return nil, err
		}
	}
	for _, in := range g.Inputs {
		if half(in.DType) {
			singleInput(g, in)
		}
	}
	for _, out := range slices.Clone(g.Outputs) {
		if half(out.DType) && out.Producer() != nil {
			if err := halfOutput(g, out); err != nil {
				return nil, err
			}
		}
	}
	return stored, g.Sort()
}

func half(dt onnx.DType) bool { return dt == onnx.Float16 || dt == onnx.BFloat16 }

// singleNode converts what a node says about types.
func singleNode(n *graph.Node) error {
	for _, a := range n.Attrs {
		switch {
		case a.T != nil && half(a.T.DType):
			full, err := onnx.Convert(a.T, onnx.Float32)
			if err != nil {
				return err
			}
			n.SetAttr(onnx.AttrTensor(a.Name, full))
		case slices.Contains(typeAttrs[n.Op], a.Name) && n.Domain == "" && half(onnx.DType(a.I)):
			n.SetAttr(onnx.AttrInt(a.Name, int64(onnx.Float32)))
		}
	}
	return nil
}

// typeAttrs lists the attributes that hold an element type.
var typeAttrs = map[string][]string{
	"Cast": {"to"}, "EyeLike": {"dtype"}, "Attention": {"softmax_precision"}, "LayerNormalization": {"stash_type"},
	"QuantizeLinear": {"precision"}, "DequantizeLinear": {"output_dtype"}, "HannWindow": {"output_datatype"},
	"HammingWindow": {"output_datatype"}, "BlackmanWindow": {"output_datatype"},
}

// singleInput makes the readers of a half-precision input read its conversion.
func singleInput(g *graph.Graph, in *graph.Value) {
	cast := g.AddNode("", "Cast", []*graph.Value{in}, 1, onnx.AttrInt("to", int64(onnx.Float32)))
	out := cast.Outputs[0]
	out.DType, out.Shape = onnx.Float32, in.Shape.Clone()
	isOutput := slices.Contains(g.Outputs, in)
	g.ReplaceUses(in, out)
	g.SetInput(cast, 0, in) // it was replaced too
	if isOutput {
		g.Outputs[slices.Index(g.Outputs, out)] = in
	}
}

// halfOutput converts what makes an output back to the output's type.
func halfOutput(g *graph.Graph, out *graph.Value) error {
	cast := g.AddNode("", "Cast", []*graph.Value{out}, 1, onnx.AttrInt("to", int64(out.DType)))
	to, name := cast.Outputs[0], out.Name
	to.DType, to.Shape, to.Info = out.DType, out.Shape.Clone(), out.Info
	out.DType, out.Info = onnx.Float32, nil
	g.Outputs[slices.Index(g.Outputs, out)] = to
	if err := g.Rename(out, g.Unique(name)); err != nil {
		return err
	}
	return g.Rename(to, name)
}

// ToONNX writes the model as a file. Parameters that the file had in half
// precision are rounded back to it, each followed by a Cast to float32, in
// which the nodes compute; those whose Stored is cleared are written as
// float32.
func (im *Model) ToONNX() (*onnx.Model, error) {
	g := im.Graph.Clone()
	for _, p := range im.Params {
		v := g.Value(p.Name())
		if !half(p.Stored) || v == nil || v.Const == nil || v.DType != onnx.Float32 {
			continue
		}
		rounded, err := onnx.Convert(p.Tensor(), p.Stored)
		if err != nil {
			return nil, err
		}
		rounded.Name = v.Name
		if err := storeRounded(g, v, rounded); err != nil {
			return nil, err
		}
	}
	if err := g.Sort(); err != nil {
		return nil, err
	}
	m := g.ToONNX()
	m.Graph.ValueInfo = slices.DeleteFunc(m.Graph.ValueInfo, func(vi *onnx.ValueInfo) bool {
		return vi.Type != nil && vi.Type.Tensor != nil && half(vi.Type.Tensor.Elem) // they are computed in float32
	})
	return m, nil
}
