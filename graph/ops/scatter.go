package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Operators that write elements by index.
func init() {
	register(
		Op{Name: "ScatterElements", Since: []int{11, 13, 16, 18}, Infer: inferScatterElements, Grad: gradScatter, Forward: forwardScatterElements},
		Op{Name: "Scatter", Since: []int{9}, Infer: inferScatterElements, Grad: gradScatter, Forward: forwardScatterElements}, // its name before 11
		Op{Name: "ScatterND", Since: []int{11, 13, 16, 18}, Infer: inferScatterND, Grad: gradScatter, Forward: forwardScatterND},
	)
}

// reductions are what scatters can do with the element that is there.
var reductions = []string{"none", "add", "mul", "max", "min"}

// checkScatter checks what both operators have in common.
func checkScatter(n *graph.Node) error {
	if err := arity(n, 3, 3, 1); err != nil {
		return err
	}
	if err := sameType(n, 0, 2); err != nil {
		return err
	}
	reduction := n.Str("reduction", "none")
	if !slices.Contains(reductions, reduction) {
		return fmt.Errorf("reduction is %q, want one of %v", reduction, reductions)
	}
	if reduction != "none" {
		return wantType(n, 0, numbers...)
	}
	return nil
}

func inferScatterElements(n *graph.Node) error {
	if err := checkScatter(n); err != nil {
		return err
	}
	if _, err := checkElements(n); err != nil {
		return err
	}
	if !slices.Equal(n.Inputs[1].Shape, n.Inputs[2].Shape) {
		return fmt.Errorf("indices have shape %v, updates %v", []int(n.Inputs[1].Shape), []int(n.Inputs[2].Shape))
	}
	return setOutput(n, 0, n.Inputs[0].DType, n.Inputs[0].Shape)
}

func inferScatterND(n *graph.Node) error {
	if err := checkScatter(n); err != nil {
		return err
	}
	if err := wantType(n, 1, onnx.Int64); err != nil {
		return err
	}
	data, index, updates := n.Inputs[0].Shape, n.Inputs[1].Shape, n.Inputs[2].Shape
	t, err := indexTuples(data, index, 0)
	if err != nil {
		return err
	}
	want := append(append(graph.Shape{}, index[:len(index)-1]...), data[t.depth:]...)
	if !slices.Equal(updates, want) {
		return fmt.Errorf("updates have shape %v, want %v", []int(updates), []int(want))
	}
	return setOutput(n, 0, n.Inputs[0].DType, data)
}

// gradScatter. Overwriting: what was written over gets nothing, updates get
// what is at their place. Adding: both get all of it.
func gradScatter(b *Builder, n *graph.Node, dy values) (values, error) {
	index, updates := n.Inputs[1], n.Inputs[2]
	gather, attrs := "GatherND", []*onnx.Attr(nil)
	if n.Op != "ScatterND" {
		gather, attrs = "GatherElements", []*onnx.Attr{onnx.AttrInt("axis", int64(n.Int("axis", 0)))}
	}
	picked := b.OpA(gather, attrs, dy[0], index)
	switch reduction := n.Str("reduction", "none"); reduction {
	case "add":
		return values{dy[0], nil, picked}, nil
	case "none":
		return values{b.OpA(n.Op, attrs, dy[0], index, b.Zeros(updates)), nil, picked}, nil
	default:
		return nil, fmt.Errorf("the gradient of %s with reduction %q is not implemented", n.Op, reduction)
	}
}

func forwardScatterElements(c *Call) (func() error, error) {
	at, read, err := elementOffsets(c.Node, c.In[0], c.In[1])
	if err != nil {
		return nil, err
	}
	return scatter(c, 1, at, read)
}

func forwardScatterND(c *Call) (func() error, error) {
	t, err := indexTuples(c.In[0].Shape, c.In[1].Shape, 0)
	if err != nil {
		return nil, err
	}
	at, read, err := t.offsets(c.In[0], c.In[1], 0)
	if err != nil {
		return nil, err
	}
	return scatter(c, t.length, at, read)
}

// scatter copies the data and writes blocks of the updates to offsets at, in
// order, so that sums have the same bits in every run.
func scatter(c *Call, length int, at []int, read func() error) (func() error, error) {
	e, err := elementFor(c.Out[0])
	if err != nil {
		return nil, err
	}
	keep, err := copyAll(c.Out[0], c.In[0])
	if err != nil {
		return nil, err
	}
	write := func() {}
	if reduction := c.Node.Str("reduction", "none"); reduction == "none" {
		write = e.scatter(c.Out[0], c.In[2], length, at)
	} else {
		k, err := numberFor(c.Out[0])
		if err != nil {
			return nil, err
		}
		if write, err = k.accumulate(reduction, c.Out[0], c.In[2], length, at); err != nil {
			return nil, err
		}
	}
	return func() error {
		if err := read(); err != nil {
			return err
		}
		if err := keep(); err != nil {
			return err
		}
		write()
		return nil
	}, nil
}

func (numberOf[T]) accumulate(reduction string, out, in *onnx.Tensor, length int, to []int) (func(), error) {
	f := arithmetic[T](map[string]string{"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}[reduction])
	if f == nil {
		return nil, fmt.Errorf("reduction %q is not defined for %v", reduction, in.DType)
	}
	dst, src := onnx.Of[T](out), onnx.Of[T](in)
	return func() {
		for j, t := range to {
			block := dst[t : t+length]
			for i, x := range src[j*length : (j+1)*length] {
				block[i] = f(block[i], x)
			}
		}
	}, nil
}
