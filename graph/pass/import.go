package pass

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// A Model is an imported file: its graph, ready to be trained, and the table
// of its parameters.
type Model struct {
	Graph  *graph.Graph
	Logits *graph.Value // what the loss is applied to
	Params []*Param     // in graph order
	Notes  []string     // what the import found and did, one sentence each

	// Elements that copies of initializers and results of expressions may take
	// together, and have taken.
	allowed, taken int
}

// Options of an import. The zero value is what Import does.
type Options struct {
	// KeepTied leaves equal initializers that the file has once one parameter.
	KeepTied bool

	// KeepExpressions leaves weights that are computed from other parameters
	// computed, so that those are trained (weight normalisation: direction and
	// length). Otherwise the result of each expression is one parameter.
	KeepExpressions bool

	// Train and Freeze name parameters, by their names in the file or in
	// PyTorch, that are trained although the import would not, or not although
	// it would. In a pattern * stands for any characters, ? for one.
	Train, Freeze []string

	// Dims gives extents to axes of inputs that the file only names, beyond
	// the batch: {"sequence": 128}.
	Dims map[string]int
}

// Import converts a file and undoes what exporters do to parameters: equal
// initializers that were merged get one copy per use, Identity nodes on
// initializers disappear, the products that pruning hooks leave behind become
// a masked weight, other expressions of constants one parameter,
// half-precision weights get a float32 master copy, and a Softmax at the
// output is kept for inference but not for the loss.
//
// The error is an *ImportError that lists everything that is not implemented.
func Import(m *onnx.Model) (*Model, error) { return Options{}.Import(m) }

// Import is Import with options.
func (o Options) Import(m *onnx.Model) (*Model, error) {
	if m.Graph != nil && len(m.Graph.Nodes) > onnx.MaxNodes {
		return nil, fmt.Errorf("pass: the model has %d nodes, more than the %d that are taken", len(m.Graph.Nodes), onnx.MaxNodes)
	}
	g, err := graph.FromONNX(m)
	if err != nil {
		return nil, err
	}
	if err := bindDims(g, o.Dims); err != nil {
		return nil, err
	}
	calls, err := inlineFunctions(g)
	if err != nil {
		return nil, err
	}
	sequences(g)
	dropped := dropouts(g)
	if err := g.Sort(); err != nil {
		return nil, err
	}
	if err := importable(g); err != nil {
		return nil, err
	}
	im := &Model{Graph: g}
	if dropped > 0 {
		im.note("%d dropouts were exported in parts (random numbers compared with a rate): they are Dropout now, which only training applies", dropped)
	}
	if calls > 0 {
		im.note("%d calls of local functions are inlined", calls)
	}
	if err := constants(g); err != nil {
		return nil, err
	}
	halves, err := im.single()
	if err != nil {
		return nil, err
	}
	if len(halves) > 0 {
		im.note("%d half-precision initializers are float32 master copies from here on; the file that is written has them in half precision again", len(halves))
	}
	if err := im.casts(); err != nil {
		return nil, err
	}
	g.Prune()
	im.untie(o)
	known := origins{masks: im.unhook(), halves: halves}
	g.Prune()
	if known.computing, err = im.express(o.KeepExpressions); err != nil {
		return nil, err
	}
	im.retie()
	if err := g.Sort(); err != nil {
		return nil, err
	}
	if err := im.settle(); err != nil {
		return nil, err
	}
	g.Prune()
	if err := im.findLogits(); err != nil {
		return nil, err
	}
	im.findParams(known)
	im.noteFolded()
	return im, im.choose(o)
}

// settle puts batch normalisation that was exported in training mode into
// inference mode, which is what a model that is written back must have: the
// mode is a matter of what is done with a model, not of the file.
func (im *Model) settle() error {
	trained := 0
	for _, n := range im.Graph.Nodes {
		if n.Op == "BatchNormalization" && n.Domain == "" && n.Int("training_mode", 0) != 0 {
			trained++
		}
	}
	if trained == 0 {
		return nil
	}
	im.note("%d BatchNormalization nodes were exported in training mode; they use running statistics from here on", trained)
	return inferenceMode(im.Graph)
}

