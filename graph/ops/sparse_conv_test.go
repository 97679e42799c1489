package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// keptConv are the attributes of a convolution whose kept weights are numbered.
func keptConv(kept []int64, kernel []int64, outputs int64, more ...*onnx.Attr) []*onnx.Attr {
	return append([]*onnx.Attr{kernelOf(kernel...), onnx.AttrInt("outputs", outputs), onnx.AttrInts("kept", kept...)}, more...)
}

var (
	three   = []int64{3, 3}
	keptFew = []int64{2, 9, 13, 17, 40, 44, 71} // of [4 2 3 3]: row 1 has none
	keptOne = []int64{0, 3, 10}                 // of [3 2 1 3] over groups, or [3 4 1]
	wide    = padded(1, 1, 1, 1)
	odd     = attrs(strided(2, 3), padded(1, 0, 2, 1), onnx.AttrInts("dilations", 1, 2))
)

var _ = addCases(
	Case{Op: "SparseConv", Domain: ops.Domain, In: []input{normal(2, 2, 5, 6), normal(7), normal(4)}, Diff: []int{0, 1, 2},
		Attrs: keptConv(keptFew, three, 4, wide)},
	Case{Op: "SparseConv", Domain: ops.Domain, Name: "strides", In: []input{normal(2, 2, 8, 9), normal(7)}, Diff: []int{0, 1},
		Attrs: keptConv(keptFew, three, 4, odd...)},
	Case{Op: "SparseConv", Domain: ops.Domain, Name: "one axis, groups", In: []input{normal(3, 4, 9), normal(3)}, Diff: []int{0, 1},
		Attrs: keptConv(keptOne, []int64{3}, 2, group(2))},
	Case{Op: "SparseConv", Domain: ops.Domain, Name: "nothing kept", In: []input{normal(1, 2, 5, 6), normal(0), normal(4)},
		Attrs: keptConv(nil, three, 4, wide)},
	Case{Op: "SparseConvGradInput", Domain: ops.Domain, In: []input{normal(2, 4, 5, 6), normal(7)}, Diff: []int{0, 1},
		Attrs: keptConv(keptFew, three, 4, wide, inputShape(2, 2, 5, 6))},
	Case{Op: "SparseConvGradInput", Domain: ops.Domain, Name: "strides", In: []input{normal(2, 4, 5, 2), normal(7)}, Diff: []int{0, 1},
		Attrs: keptConv(keptFew, three, 4, append(odd, inputShape(2, 2, 8, 9))...)},
	Case{Op: "SparseConvGradWeight", Domain: ops.Domain, In: []input{normal(2, 2, 5, 6), normal(2, 4, 5, 6)}, Diff: []int{0, 1},
		Attrs: keptConv(keptFew, three, 4, wide)},
	Case{Op: "SparseConvGradWeight", Domain: ops.Domain, Name: "one axis, groups", In: []input{normal(3, 4, 9), normal(3, 2, 7)}, Diff: []int{0, 1},
		Attrs: keptConv(keptOne, []int64{3}, 2, group(2))},
)

var _ = addMistakes([]mistake{
	{Case{Op: "SparseConv", Domain: ops.Domain, In: []input{normal(1, 2, 5, 5), normal(2)}, Attrs: keptConv([]int64{3, 72}, three, 4)}, "entry 1 is 72, want rising numbers below 72"},
	{Case{Op: "SparseConv", Domain: ops.Domain, In: []input{normal(1, 2, 5, 5), normal(2)}, Attrs: keptConv([]int64{3, 3}, three, 4)}, "entry 1 is 3, want rising numbers"},
	{Case{Op: "SparseConv", Domain: ops.Domain, In: []input{normal(1, 2, 5, 5, 5), normal(1)}, Attrs: keptConv([]int64{3}, []int64{3, 3, 3}, 4)}, "want one or two spatial axes"},
	{Case{Op: "SparseConvGradInput", Domain: ops.Domain, In: []input{normal(1, 4, 3, 3), normal(1)}, Attrs: keptConv([]int64{3}, three, 4, inputShape(1, 2, 6, 5))}, ""},
}...)
