package exec_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// FuzzRun goes the whole way of a user's file: it is read, imported,
// specialised, compiled and run, in inference and, where something can be
// trained, as a training step. Mutated bytes seldom come far, so edits change
// the model that was read, three bytes an edit. Whatever comes of it ends in a
// result or an error.
func FuzzRun(f *testing.F) {
	for _, pattern := range []string{"../../models/testdata/duties/*.onnx", "../../models/testdata/dialects/lenet*.onnx"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(b) < 1<<15 {
				f.Add(b, []byte(nil))
			}
		}
	}
	f.Fuzz(func(t *testing.T, file, edits []byte) { wholeWay(t, file, edits) })
}

func wholeWay(t *testing.T, file, edits []byte) {
	m, err := onnx.Decode(file, nil)
	if err != nil || m.Graph == nil {
		return
	}
	if len(edits) >= 3 {
		if m = edited(m, edits); m == nil {
			return
		}
	}
	im, err := pass.Import(m)
	if err != nil {
		return
	}
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: 2})
	if err != nil {
		return
	}
	runSmall(t, g, nil)
	_, _ = im.ToONNX()
	if g, state := stepGraph(im); g != nil {
		runSmall(t, g, state)
	}
}

// runSmall compiles and runs a graph that asks for little memory and work.
func runSmall(t *testing.T, g *graph.Graph, state map[string]*onnx.Tensor) {
	elements := 0
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			if out != nil {
				size := out.Shape.Size()
				if elements += size; size < 0 || elements < 0 || elements > 1<<20 {
					return
				}
			}
		}
	}
	if products := ops.Products(g); products < 0 || products > 1<<26 {
		return
	}
	for _, in := range g.Inputs {
		if in.Shape.Size() > 1<<20 {
			return
		}
	}
	p, err := exec.Compile(g, exec.Options{State: state})
	if err != nil {
		return
	}
	for _, in := range g.Inputs {
		if x, ok := p.Input(in.Name).Data.([]float32); ok && state[in.Name] == nil {
			for i := range x {
				x[i] = float32(i%7) - 2.5
			}
		}
	}
	if err := p.Run(t.Context()); err != nil {
		return
	}
	for _, out := range g.Outputs {
		if p.Output(out.Name) == nil {
			t.Errorf("no output %q", out.Name)
		}
	}
}

// stepGraph is loss and gradients for a batch of two, with the parameters'
// memory; nil where there are none.
func stepGraph(im *pass.Model) (*graph.Graph, map[string]*onnx.Tensor) {
	params := im.TrainableNames()
	if len(params) == 0 {
		return nil, nil
	}
	state, keep := map[string]*onnx.Tensor{}, map[string]bool{}
	var statistics []string
	for _, p := range im.Params {
		if p.State() {
			statistics = append(statistics, p.Name())
		}
		if p.State() || p.Trainable {
			state[p.Name()], keep[p.Name()] = p.Tensor(), true
		}
	}
	g, err := pass.Specialise(im.Trunk(), pass.Target{Batch: 2, Training: true, Keep: keep})
	if err != nil {
		return nil, nil
	}
	err = autodiff.Train(g, autodiff.TrainOptions{Logits: im.Logits.Name, Params: params, State: statistics, Gradients: true})
	if err != nil {
		return nil, nil
	}
	return g, state
}

// edited changes a model: the first byte of three says what, the second
// where, the third to what.
func edited(m *onnx.Model, edits []byte) *onnx.Model {
	for ; len(edits) >= 3; edits = edits[3:] {
		edit(m, int(edits[0]), int(edits[1]), int(edits[2]))
	}
	b, err := m.Encode()
	if err != nil {
		return nil
	}
	m, err = onnx.Decode(b, nil)
	if err != nil || m.Graph == nil {
		return nil
	}
	return m
}

// integers are what extents, axes and attributes are set to.
var integers = []int64{0, 1, 2, 3, 4, 5, 7, 8, 16, 100, 1000, -1, -2, -3, -4, -5, 1 << 20, 1 << 31, 1 << 32, 1<<62 + 1, math.MaxInt64, math.MinInt64}