// constants turns Constant nodes that hold numbers into initializers, so that
// the exporters' ways of writing a constant become one.
func constants(g *graph.Graph) error {
	for _, n := range slices.Clone(g.Nodes) {
		out := n.Output(0)
		if n.Op != "Constant" || n.Domain != "" || out == nil || slices.Contains(g.Outputs, out) {
			continue
		}
		var t *onnx.Tensor
		switch a := n.Attr("value"); {
		case a != nil && a.T != nil:
			t = a.T
		case n.Attr("value_int") != nil, n.Attr("value_ints") != nil, n.Attr("value_float") != nil, n.Attr("value_floats") != nil:
			if err := ops.Infer(n); err != nil {
				return err
			}
			tensors, err := ops.Eval(n)
			if err != nil {
				return err
			}
			t = tensors[0]
		default:
			continue
		}
		out.DType, out.Shape, out.Const = t.DType, append(graph.Shape{}, t.Shape...), t
		g.MakeConst(out)
	}
	g.Prune() // the nodes have no output left
	return nil
}

// casts settles conversions whose result is known: CastLike becomes Cast; a
// Cast of a constant to its own type disappears, one of a constant that is no
// parameter (a mask of bools, say) becomes its result.
func (im *Model) casts() error {
	g := im.Graph
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" {
			continue
		}
		if n.Op == "CastLike" && n.Input(1) != nil && n.Input(1).DType != onnx.Undefined {
			to := n.Input(1).DType
			g.SetInput(n, 1, nil)
			n.Op, n.Inputs = "Cast", n.Inputs[:1]
			n.Attrs = []*onnx.Attr{onnx.AttrInt("to", int64(to))}
		}
		in, out := n.Input(0), n.Output(0)
		if n.Op != "Cast" || in == nil || in.Const == nil || slices.Contains(g.Outputs, out) {
			continue
		}
		if in.DType == onnx.DType(n.Int("to", 0)) {
			g.ReplaceUses(out, in) // Prune removes n
			continue
		}
		if splittable(in) || !im.affordable(in.Const.Len()) {
			continue
		}
		if err := ops.Infer(n); err != nil {
			return err
		}
		tensors, err := ops.Eval(n)
		if err != nil {
			return err
		}
		replaceByConst(g, n, tensors)
	}
	return nil
}

// untie removes Identity nodes on initializers and gives every use of a
// floating-point initializer that has several a copy of its own: exporters
// merge equal initializers, so that separate parameters of an untrained
// network look shared. A weight that an embedding Gather and a matrix product
// share is really tied and stays so, as is one that expressions read: the
// direction of weight normalisation, once divided and once measured.
func (im *Model) untie(o Options) {
	g := im.Graph
	before, copies := len(g.Inits), 0
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op != "Identity" || n.Domain != "" || n.Input(0) == nil || n.Input(0).Const == nil {
			continue
		}
		in, out := n.Input(0), n.Output(0)
		if slices.Contains(g.Outputs, out) {
			continue
		}
		own := in
		if splittable(in) && !o.KeepTied && im.affordable(in.Const.Len()) {
			// The Identity carried the name of the parameter that was merged.
			name := out.Name
			_ = g.Rename(out, g.Unique(name)) // a unique name is free
			own = g.AddInit(name, cloneTensor(in.Const))
			copies++
		}
		g.ReplaceUses(out, own)
	}
	g.Prune() // nobody reads the Identity nodes
	d := findDerived(g)
	for _, v := range slices.Clone(g.Inits) {
		if !splittable(v) || tied(v) || o.KeepTied || d.inside(v) {
			continue
		}
		readers := slices.DeleteFunc(slices.Clone(v.Uses()), shapeOnly)
		for _, u := range readers[min(1, len(readers)):] {
			if !im.affordable(v.Const.Len()) {
				im.note("initializer %q stays shared by %d nodes: copies would take much more memory than the file", v.Name, len(readers))
				break
			}
			own := g.AddInit(v.Name+"_"+nodeLabel(u.Node), cloneTensor(v.Const))
			g.SetInput(u.Node, u.Slot, own)
			copies++
		}
	}
	if copies > 0 {
		im.note("%d initializers stood for more parameters (the exporter merges equal ones): %d copies made, one per use", before, copies)
	}
}

// affordable reports whether n more elements keep copies of initializers and
// results of expressions within a multiple of the file's own weights, and counts
// them.
func (im *Model) affordable(n int) bool {
	const factor, spare = 8, 1 << 22 // elements
	if im.allowed == 0 {
		im.allowed = spare
		counted := map[*onnx.Tensor]bool{} // calls of a function share its constants
		for _, w := range im.Graph.Inits {
			if !counted[w.Const] {
				counted[w.Const] = true
				im.allowed += factor * w.Const.Len()
			}
		}
	}
	if n > im.allowed-im.taken {
		return false
	}
	im.taken += n
	return true
}

// splittable initializers may be parameters: floating point and not a scalar.
func splittable(v *graph.Value) bool {
	return v.Const != nil && v.DType.IsFloat() && v.Const.Len() > 1
}

