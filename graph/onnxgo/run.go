package onnxgo

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	onnxgo "github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// A program is a compiled graph, good for inputs of the types and shapes it was
// compiled for.
type program struct {
	exec    *exec.Program
	inputs  map[string]*onnx.Tensor // what it was compiled for
	fixed   []string                // inputs whose elements are compiled in
	outputs []*Node
}

// Run computes the graph's outputs. The first run compiles the graph; so does a
// run with inputs of other shapes.
func (g *Graph) Run() error {
	if len(g.operations) == 0 {
		return fmt.Errorf("onnxgo: the graph has no operation; decode a model first")
	}
	inputs, err := g.inputs()
	if err != nil {
		return err
	}
	if g.program == nil || !g.program.takes(inputs) {
		if g.program, err = g.compile(inputs); err != nil {
			return err
		}
	}
	return g.program.run(inputs)
}

// leaf reports whether n is data that operations read: a weight or an input.
func (n *Node) leaf() bool { return !n.computed && !n.absent() && n.data != nil }

// inputs are the tensors that were set after the file was decoded.
func (g *Graph) inputs() (map[string]*onnx.Tensor, error) {
	list := map[string]*onnx.Tensor{}
	for _, n := range g.nodes {
		if !n.leaf() || !n.fed {
			continue
		}
		t, err := fromTensor(n.data)
		if err != nil {
			return nil, fmt.Errorf("onnxgo: input %q: %w", n.name, err)
		}
		list[n.name] = t
	}
	return list, nil
}

func (g *Graph) compile(inputs map[string]*onnx.Tensor) (*program, error) {
	ir, outputs, err := g.build(inputs)
	if err != nil {
		return nil, err
	}
	bound, err := pass.Bind(ir, inputs)
	if err != nil {
		return nil, err
	}
	p := &program{inputs: map[string]*onnx.Tensor{}, outputs: outputs}
	for name, t := range inputs {
		if bound.Value(name) == nil || !slices.Contains(bound.Inputs, bound.Value(name)) {
			p.fixed = append(p.fixed, name)
			t = &onnx.Tensor{DType: t.DType, Shape: t.Shape, Data: clone(t.Data)}
		}
		p.inputs[name] = t
	}
	p.exec, err = exec.Compile(bound, exec.Options{})
	return p, err
}

// build makes a graph of ours, and says which nodes are its outputs: what no
// operation reads and what the file declares, since onnx-go does not tell a
// backend which values are outputs.
func (g *Graph) build(inputs map[string]*onnx.Tensor) (*graph.Graph, []*Node, error) {
	file := &onnx.Graph{Name: "onnx-go"}
	for _, n := range g.nodes {
		switch t := inputs[n.name]; {
		case !n.leaf():
		case t != nil:
			file.Inputs = append(file.Inputs, declare(n.name, t))
		default:
			t, err := fromTensor(n.data)
			if err != nil {
				return nil, nil, fmt.Errorf("onnxgo: value %q: %w", n.name, err)
			}
			t.Name = n.name
			file.Initializers = append(file.Initializers, t)
		}
	}
	read := map[*Node]bool{}
	for _, op := range g.operations {
		attrs, err := attributes(op.Operation)
		if err != nil {
			return nil, nil, err
		}
		file.Nodes = append(file.Nodes, &onnx.Node{OpType: op.Name, Inputs: names(op.inputs), Outputs: names(op.outputs), Attrs: attrs})
		for _, n := range op.inputs {
			read[n] = true
		}
	}
	var outputs []*Node
	for _, n := range g.nodes {
		if n.computed && (!read[n] || n.data != nil) {
			outputs = append(outputs, n)
			file.Outputs = append(file.Outputs, &onnx.ValueInfo{Name: n.name})
		}
	}
	ir, err := graph.FromONNX(&onnx.Model{Opsets: []onnx.OpsetID{{Version: int64(g.opset)}}, Graph: file})
	return ir, outputs, err
}

func declare(name string, t *onnx.Tensor) *onnx.ValueInfo {
	var dims []onnx.Dim
	for _, d := range t.Shape {
		dims = append(dims, onnx.FixedDim(int64(d)))
	}
	return onnx.NewValueInfo(name, t.DType, dims...)
}

// names are those of nodes, "" for one that is left out.
func names(nodes []*Node) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		if n != nil {
			list[i] = n.name
		}
	}
	return list
}

// attributes converts what onnx-go makes of attributes, in order of names.
func attributes(op onnxgo.Operation) ([]*onnx.Attr, error) {
	var list []*onnx.Attr
	for _, name := range slices.Sorted(maps.Keys(op.Attributes)) {
		var a *onnx.Attr
		switch v := op.Attributes[name].(type) {
		case float32:
			a = onnx.AttrFloat(name, v)
		case int64:
			a = onnx.AttrInt(name, v)
		case string:
			a = onnx.AttrString(name, v)
		case []float32:
			a = onnx.AttrFloats(name, v...)
		case []int64:
			a = onnx.AttrInts(name, v...)
		case []string:
			a = onnx.AttrStrings(name, v...)
		case tensor.Tensor:
			t, err := fromTensor(v)
			if err != nil {
				return nil, fmt.Errorf("onnxgo: operation %s: attribute %q: %w", op.Name, name, err)
			}
			a = onnx.AttrTensor(name, t)
		default:
			return nil, &onnxgo.ErrNotImplemented{Operator: op.Name, AttributeName: name, AttributeValue: v, Message: fmt.Sprintf("attributes of type %T are not supported", v)}
		}
		list = append(list, a)
	}
	return list, nil
}

// takes reports whether p was compiled for such inputs.
func (p *program) takes(inputs map[string]*onnx.Tensor) bool {
	for name, t := range inputs {
		was := p.inputs[name]
		if was == nil || was.DType != t.DType || !slices.Equal(was.Shape, t.Shape) {
			return false
		}
	}
	for _, name := range p.fixed {
		if !reflect.DeepEqual(p.inputs[name].Data, inputs[name].Data) {
			return false
		}
	}
	return len(inputs) == len(p.inputs)
}

func (p *program) run(inputs map[string]*onnx.Tensor) error {
	for name, t := range inputs {
		if in := p.exec.Input(name); in != nil {
			reflect.Copy(reflect.ValueOf(in.Data), reflect.ValueOf(t.Data))
		}
	}
	if err := p.exec.Run(context.Background()); err != nil {
		return err
	}
	for _, n := range p.outputs {
		n.result = p.exec.Output(n.name)
	}
	return nil
}
