package pass

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// Target is what Specialise makes a graph for.
type Target struct {
	Batch int // leading extent of every input

	// Dims gives extents to further axes of inputs, by the file's names.
	Dims map[string]int

	// Training puts batch normalisation and dropout into training mode,
	// whatever mode the file was exported in; otherwise they are in inference
	// mode.
	Training bool

	// Keep names the initializers whose values change between runs: nothing
	// that depends on them is folded.
	Keep map[string]bool
}

// Specialise returns a copy of g for one batch size and mode: all types and
// shapes are inferred, what depends on constants alone (the shape arithmetic
// of exporters) is computed and removed, and nodes that pass their input
// through are gone.
//
// A graph that was exported with a fixed batch is rebound where its Reshape
// nodes allow it; otherwise the error says what to export instead.
func Specialise(g *graph.Graph, t Target) (*graph.Graph, error) {
	if t.Batch < 1 {
		return nil, fmt.Errorf("pass: batch size %d: want at least 1", t.Batch)
	}
	c := g.Clone()
	if err := bindDims(c, t.Dims); err != nil {
		return nil, err
	}
	for _, in := range c.Inputs {
		if err := bindBatch(c, in, t.Batch); err != nil {
			return nil, err
		}
	}
	forgetInfo(c)
	if err := inferenceMode(c); err != nil {
		return nil, err
	}
	if err := fold(c, t.Keep); err != nil {
		return nil, err
	}
	if err := checkBatch(c, t.Batch); err != nil {
		return nil, err
	}
	if t.Training {
		if err := trainingMode(c); err != nil {
			return nil, err
		}
	}
	simplify(c)
	c.Prune()
	return c, nil
}

// forgetInfo drops what the file declared about inputs and outputs: it is the
// extents of before.
func forgetInfo(g *graph.Graph) {
	for _, list := range [][]*graph.Value{g.Inputs, g.Outputs} {
		for _, v := range list {
			v.Info = nil
		}
	}
}

// bindBatch sets the free extents of an input. Only the leading one may be free.
func bindBatch(g *graph.Graph, in *graph.Value, batch int) error {
	if in.Shape == nil {
		return fmt.Errorf("pass: input %q has no shape in the file; export it with one", in.Name)
	}
	for i, d := range in.Shape[min(1, len(in.Shape)):] {
		if d < 0 {
			return fmt.Errorf("pass: input %q: axis %d%s has no fixed extent; only the batch (axis 0) may be dynamic: give it one by its name", in.Name, i+1, paramText(in, i+1))
		}
	}
	if len(in.Shape) == 0 || in.Shape[0] == batch {
		return nil
	}
	if fixed := in.Shape[0]; fixed >= 0 {
		freeReshapes(g, fixed)
	}
	in.Shape[0] = batch
	return nil
}

// freeReshapes rewrites the constant targets of Reshape that repeat the fixed
// batch in front, [1 400], to copy that extent from their input, [0 400].
// Where the target also infers an extent, [1 -1], the batch keeps its place.
func freeReshapes(g *graph.Graph, fixed int) {
	for _, n := range g.Nodes {
		if n.Op != "Reshape" || n.Domain != "" {
			continue
		}
		to := constOf(n.Input(1))
		if to == nil || to.DType != onnx.Int64 || to.Len() == 0 || onnx.Of[int64](to)[0] != int64(fixed) {
			continue
		}
		target := slices.Clone(onnx.Of[int64](to))
		if n.Int("allowzero", 0) != 0 {
			if slices.Contains(target, 0) {
				continue // an extent of zero is meant
			}
			n.SetAttr(onnx.AttrInt("allowzero", 0))
		}
		target[0] = 0
		g.SetInput(n, 1, g.AddInit(n.Input(1).Name, onnx.FromSlice(target, len(target))))
	}
}

// constOf is the tensor of an initializer or of a Constant node, nil for
// everything else.
func constOf(v *graph.Value) *onnx.Tensor {
	if v == nil {
		return nil
	}
	if v.Const != nil {
		return v.Const
	}
	if p := v.Producer(); p != nil && p.Op == "Constant" && p.Domain == "" {
		if a := p.Attr("value"); a != nil {
			return a.T
		}
	}
	return nil
}

