package autodiff

import (
	"errors"
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// Gradients of single samples, many at a time. In inference mode the samples
// of a batch do not see each other, so one backward pass of the sum of their
// losses yields, at the output of every node that reads a parameter, each
// sample's own gradient. What is wanted of the parameter's gradient is computed
// from there:
//
//   - the sum of its squares, without ever storing it where the gradient of a
//     sample is an outer product;
//   - its product with a given direction, as the product of the node's gradient
//     with the node's value at that direction, because nodes are linear in
//     their parameters.

// SquareName is the output that holds a sum of squared gradients of p.
func SquareName(p string) string { return p + "_grad_squares" }

// SampleDirection is the input that holds direction i for parameter p.
func SampleDirection(i int, p string) string { return fmt.Sprintf("%s_direction%d", p, i) }

// DotsName is the output that holds each sample's <gradient, direction i>, [N].
func DotsName(i int) string { return fmt.Sprintf("dots%d", i) }

// ErrCoupled says that gradients of single samples cannot be told apart in a
// batch; a batch of one always can.
var ErrCoupled = errors.New("autodiff: gradients of single samples cannot be computed in a batch")

// A reader is a node that reads a parameter.
type reader struct {
	node *graph.Node
	slot int
}

// samples is a graph after the backward pass of the sum of the samples' losses.
type samples struct {
	b       *ops.Builder
	acc     *adjoints
	params  []*graph.Value
	readers [][]reader                           // per parameter
	norms   map[*graph.Node]map[int]*graph.Value // per slot of a normalisation
	batch   int
}

func newSamples(g *graph.Graph, o CurvatureOptions) (*samples, error) {
	logits, params, err := begin(g, o.Logits, o.Params, o.State)
	if err != nil {
		return nil, err
	}
	s := &samples{b: ops.NewBuilder(g), params: params, norms: map[*graph.Node]map[int]*graph.Value{}, batch: logits.Shape[0]}
	losses := crossEntropies(s.b, logits, "none")
	if s.b.Err != nil {
		return nil, s.b.Err
	}
	ys := []*graph.Value{losses}
	if _, err := expand(s.b, ys, params); err != nil {
		return nil, err
	}
	for _, p := range params {
		var list []reader
		for _, u := range p.Uses() {
			out := u.Node.Output(0)
			if len(out.Shape) < 2 || out.Shape[0] != s.batch {
				return nil, coupled(u.Node)
			}
			list = append(list, reader{u.Node, u.Slot})
		}
		s.readers = append(s.readers, list)
	}
	s.acc, err = backward(s.b, ys, []*graph.Value{nil}, params)
	return s, err
}

func coupled(n *graph.Node) error {
	return fmt.Errorf("%w: node %q (%s)", ErrCoupled, n.Name, n.Op)
}

// TrainSampleSquares turns a specialised inference graph into one whose outputs
// are, per parameter, the sum over the batch of the squared gradient of a
// sample's cross-entropy (SquareName).
func TrainSampleSquares(g *graph.Graph, o CurvatureOptions) error {
	s, err := newSamples(g, o)
	if err != nil {
		return err
	}
	sums := make([]*graph.Value, len(s.params))
	for i, p := range s.params {
		if len(s.readers[i]) != 1 { // shared weights: squares of sums
			return fmt.Errorf("%w: parameter %q is used %d times", ErrCoupled, p.Name, len(s.readers[i]))
		}
		r := s.readers[i][0]
		dy := s.acc.total(r.node.Output(0))
		if dy == nil {
			return independent(p)
		}
		if sums[i] = s.squares(r, p, dy); sums[i] == nil {
			return coupled(r.node)
		}
	}
	if err := handSquares(s.b, s.params, sums); err != nil {
		return err
	}
	g.Prune()
	return nil
}

// squares is Σ_n g_n² of the parameter p in r's node, whose output has the
// gradient dy, [N ...]; nil for operators without a rule.
func (s *samples) squares(r reader, p, dy *graph.Value) *graph.Value {
	b, n := s.b, r.node
	if n.Domain != "" {
		return nil
	}
	x := n.Input(0)
	switch {
	case n.Op == "Gemm" && r.slot == 1 && n.Int("transA", 0) == 0:
		alpha := n.Float("alpha", 1)
		sum := s.products(x, dy, n.Int("transB", 0) != 0)
		return b.Mul(sum, b.Scalar(alpha*alpha, dy))
	case n.Op == "Gemm" && r.slot == 2:
		beta := n.Float("beta", 1)
		return b.Mul(s.unbroadcast(dy, p), b.Scalar(beta*beta, dy))
	case n.Op == "MatMul" && r.slot == 1 && len(p.Shape) == 2:
		return s.products(x, dy, false)
	case n.Op == "Add":
		return s.unbroadcast(dy, p)
	case n.Op == "Conv" && r.slot == 1 && depthwise(n):
		return s.sumOfSquares(b.ConvSampleGrads(n, dy))
	case n.Op == "Conv" && r.slot == 1:
		return b.ConvSampleSquares(n, dy)
	case n.Op == "Conv" && r.slot == 2:
		return s.channels(dy)
	case n.Op == "BatchNormalization" && r.slot <= 2:
		return s.norm(n, dy)[r.slot]
	}
	return nil
}

// depthwise reports whether a convolution reads one channel for each of its
// outputs: gradients of single samples are small, and have a kernel.
func depthwise(n *graph.Node) bool { return n.Int("group", 1) > 1 && n.Inputs[1].Shape[1] == 1 }

// products is the sum of squares of x_nᵀ·dy_n, [K M], or of its transpose. The
// square of an outer product is the outer product of squares.
func (s *samples) products(x, dy *graph.Value, transposed bool) *graph.Value {
	b := s.b
	if len(dy.Shape) == 2 {
		x2, dy2 := b.Mul(x, x), b.Mul(dy, dy)
		if transposed {
			return b.Op("MatMul", b.Transpose(dy2, 1, 0), x2)
		}
		return b.Op("MatMul", b.Transpose(x2, 1, 0), dy2)
	}
	k, m := x.Shape[len(x.Shape)-1], dy.Shape[len(dy.Shape)-1]
	left, right := b.Reshape(x, s.batch, -1, k), b.Reshape(dy, s.batch, -1, m)
	if transposed {
		left, right = right, left
	}
	return s.sumOfSquares(b.Op("MatMul", b.Transpose(left, 0, 2, 1), right))
}

// sumOfSquares is Σ_n g_n² of gradients stacked along axis 0.
func (s *samples) sumOfSquares(g *graph.Value) *graph.Value {
	return s.b.ReduceSum(s.b.Mul(g, g), false, 0)
}

// unbroadcast is Σ_n (Σ over what p was repeated along, dy_n)².
func (s *samples) unbroadcast(dy, p *graph.Value) *graph.Value {
	if len(p.Shape) >= len(dy.Shape) && p.Shape[0] != 1 {
		return nil // p has a value of its own for every sample
	}
	single := append(graph.Shape{s.batch}, slices.Repeat([]int{1}, len(dy.Shape)-1)...)
	for i, lead := 0, len(dy.Shape)-len(p.Shape); i < len(p.Shape); i++ {
		if i+lead > 0 {
			single[i+lead] = p.Shape[i]
		}
	}
	sum := s.sumOfSquares(s.b.Unbroadcast(dy, single))
	return s.b.Reshape(sum, p.Shape...)
}

// channels is Σ_n (Σ over positions, dy_n)² per channel.
func (s *samples) channels(dy *graph.Value) *graph.Value {
	if s.b.Err != nil {
		return nil
	}
	return s.sumOfSquares(s.b.ReduceSum(dy, false, rest(dy)[1:]...))
}

// norm is what scale and bias, slots 1 and 2, of a normalisation with running
// statistics have: both come at once.
func (s *samples) norm(n *graph.Node, dy *graph.Value) map[int]*graph.Value {
	if s.norms[n] == nil {
		scale, bias := s.b.BatchNormSampleSquares(n, dy)
		s.norms[n] = map[int]*graph.Value{1: scale, 2: bias}
	}
	return s.norms[n]
}

// copyOf is the output of n with other inputs.
func (s *samples) copyOf(n *graph.Node, in []*graph.Value) *graph.Value {
	return s.b.OpA(n.Op, n.Attrs, in...)
}

// TrainSampleDots turns a specialised inference graph into one with the outputs
// DotsName: the products of the gradient of each sample's cross-entropy with
// count directions, the inputs SampleDirection.
func TrainSampleDots(g *graph.Graph, o CurvatureOptions, count int) error {
	s, err := newSamples(g, o)
	if err != nil {
		return err
	}
	nodes, err := s.nodes()
	if err != nil {
		return err
	}
	g.Outputs = nil
	for i := range count {
		direction := map[*graph.Value]*graph.Value{}
		for _, p := range s.params {
			direction[p] = g.AddInput(SampleDirection(i, p.Name), p.DType, p.Shape...)
		}
		dots, err := s.dots(nodes, direction)
		if err != nil {
			return err
		}
		if err := hand(s.b, dots, DotsName(i)); err != nil {
			return err
		}
	}
	g.Prune()
	return nil
}

// nodes lists the nodes that read parameters, each once.
func (s *samples) nodes() ([]*graph.Node, error) {
	var list []*graph.Node
	seen := map[*graph.Node]bool{}
	for i, p := range s.params {
		for _, r := range s.readers[i] {
			if seen[r.node] {
				continue
			}
			seen[r.node] = true
			if s.acc.total(r.node.Output(0)) == nil {
				return nil, independent(p)
			}
			list = append(list, r.node)
		}
	}
	return list, nil
}

// dots is each sample's product with a direction, [N].
func (s *samples) dots(nodes []*graph.Node, direction map[*graph.Value]*graph.Value) (*graph.Value, error) {
	var total *graph.Value
	for _, n := range nodes {
		dy, value := s.acc.total(n.Output(0)), s.along(n, direction)
		if value == nil {
			return nil, coupled(n)
		}
		dot := s.b.ReduceSum(s.b.Mul(dy, value), false, rest(dy)...)
		if total != nil {
			dot = s.b.Add(total, dot)
		}
		total = dot
	}
	return total, s.b.Err
}

// rest lists every axis but the samples'.
func rest(v *graph.Value) []int {
	var axes []int
	for i := 1; i < len(v.Shape); i++ {
		axes = append(axes, i)
	}
	return axes
}

// along is the value of n at the direction in the place of its parameters; the
// operators listed are linear in them. nil for others.
func (s *samples) along(n *graph.Node, direction map[*graph.Value]*graph.Value) *graph.Value {
	if n.Domain != "" {
		return nil
	}
	at := func(slot int) *graph.Value { // of a parameter that may be held fixed
		in := n.Input(slot)
		if in == nil || direction[in] != nil {
			return direction[in]
		}
		return s.b.Zeros(in)
	}
	isParam := func(slot int) bool { return direction[n.Input(slot)] != nil }
	in := slices.Clone(n.Inputs)
	switch {
	case n.Op == "Add":
		switch {
		case isParam(0) == isParam(1):
			return nil
		case isParam(0):
			return direction[n.Inputs[0]]
		}
		return direction[n.Inputs[1]]
	case n.Op == "MatMul" && isParam(1) && !isParam(0):
		in[1] = at(1)
	case (n.Op == "Gemm" || n.Op == "Conv" || n.Op == "ConvTranspose") && !isParam(0):
		in[1] = at(1)
		if len(in) > 2 {
			in[2] = at(2)
		}
	case n.Op == "BatchNormalization" && !isParam(0):
		in[1], in[2] = at(1), at(2)
	default:
		return nil
	}
	return s.copyOf(n, in)
}
