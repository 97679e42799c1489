package pass

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// Sparse reports whether the parameter is a matrix that Sparsen can take: the
// weight of one Gemm that neither scales nor transposes its input.
func (p *Param) Sparse() bool {
	n := p.Node
	return p.Role == Weight && p.Trainable && n.Op == "Gemm" && n.Domain == "" && p.Slot == 1 && n.Input(1) == p.Value &&
		len(p.Value.Uses()) == 1 && n.Int("transA", 0) == 0 && n.Float("alpha", 1) == 1 && n.Float("beta", 1) == 1
}

// Sparsen replaces the matrix p, which must be Sparse, by the vector of its
// elements that are kept, flat indices in rising order, and the node that reads
// it by SparseMatMul. p keeps its name and is no weight that pruners look at any
// more.
func (im *Model) Sparsen(p *Param, kept []int) error {
	if !p.Sparse() {
		return fmt.Errorf("pass: parameter %q is no matrix whose elements can be kept one by one", p.Name())
	}
	g, n, v := im.Graph, p.Node, p.Value
	width := v.Shape[1]
	rows, cols := make([]int64, len(kept)), make([]int64, len(kept))
	for i, at := range kept {
		rows[i], cols[i] = int64(at/width), int64(at%width)
	}
	out := v.Shape[0]
	if n.Int("transB", 0) == 0 {
		rows, cols, out = cols, rows, v.Shape[1]
	}
	v.Const = onnx.NewTensor(v.DType, len(kept))
	v.Const.Name, v.Shape = v.Name, graph.Shape{len(kept)}
	g.Opsets[ops.Domain] = max(g.Opsets[ops.Domain], 1)
	product := g.AddNode(ops.Domain, "SparseMatMul", []*graph.Value{n.Input(0), v}, 1,
		onnx.AttrInts("rows", rows...), onnx.AttrInts("cols", cols...), onnx.AttrInt("outputs", int64(out)))
	y, old := product.Outputs[0], n.Outputs[0]
	if bias := n.Input(2); bias != nil {
		y = g.AddNode("", "Add", []*graph.Value{y, bias}, 1).Outputs[0]
	}
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