// fold infers every node in order and replaces those whose inputs are all
// constants by their value. Big results stay computed: a constant that is
// expanded to megabytes is cheaper to make than to keep. Branches and loops
// are replaced by what they do. Nodes that are replaced
// are removed at the end, all at once.
func fold(g *graph.Graph, keep map[string]bool) error {
	f := newFolder(g, keep)
	if err := f.nodes(slices.Clone(g.Nodes), 0); err != nil {
		return err
	}
	g.Prune()
	if f.expanded > 0 {
		return g.Sort()
	}
	return nil
}

// maxFolded is the largest result, in elements, that is kept as a constant, and
// allFolded what all results may have; once they do, only those of at most
// smallFolded elements are kept, such as extents.
const (
	maxFolded   = 1 << 16
	allFolded   = 1 << 24
	smallFolded = 64
)

// node infers n and replaces it when its value is known.
func (f *folder) node(n *graph.Node) error {
	if err := ops.Infer(n); err != nil {
		return err
	}
	ofShape := n.Domain == "" && (n.Op == "Shape" || n.Op == "Size")
	if !ofShape && !(foldable(n) && !slices.ContainsFunc(n.Inputs, func(v *graph.Value) bool { return !f.constant(v) })) {
		return nil
	}
	for _, v := range n.Outputs {
		if v == nil || v.Shape.Size() <= smallFolded {
			continue
		}
		if v.Shape.Size() > maxFolded || f.folded+v.Shape.Size() > allFolded {
			return nil
		}
		f.folded += v.Shape.Size()
	}
	if ofShape {
		return foldShape(f.g, n)
	}
	tensors, err := ops.Eval(n)
	if err != nil {
		return err
	}
	replaceByConst(f.g, n, tensors)
	return nil
}

// constant reports whether v is left out or does not change between runs.
func (f *folder) constant(v *graph.Value) bool {
	return v == nil || v.Const != nil && !f.keep[v.Name]
}

// foldable reports whether n computes the same from the same inputs.
func foldable(n *graph.Node) bool {
	switch n.Op {
	case "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout":
		return false
	}
	op, err := ops.Lookup(n)
	return err == nil && op.Forward != nil
}

// foldShape computes Shape or Size from the type alone.
func foldShape(g *graph.Graph, n *graph.Node) error {
	in := n.Input(0)
	stand := *n
	// Eval wants tensors; only their extents are looked at, so one without
	// elements in memory will do.
	stand.Inputs = []*graph.Value{{Name: in.Name, DType: in.DType, Shape: in.Shape, Const: &onnx.Tensor{DType: in.DType, Shape: in.Shape}}}
	tensors, err := ops.Eval(&stand)
	if err != nil {
		return err
	}
	replaceByConst(g, n, tensors)
	return nil
}

// replaceByConst makes constants of all outputs of n, which Prune then removes.
func replaceByConst(g *graph.Graph, n *graph.Node, tensors []*onnx.Tensor) {
	for i, out := range slices.Clone(n.Outputs) {
		if out == nil {
			continue
		}
		out.Const = tensors[i]
		g.MakeConst(out)
	}
}

// checkBatch refuses graphs in which a fixed batch survived.
func checkBatch(g *graph.Graph, batch int) error {
	for _, out := range g.Outputs {
		if len(out.Shape) > 0 && out.Shape[0] != batch && len(g.Inputs) > 0 && len(g.Inputs[0].Shape) > 0 {
			return fmt.Errorf("pass: output %q has shape %v for a batch of %d: the file was exported for a fixed batch that cannot be changed; "+
				"export it with dynamic_shapes={0: \"batch\"} (or dynamic_axes)", out.Name, []int(out.Shape), batch)
		}
	}
	return nil
}

// simplify removes nodes that pass their input through.
func simplify(g *graph.Graph) {
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" || !passesThrough(n) {
			continue
		}
		in, out := n.Input(0), n.Output(0)
		if slices.Contains(g.Outputs, out) {
			continue // an output keeps its name
		}
		g.ReplaceUses(out, in) // Prune removes n
	}
}

func passesThrough(n *graph.Node) bool {
	if out := n.Output(1); out != nil && len(out.Uses()) > 0 {
		return false
	}
	switch n.Op {
	case "Identity", "Dropout":
		return true
	case "Cast":
		return n.Input(0).DType == n.Output(0).DType
	}
	return false
}
