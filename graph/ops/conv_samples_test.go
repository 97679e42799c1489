package ops_test

import "github.com/unprune/unprune/graph/ops"

var _ = addCases(
	Case{Op: "ConvSampleSquares", Domain: ops.Domain, NOut: 2, In: []input{normal(3, 3, 6, 5), normal(3, 4, 6, 5)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, pad1, kernelOf(3, 3))},
	Case{Op: "ConvSampleSquares", Domain: ops.Domain, Name: "stride, dilation, groups", NOut: 2, In: []input{normal(2, 2, 10, 10), normal(2, 4, 5, 4)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 3}, []int64{2, 1}, []int64{1, 0, 2, 1}, group(2), kernelOf(3, 2))},
	Case{Op: "ConvSampleSquares", Domain: ops.Domain, Name: "one axis", NOut: 2, In: []input{normal(2, 3, 9), normal(2, 4, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2), padded(1, 0), kernelOf(5))},
)
