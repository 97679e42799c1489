package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
)

// Images side by side: the same values as [N C H W], as blocks of 16 images
//
//	[N/16 H W C 16]
//
// so that kernels have whole vectors however small the planes are, and what a
// pixel has is one matrix. Operators on elements are the same on it.

func init() {
	register(
		Op{Domain: Domain, Name: "ConvBeside", Infer: inferConvBeside, Body: convBesideBody,
			Forward: kernels(runConvBeside[float32], runConvBeside[float64])},
	)
}

// Beside is how a node over images becomes one over images side by side.
type Beside struct {
	Images []int // the inputs that are images, of rank 4
	Moves  int   // elements that the node's kernel need not move then

	// Build adds the node. The inputs listed in Images are side by side, as the
	// result is; the others are n's.
	Build func(b *Builder, in []*graph.Value) *graph.Value
}

// Beside brings the images x [N C H W] side by side; N is a multiple of 16.
func (b *Builder) Beside(x *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	s := x.Shape
	blocks := b.Reshape(x, s[0]/kernel.BesideImages, kernel.BesideImages, s[1], s[2], s[3])
	return b.Transpose(blocks, 0, 3, 4, 2, 1)
}

// Apart undoes Beside.
func (b *Builder) Apart(x *graph.Value) *graph.Value {
	if b.Err != nil {
		return nil
	}
	s := apart(x.Shape)
	return b.Reshape(b.Transpose(x, 0, 4, 3, 1, 2), s...)
}

// apart is the shape [N C H W] of images that lie side by side in s.
func apart(s graph.Shape) graph.Shape { return graph.Shape{s[0] * s[4], s[3], s[1], s[2]} }

// imageInputs lists the inputs of n that have the batch and the rank of images.
func imageInputs(n *graph.Node) []int {
	var list []int
	y := n.Outputs[0].Shape
	for i, v := range n.Inputs {
		if v != nil && len(v.Shape) == 4 && v.Shape[0] == y[0] {
			list = append(list, i)
		}
	}
	return list
}

// besideElements is for operators on elements: their node stays as it is. What
// is no image must be a single number.
func besideElements(n *graph.Node) *Beside {
	list := imageInputs(n)
	for i, v := range n.Inputs {
		if v != nil && v.Shape.Size() != 1 && !slices.Contains(list, i) {
			return nil
		}
	}
	return &Beside{Images: list, Build: sameNode(n)}
}

// sameNode builds n once more.
func sameNode(n *graph.Node) func(b *Builder, in []*graph.Value) *graph.Value {
	return func(b *Builder, in []*graph.Value) *graph.Value { return b.node(n.Domain, n.Op, 1, in, n.Attrs)[0] }
}

// ConvBeside(x, w, [bias]) is Conv, with Conv's attributes, of images side by side.

func convOfBeside(n *graph.Node) (*conv, error) {
	s := n.Inputs[0].Shape
	if len(s) != 5 || s[4] != kernel.BesideImages {
		return nil, fmt.Errorf("input 0 is %v, want blocks [N/%d H W C %[2]d]", []int(s), kernel.BesideImages)
	}
	return newConv(n, apart(s), n.Inputs[1].Shape)
}

func inferConvBeside(n *graph.Node) error {
	if err := floatInputs(n, 2, 3, 1); err != nil {
		return err
	}
	c, err := convOfBeside(n)
	if err != nil {
		return err
	}
	if err := wantShape(n, 2, c.channels); err != nil {
		return err
	}
	y := graph.Shape{c.batch / kernel.BesideImages, c.out[0], c.out[1], c.channels, kernel.BesideImages}
	return setOutput(n, 0, n.Inputs[0].DType, y)
}

func convBesideBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	c, err := convOfBeside(n)
	if err != nil {
		return nil, err
	}
	y := b.OpA("Conv", c.attrs(), b.Apart(n.Inputs[0]), n.Inputs[1], n.Input(2))
	return []*graph.Value{b.Beside(y)}, nil
}

func runConvBeside[T kernel.Float](c *Call) (func() error, error) {
	geometry, err := convOfBeside(c.Node)
	if err != nil {
		return nil, err
	}
	x, w, bias, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.Out, 0)
	k := kernel.NewBesideConv[T](geometry.geom(), kernel.ConvOptions{Activation: c.Activation, FixedWeights: c.fixed(1)})
	return func() error {
		k.Run(c.Team, x, w, bias, y)
		return nil
	}, nil
}

// besideConv: a depthwise convolution, and one of small planes, would bring
// images side by side and back.
func besideConv(n *graph.Node) *Beside {
	c, err := convOf(n)
	if err != nil || len(c.in) != 2 {
		return nil
	}
	g := c.geom()
	if !g.BesideFits() {
		return nil
	}
	return &Beside{Images: []int{0}, Moves: g.Moves(), Build: func(b *Builder, in []*graph.Value) *graph.Value {
		return b.Own("ConvBeside", 1, in, c.attrs()...)[0]
	}}
}

// besideBatchNorm normalises pixels as if each were an image of its own, 16
// elements wide.
func besideBatchNorm(n *graph.Node) *Beside {
	if checkInference(n) != nil {
		return nil
	}
	return &Beside{Images: []int{0}, Build: func(b *Builder, in []*graph.Value) *graph.Value {
		if b.Err != nil {
			return nil
		}
		s := in[0].Shape
		in[0] = b.Reshape(in[0], s[0]*s[1]*s[2], s[3], s[4])
		return b.Reshape(b.OpA(n.Op, n.Attrs, in...), s...)
	}}
}

func besideConcat(n *graph.Node) *Beside {
	if n.Int("axis", 0) != 1 {
		return nil
	}
	return &Beside{Images: sequence(0, len(n.Inputs)), Build: func(b *Builder, in []*graph.Value) *graph.Value {
		return b.Concat(3, in...)
	}}
}

// besideReduce is for what global poolings are made of.
func besideReduce(n *graph.Node) *Beside {
	axes, keep, err := reduceAxes(n)
	slices.Sort(axes)
	if err != nil || !keep || !slices.Equal(axes, []int{2, 3}) || n.Op != "ReduceMean" && n.Op != "ReduceMax" {
		return nil
	}
	return &Beside{Images: []int{0}, Build: func(b *Builder, in []*graph.Value) *graph.Value {
		return b.reduce(n.Op, in[0], 1, 2)
	}}
}
