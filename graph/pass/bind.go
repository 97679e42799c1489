package pass

import (
	"errors"
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// Bind returns a copy of g for inference on inputs of exactly the types and
// shapes of feeds, whatever the file left open. Where the shape of a result
// depends on the elements of an input (the target of a Reshape, the condition
// of a Loop), that input becomes a constant, and the copy is good for these
// elements only: it is no longer among the copy's inputs.
func Bind(g *graph.Graph, feeds map[string]*onnx.Tensor) (*graph.Graph, error) {
	fixed := map[string]bool{}
	for {
		c, err := bound(g, feeds, fixed)
		var missing *ops.ConstError
		if err == nil || !errors.As(err, &missing) {
			return c, err
		}
		more := false
		for _, name := range sources(missing.Value) {
			if !fixed[name] {
				fixed[name], more = true, true
			}
		}
		if !more {
			return nil, err
		}
	}
}

// bound is Bind with the inputs in fixed as constants.
func bound(g *graph.Graph, feeds map[string]*onnx.Tensor, fixed map[string]bool) (*graph.Graph, error) {
	c := g.Clone()
	for _, in := range slices.Clone(c.Inputs) {
		t := feeds[in.Name]
		if t == nil {
			return nil, fmt.Errorf("pass: input %q is not given", in.Name)
		}
		if err := fits(in, t); err != nil {
			return nil, err
		}
		in.DType, in.Shape = t.DType, append(graph.Shape{}, t.Shape...)
		if fixed[in.Name] {
			in.Const = t
			c.Demote(in)
		}
	}
	forgetInfo(c)
	if err := inferenceMode(c); err != nil {
		return nil, err
	}
	if err := fold(c, nil); err != nil {
		return nil, err
	}
	simplify(c)
	c.Prune()
	return c, nil
}

// fits checks a tensor against what the file says about an input.
func fits(in *graph.Value, t *onnx.Tensor) error {
	ok := in.DType == t.DType || in.DType == onnx.Undefined
	if in.Shape != nil {
		ok = ok && len(in.Shape) == len(t.Shape)
		for i := 0; ok && i < len(in.Shape); i++ {
			ok = in.Shape[i] < 0 || in.Shape[i] == t.Shape[i]
		}
	}
	if !ok {
		return fmt.Errorf("pass: input %q is %v %v, the model takes %v %v", in.Name, t.DType, t.Shape, in.DType, []int(in.Shape))
	}
	return nil
}

// sources lists the graph inputs that v is computed from.
func sources(v *graph.Value) []string {
	var names []string
	seen := map[*graph.Value]bool{v: true}
	for stack := []*graph.Value{v}; len(stack) > 0; {
		v, stack = stack[len(stack)-1], stack[:len(stack)-1]
		if v.Producer() == nil {
			if v.Const == nil {
				names = append(names, v.Name)
			}
			continue
		}
		for _, in := range v.Producer().Inputs {
			if in != nil && !seen[in] {
				seen[in] = true
				stack = append(stack, in)
			}
		}
	}
	return names
}
