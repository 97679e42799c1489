package ops

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// JoinedConv(x, w, bias, addend, mask, x, w) has Conv's attributes:
//
//	y = Conv(x, w) + bias + the second Conv(x, w) + addend, where mask > 0, else 0
//
// All but the first two may be left out. The second pair has the shapes of the first,
// addend and mask that of y, which may take addend's memory. JoinedConvGradInput is
// the same for ConvGradInput, with dy in the place of x and without bias. The
// executor puts them in.
func init() {
	register(
		Op{Domain: Domain, Name: "JoinedConv", Infer: inferJoined((*conv).output), Body: joinedBody((*Builder).conv), InPlace: []int{joinedAddend},
			Forward: kernels(runJoinedConv[float32], runJoinedConv[float64])},
		Op{Domain: Domain, Name: "JoinedConvGradInput", Infer: inferJoined((*conv).input), Body: joinedBody((*Builder).convGradInput), InPlace: []int{joinedAddend},
			Forward: kernels(runJoinedConvGradInput[float32], runJoinedConvGradInput[float64])},
	)
}

// Inputs of JoinedConv; from joinedMore on follows the second pair.
const (
	joinedBias = 2 + iota
	joinedAddend
	joinedMask
	joinedMore
)

// JoinsConv tells whether n is a convolution, or the gradient of one by its input,
// that can take others along if it uses Winograd's transforms where wish says.
func JoinsConv(n *graph.Node, wish kernel.Winograd) bool {
	c, err := joinedGeom(n)
	if err != nil || n.Op != "Conv" && n.Op != "ConvGradInput" {
		return false
	}
	if n.Inputs[0].DType == onnx.Float64 {
		return joinsConv[float64](n, c, wish)
	}
	return joinsConv[float32](n, c, wish)
}

func joinsConv[T kernel.Float](n *graph.Node, c *conv, wish kernel.Winograd) bool {
	if n.Domain == Domain {
		return kernel.ConvGradInputJoins[T](c.geom(), wish)
	}
	return kernel.ConvJoins[T](c.geom(), wish)
}

// joinedGeom is the geometry of a Conv or ConvGradInput with one or two spatial axes.
func joinedGeom(n *graph.Node) (*conv, error) {
	geometry := convOf
	switch (key{n.Domain, n.Op}) {
	case key{"", "Conv"}, key{Domain, "JoinedConv"}:
	case key{Domain, "ConvGradInput"}, key{Domain, "JoinedConvGradInput"}:
		geometry = convOfGradInput
	default:
		return nil, fmt.Errorf("%s is no convolution", n.Op)
	}
	c, err := geometry(n)
	if err == nil && c.isVolume() {
		err = fmt.Errorf("this is a convolution of volumes")
	}
	return c, err
}

// AlikeConvs tells whether convolutions of which JoinsConv holds can be joined: they
// have one geometry, and not both a bias.
func AlikeConvs(n, m *graph.Node) bool {
	c, err := joinedGeom(n)
	d, err2 := joinedGeom(m)
	return cmp.Or(err, err2) == nil && n.Op == m.Op && c.geom() == d.geom() && (n.Input(2) == nil || m.Input(2) == nil)
}

// JoinedConv appends n with what it takes along: a convolution m that is alike, an
// addend and a mask, each of which may be nil.
func (b *Builder) JoinedConv(n, m *graph.Node, addend, mask *graph.Value) *graph.Value {
	in := values{n.Inputs[0], n.Inputs[1], n.Input(2), addend, mask}
	if m != nil {
		in = append(in, m.Inputs[0], m.Inputs[1])
		in[joinedBias] = cmp.Or(in[joinedBias], m.Input(2))
	}
	return b.Own("Joined"+n.Op, 1, in, n.Attrs...)[0]
}

