package pass

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// retie joins an embedding and the output layer that the exporter wrote as a
// transposed copy of it: trained separately, they would drift apart.
func (im *Model) retie() {
	g := im.Graph
	heads := map[[2]int][]*graph.Value{} // by shape
	for _, v := range g.Inits {
		if v.DType == onnx.Float32 && len(v.Shape) == 2 && slices.ContainsFunc(v.Uses(), multiplies) {
			key := [2]int{v.Shape[0], v.Shape[1]}
			heads[key] = append(heads[key], v)
		}
	}
	for _, table := range slices.Clone(g.Inits) {
		if table.DType != onnx.Float32 || len(table.Shape) != 2 || !slices.ContainsFunc(table.Uses(), gathers) {
			continue
		}
		for _, w := range heads[[2]int{table.Shape[1], table.Shape[0]}] {
			if len(w.Uses()) == 0 || !transposed(table, w) {
				continue
			}
			t := g.AddNode("", "Transpose", []*graph.Value{table}, 1, onnx.AttrInts("perm", 1, 0))
			out := t.Outputs[0]
			out.DType, out.Shape = w.DType, w.Shape.Clone()
			g.ReplaceUses(w, out)
			im.note("%q is the transpose of the embedding %q: they are tied, one parameter", w.Name, table.Name)
		}
	}
}

func gathers(u graph.Use) bool { return u.Node.Domain == "" && u.Node.Op == "Gather" && u.Slot == 0 }

func multiplies(u graph.Use) bool {
	return u.Node.Domain == "" && u.Slot == 1 && (u.Node.Op == "MatMul" || u.Node.Op == "Gemm")
}

// transposed reports whether w [d n] holds the elements of the table [n d].
// Two that are constant throughout, as before training, say nothing.
func transposed(table, w *graph.Value) bool {
	n, d := table.Shape[0], table.Shape[1]
	a, b := onnx.Of[float32](table.Const), onnx.Of[float32](w.Const)
	varied := false
	for i := range n {
		for j := range d {
			if a[i*d+j] != b[j*n+i] {
				return false
			}
			varied = varied || a[i*d+j] != a[0]
		}
	}
	return varied
}
