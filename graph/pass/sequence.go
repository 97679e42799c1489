package pass

import (
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// sequences replaces the elements that SequenceAt takes from a tensor that
// SplitToSequence cut, which is how an unoptimised chunk or split is exported,
// by slices of the tensor.
func sequences(g *graph.Graph) {
	changed := false
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op != "SequenceAt" || n.Domain != "" {
			continue
		}
		cut, index := made(n.Input(0), "SplitToSequence"), constOf(n.Input(1))
		if cut == nil || index == nil || index.Len() != 1 || slices.Contains(g.Outputs, n.Output(0)) {
			continue
		}
		from, to, ok := piece(constOf(cut.Input(1)), int64At(index, 0))
		if !ok {
			continue
		}
		whole := func(name string, x int64) *graph.Value {
			return g.AddInit(n.Output(0).Name+"_"+name, onnx.FromSlice([]int64{x}, 1))
		}
		slice := g.AddNode("", "Slice", []*graph.Value{cut.Input(0), whole("from", from), whole("to", to), whole("axis", int64(cut.Int("axis", 0)))}, 1)
		g.ReplaceUses(n.Output(0), slice.Outputs[0])
		changed = true
	}
	if changed {
		g.Prune()
	}
}

// piece is where element i of a split lies: of equal extents when split is a
// scalar, else of the extents that it lists.
func piece(split *onnx.Tensor, i int64) (from, to int64, ok bool) {
	if split == nil || split.Len() == 0 || (split.DType != onnx.Int64 && split.DType != onnx.Int32) {
		return 0, 0, false
	}
	if len(split.Shape) == 0 {
		size := int64At(split, 0)
		if i < 0 || size <= 0 || i >= math.MaxInt32 || size >= math.MaxInt32 {
			return 0, 0, false
		}
		return i * size, (i + 1) * size, true
	}
	if i < 0 {
		i += int64(split.Len())
	}
	if i < 0 || i >= int64(split.Len()) {
		return 0, 0, false
	}
	for k := range int(i) {
		from += int64At(split, k)
	}
	return from, from + int64At(split, int(i)), true
}

// int64At is element i of a tensor of whole numbers, -1 of any other.
func int64At(t *onnx.Tensor, i int) int64 {
	switch x := t.Data.(type) {
	case []int64:
		return x[i]
	case []int32:
		return int64(x[i])
	}
	return -1
}
