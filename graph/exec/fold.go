package exec

import (
	"math"
	"slices"
	"unsafe"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// constants tells which initializers keep what they hold: those that are not
// state, which somebody may change between runs.
type constants map[string]*onnx.Tensor

func (state constants) fixed(v *graph.Value) bool {
	return v != nil && v.Const != nil && state[v.Name] == nil
}

// foldNorm moves a batch normalisation with constant statistics into the
// constant weights of the convolution before it:
//
//	factor = scale / sqrt(var + epsilon)   w' = w factor   b' = (b - mean) factor + bias
//
// Weights that only the convolution reads change where they are, if own has them.
func foldNorm(b *ops.Builder, n *graph.Node, state constants, own owned) error {
	conv := n.Inputs[0].Producer()
	if conv == nil || conv.Domain != "" || conv.Op != "Conv" || len(n.Outputs) > 1 || n.Int("training_mode", 0) != 0 ||
		len(n.Inputs[0].Uses()) != 1 || slices.Contains(b.G.Outputs, n.Inputs[0]) {
		return nil
	}
	w, bias := conv.Inputs[1], conv.Input(2)
	if !state.fixed(w) || bias != nil && !state.fixed(bias) {
		return nil
	}
	for _, v := range n.Inputs[1:5] {
		if !state.fixed(v) {
			return nil
		}
	}
	alone := len(w.Uses()) == 1 && !slices.Contains(b.G.Outputs, w)
	inPlace := alone && own[memoryOf(w)] == 1
	var folded [2]*onnx.Tensor
	switch w.DType {
	case onnx.Float32:
		folded = foldedWeights[float32](conv, n, inPlace)
	case onnx.Float64:
		folded = foldedWeights[float64](conv, n, inPlace)
	default:
		return nil
	}
	y := b.OpA("Conv", conv.Attrs, conv.Inputs[0], b.G.AddInit(w.Name, folded[0]), b.G.AddInit(n.Inputs[2].Name, folded[1]))
	if b.Err != nil {
		return b.Err
	}
	if err := replace(b.G, n.Outputs[0], y); err != nil {
		return err
	}
	// What is folded goes at once: the collector can have the weights that a caller
	// does not keep.
	if err := b.G.RemoveNode(conv); err != nil {
		return err
	}
	if alone {
		return b.G.RemoveInit(w)
	}
	return nil
}

// owned counts, for a program that owns the constants of its graph, how many are in
// the same memory. One that does not has none.
type owned map[unsafe.Pointer]int

func ownedBy(g *graph.Graph) owned {
	own := owned{}
	for _, v := range g.Inits {
		own[memoryOf(v)]++
	}
	return own
}

// memoryOf is where the elements of a constant of a float type are; nil for others.
func memoryOf(v *graph.Value) unsafe.Pointer {
	switch s := v.Const.Data.(type) {
	case []float32:
		return unsafe.Pointer(unsafe.SliceData(s))
	case []float64:
		return unsafe.Pointer(unsafe.SliceData(s))
	}
	return nil
}

// foldedWeights are the new weights, in the place of the old ones if that is
// asked for, and biases, their factors and offsets worked out in float64.
func foldedWeights[T kernel.Float](conv, norm *graph.Node, inPlace bool) [2]*onnx.Tensor {
	vector := func(v *graph.Value) []T {
		if v == nil {
			return nil
		}
		return onnx.Of[T](v.Const)
	}
	w, bias := vector(conv.Inputs[1]), vector(conv.Input(2))
	scale, shift, mean, variance := vector(norm.Inputs[1]), vector(norm.Inputs[2]), vector(norm.Inputs[3]), vector(norm.Inputs[4])
	epsilon, row := norm.Float("epsilon", 1e-5), len(w)/max(len(scale), 1)
	newW, newBias := w, make([]T, len(scale))
	if !inPlace {
		newW = make([]T, len(w))
	}
	for c := range scale {
		factor := float64(scale[c]) / math.Sqrt(float64(variance[c])+epsilon)
		kernel.Scale(newW[c*row:(c+1)*row], T(factor), w[c*row:(c+1)*row])
		offset := -float64(mean[c])
		if bias != nil {
			offset += float64(bias[c])
		}
		newBias[c] = T(offset*factor + float64(shift[c]))
	}
	return [2]*onnx.Tensor{onnx.FromSlice(newW, []int(conv.Inputs[1].Shape)...), onnx.FromSlice(newBias, len(newBias))}
}

// follower is the node that alone reads n's result, be it through views, and
// whose result takes the same memory; nil if there is none.
func follower(g *graph.Graph, n *graph.Node, l *layout) *graph.Node {
	for {
		y := n.Output(0)
		if y == nil || len(y.Uses()) != 1 || slices.Contains(g.Outputs, y) {
			return nil
		}
		n = y.Uses()[0].Node
		if l.of[n.Output(0)] != l.of[y] {
			return nil
		}
		if op, err := ops.Lookup(n); err != nil || !op.View {
			return n
		}
	}
}

// activates returns the activation that n does to its result for the node that
// alone reads it, and whose result takes the same memory; with no such node, the
// zero value.
func activates(g *graph.Graph, n *graph.Node, l *layout, state constants) kernel.Activation {
	m := follower(g, n, l)
	if m == nil {
		return kernel.Activation{}
	}
	a := ops.Activation(m, state.fixed)
	switch (name{n.Domain, n.Op}) {
	case name{"", "Gemm"}, name{ops.Domain, "ConvBeside"}:
		return a
	case name{"", "Conv"}, name{ops.Domain, "JoinedConv"}, name{ops.Domain, "WeightedSum"}, name{"", "BatchNormalization"}, name{ops.Domain, "BatchNormalizationTraining"}:
		if a == kernel.Rectifier {
			return a
		}
	}
	return kernel.Activation{}
}
