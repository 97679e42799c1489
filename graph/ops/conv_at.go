package ops

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// ConvAt(x, w, indices, open, bias, x, w, ...) has Conv's attributes:
//
//	y = (sum over the pairs of Conv(x, w) + bias) at the indices, where open > 0, else 0
//
// indices are MaxPool's, in whose shape y comes; open and bias may be left out.
// All Convs have one geometry. It is how a change reaches a max pooling, in which
// most of the convolution's result is not looked at. The executor puts it in.
func init() {
	register(Op{Domain: Domain, Name: "ConvAt", Infer: inferConvAt, Body: convAtBody,
		Forward: kernels(runConvAt[float32], runConvAt[float64])})
}

// Inputs of ConvAt; from convAtMore on follow further pairs.
const (
	convAtPlaces = 2 + iota
	convAtOpen
	convAtBias
	convAtMore
)

// ConvAt appends what computes the MaxPoolPick n of a convolution's result, or of
// the sum of two, or the ReluGrad that alone reads n. It returns the value that this
// replaces too, or nil where the operator does not fit or somebody else reads what
// would not be there.
func (b *Builder) ConvAt(n *graph.Node) (old, y *graph.Value) {
	picked, places := n.Inputs[0], n.Inputs[1]
	old = n.Outputs[0]
	in := values{nil, nil, places, nil, nil}
	if m := b.onlyReader(old); m != nil && m.Domain == Domain && m.Op == "ReluGrad" && m.Inputs[0] == old {
		in[convAtOpen], old = m.Inputs[1], m.Outputs[0]
	}
	terms := values{picked}
	if m := picked.Producer(); m != nil && m.Domain == "" && m.Op == "Add" && slices.Equal(m.Inputs[0].Shape, m.Inputs[1].Shape) {
		terms = append(terms, m.Inputs...)[1:]
	}
	var c *conv
	for _, v := range terms {
		m := v.Producer()
		if b.onlyReader(picked) == nil || b.onlyReader(v) == nil || m == nil || m.Domain != "" || m.Op != "Conv" || m.Input(2) != nil && in[convAtBias] != nil {
			return nil, nil
		}
		d, err := convOf(m)
		if err != nil || d.isVolume() || c != nil && c.geom() != d.geom() {
			return nil, nil
		}
		if c = d; m.Input(2) != nil {
			in[convAtBias] = m.Input(2)
		}
		if in[0] == nil {
			in[0], in[1] = m.Inputs[0], m.Inputs[1]
		} else {
			in = append(in, m.Inputs[0], m.Inputs[1])
		}
	}
	if !pooledFits(picked.DType, c, places.Shape) {
		return nil, nil
	}
	return old, b.Own("ConvAt", 1, in, c.attrs()...)[0]
}

// onlyReader is the node that alone reads v, nil if there is none or v is an output
// of the graph.
func (b *Builder) onlyReader(v *graph.Value) *graph.Node {
	if len(v.Uses()) != 1 || slices.Contains(b.G.Outputs, v) {
		return nil
	}
	return v.Uses()[0].Node
}

// convAtPairs lists the pairs as terms that n's Convs read.
func convAtPairs(n *graph.Node) []values {
	list := []values{{n.Input(0), n.Input(1)}}
	for i := convAtMore; i < len(n.Inputs); i += 2 {
		list = append(list, values{n.Inputs[i], n.Input(i + 1)})
	}
	return list
}

// convOfAt is the geometry of the pairs.
func convOfAt(n *graph.Node) (*conv, error) {
	pairs := convAtPairs(n)
	if pairs[0][0] == nil || pairs[0][1] == nil {
		return nil, fmt.Errorf("input 0 or 1 is missing")
	}
	for i, p := range pairs {
		for j, v := range p {
			first := pairs[0][j]
			if v == nil || v.DType != first.DType || !slices.Contains(floats, v.DType) || !slices.Equal(v.Shape, first.Shape) {
				return nil, fmt.Errorf("pair %d is not like pair 0: want x and w of one type and shape", i)
			}
		}
		if p[0].DType != p[1].DType {
			return nil, fmt.Errorf("pair %d is of types %v and %v", i, p[0].DType, p[1].DType)
		}
	}
	if x := pairs[0][0]; len(x.Shape) != 4 {
		return nil, fmt.Errorf("input %q has rank %d, want images [N C H W]", x.Name, len(x.Shape))
	}
	return newConv(n, pairs[0][0].Shape, pairs[0][1].Shape)
}

func inferConvAt(n *graph.Node) error {
	c, err := convOfAt(n)
	if err != nil {
		return err
	}
	places, dt := n.Input(convAtPlaces), n.Inputs[0].DType
	if places == nil || places.DType != onnx.Int64 || len(places.Shape) != 4 || !slices.Equal(places.Shape[:2], c.output()[:2]) {
		return fmt.Errorf("input 2: want indices, int64, of %v", []int(c.output()[:2]))
	}
	if err := CheckSize(c.output()); err != nil {
		return fmt.Errorf("what is looked into: %w", err)
	}
	if err := cmp.Or(wantType(n, convAtOpen, dt), wantShape(n, convAtOpen, places.Shape...)); err != nil {
		return err
	}
	if err := cmp.Or(wantType(n, convAtBias, dt), wantShape(n, convAtBias, c.channels)); err != nil {
		return err
	}
	return setOutput(n, 0, dt, places.Shape)
}

func convAtBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c, err := convOfAt(n)
	if err != nil {
		return nil, err
	}
	var sum *graph.Value
	for _, p := range convAtPairs(n) {
		y := b.conv(c, p[0], p[1])
		if sum != nil {
			y = b.Add(sum, y)
		}
		sum = y
	}
	if bias := n.Input(convAtBias); bias != nil {
		sum = b.Add(sum, b.perChannel(bias, 2))
	}
	y := b.maxPoolPick(sum, n.Inputs[convAtPlaces])
	if open := n.Input(convAtOpen); open != nil {
		y = b.Own("ReluGrad", 1, values{y, open})[0]
	}
	return values{y}, b.Err
}

func runConvAt[T kernel.Float](c *Call) (func() error, error) {
	g, err := convOfAt(c.Node)
	if err != nil {
		return nil, err
	}
	if !pooledFits(c.Out[0].DType, g, c.Out[0].Shape) {
		return nil, fmt.Errorf("this convolution is not computed at some places alone; use Conv and MaxPoolPick")
	}
	terms := []kernel.ConvTerm[T]{{X: slot[T](c.In, 0), W: slot[T](c.In, 1)}}
	for i := convAtMore; i < len(c.In); i += 2 {
		terms = append(terms, kernel.ConvTerm[T]{X: slot[T](c.In, i), W: slot[T](c.In, i+1)})
	}
	places, open, bias, y := onnx.Of[int64](c.In[convAtPlaces]), slot[T](c.In, convAtOpen), slot[T](c.In, convAtBias), slot[T](c.Out, 0)
	k := kernel.NewConvAt[T](g.geom(), len(terms))
	return func() error { return k.Run(c.Team, terms, bias, places, open, y) }, nil
}
