package pass

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// maxDepth bounds how deep branches and loops may nest.
const maxDepth = 32

// A folder walks a graph in order, infers types, computes what is constant
// and replaces branches and loops by the nodes that they run: the branch that
// is taken, the body once per iteration. What is left can be differentiated
// like any other graph.
type folder struct {
	g        *graph.Graph
	keep     map[string]bool
	in       inliner // calls of local functions in bodies
	b        *ops.Builder
	expanded int // nodes that came from bodies
	folded   int // elements of results that became constants
}

func newFolder(g *graph.Graph, keep map[string]bool) *folder {
	return &folder{g: g, keep: keep, b: ops.NewBuilder(g), in: newInliner(g)}
}

// control lists the operators that run bodies of their own.
var control = []string{"If", "Loop", "Scan"}

func isControl(n *graph.Node) bool { return n.Domain == "" && slices.Contains(control, n.Op) }

// expand returns what stands for the outputs of a branch or loop.
func (f *folder) expand(n *graph.Node, depth int) ([]*graph.Value, error) {
	switch n.Op {
	case "If":
		return f.branch(n, depth)
	case "Loop":
		return f.loop(n, depth)
	}
	return f.scan(n, depth)
}

// nodes folds a list of nodes in order.
func (f *folder) nodes(list []*graph.Node, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("pass: branches and loops nest deeper than %d", maxDepth)
	}
	for _, n := range list {
		if !isControl(n) {
			if err := f.node(n); err != nil {
				return err
			}
			continue
		}
		outputs, err := f.expand(n, depth)
		if err == nil {
			err = f.b.Err
		}
		if err != nil {
			return &ops.NodeError{Node: n, Err: err}
		}
		if err := f.in.replace(n, outputs); err != nil {
			return err
		}
	}
	return nil
}

// run appends the nodes of a body that n holds, with args for its inputs, and
// folds them.
func (f *folder) run(n *graph.Node, attr string, args []*graph.Value, prefix string, depth int) ([]*graph.Value, error) {
	a := n.Attr(attr)
	if a == nil || a.G == nil {
		return nil, fmt.Errorf("attribute %s holds no graph", attr)
	}
	if len(args) != len(a.G.Inputs) {
		return nil, fmt.Errorf("its body has %d inputs, want %d", len(a.G.Inputs), len(args))
	}
	if f.expanded += len(a.G.Nodes) + len(a.G.Outputs); f.expanded > maxNodes {
		return nil, fmt.Errorf("branches and loops amount to more than %d nodes", maxNodes)
	}
	scope := map[string]*graph.Value{}
	for i, name := range n.Captured {
		scope[name] = n.Inputs[len(n.Explicit())+i]
	}
	for i, in := range a.G.Inputs {
		scope[in.Name] = args[i]
	}
	body := graph.Body{Nodes: a.G.Nodes, Inits: a.G.Initializers, Prefix: prefix}
	for _, out := range a.G.Outputs {
		body.Outputs = append(body.Outputs, out.Name)
	}
	if len(a.G.SparseInitializers) > 0 {
		return nil, fmt.Errorf("sparse initializers in the body are not implemented")
	}
	nodes, outputs, err := f.g.Instantiate(body, scope)
	if err != nil {
		return nil, err
	}
	for _, m := range nodes {
		m.Version = n.Version
	}
	if nodes, err = f.in.all(nodes, nil); err != nil {
		return nil, err
	}
	if err := f.nodes(nodes, depth+1); err != nil {
		return nil, err
	}
	for i, v := range outputs { // a call or a loop in the body may be gone
		outputs[i] = f.in.present(v)
	}
	return outputs, nil
}

// branch replaces If by the branch that a constant condition takes. When the
// condition is computed, both run, and Where chooses.
func (f *folder) branch(n *graph.Node, depth int) ([]*graph.Value, error) {
	cond := n.Input(0)
	if cond == nil || cond.DType != onnx.Bool {
		return nil, fmt.Errorf("the condition must be a bool")
	}
	taken, known, err := truth(cond)
	if err != nil {
		return nil, err
	}
	branches := []string{"then_branch", "else_branch"}
	if known && f.constant(cond) {
		if !taken {
			branches = branches[1:]
		}
		return f.run(n, branches[0], nil, n.Name+"/", depth)
	}
	var sides [2][]*graph.Value
	for i, name := range branches {
		if sides[i], err = f.run(n, name, nil, n.Name+"/"+name+"/", depth); err != nil {
			return nil, err
		}
	}
	outputs := make([]*graph.Value, len(sides[0]))
	for i := range outputs {
		if i >= len(sides[1]) || sides[0][i].DType != sides[1][i].DType || !slices.Equal(sides[0][i].Shape, sides[1][i].Shape) {
			return nil, fmt.Errorf("the condition is computed and output %d is not alike in both branches: %w", i, &ops.ConstError{Value: cond})
		}
		outputs[i] = f.b.Op("Where", cond, sides[0][i], sides[1][i])
	}
	return outputs, nil
}

// truth is the value of a constant condition.
func truth(v *graph.Value) (value, known bool, err error) {
	if v.Const == nil {
		return false, false, nil
	}
	data, ok := v.Const.Data.([]bool)
	if !ok || len(data) != 1 {
		return false, false, fmt.Errorf("the condition %q is %v, want one bool", v.Name, v)
	}
	return data[0], true, nil
}

