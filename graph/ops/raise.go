package ops

import (
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// moved lists the operators of which a version made attributes inputs: from
// since on, attribute i is input 1+i.
var moved = map[string]struct {
	since int
	attrs []string
}{
	"Clip":      {11, []string{"min", "max"}},
	"Dropout":   {12, []string{"ratio"}},
	"Pad":       {11, []string{"pads", "value"}},
	"ReduceSum": {13, []string{"axes"}},
	"Slice":     {10, []string{"starts", "ends", "axes"}},
	"Split":     {13, []string{"split"}},
	"Squeeze":   {13, []string{"axes"}},
	"TopK":      {10, []string{"k"}},
	"Unsqueeze": {13, []string{"axes"}},
}

// raised is the operator set that Raise writes nodes in.
const raised = 13

// Raise writes the nodes of a graph whose shapes are known that are of operator
// sets before 13 as that one has them, so that nodes of later sets can stand
// beside them in a file. What they compute stays the same.
func Raise(g *graph.Graph) error {
	b := NewBuilder(g)
	changed := false
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" || n.Version >= raised {
			continue
		}
		changed = true
		if err := b.raise(n); err != nil {
			return &NodeError{Node: n, Err: err}
		}
	}
	if !changed {
		return nil
	}
	g.Prune()
	return g.Sort()
}

func (b *Builder) raise(n *graph.Node) error {
	switch n.Op {
	case "Softmax", "LogSoftmax", "Hardmax":
		if err := b.raiseSoftmax(n); err != nil {
			return err
		}
	case "Upsample", "Resize": // what they round to is not to be had any more
		outs, err := Inline(b, n)
		if err != nil {
			return err
		}
		return b.G.Supplant(n.Outputs[0], outs[0])
	case "Scatter":
		n.Op = "ScatterElements"
	case "BatchNormalization":
		n.DropAttrs("spatial")
	default:
		b.moveAttrs(n)
	}
	n.Version = raised
	return b.Err
}

// moveAttrs makes inputs of attributes.
func (b *Builder) moveAttrs(n *graph.Node) {
	m, ok := moved[n.Op]
	if !ok || n.Version >= m.since {
		return
	}
	for i, name := range m.attrs {
		var in *graph.Value
		switch a := n.Attr(name); {
		case a == nil:
		case a.Type == onnx.AttrTypeInts:
			in = b.Ints(n.Ints(name)...)
		case a.Type == onnx.AttrTypeInt:
			in = b.Ints(n.Int(name, 0))
		default:
			in = b.Scalar(n.Float(name, 0), n.Inputs[0])
		}
		if in != nil {
			b.G.SetInput(n, 1+i, in)
		}
	}
	n.DropAttrs(m.attrs...)
}

// raiseSoftmax normalises over one axis what was normalised over several.
func (b *Builder) raiseSoftmax(n *graph.Node) error {
	first, end, err := softmaxAxes(n)
	if err != nil {
		return err
	}
	shape := n.Inputs[0].Shape
	if end > first && product(shape[first+1:end]) != 1 {
		flat := slices.Concat(shape[:first], graph.Shape{product(shape[first:end])})
		y := b.Node(n.Op, 1, values{b.Reshape(n.Inputs[0], flat...)}, onnx.AttrInt("axis", -1))[0]
		if y = b.Reshape(y, shape...); b.Err != nil {
			return b.Err
		}
		return b.G.Supplant(n.Outputs[0], y)
	}
	n.SetAttr(onnx.AttrInt("axis", int64(first)))
	return nil
}
