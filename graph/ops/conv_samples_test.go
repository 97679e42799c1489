package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

var _ = addCases(
	Case{Op: "ConvSampleSquares", Domain: ops.Domain, In: []input{normal(3, 3, 6, 5), normal(3, 4, 6, 5)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, pad1, kernelOf(3, 3))},
	Case{Op: "ConvSampleSquares", Domain: ops.Domain, Name: "stride, dilation, groups", In: []input{normal(2, 2, 10, 10), normal(2, 4, 5, 4)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 3}, []int64{2, 1}, []int64{1, 0, 2, 1}, group(2), kernelOf(3, 2))},
	Case{Op: "ConvSampleSquares", Domain: ops.Domain, Name: "one axis", In: []input{normal(2, 3, 9), normal(2, 4, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2), padded(1, 0), kernelOf(5))},
)

// A gradient for each window of a max pooling, as rows of kernels and as channels.
var _ = addCases(
	Case{Op: "PooledConvGradInput", Domain: ops.Domain, In: []input{normal(2, 3, 4, 4), normal(3, 1, 5, 5), placesIn(6, 64, 16, 2, 3, 4, 4)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, []int64{2, 2, 2, 2}, inputShape(2, 1, 8, 8))},
	Case{Op: "PooledConvGradInput", Domain: ops.Domain, Name: "channels", In: []input{normal(2, 4, 2, 2), normal(4, 6, 5, 5), placesIn(8, 16, 4, 2, 4, 2, 2)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, nopad, inputShape(2, 6, 8, 8))},
	Case{Op: "PooledConvGradWeight", Domain: ops.Domain, In: []input{normal(2, 1, 8, 8), normal(2, 3, 4, 4), placesIn(6, 64, 16, 2, 3, 4, 4)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, []int64{2, 2, 2, 2}, kernelOf(5, 5))},
	Case{Op: "PooledConvGradWeight", Domain: ops.Domain, Name: "channels", In: []input{normal(2, 6, 8, 8), normal(2, 4, 2, 2), placesIn(8, 16, 4, 2, 4, 2, 2)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, nopad, kernelOf(5, 5))},
	Case{Op: "PooledConvSampleSquares", Domain: ops.Domain, In: []input{normal(2, 1, 8, 8), normal(2, 3, 4, 4), placesIn(6, 64, 16, 2, 3, 4, 4)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, []int64{2, 2, 2, 2}, kernelOf(5, 5))},
	Case{Op: "PooledConvSampleSquares", Domain: ops.Domain, Name: "channels", In: []input{normal(2, 6, 8, 8), normal(2, 4, 2, 2), placesIn(8, 16, 4, 2, 4, 2, 2)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, nopad, kernelOf(5, 5))},
)

// Batches that fill vectors of images.
var _ = addCases(
	Case{Op: "ConvMaxPool", Domain: ops.Domain, NOut: 2, In: []input{normal(28, 2, 7, 6), normal(3, 2, 2, 3), normal(3)}, Diff: []int{0, 1, 2}},
	Case{Op: "ConvMaxPool", Domain: ops.Domain, Name: "rectified, stride", In: []input{normal(28, 1, 12, 9), normal(8, 1, 3, 3)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 1}, one2, nopad, onnx.AttrInt("rectify", 1))},
)

var _ = addCases(
	Case{Op: "ConvAt", Domain: ops.Domain, In: []input{normal(2, 1, 8, 8), normal(3, 1, 5, 5), placesIn(6, 64, 16, 2, 3, 4, 4), normal(2, 3, 4, 4), normal(3)}, Diff: []int{0, 1, 4},
		Attrs: convAttrs(one2, one2, []int64{2, 2, 2, 2})},
	Case{Op: "ConvAt", Domain: ops.Domain, Name: "two pairs, everywhere", In: []input{normal(2, 6, 8, 8), normal(4, 6, 5, 5), placesIn(8, 16, 4, 2, 4, 2, 2), omit, omit, normal(2, 6, 8, 8), normal(4, 6, 5, 5)},
		Diff: []int{0, 1, 5, 6}},
)

