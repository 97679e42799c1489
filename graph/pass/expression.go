package pass

import (
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// views are the operators that hand a parameter on as it is or pick from it.
// A chain of them stays in the graph, and the parameter keeps its name and
// shape: Transpose of a linear layer's weight, Reshape of a slope, Gather from
// a table of relative positions, whose entries are shared.
var views = []string{"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Expand", "Gather"}

func isView(n *graph.Node) bool { return n.Domain == "" && slices.Contains(views, n.Op) }

// maxExpression bounds the nodes of an expression; reordered gates of a
// bidirectional LSTM take 30.
const maxExpression = 256

// An expression is what constants alone are made into.
type expression struct {
	leaves []*graph.Value // parameters that it reads, in order
	nodes  []*graph.Node  // in order
}

// derived says which nodes follow from constants alone, and which
// of them carry elements of a parameter, not only its extents.
type derived struct{ constant, carries map[*graph.Node]bool }

func findDerived(g *graph.Graph) derived {
	d := derived{map[*graph.Node]bool{}, map[*graph.Node]bool{}}
	for _, n := range g.Nodes {
		if n.Domain != "" || len(n.Inputs) == 0 || n.Op == "DequantizeLinear" || !foldable(n) {
			continue
		}
		constant, carries := true, false
		for slot, in := range n.Inputs {
			if in == nil {
				continue
			}
			constant = constant && (in.Const != nil || d.constant[in.Producer()] || extents(n) != nil)
			if !shapeOnly(graph.Use{Node: n, Slot: slot}) {
				carries = carries || splittable(in) || d.carries[in.Producer()]
			}
		}
		d.constant[n], d.carries[n] = constant, constant && carries
	}
	return d
}

// extents are what Shape returns where the extents it is asked for are known,
// whatever the batch: the width of a recurrent layer's state, by which the file
// cuts weights into gates. It is nil everywhere else.
func extents(n *graph.Node) []int64 {
	if n.Op != "Shape" || n.Domain != "" || n.Input(0) == nil || n.Input(0).Shape == nil {
		return nil
	}
	rank := len(n.Input(0).Shape)
	bound := func(i int) int {
		if i < 0 {
			i += rank
		}
		return min(max(i, 0), rank)
	}
	list := []int64{}
	for i := bound(n.Int("start", 0)); i < bound(n.Int("end", rank)); i++ {
		if n.Input(0).Shape[i] < 0 {
			return nil
		}
		list = append(list, int64(n.Input(0).Shape[i]))
	}
	return list
}

// expression collects what the node n is computed from, nil if that is beyond
// maxExpression.
func (d derived) expression(n *graph.Node) *expression {
	e := &expression{}
	seen := map[*graph.Node]bool{}
	var visit func(n *graph.Node) bool
	visit = func(n *graph.Node) bool {
		seen[n] = true
		for slot, in := range n.Inputs {
			switch {
			case in == nil || extents(n) != nil:
			case in.Producer() != nil && !seen[in.Producer()]:
				if len(seen) >= maxExpression || !visit(in.Producer()) {
					return false
				}
			case splittable(in) && !shapeOnly(graph.Use{Node: n, Slot: slot}) && !slices.Contains(e.leaves, in):
				e.leaves = append(e.leaves, in)
			}
		}
		e.nodes = append(e.nodes, n)
		return true
	}
	if !visit(n) {
		return nil
	}
	return e
}

// asItIs reports whether the expression is a view of one parameter.
func (d derived) asItIs(e *expression) bool {
	return len(e.leaves) == 1 && !slices.ContainsFunc(e.nodes, func(n *graph.Node) bool { return d.carries[n] && !isView(n) })
}

// inside reports whether only expressions that are no views read v.
func (d derived) inside(v *graph.Value) bool {
	return !slices.ContainsFunc(v.Uses(), func(u graph.Use) bool { return !d.constant[u.Node] || isView(u.Node) })
}

// express makes one parameter of every expression of parameters that the rest
// of the graph reads (weight normalisation, gates put into another order), and
// removes biases that are computed to be zero. With keep, expressions of
// parameters stay in the graph. It returns what the expressions that stay read.
func (im *Model) express(keep bool) ([]*graph.Value, error) {
	g := im.Graph
	d := findDerived(g)
	var folded, kept []string
	var leaves []*graph.Value
	for _, n := range slices.Clone(g.Nodes) {
		out := n.Output(0)
		if !d.constant[n] || out == nil || !d.readOutside(g, out) {
			continue
		}
		if !d.carries[n] {
			if err := im.dropZeroBias(n, d); err != nil {
				return nil, err
			}
			continue
		}
		e := d.expression(n)
		if e == nil || d.asItIs(e) {
			continue
		}
		name := e.name()
		done := false
		if !keep {
			var err error
			if done, err = im.evaluate(e); err != nil {
				return nil, err
			}
		}
		if !done {
			kept, leaves = append(kept, name), append(leaves, e.leaves...)
			continue
		}
		folded = append(folded, name)
		own := g.AddInit(g.Unique(name), out.Const)
		g.ReplaceUses(out, own)
	}
	if len(folded)+len(kept) == 0 {
		return nil, nil
	}
	g.Prune()
	im.takeNames(folded)
	if len(folded) > 0 {
		im.note("%d weights were expressions of others (weight normalisation, reordered gates): each is one parameter now: %s", len(folded), strings.Join(folded, ", "))
	}
	if len(kept) > 0 {
		im.note("%d weights are expressions of others and stay so, differentiably: %s", len(kept), strings.Join(kept, ", "))
	}
	return leaves, nil
}

// readOutside reports whether something that is no expression reads v.
func (d derived) readOutside(g *graph.Graph, v *graph.Value) bool {
	if slices.Contains(g.Outputs, v) {
		return true
	}
	return slices.ContainsFunc(v.Uses(), func(u graph.Use) bool { return !d.constant[u.Node] && !shapeOnly(u) })
}

// evaluate computes an expression's nodes; their outputs become constants. It
// stops, with false, where a result would be out of proportion to what it is
// computed from, or all of them to the file: one of a few bytes can ask for any
// size.
func (im *Model) evaluate(e *expression) (bool, error) {
	g, limit := im.Graph, maxFolded
	for _, v := range e.leaves {
		limit += 4 * v.Const.Len()
	}
	for _, n := range e.nodes {
		if n.Output(0) == nil {
			continue // another expression has it computed
		}
		if list := extents(n); list != nil && len(n.Outputs) == 1 {
			out := n.Output(0)
			out.DType, out.Shape = onnx.Int64, graph.Shape{len(list)}
			replaceByConst(g, n, []*onnx.Tensor{onnx.FromSlice(list, len(list))})
			continue
		}
		if err := ops.Infer(n); err != nil {
			return false, err
		}
		for _, v := range n.Outputs {
			if v != nil && (v.Shape.Size() > limit || !im.affordable(v.Shape.Size())) {
				return false, nil
			}
		}
		if shapeOnly(graph.Use{Node: n}) {
			if err := foldShape(g, n); err != nil {
				return false, err
			}
			continue
		}
		tensors, err := ops.Eval(n)
		if err != nil {
			return false, err
		}
		replaceByConst(g, n, tensors)
	}
	return true, nil
}

// dropZeroBias removes a bias that stands for none: an exporter that does not
// optimise writes zeros of the weight's extent for it.
func (im *Model) dropZeroBias(n *graph.Node, d derived) error {
	g := im.Graph
	out := n.Output(0)
	for _, u := range slices.Clone(out.Uses()) {
		bias := u.Slot == 2 && u.Node.Domain == "" && slices.Contains([]string{"Conv", "ConvTranspose", "Gemm"}, u.Node.Op)
		if !bias || slices.Contains(g.Outputs, out) {
			continue
		}
		if out.Const == nil {
			e := d.expression(n)
			if e == nil {
				return nil
			}
			if done, err := im.evaluate(e); err != nil || !done {
				return err
			}
		}
		if values, ok := out.Const.Data.([]float32); ok && !slices.ContainsFunc(values, func(x float32) bool { return x != 0 }) {
			g.SetInput(u.Node, u.Slot, nil)
			u.Node.Inputs = u.Node.Inputs[:u.Slot]
		}
	}
	return nil
}

// name is what the expression's parameters are called in common: conv.weight
// for conv.weight_v and conv.weight_g or conv.parametrizations.weight.original0
// and 1, rnn.bias_l0 for rnn.bias_ih_l0 and rnn.bias_hh_l0.
func (e *expression) name() string {
	name := e.leaves[0].Name
	for _, v := range e.leaves[1:] {
		name = common(name, v.Name)
	}
	name = strings.Replace(name, ".parametrizations.", ".", 1)
	return strings.TrimSuffix(name, ".original")
}

// common joins what two names begin and end with, cut where words end.
func common(a, b string) string {
	const ends = "._/"
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i == len(a) || i == len(b) {
		return a[:i]
	}
	head := strings.TrimRight(a[:strings.LastIndexAny(a[:i], ends)+1], ends)
	j := 0
	for j < len(a)-i && j < len(b)-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	tail := a[len(a)-j:]
	if k := strings.IndexAny(tail, ends); k >= 0 {
		head += tail[k:]
	}
	if head == "" {
		return a
	}
	return head
}

// takeNames gives parameters the names that were made for them where what had
// them before is gone.
func (im *Model) takeNames(names []string) {
	for _, v := range im.Graph.Inits {
		i := strings.LastIndexByte(v.Name, '_')
		if i < 0 || !slices.Contains(names, v.Name[:i]) || im.Graph.Value(v.Name[:i]) != nil {
			continue
		}
		if strings.Trim(v.Name[i+1:], "0123456789") == "" {
			_ = im.Graph.Rename(v, v.Name[:i]) // the name is free
		}
	}
}