// loop unrolls Loop(M, cond, carried...). The number of iterations must follow
// from constants.
func (f *folder) loop(n *graph.Node, depth int) ([]*graph.Value, error) {
	explicit := n.Explicit()
	if len(explicit) < 2 {
		return nil, fmt.Errorf("has %d inputs, want at least 2", len(explicit))
	}
	limit := int64(-1)
	if m := explicit[0]; m != nil {
		if !f.constant(m) {
			return nil, &ops.ConstError{Input: 0, Value: m}
		}
		data, ok := m.Const.Data.([]int64)
		if !ok || len(data) != 1 {
			return nil, fmt.Errorf("the trip count is %v, want one int64", m)
		}
		limit = data[0]
	}
	cond, carried := explicit[1], slices.Clone(explicit[2:])
	var pieces [][]*graph.Value // scanned outputs, per iteration
	for i := int64(0); limit < 0 || i < limit; i++ {
		if cond != nil {
			on, known, err := truth(cond)
			if err != nil {
				return nil, err
			}
			if !known || !f.constant(cond) {
				return nil, fmt.Errorf("whether it goes on is computed: %w", &ops.ConstError{Input: 1, Value: cond})
			}
			if !on {
				break
			}
		}
		count := f.b.Const(onnx.FromSlice([]int64{i}))
		state := cond
		if state == nil {
			state = f.b.Const(onnx.FromSlice([]bool{true}))
		}
		args := append([]*graph.Value{count, state}, carried...)
		out, err := f.run(n, "body", args, fmt.Sprintf("%s/%d/", n.Name, i), depth)
		if err != nil {
			return nil, err
		}
		if len(out) < 1+len(carried) {
			return nil, fmt.Errorf("its body has %d outputs, want at least %d", len(out), 1+len(carried))
		}
		cond = out[0]
		copy(carried, out[1:])
		pieces = append(pieces, out[1+len(carried):])
	}
	return f.collect(n, carried, pieces, nil, nil)
}

// collect joins what every iteration made along new axes, behind the values
// that are carried.
func (f *folder) collect(n *graph.Node, carried []*graph.Value, pieces [][]*graph.Value, axes []int, reversed []bool) ([]*graph.Value, error) {
	out := slices.Clone(carried)
	scanned := len(n.Outputs) - len(carried)
	for k := range scanned {
		if len(pieces) == 0 {
			return nil, fmt.Errorf("it runs no iteration, so that output %d has no shape", len(carried)+k)
		}
		axis := 0
		if k < len(axes) {
			axis = axes[k]
		}
		var parts []*graph.Value
		for _, p := range pieces {
			if k >= len(p) {
				return nil, fmt.Errorf("its body makes %d values to scan, want %d", len(p), scanned)
			}
			rank := len(p[k].Shape) + 1
			if axis < -rank || axis >= rank {
				return nil, fmt.Errorf("axis %d of output %d is out of range", axis, k)
			}
			at := (axis + rank) % rank
			parts = append(parts, f.b.Reshape(p[k], slices.Insert(slices.Clone([]int(p[k].Shape)), at, 1)...))
		}
		if k < len(reversed) && reversed[k] {
			slices.Reverse(parts)
		}
		if axis < 0 && len(parts) > 0 && parts[0] != nil {
			axis += len(parts[0].Shape)
		}
		out = append(out, f.b.OpA("Concat", []*onnx.Attr{onnx.AttrInt("axis", int64(axis))}, parts...))
	}
	return out, f.b.Err
}

// scan unrolls Scan(state..., inputs...): one iteration per slice of the
// inputs along their scan axes.
func (f *folder) scan(n *graph.Node, depth int) ([]*graph.Value, error) {
	if n.Version < 9 {
		return nil, fmt.Errorf("the Scan of opset 8 is not implemented; export the model with opset 9 or later")
	}
	explicit, count := n.Explicit(), n.Int("num_scan_inputs", 0)
	if count < 1 || count > len(explicit) || slices.Contains(explicit, nil) {
		return nil, fmt.Errorf("num_scan_inputs is %d of %d inputs", count, len(explicit))
	}
	states := len(explicit) - count
	carried, inputs := slices.Clone(explicit[:states]), explicit[states:]
	axes, directions := n.Ints("scan_input_axes"), n.Ints("scan_input_directions")
	length := -1
	at := make([]int, count)
	for k, v := range inputs {
		if k < len(axes) {
			at[k] = axes[k]
		}
		if rank := len(v.Shape); at[k] < -rank || at[k] >= rank {
			return nil, fmt.Errorf("scan axis %d is out of range for %v", at[k], v)
		} else if at[k] < 0 {
			at[k] += rank
		}
		extent := v.Shape[at[k]]
		if length >= 0 && extent != length {
			return nil, fmt.Errorf("the inputs to scan have %d and %d slices", length, extent)
		}
		length = extent
	}
	var pieces [][]*graph.Value
	for i := range length {
		args := slices.Clone(carried)
		for k, v := range inputs {
			j := i
			if k < len(directions) && directions[k] != 0 {
				j = length - 1 - i
			}
			args = append(args, f.b.OpA("Gather", []*onnx.Attr{onnx.AttrInt("axis", int64(at[k]))}, v, f.b.Int(j)))
		}
		if f.b.Err != nil {
			return nil, f.b.Err
		}
		out, err := f.run(n, "body", args, fmt.Sprintf("%s/%d/", n.Name, i), depth)
		if err != nil {
			return nil, err
		}
		if len(out) < states {
			return nil, fmt.Errorf("its body has %d outputs, want at least %d", len(out), states)
		}
		copy(carried, out)
		pieces = append(pieces, out[states:])
	}
	var reversed []bool
	for _, d := range n.Ints("scan_output_directions") {
		reversed = append(reversed, d != 0)
	}
	return f.collect(n, carried, pieces, n.Ints("scan_output_axes"), reversed)
}
