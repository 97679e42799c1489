package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// keptAt are the places of kept elements.
func keptAt(rows, cols []int64, more ...*onnx.Attr) []*onnx.Attr {
	return append([]*onnx.Attr{onnx.AttrInts("rows", rows...), onnx.AttrInts("cols", cols...)}, more...)
}

var (
	byRow     = []int64{0, 0, 1, 3, 3, 3}
	itsCols   = []int64{1, 4, 0, 0, 2, 3}
	mixedRows = []int64{3, 0, 1, 3, 0, 3}
	mixedCols = []int64{2, 4, 0, 0, 1, 3}
)

var _ = addCases(
	Case{Op: "SparseMatMul", Domain: ops.Domain, In: []input{normal(3, 5), normal(6)}, Diff: []int{0, 1},
		Attrs: keptAt(byRow, itsCols, onnx.AttrInt("outputs", 4))},
	Case{Op: "SparseMatMul", Domain: ops.Domain, Name: "any order, more samples", In: []input{normal(70, 5), normal(6)}, Diff: []int{0, 1},
		Attrs: keptAt(mixedRows, mixedCols, onnx.AttrInt("outputs", 4))},
	Case{Op: "SparseMatMulGrad", Domain: ops.Domain, In: []input{normal(3, 5), normal(3, 4)}, Diff: []int{0, 1},
		Attrs: keptAt(byRow, itsCols)},
	Case{Op: "SparseMatMulGrad", Domain: ops.Domain, Name: "any order, more samples", In: []input{normal(70, 5), normal(70, 4)}, Diff: []int{0, 1},
		Attrs: keptAt(mixedRows, mixedCols)},
)

var _ = addMistakes([]mistake{
	{Case{Op: "SparseMatMul", Domain: ops.Domain, In: []input{normal(3, 5), normal(2)}, Attrs: keptAt([]int64{0, 4}, []int64{0, 1}, onnx.AttrInt("outputs", 4))}, "kept element 1 is at row 4, column 1 of a matrix of 4 by 5"},
	{Case{Op: "SparseMatMul", Domain: ops.Domain, In: []input{normal(3, 5), normal(2)}, Attrs: keptAt([]int64{1, 1}, []int64{2, 2}, onnx.AttrInt("outputs", 4))}, "name an element twice"},
	{Case{Op: "SparseMatMulGrad", Domain: ops.Domain, In: []input{normal(3, 5), normal(3, 4)}, Attrs: keptAt([]int64{1, 1}, []int64{2})}, "have 2 and 1 entries"},
}...)