var _ = addCases(
	Case{Op: "JoinedConv", Domain: ops.Domain, In: []input{normal(2, 3, 6, 5), normal(4, 3, 3, 3), normal(4), normal(2, 4, 6, 5), normal(2, 4, 6, 5), normal(2, 3, 6, 5), normal(4, 3, 3, 3)}, Diff: []int{0, 1, 2, 3, 5, 6},
		Attrs: convAttrs(one2, one2, pad1)},
	Case{Op: "JoinedConv", Domain: ops.Domain, Name: "addend", In: []input{normal(2, 3, 6, 5), normal(4, 3, 3, 3), omit, normal(2, 4, 4, 3)}, Diff: []int{0, 1, 3}},
	Case{Op: "JoinedConv", Domain: ops.Domain, Name: "one axis", In: []input{normal(2, 3, 16), normal(4, 3, 1), normal(4), normal(2, 4, 16)}, Diff: []int{0, 1, 2, 3}},
	Case{Op: "JoinedConvGradInput", Domain: ops.Domain, Name: "matrix products", In: []input{normal(2, 4, 4, 8), normal(4, 3, 1, 1), omit, normal(2, 6, 4, 8), normal(2, 6, 4, 8), normal(2, 4, 4, 8), normal(4, 3, 1, 1)}, Diff: []int{0, 1, 3, 5, 6},
		Attrs: convAttrs(one2, one2, nopad, group(2), inputShape(2, 6, 4, 8))},
	Case{Op: "JoinedConvGradInput", Domain: ops.Domain, In: []input{normal(2, 4, 6, 5), normal(4, 3, 3, 3), omit, normal(2, 3, 6, 5), normal(2, 3, 6, 5), normal(2, 4, 6, 5), normal(4, 3, 3, 3)}, Diff: []int{0, 1, 3, 5, 6},
		Attrs: convAttrs(one2, one2, pad1, inputShape(2, 3, 6, 5))},
	Case{Op: "JoinedConvGradInput", Domain: ops.Domain, Name: "mask", In: []input{normal(2, 4, 6, 5), normal(4, 3, 3, 3), omit, omit, normal(2, 3, 8, 7)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, nopad, inputShape(2, 3, 8, 7))},
)

var _ = addMistakes([]mistake{
	{Case{Op: "JoinedConv", Domain: ops.Domain, In: []input{normal(2, 3, 6, 5), normal(4, 3, 3, 3), omit, normal(2, 4, 6, 5)}}, "want [2 4 4 3]"},
	{Case{Op: "JoinedConv", Domain: ops.Domain, In: []input{normal(2, 3, 6, 5), normal(4, 3, 3, 3), omit, omit, omit, normal(2, 3, 6, 5)}}, "want both or none"},
	{Case{Op: "JoinedConv", Domain: ops.Domain, In: []input{normal(2, 3, 6, 6, 6), normal(4, 3, 3, 3, 3)}}, "convolution of volumes"},
	{Case{Op: "JoinedConv", Domain: ops.Domain, In: []input{normal(2, 3), normal(4, 3)}}, "want [N C spatial...]"},
	{Case{Op: "JoinedConvGradInput", Domain: ops.Domain, In: []input{normal(2, 4, 4, 3), normal(4, 3, 3, 3), normal(3)}, Attrs: attrs(inputShape(2, 3, 6, 5))}, "want no bias"},
	{Case{Op: "ConvAt", Domain: ops.Domain, In: []input{normal(2, 1, 8, 8), normal(3, 1, 5, 5), placesIn(6, 16, 4, 2, 3, 2, 2), omit, omit, normal(2, 1, 8, 8), normal(3, 1, 3, 3)}}, "pair 1 is not like pair 0"},
	{Case{Op: "ConvAt", Domain: ops.Domain, In: []input{normal(2, 1, 8, 8), normal(3, 1, 5, 5), placesIn(6, 16, 4, 2, 3, 2, 2), omit, normal(4)}}, "want [3]"},
	{Case{Op: "ConvAt", Domain: ops.Domain, In: []input{normal(2, 1, 8, 8), normal(3, 1, 5, 5), placesIn(4, 16, 4, 2, 2, 2, 2)}}, "want indices"},
	{Case{Op: "ConvMaxPool", Domain: ops.Domain, In: []input{normal(28, 1, 3, 9), normal(2, 1, 3, 3)}}, "no window of 2 by 2"},
	{Case{Op: "PooledConvGradWeight", Domain: ops.Domain, In: []input{normal(2, 1, 8, 8), normal(3, 3, 4, 4), placesIn(9, 64, 16, 3, 3, 4, 4)}, Attrs: attrs(kernelOf(5, 5))}, "want [2 3 4 4]"},
	{Case{Op: "PooledConvGradInput", Domain: ops.Domain, In: []input{normal(2, 3, 4, 4), normal(3, 1, 5, 5), placesIn(6, 64, 9, 2, 3, 3, 3)}, Attrs: attrs(inputShape(2, 1, 8, 8))}, "want [2 3 4 4]"},
}...)
