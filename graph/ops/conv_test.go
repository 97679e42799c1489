package ops_test

import (
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// convAttrs are the attributes of a convolution: stride, dilation and pads.
func convAttrs(stride, dilation, pads []int64, more ...*onnx.Attr) []*onnx.Attr {
	return append([]*onnx.Attr{
		onnx.AttrInts("strides", stride...),
		onnx.AttrInts("dilations", dilation...),
		onnx.AttrInts("pads", pads...),
	}, more...)
}

func group(n int64) *onnx.Attr         { return onnx.AttrInt("group", n) }
func autoPad(how string) *onnx.Attr    { return onnx.AttrString("auto_pad", how) }
func inputShape(d ...int64) *onnx.Attr { return onnx.AttrInts("input_shape", d...) }
func kernelOf(k ...int64) *onnx.Attr   { return onnx.AttrInts("kernel_shape", k...) }

func strided(s ...int64) *onnx.Attr { return onnx.AttrInts("strides", s...) }
func padded(p ...int64) *onnx.Attr  { return onnx.AttrInts("pads", p...) }

var (
	one2  = []int64{1, 1}
	two2  = []int64{2, 2}
	pad1  = []int64{1, 1, 1, 1}
	nopad = []int64{0, 0, 0, 0}
)

var _ = addCases(
	Case{Op: "Conv", In: []input{normal(2, 3, 6, 5), normal(4, 3, 3, 3), normal(4)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs(one2, one2, pad1)},
	Case{Op: "Conv", Name: "no bias, opset 7", Opset: 7, In: []input{normal(2, 3, 6, 5), normal(4, 3, 3, 2)}, Diff: []int{0, 1}},
	Case{Op: "Conv", Name: "stride leaves rows unread", In: []input{normal(2, 2, 8, 8), normal(3, 2, 1, 1)}, Diff: []int{0, 1},
		Attrs: convAttrs(two2, one2, nopad)},
	Case{Op: "Conv", Name: "stride and dilation", In: []input{normal(1, 2, 11, 10), normal(3, 2, 3, 2), normal(3)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs([]int64{2, 3}, []int64{2, 1}, []int64{1, 0, 2, 1})},
	Case{Op: "Conv", Name: "groups", In: []input{normal(2, 4, 5, 5), normal(6, 2, 3, 3), normal(6)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs(one2, one2, pad1, group(2))},
	Case{Op: "Conv", Name: "depthwise", In: []input{normal(2, 4, 6, 6), normal(4, 1, 3, 3), omit}, Diff: []int{0, 1},
		Attrs: convAttrs(two2, one2, pad1, group(4))},
	Case{Op: "Conv", Name: "same upper", In: []input{normal(1, 2, 7, 6), normal(2, 2, 4, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2, 2), autoPad("SAME_UPPER"))},
	Case{Op: "Conv", Name: "same lower", In: []input{normal(1, 2, 7, 6), normal(2, 2, 4, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2, 2), autoPad("SAME_LOWER"))},
	Case{Op: "Conv", Name: "valid", In: []input{normal(1, 2, 5, 5), normal(2, 2, 2, 2)},
		Attrs: attrs(autoPad("VALID"), kernelOf(2, 2))},
	Case{Op: "Conv", Name: "one axis", In: []input{normal(2, 3, 9), normal(4, 3, 3), normal(4)}, Diff: []int{0, 1, 2},
		Attrs: attrs(strided(2), padded(1, 0), onnx.AttrInts("dilations", 2))},
	Case{Op: "Conv", Name: "padding wider than kernel", In: []input{normal(1, 1, 3, 3), normal(1, 1, 1, 1)}, Diff: []int{0, 1},
		Attrs: attrs(padded(2, 1, 1, 2))},
	Case{Op: "Conv", Name: "three axes", In: []input{normal(2, 2, 5, 6, 4), normal(3, 2, 2, 3, 3), normal(3)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs([]int64{2, 1, 2}, []int64{1, 2, 1}, []int64{1, 1, 0, 0, 2, 1})},
	Case{Op: "Conv", Name: "three axes, groups", In: []input{normal(2, 4, 4, 5, 5), normal(6, 2, 3, 3, 3)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{1, 1, 1}, []int64{1, 1, 1}, []int64{1, 1, 1, 1, 1, 1}, group(2))},
	Case{Op: "Conv", Name: "three axes, depthwise", In: []input{normal(1, 3, 4, 5, 5), normal(3, 1, 3, 3, 3)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{1, 1, 1}, []int64{1, 1, 1}, []int64{1, 1, 1, 1, 1, 1}, group(3))},

	Case{Op: "ConvBeside", Domain: ops.Domain, In: []input{normal(2, 4, 3, 5, 16), normal(7, 5, 1, 1), normal(7)}, Diff: []int{0, 1, 2}},
	Case{Op: "ConvBeside", Domain: ops.Domain, Name: "few channels", In: []input{normal(1, 6, 5, 3, 16), normal(4, 3, 3, 2)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 1}, one2, []int64{1, 0, 2, 1})},
	Case{Op: "ConvBeside", Domain: ops.Domain, Name: "many channels, dilation", In: []input{normal(1, 5, 4, 18, 16), normal(3, 18, 2, 2), normal(3)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs(one2, two2, pad1)},
	Case{Op: "ConvBeside", Domain: ops.Domain, Name: "depthwise", In: []input{normal(1, 4, 4, 6, 16), normal(6, 1, 3, 3), normal(6)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs(two2, one2, pad1, group(6))},

	Case{Op: "ConvGradInput", Domain: ops.Domain, Name: "three axes", In: []input{normal(2, 3, 3, 4, 2), normal(3, 2, 2, 3, 3)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 1, 2}, []int64{1, 2, 1}, []int64{1, 1, 0, 0, 1, 1}, inputShape(2, 2, 5, 6, 4))},
	Case{Op: "ConvGradWeight", Domain: ops.Domain, Name: "three axes", In: []input{normal(2, 2, 5, 6, 4), normal(2, 3, 3, 4, 2)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 1, 2}, []int64{1, 2, 1}, []int64{1, 1, 0, 0, 1, 1}, kernelOf(2, 3, 3))},
	Case{Op: "ConvTranspose", Name: "three axes", In: []input{normal(2, 2, 3, 2, 3), normal(2, 3, 2, 3, 3), normal(3)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs([]int64{2, 2, 1}, []int64{1, 1, 1}, []int64{0, 1, 1, 0, 1, 1}, onnx.AttrInts("output_padding", 1, 0, 0))},
	Case{Op: "ConvTranspose", Name: "output shape beyond the kernel", In: []input{normal(1, 2, 3, 3), normal(2, 2, 3, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(3, 2), onnx.AttrInts("output_shape", 10, 8))},

	Case{Op: "ConvGradInput", Domain: ops.Domain, In: []input{normal(2, 4, 6, 5), normal(4, 3, 3, 3)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, pad1, inputShape(2, 3, 6, 5))},
	Case{Op: "ConvGradInput", Domain: ops.Domain, Name: "rows unread", In: []input{normal(2, 3, 4, 4), normal(3, 2, 1, 1)}, Diff: []int{0, 1},
		Attrs: convAttrs(two2, one2, nopad, inputShape(2, 2, 8, 8))},
	Case{Op: "ConvGradInput", Domain: ops.Domain, Name: "stride, dilation, groups", In: []input{normal(1, 4, 5, 4), normal(4, 1, 3, 2)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 3}, []int64{2, 1}, []int64{1, 0, 2, 1}, group(2), inputShape(1, 2, 10, 10))},
	Case{Op: "ConvGradInput", Domain: ops.Domain, Name: "one axis", In: []input{normal(2, 4, 3), normal(4, 3, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2), padded(1, 0), onnx.AttrInts("dilations", 2), inputShape(2, 3, 9))},

	Case{Op: "ConvGradWeight", Domain: ops.Domain, In: []input{normal(2, 3, 6, 5), normal(2, 4, 6, 5)}, Diff: []int{0, 1},
		Attrs: convAttrs(one2, one2, pad1, kernelOf(3, 3))},
	Case{Op: "ConvGradWeight", Domain: ops.Domain, Name: "rows unread", In: []input{normal(2, 2, 8, 8), normal(2, 3, 4, 4)}, Diff: []int{0, 1},
		Attrs: convAttrs(two2, one2, nopad, kernelOf(1, 1))},
	Case{Op: "ConvGradWeight", Domain: ops.Domain, Name: "stride, dilation, groups", In: []input{normal(1, 2, 10, 10), normal(1, 4, 5, 4)}, Diff: []int{0, 1},
		Attrs: convAttrs([]int64{2, 3}, []int64{2, 1}, []int64{1, 0, 2, 1}, group(2), kernelOf(3, 2))},
	Case{Op: "ConvGradWeight", Domain: ops.Domain, Name: "one axis, depthwise", In: []input{normal(2, 3, 9), normal(2, 3, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2), padded(1, 0), onnx.AttrInts("dilations", 2), group(3), kernelOf(3))},

	Case{Op: "ConvTranspose", In: []input{normal(2, 3, 4, 3), normal(3, 2, 3, 3), normal(2)}, Diff: []int{0, 1, 2},
		Attrs: convAttrs(two2, one2, pad1, onnx.AttrInts("output_padding", 1, 0))},
	Case{Op: "ConvTranspose", Name: "groups, one axis", In: []input{normal(2, 4, 5), normal(4, 1, 2)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2), group(2))},
	Case{Op: "ConvTranspose", Name: "output shape", In: []input{normal(1, 2, 4, 4), normal(2, 2, 4, 4)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2, 2), onnx.AttrInts("output_shape", 7, 8))},
	Case{Op: "ConvTranspose", Name: "same upper", In: []input{normal(1, 2, 4, 4), normal(2, 2, 3, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2, 2), autoPad("SAME_UPPER"))},
	Case{Op: "ConvTranspose", Name: "same lower", In: []input{normal(1, 2, 4, 4), normal(2, 2, 3, 3)}, Diff: []int{0, 1},
		Attrs: attrs(strided(2, 2), autoPad("SAME_LOWER"))},
)

var _ = addMistakes([]mistake{
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 2, 3, 3)}}, "want 3/1 input channels"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 3, 3)}}, "weight has rank 3"},
	{Case{Op: "ConvTranspose", In: []input{normal(1, 3, 8, 8), normal(3, 2, 3, 3)}, Attrs: attrs(strided(2, 2), onnx.AttrInts("output_shape", 19, 17))}, "more than the 18 that the kernel reaches"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 2, 2), normal(4, 3, 3, 3)}}, "the window covers 3 positions"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 3, 3, 3), normal(5)}}, "want [4]"},
	{Case{Op: "Conv", In: []input{normal(1, 4, 8, 8), normal(5, 2, 3, 3)}, Attrs: attrs(group(2))}, "5 output channels do not divide into 2 groups"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 3, 3, 3)}, Attrs: attrs(strided(0, 1))}, "attribute strides"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 3, 3, 3)}, Attrs: attrs(padded(1, 1))}, "attribute pads has 2 entries, want 4"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 3, 3, 3)}, Attrs: attrs(padded(-1, 0, 0, 0))}, "attribute pads"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 3, 3, 3)}, Attrs: attrs(kernelOf(5, 5))}, "kernel_shape is [5 5]"},
	{Case{Op: "Conv", In: []input{normal(1, 3, 8, 8), normal(4, 3, 3, 3)}, Attrs: attrs(autoPad("WRONG"))}, `auto_pad "WRONG"`},
	{Case{Op: "ConvTranspose", In: []input{normal(1, 3, 8, 8), normal(3, 2, 3, 3)}, Attrs: attrs(strided(2, 2), onnx.AttrInts("output_padding", 2, 0))}, "output_padding [2 0] must be less than strides"},
	{Case{Op: "ConvGradInput", Domain: ops.Domain, In: []input{normal(1, 4, 6, 6), normal(4, 3, 3, 3)}, Attrs: attrs(inputShape(1, 3, 9, 9))}, "want [1 4 7 7]"},
	{Case{Op: "ConvGradWeight", Domain: ops.Domain, In: []input{normal(1, 3, 8, 8), normal(1, 4, 6, 6)}, Attrs: attrs(kernelOf(2, 2))}, "want [1 4 7 7]"},
}...)