// inferJoined checks a node with results of the shape that output gives.
func inferJoined(output func(*conv) graph.Shape) func(*graph.Node) error {
	return func(n *graph.Node) error {
		if err := floatInputs(n, 2, joinedMore+2, 1); err != nil {
			return err
		}
		if _, err := spatial(n, n.Inputs[0]); err != nil {
			return err
		}
		c, err := joinedGeom(n)
		if err != nil {
			return err
		}
		if n.Op == "JoinedConv" {
			err = wantShape(n, joinedBias, c.channels)
		} else if n.Input(joinedBias) != nil || !slices.Equal(n.Inputs[0].Shape, c.output()) {
			err = fmt.Errorf("want no bias, and input 0 of shape %v", []int(c.output()))
		}
		if (n.Input(joinedMore) == nil) != (n.Input(joinedMore+1) == nil) {
			err = fmt.Errorf("want both or none of inputs %d and %d", joinedMore, joinedMore+1)
		}
		y := output(c)
		if err := cmp.Or(err, wantShape(n, joinedAddend, y...), wantShape(n, joinedMask, y...),
			wantShape(n, joinedMore, n.Inputs[0].Shape...), wantShape(n, joinedMore+1, n.Inputs[1].Shape...)); err != nil {
			return err
		}
		return setOutput(n, 0, n.Inputs[0].DType, y)
	}
}

func joinedBody(one func(b *Builder, c *conv, first, second *graph.Value) *graph.Value) func(*Builder, *graph.Node) ([]*graph.Value, error) {
	return func(b *Builder, n *graph.Node) ([]*graph.Value, error) {
		c, err := joinedGeom(n)
		if err != nil {
			return nil, err
		}
		y := one(b, c, n.Inputs[0], n.Inputs[1])
		if bias := n.Input(joinedBias); bias != nil {
			y = b.Add(y, b.perChannel(bias, len(c.in)))
		}
		if n.Input(joinedMore) != nil {
			y = b.Add(y, one(b, c, n.Inputs[joinedMore], n.Inputs[joinedMore+1]))
		}
		if addend := n.Input(joinedAddend); addend != nil {
			y = b.Add(y, addend)
		}
		if mask := n.Input(joinedMask); mask != nil {
			y = b.reluGrad(y, mask)
		}
		return values{y}, b.Err
	}
}

// joinedCall is the geometry of a call, and what is joined.
func joinedCall[T kernel.Float](c *Call) (kernel.ConvGeom, kernel.Joined[T], error) {
	j := kernel.Joined[T]{
		X: slot[T](c.In, joinedMore), W: slot[T](c.In, joinedMore+1),
		Addend: slot[T](c.In, joinedAddend), Mask: slot[T](c.In, joinedMask),
	}
	g, err := joinedGeom(c.Node)
	if err != nil {
		return kernel.ConvGeom{}, j, err
	}
	if !joinsConv[T](c.Node, g, kernel.WinogradWhereFits) {
		err = fmt.Errorf("this convolution takes nothing along; use Add and ReluGrad")
	}
	return g.geom(), j, err
}

func runJoinedConv[T kernel.Float](c *Call) (func() error, error) {
	g, joined, err := joinedCall[T](c)
	if err != nil {
		return nil, err
	}
	x, w, bias, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, joinedBias), slot[T](c.Out, 0)
	k := kernel.NewConv[T](g, kernel.ConvOptions{Winograd: kernel.WinogradWhereFits, Activation: c.Activation, FixedWeights: c.fixed(1)})
	return func() error {
		k.RunJoined(c.Team, x, w, bias, y, joined)
		return nil
	}, nil
}

func runJoinedConvGradInput[T kernel.Float](c *Call) (func() error, error) {
	g, joined, err := joinedCall[T](c)
	if err != nil {
		return nil, err
	}
	dy, w, dx := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	k := kernel.NewConvGradInput[T](g, kernel.ConvOptions{Winograd: kernel.WinogradWhereFits})
	return func() error {
		k.RunJoined(c.Team, dy, w, dx, joined)
		return nil
	}, nil
}
