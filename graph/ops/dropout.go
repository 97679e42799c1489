package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

func init() {
	register(Op{Name: "Dropout", Since: []int{1, 6, 7, 10, 12, 13, 22}, Axes: axesCopy, Infer: inferDropout, Grad: gradDropout,
		Forward: runDropout, InPlace: []int{0}})
}

// Dropout(x, [ratio], [training_mode]) passes x through, whatever
// training_mode says: what it does in training is random, so the switch to
// training mode (package pass) replaces it by a product with noise that is fed.
// Output 1, the mask, is all true.

func inferDropout(n *graph.Node) error {
	maxIn := 3
	if n.Version < 12 {
		maxIn = 1
	}
	if err := arity(n, 1, maxIn, 2); err != nil {
		return err
	}
	if err := wantType(n, 0, floats...); err != nil {
		return err
	}
	if err := wantType(n, 1, append(slices.Clone(floats), onnx.Float16, onnx.BFloat16)...); err != nil {
		return err
	}
	if err := wantType(n, 2, onnx.Bool); err != nil {
		return err
	}
	for i := 1; i < len(n.Inputs); i++ {
		if v := n.Inputs[i]; v != nil && v.Shape.Size() != 1 {
			return fmt.Errorf("input %d, %q, has shape %v, want a scalar", i, v.Name, []int(v.Shape))
		}
	}
	x := n.Inputs[0]
	mask := onnx.Bool
	if n.Version < 10 {
		mask = x.DType
	}
	if err := setOutput(n, 1, mask, x.Shape); err != nil {
		return err
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

func gradDropout(b *Builder, n *graph.Node, dy []*graph.Value) ([]*graph.Value, error) {
	if dy[0] == nil {
		return nil, nil
	}
	return []*graph.Value{b.Op("Identity", dy[0])}, nil
}

func runDropout(c *Call) (func() error, error) {
	pass, err := forwardView(c)
	if err != nil || len(c.Out) < 2 || c.Out[1] == nil {
		return pass, err
	}
	mask := c.Out[1]
	return func() error {
		switch m := mask.Data.(type) {
		case []bool:
			fill(m, true)
		case []float32:
			fill(m, 1)
		case []float64:
			fill(m, 1)
		}
		return pass()
	}, nil
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}
