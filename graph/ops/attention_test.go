package ops_test

import (
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// lengths is an int64 tensor with these numbers, fed.
func lengths(list ...int64) input { return tensorOf(onnx.FromSlice(list, len(list))) }

func heads(q, kv int64) []*onnx.Attr {
	return attrs(onnx.AttrInt("q_num_heads", q), onnx.AttrInt("kv_num_heads", kv))
}

var _ = addCases(
	Case{Op: "Attention", Opset: 23, In: []input{normal(2, 3, 4, 5), normal(2, 3, 6, 5), normal(2, 3, 6, 7)}, Diff: []int{0, 1, 2}},
	Case{Op: "Attention", Name: "causal, scale", Opset: 23, In: []input{normal(2, 3, 4, 5), normal(2, 3, 4, 5), normal(2, 3, 4, 5)}, Diff: []int{0, 1, 2},
		Attrs: attrs(onnx.AttrInt("is_causal", 1), onnx.AttrFloat("scale", 0.3))},
	Case{Op: "Attention", Name: "heads side by side, grouped", Opset: 23, In: []input{normal(2, 4, 12), normal(2, 6, 6), normal(2, 6, 4)}, Diff: []int{0, 1, 2}, Attrs: heads(4, 2)},
	Case{Op: "Attention", Name: "softcap, float mask", Opset: 23, In: []input{normal(1, 2, 3, 4), normal(1, 2, 5, 4), normal(1, 2, 5, 4), normal(3, 5)}, Diff: []int{0, 1, 2, 3},
		Attrs: attrs(onnx.AttrFloat("softcap", 2)), NoORT: "versions of ONNX Runtime differ in whether the cap or the mask comes first"},
	Case{Op: "Attention", Name: "rows that see nothing", Opset: 23, Diff: []int{0, 1, 2},
		In:    []input{normal(1, 1, 3, 4), normal(1, 1, 2, 4), normal(1, 1, 2, 4), numbersOf([]float32{0, -inf, -inf, -inf, 1, 0}, 3, 2)},
		NoORT: "its rows are not zero in every version"},
	Case{Op: "Attention", Name: "bool mask", Opset: 23, Diff: []int{0, 1, 2},
		In: []input{normal(1, 2, 3, 4), normal(1, 2, 2, 4), normal(1, 2, 2, 4), tensorOf(onnx.FromSlice([]bool{true, false, true, true, false, true}, 3, 2))}},
	Case{Op: "Attention", Name: "past", Opset: 23, NOut: 3, Diff: []int{0, 1, 2, 4, 5},
		In: []input{normal(1, 2, 3, 4), normal(1, 2, 3, 4), normal(1, 2, 3, 5), omit, normal(1, 2, 2, 4), normal(1, 2, 2, 5)}},
	Case{Op: "Attention", Name: "padded keys, causal", Opset: 24, Diff: []int{0, 1, 2}, NoORT: newerThanORT, Attrs: attrs(onnx.AttrInt("is_causal", 1)),
		In: []input{normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4), omit, omit, omit, lengths(4, 2)}},
	Case{Op: "Attention", Name: "window", Opset: 25, Diff: []int{0, 1, 2}, NoORT: newerThanORT,
		Attrs: attrs(onnx.AttrInt("left_window_size", 1), onnx.AttrInt("right_window_size", 1)),
		In:    []input{normal(1, 2, 4, 4), normal(1, 2, 6, 4), normal(1, 2, 6, 4)}},

	Case{Op: "RotaryEmbedding", Opset: 23, In: []input{normal(2, 3, 4, 6), normal(2, 4, 3), normal(2, 4, 3)}, Diff: []int{0, 1, 2}},
	Case{Op: "RotaryEmbedding", Name: "positions, interleaved, part", Opset: 23, Diff: []int{0, 1, 2},
		In:    []input{normal(2, 4, 18), normal(9, 2), normal(9, 2), indices(0, 9, 2, 4)},
		Attrs: attrs(onnx.AttrInt("num_heads", 3), onnx.AttrInt("interleaved", 1), onnx.AttrInt("rotary_embedding_dim", 4))},
)

// recurrentInputs are X, W, R and B of a layer with the given gates.
func recurrentInputs(directions, gates int) []input {
	const length, batch, in, hidden = 4, 3, 2, 5
	return []input{
		normal(length, batch, in), normal(directions, gates*hidden, in), normal(directions, gates*hidden, hidden), normal(directions, 2*gates*hidden),
	}
}