func edit(m *onnx.Model, what, where, to int) {
	number := integers[to%len(integers)]
	nodes := allNodes(m.Graph, nil)
	for _, f := range m.Functions {
		nodes = append(nodes, f.Nodes...)
	}
	inits := m.Graph.Initializers
	if len(nodes) == 0 {
		return
	}
	n := nodes[where%len(nodes)]
	other := nodes[to%len(nodes)]
	switch what % 18 {
	case 0: // another operator
		all := ops.All()
		op := all[(where*256+to)%len(all)]
		n.OpType, n.Domain = op.Name, op.Domain
	case 1:
		n.OpType, n.Attrs = other.OpType, nil
		for _, a := range other.Attrs {
			if a.G == nil { // a body that holds itself is no model
				own := *a
				own.Ints = slices.Clone(a.Ints)
				n.Attrs = append(n.Attrs, &own)
			}
		}
	case 2: // another input
		if len(n.Inputs) > 0 && len(other.Outputs) > 0 {
			n.Inputs[to%len(n.Inputs)] = other.Outputs[0]
		}
	case 3:
		if len(n.Inputs) > 0 && len(other.Inputs) > 0 {
			n.Inputs[where%len(n.Inputs)] = other.Inputs[to%len(other.Inputs)]
		}
	case 4:
		if len(n.Inputs) > 0 {
			n.Inputs[to%len(n.Inputs)] = ""
		}
	case 5:
		n.Inputs = n.Inputs[:to%(len(n.Inputs)+1)]
	case 6:
		if len(other.Outputs) > 0 {
			n.Inputs = append(n.Inputs, other.Outputs[0])
		}
	case 7:
		n.Outputs = append(n.Outputs, m.Graph.Name+string(rune('a'+to%26)))
	case 8: // attributes
		for i, a := range n.Attrs {
			if to%(i+1) == 0 {
				a.I, a.F = number, float32(number)
			}
		}
	case 9:
		for _, a := range n.Attrs {
			if len(a.Ints) > 0 {
				a.Ints[to%len(a.Ints)] = integers[(where+to)%len(integers)]
			}
		}
	case 10:
		for _, a := range n.Attrs {
			if len(a.Ints) > 0 && to%2 == 0 {
				a.Ints = a.Ints[1:]
			} else if len(a.Ints) > 0 {
				a.Ints = append(a.Ints, number)
			}
		}
	case 11:
		if len(n.Attrs) > 0 {
			n.Attrs = n.Attrs[1:]
		}
	case 12:
		names := []string{"axis", "axes", "keepdims", "group", "pads", "strides", "dilations", "kernel_shape", "training_mode", "hidden_size", "direction", "transA", "to", "ceil_mode", "auto_pad", "mode"}
		name := names[where%len(names)]
		a := onnx.AttrInt(name, number)
		if name == "axes" || name == "pads" || name == "strides" || name == "dilations" || name == "kernel_shape" {
			a = onnx.AttrInts(name, number, number)
		}
		other.Attrs = append(other.Attrs, a)
	case 13: // another extent of an initializer
		if len(inits) > 0 {
			reshape(inits[where%len(inits)], to)
		}
	case 14: // other elements of an initializer
		if len(inits) > 0 {
			if x, ok := inits[where%len(inits)].Data.([]int64); ok && len(x) > 0 {
				x[to%len(x)] = integers[(where+to)%len(integers)]
			}
		}
	case 15: // another type of an initializer
		if len(inits) > 0 {
			t := inits[where%len(inits)]
			if c, err := onnx.Convert(t, onnx.DType(to%17)); err == nil {
				c.Name = t.Name
				inits[where%len(inits)] = c
			}
		}
	case 16: // another extent or type of an input
		if len(m.Graph.Inputs) > 0 {
			if typ := m.Graph.Inputs[where%len(m.Graph.Inputs)].Type; typ != nil && typ.Tensor != nil {
				if shape := typ.Tensor.Shape; len(shape) > 0 && where%5 > 0 {
					shape[to%len(shape)] = onnx.FixedDim(number)
				} else {
					typ.Tensor.Elem = onnx.DType(to % 17)
				}
			}
		}
	case 17:
		if len(m.Opsets) > 0 {
			m.Opsets[0].Version = int64(to % 30)
		}
	}
}

// reshape gives an initializer another extent, or one axis more or less.
func reshape(t *onnx.Tensor, to int) {
	if t.DType == onnx.Undefined || t.DType.IsPacked() {
		return
	}
	shape := append([]int{}, t.Shape...)
	switch axis := to / 4 % (len(shape) + 1); {
	case axis == len(shape):
		shape = append(shape, to%4)
	case to%4 == 3:
		shape = shape[:axis]
	default:
		shape[axis] = max(0, shape[axis]+to%4-1)
	}
	if n := onnx.Size(shape); n > 1<<16 {
		return
	}
	c := onnx.NewTensor(t.DType, shape...)
	c.Name = t.Name
	if x, ok := c.Data.([]float32); ok {
		if old, ok := t.Data.([]float32); ok {
			copy(x, old)
		}
	}
	*t = *c
}

// allNodes lists a graph's nodes and those of the graphs that they hold.
func allNodes(g *onnx.Graph, list []*onnx.Node) []*onnx.Node {
	for _, n := range g.Nodes {
		list = append(list, n)
		for _, a := range n.Attrs {
			if a.G != nil {
				list = allNodes(a.G, list)
			}
		}
	}
	return list
}
