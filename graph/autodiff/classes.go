package autodiff

import (
	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// ClassesName is the input that lists classes, int64 [count].
const ClassesName = "classes"

// TrainClassSquares turns a specialised inference graph into one that computes,
// for each parameter, the output SquareName
//
//	Σ_c p_c·g_c²
//
// over count classes c, the input ClassesName: g_c is the gradient of the mean
// cross-entropy with every label c, p_c the mean over the batch of softmax(z)_c
// (Golatkar et al. 2020). One forward pass serves all classes.
func TrainClassSquares(g *graph.Graph, o CurvatureOptions, count int) error {
	logits, params, err := begin(g, o.Logits, o.Params, o.State)
	if err != nil {
		return err
	}
	b := ops.NewBuilder(g)
	n, width := logits.Shape[0], logits.Shape[1]
	classes := g.AddInput(ClassesName, onnx.Int64, count)
	p := b.OpA("Softmax", []*onnx.Attr{onnx.AttrInt("axis", -1)}, logits)
	scale := b.Scalar(1/float64(n), logits)
	mean := b.Mul(b.ReduceSum(p, false, 0), scale) // [classes]
	sums := make([]*graph.Value, len(params))
	for i := range count {
		c := b.Op("Slice", classes, b.Ints(i), b.Ints(i+1))             // [1]
		hot := b.Cast(b.Op("Equal", iota64(b, width), c), logits.DType) // [width]
		grads, err := gradient(b, []*graph.Value{logits}, []*graph.Value{b.Mul(b.Sub(p, hot), scale)}, params)
		if err != nil {
			return err
		}
		weight := b.Op("Gather", mean, c) // [1]
		for j, d := range grads {
			if d == nil {
				return independent(params[j])
			}
			square := b.Mul(b.Mul(d, d), weight)
			if sums[j] != nil {
				square = b.Add(sums[j], square)
			}
			sums[j] = square
		}
	}
	if err := handSquares(b, params, sums); err != nil {
		return err
	}
	g.Prune()
	return nil
}

// handSquares makes the sums of squares the only outputs of the graph.
func handSquares(b *ops.Builder, params, sums []*graph.Value) error {
	b.G.Outputs = nil
	for i, p := range params {
		if err := hand(b, sums[i], SquareName(p.Name)); err != nil {
			return err
		}
	}
	return nil
}

// iota64 is the constant vector 0, 1, ... of n entries.
func iota64(b *ops.Builder, n int) *graph.Value {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return b.Ints(list...)
}
