package ops_test

import (
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// A refusal is a node that Infer must refuse, and what the error must say.
type refusal struct {
	op, domain string
	opset      int // 0: defaultOpset
	in         []graph.Shape
	attrs      []*onnx.Attr
	want       string
}

func shapes(list ...graph.Shape) []graph.Shape { return list }

var refusals = []refusal{
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 2, 3, 3}), want: "want 3/1 input channels"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 3, 3}), want: "weight has rank 3"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8, 8}, graph.Shape{4, 3, 3, 3, 3}), want: "Conv over 3 spatial axes is not implemented"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 2, 2}, graph.Shape{4, 3, 3, 3}), want: "the window covers 3 positions"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 3, 3, 3}, graph.Shape{5}), want: "want [4]"},
	{op: "Conv", in: shapes(graph.Shape{1, 4, 8, 8}, graph.Shape{5, 2, 3, 3}), attrs: attrs(group(2)), want: "5 output channels do not divide into 2 groups"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 3, 3, 3}), attrs: attrs(strided(0, 1)), want: "attribute strides"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 3, 3, 3}), attrs: attrs(padded(1, 1)), want: "attribute pads has 2 entries, want 4"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 3, 3, 3}), attrs: attrs(padded(-1, 0, 0, 0)), want: "attribute pads"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 3, 3, 3}), attrs: attrs(kernelOf(5, 5)), want: "kernel_shape is [5 5]"},
	{op: "Conv", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{4, 3, 3, 3}), attrs: attrs(autoPad("WRONG")), want: `auto_pad "WRONG"`},
	{op: "Conv", in: shapes(graph.Shape{-1, 3, 8, 8}, graph.Shape{4, 3, 3, 3}), want: "is not known"},
	{op: "ConvTranspose", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{3, 2, 3, 3}), attrs: attrs(strided(2, 2), onnx.AttrInts("output_padding", 2, 0)), want: "output_padding [2 0] must be less than strides"},
	{op: "ConvGradInput", domain: ops.Domain, in: shapes(graph.Shape{1, 4, 6, 6}, graph.Shape{4, 3, 3, 3}), attrs: attrs(inputShape(1, 3, 9, 9)), want: "want [1 4 7 7]"},
	{op: "ConvGradWeight", domain: ops.Domain, in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{1, 4, 6, 6}), attrs: attrs(kernelOf(2, 2)), want: "want [1 4 7 7]"},
	{op: "MaxPool", in: shapes(graph.Shape{1, 3, 8, 8}), want: "kernel_shape is missing"},
	{op: "MaxPool", in: shapes(graph.Shape{1, 3, 8, 8}), attrs: attrs(kernelOf(2, 2), padded(2, 0, 0, 0)), want: "lies in the padding"},
	{op: "MaxPool", in: shapes(graph.Shape{1, 3, 8, 8, 8}), attrs: attrs(kernelOf(2, 2, 2)), want: "MaxPool over 3 spatial axes is not implemented"},
	{op: "BatchNormalization", in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{3}, graph.Shape{3}, graph.Shape{4}, graph.Shape{3}), want: "want [3]"},
	{op: "BatchNormalization", opset: 7, in: shapes(graph.Shape{1, 3, 8, 8}, graph.Shape{3}, graph.Shape{3}, graph.Shape{3}, graph.Shape{3}), attrs: attrs(onnx.AttrInt("spatial", 0)), want: "spatial=0"},
	{op: "BatchNormalizationTraining", domain: ops.Domain, in: shapes(graph.Shape{1, 3}, graph.Shape{3}, graph.Shape{3}, graph.Shape{3}, graph.Shape{3}), want: "use a larger batch"},
	{op: "LayerNormalization", in: shapes(graph.Shape{2, 3}, graph.Shape{2}), want: "want the normalised extents [3]"},
	{op: "LayerNormalization", in: shapes(graph.Shape{2, 3}, graph.Shape{3}), attrs: attrs(axisAttr(2)), want: "axis 2 is out of range"},
	{op: "GroupNormalization", opset: 21, in: shapes(graph.Shape{2, 6, 4}, graph.Shape{6}, graph.Shape{6}), attrs: attrs(onnx.AttrInt("num_groups", 4)), want: "do not divide into num_groups 4"},
	{op: "SGD", domain: ops.Domain, in: shapes(graph.Shape{}, graph.Shape{3}, graph.Shape{3}), attrs: attrs(momentumAttr(0.9)), want: "a momentum needs the velocity"},
	{op: "SGD", domain: ops.Domain, in: shapes(graph.Shape{}, graph.Shape{3}, graph.Shape{2}), want: "want [3]"},
	{op: "Adam", domain: ops.Domain, in: shapes(graph.Shape{}, graph.Shape{}, graph.Shape{3}, graph.Shape{3}, graph.Shape{3}, graph.Shape{3}), attrs: attrs(onnx.AttrFloat("beta1", 1)), want: "must be less than 1"},
}

func TestRefusals(t *testing.T) {
	for _, r := range refusals {
		t.Run(r.op+"/"+r.want, func(t *testing.T) {
			opset := defaultOpset
			if r.opset != 0 {
				opset = r.opset
			}
			g := graph.New("refused", opset)
			var in []*graph.Value
			for _, shape := range r.in {
				in = append(in, g.AddInput("in", onnx.Float32, shape...))
			}
			b := ops.NewBuilder(g)
			if r.domain == ops.Domain {
				b.Own(r.op, 1, in, r.attrs...)
			} else {
				b.Node(r.op, 1, in, r.attrs...)
			}
			if b.Err == nil || !strings.Contains(b.Err.Error(), r.want) {
				t.Errorf("error %v, want one that says %q", b.Err, r.want)
			}
		})
	}
}