func direction(d string) *onnx.Attr { return onnx.AttrString("direction", d) }

var hidden = onnx.AttrInt("hidden_size", 5)

var _ = addCases(
	Case{Op: "RNN", In: recurrentInputs(1, 1), NOut: 2, Diff: []int{0, 1, 2, 3}, Attrs: attrs(hidden)},
	Case{Op: "RNN", Name: "affine, clipped", In: recurrentInputs(1, 1)[:3], NOut: 2, Diff: []int{0, 1, 2}, Opset: 7,
		Attrs: attrs(hidden, onnx.AttrStrings("activations", "LeakyRelu"), onnx.AttrFloats("activation_alpha", 0.3), direction("reverse"))},
	Case{Op: "GRU", In: recurrentInputs(1, 3), NOut: 2, Diff: []int{0, 1, 2, 3}, Attrs: attrs(hidden)},
	Case{Op: "GRU", Name: "reset after, both ways, state", In: append(recurrentInputs(2, 3), omit, normal(2, 3, 5)), NOut: 2, Diff: []int{0, 1, 2, 3, 5},
		Attrs: attrs(hidden, onnx.AttrInt("linear_before_reset", 1), direction("bidirectional"))},
	Case{Op: "LSTM", In: recurrentInputs(1, 4), NOut: 3, Diff: []int{0, 1, 2, 3}, Attrs: attrs(hidden)},
	Case{Op: "LSTM", Name: "both ways, states, peepholes", In: append(recurrentInputs(2, 4), omit, normal(2, 3, 5), normal(2, 3, 5), normal(2, 15)), NOut: 3,
		Diff: []int{0, 1, 2, 3, 5, 6, 7}, Attrs: attrs(hidden, direction("bidirectional"))},
	Case{Op: "LSTM", Name: "lengths, backwards", NOut: 3, Diff: []int{0, 1, 2, 3}, Attrs: attrs(hidden, direction("reverse")), Opset: 14,
		In: append(recurrentInputs(1, 4), tensorOf(onnx.FromSlice([]int32{2, 4, 1}, 3)))},
	Case{Op: "LSTM", Name: "coupled gates", In: recurrentInputs(1, 4), NOut: 3, Diff: []int{0, 1, 2, 3}, Attrs: attrs(hidden, onnx.AttrInt("input_forget", 1))},
	Case{Op: "LSTM", Name: "batch first", In: recurrentInputs(1, 4), NOut: 3, Diff: []int{0, 1, 2, 3}, Attrs: attrs(hidden, onnx.AttrInt("layout", 1)), NoORT: "does not have layout 1"},
)

func resize(mode, coords string, more ...*onnx.Attr) []*onnx.Attr {
	return append(more, onnx.AttrString("mode", mode), onnx.AttrString("coordinate_transformation_mode", coords))
}

// scales are Resize's factors, behind the region of interest.
func scales(list ...float32) []input {
	return []input{omit, fixed(tensorOf(onnx.FromSlice(list, len(list))))}
}

var image = normal(2, 3, 4, 5)