// shapeOnly reports whether a use looks at a value's shape alone.
func shapeOnly(u graph.Use) bool {
	return u.Node.Domain == "" && (u.Node.Op == "Shape" || u.Node.Op == "Size")
}

// tied reports whether the uses of v differ in kind: embedding and projection.
func tied(v *graph.Value) bool {
	gather, other := false, false
	for _, u := range v.Uses() {
		if u.Node.Op == "Gather" && u.Slot == 0 {
			gather = true
		} else {
			other = true
		}
	}
	return gather && other
}

func nodeLabel(n *graph.Node) string {
	name := n.Name
	if name == "" && n.Output(0) != nil {
		name = n.Output(0).Name
	}
	return strings.Trim(strings.ReplaceAll(name, "/", "."), ".")
}

func cloneTensor(t *onnx.Tensor) *onnx.Tensor {
	c := onnx.NewTensor(t.DType, t.Shape...)
	c.Name = t.Name
	copyData(c, t)
	return c
}

func copyData(dst, src *onnx.Tensor) {
	switch s := src.Data.(type) {
	case []float32:
		copy(onnx.Of[float32](dst), s)
	case []float64:
		copy(onnx.Of[float64](dst), s)
	case []uint16:
		copy(onnx.Of[uint16](dst), s)
	}
}

// hooked is what a pruning hook left of one parameter.
type hooked struct{ mask, dense *onnx.Tensor }

// unhook folds Mul(weight_orig, weight_mask), what torch.nn.utils.prune leaves
// in a model whose hooks were not removed, into one masked weight. The dense
// values are remembered: they are the weights before the cut.
func (im *Model) unhook() map[string]hooked {
	g := im.Graph
	found := map[string]hooked{}
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op != "Mul" || n.Domain != "" || len(n.Inputs) != 2 {
			continue
		}
		w, m := maskedPair(n)
		out := n.Output(0)
		if w == nil || slices.Contains(g.Outputs, out) || !im.affordable(w.Const.Len()) {
			continue
		}
		value := cloneTensor(w.Const)
		values, mask := onnx.Of[float32](value), onnx.Of[float32](m.Const)
		for i := range values {
			if mask[i] == 0 {
				values[i] = 0
			}
		}
		name := strings.TrimSuffix(w.Name, "_orig")
		own := g.AddInit(name, value)
		g.ReplaceUses(out, own) // Prune removes n
		found[own.Name] = hooked{mask: m.Const, dense: w.Const}
	}
	if len(found) > 0 {
		im.note("%d weights were pruned by hooks that were not removed (Mul of weight and mask): folded, the masks and the dense values kept", len(found))
	}
	return found
}

// maskedPair recognises a product of a float32 constant and a constant of
// zeros and ones of the same shape.
func maskedPair(n *graph.Node) (weight, mask *graph.Value) {
	a, b := n.Input(0), n.Input(1)
	if a == nil || b == nil || a.Const == nil || b.Const == nil || a.DType != onnx.Float32 || b.DType != onnx.Float32 || !slices.Equal(a.Shape, b.Shape) || len(a.Shape) < 2 {
		return nil, nil
	}
	if binary(b.Const) {
		return a, b
	}
	if binary(a.Const) {
		return b, a
	}
	return nil, nil
}

func binary(t *onnx.Tensor) bool {
	return !slices.ContainsFunc(onnx.Of[float32](t), func(x float32) bool { return x != 0 && x != 1 })
}

// findLogits takes the first output, or what a final Softmax or LogSoftmax
// reads.
func (im *Model) findLogits() error {
	if len(im.Graph.Outputs) == 0 {
		return fmt.Errorf("pass: the model has no output")
	}
	v := im.Graph.Outputs[0]
	for p := v.Producer(); p != nil && p.Domain == ""; p = v.Producer() {
		if p.Op == "Softmax" || p.Op == "LogSoftmax" {
			im.note("the model ends in %s (node %q); the loss is computed from its input", p.Op, p.Name)
		} else if p.Op != "Identity" && p.Op != "Cast" {
			break
		}
		if p.Input(0) == nil {
			break // its inference says so
		}
		v = p.Input(0)
	}
	im.Logits = v
	return nil
}

// Trunk is a copy of the graph whose only output is the logits.
func (im *Model) Trunk() *graph.Graph {
	g := im.Graph.Clone()
	g.Outputs = []*graph.Value{g.Value(im.Logits.Name)}
	g.Prune()
	return g
}

func (im *Model) note(format string, args ...any) {
	im.Notes = append(im.Notes, fmt.Sprintf(format, args...))
}
