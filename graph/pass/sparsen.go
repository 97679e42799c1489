package pass

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// Sparse reports whether the parameter is one that Sparsen can take: the weight of
// one Gemm that neither scales nor transposes its input, or of one convolution
// over one or two spatial axes.
func (p *Param) Sparse() bool {
	n := p.Node
	if p.Role != Weight || !p.Trainable || n.Domain != "" || p.Slot != 1 || n.Input(1) != p.Value || len(p.Value.Uses()) != 1 {
		return false
	}
	switch n.Op {
	case "Gemm":
		return n.Int("transA", 0) == 0 && n.Float("alpha", 1) == 1 && n.Float("beta", 1) == 1
	case "Conv":
		return len(p.Value.Shape) <= 4
	}
	return false
}

// Sparsen replaces the weight p, which must be Sparse, by the vector of its
// elements that are kept, flat indices in rising order, and the node that reads
// it by SparseMatMul or SparseConv. p keeps its name and is no weight that pruners
// look at any more.
func (im *Model) Sparsen(p *Param, kept []int) error {
	if !p.Sparse() {
		return fmt.Errorf("pass: parameter %q is no weight whose elements can be kept one by one", p.Name())
	}
	g, n, v := im.Graph, p.Node, p.Value
	g.Opsets[ops.Domain] = max(g.Opsets[ops.Domain], 1)
	shape := v.Shape
	v.Const = onnx.NewTensor(v.DType, len(kept))
	v.Const.Name, v.Shape = v.Name, graph.Shape{len(kept)}
	var product, last *graph.Node
	if n.Op == "Conv" {
		product = sparseConv(g, n, shape, kept)
		last = product
	} else {
		product, last = sparseGemm(g, n, shape, kept)
	}
	y, old := last.Outputs[0], n.Outputs[0]
	g.ReplaceUses(old, y)
	if im.Logits == old {
		im.Logits = y
	}
	for _, q := range im.Params {
		if q.Node == n {
			q.Node = product
		}
	}
	p.Role = Constant
	name := old.Name
	if err := g.RemoveNode(n); err != nil {
		return err
	}
	if err := g.Rename(y, name); err != nil {
		return err
	}
	return g.Sort()
}

// sparseGemm adds what replaces a Gemm with a matrix of a shape: the product, and
// the node that adds the bias, if there is one.
func sparseGemm(g *graph.Graph, n *graph.Node, shape graph.Shape, kept []int) (product, last *graph.Node) {
	width, out := shape[1], shape[0]
	rows, cols := make([]int64, len(kept)), make([]int64, len(kept))
	for i, at := range kept {
		rows[i], cols[i] = int64(at/width), int64(at%width)
	}
	if n.Int("transB", 0) == 0 {
		rows, cols, out = cols, rows, width
	}
	product = g.AddNode(ops.Domain, "SparseMatMul", []*graph.Value{n.Input(0), n.Input(1)}, 1,
		onnx.AttrInts("rows", rows...), onnx.AttrInts("cols", cols...), onnx.AttrInt("outputs", int64(out)))
	if bias := n.Input(2); bias != nil {
		return product, g.AddNode("", "Add", []*graph.Value{product.Outputs[0], bias}, 1)
	}
	return product, product
}

// sparseConv adds what replaces a Conv with weights of a shape.
func sparseConv(g *graph.Graph, n *graph.Node, shape graph.Shape, kept []int) *graph.Node {
	attrs := slices.DeleteFunc(slices.Clone(n.Attrs), func(a *onnx.Attr) bool { return a.Name == "kernel_shape" })
	kernel, numbers := make([]int64, len(shape)-2), make([]int64, len(kept))
	for i := range kernel {
		kernel[i] = int64(shape[2+i])
	}
	for i, at := range kept {
		numbers[i] = int64(at)
	}
	return g.AddNode(ops.Domain, "SparseConv", n.Inputs, 1, append(attrs,
		onnx.AttrInts("kernel_shape", kernel...), onnx.AttrInt("outputs", int64(shape[0])), onnx.AttrInts("kept", numbers...))...)
}