var _ = addCases(
	Case{Op: "Resize", In: append([]input{image}, scales(1, 1, 2, 2)...), Diff: []int{0}, Attrs: resize("nearest", "asymmetric", onnx.AttrString("nearest_mode", "floor"))},
	Case{Op: "Resize", Name: "bilinear", In: append([]input{image}, scales(1, 1, 2, 1.5)...), Diff: []int{0}, Attrs: resize("linear", "half_pixel")},
	Case{Op: "Resize", Name: "bilinear, torch, sizes", Opset: 13, In: []input{image, omit, omit, ints(2, 3, 7, 3)}, Diff: []int{0}, Attrs: resize("linear", "pytorch_half_pixel")},
	Case{Op: "Resize", Name: "corners", Opset: 11, In: append([]input{image, numbersOf(nil, 0)}, scales(1, 1, 2, 3)[1:]...), Diff: []int{0}, Attrs: resize("linear", "align_corners")},
	Case{Op: "Resize", Name: "cubic", In: append([]input{image}, scales(1, 1, 2, 0.7)...), Diff: []int{0}, Attrs: resize("cubic", "half_pixel"), Tol: 1e-4},
	Case{Op: "Resize", Name: "cubic, outside excluded", In: append([]input{image}, scales(1, 1, 2, 2)...), Diff: []int{0}, Tol: 1e-4,
		Attrs: resize("cubic", "half_pixel", onnx.AttrInt("exclude_outside", 1), onnx.AttrFloat("cubic_coeff_a", -0.5))},
	Case{Op: "Resize", Name: "axes", Opset: 18, In: []input{image, omit, omit, ints(3, 9)}, Diff: []int{0}, Attrs: resize("nearest", "half_pixel", onnx.AttrInts("axes", 3, 2))},
	Case{Op: "Resize", Name: "opset 10", Opset: 10, In: append([]input{image}, scales(1, 1, 2, 2)[1:]...), Diff: []int{0}, Attrs: attrs(onnx.AttrString("mode", "linear"))},
	Case{Op: "Resize", Name: "nearest, opset 10", Opset: 10, In: append([]input{image}, scales(1, 1, 0.6, 1.5)[1:]...), Diff: []int{0}, Attrs: attrs(onnx.AttrString("mode", "nearest"))},
	Case{Op: "Resize", Name: "smooth", Opset: 18, In: append([]input{image}, scales(1, 1, 0.5, 0.6)...), Diff: []int{0}, Attrs: resize("linear", "half_pixel", onnx.AttrInt("antialias", 1)),
		NoORT: "it leaves out what lies outside the image"},
	Case{Op: "Upsample", Opset: 9, In: append([]input{image}, scales(1, 1, 2, 3)[1:]...), Diff: []int{0}},
	Case{Op: "Upsample", Name: "opset 7", Opset: 7, In: []input{image}, Diff: []int{0}, Attrs: attrs(onnx.AttrFloats("scales", 1, 1, 2, 2))},
)

// The heads of a joint projection, with positions before batch entries, and of
// three tensors of which not all is read.
var _ = addCases(
	Case{Domain: ops.Domain, Op: "HeadAttention", NOut: 2, Diff: []int{0, 1, 2}, In: []input{normal(3, 2, 12), normal(3, 2, 12), normal(3, 2, 12)},
		Attrs: ops.HeadAttributes(jointHeads, []int{2, 3, 4})},
	Case{Domain: ops.Domain, Op: "HeadAttention", Name: "apart", Diff: []int{0, 1, 2}, In: []input{normal(2, 4, 5), normal(2, 7, 5), normal(2, 7, 9)},
		Attrs: ops.HeadAttributes(apartHeads, []int{8, 9})},
	Case{Domain: ops.Domain, Op: "HeadAttentionGrad", NOut: 3, Diff: []int{0, 1, 2, 3, 4, 5},
		In:    []input{normal(2, 3, 4), normal(3, 2, 12), normal(3, 2, 12), normal(3, 2, 12), uniform(0, 1, 2, 2, 3, 3), normal(2, 2, 3, 3)},
		Attrs: ops.HeadAttributes(jointHeads, []int{2, 3, 4})},
	Case{Domain: ops.Domain, Op: "HeadAttentionGrad", Name: "apart", NOut: 3, Diff: []int{0, 1, 2, 3, 4},
		In:    []input{normal(8, 9), normal(2, 4, 5), normal(2, 7, 5), normal(2, 7, 9), uniform(0, 1, 2, 1, 4, 7)},
		Attrs: ops.HeadAttributes(apartHeads, []int{8, 9})},
)

var (
	jointHeads = kernel.AttentionSpec{
		Batch: 2, Heads: 2, Queries: 3, Keys: 3, Dim: 2, Width: 2, Scale: 0.7,
		Q: kernel.HeadLayout{Offset: 0, Batch: 12, Head: 2, Position: 24},
		K: kernel.HeadLayout{Offset: 4, Batch: 12, Head: 2, Position: 24},
		V: kernel.HeadLayout{Offset: 8, Batch: 12, Head: 2, Position: 24},
		Y: kernel.HeadLayout{Batch: 12, Head: 2, Position: 4},
	}
	apartHeads = kernel.AttentionSpec{
		Batch: 2, Heads: 1, Queries: 4, Keys: 7, Dim: 5, Width: 9, Scale: 0.4,
		Q: kernel.HeadLayout{Batch: 20, Head: 20, Position: 5},
		K: kernel.HeadLayout{Batch: 35, Head: 35, Position: 5},
		V: kernel.HeadLayout{Batch: 63, Head: 63, Position: 9},
		Y: kernel.HeadLayout{Batch: 36, Head: 36, Position: 9},
	}
)
