package pass

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// A Role says what a parameter does in its node.
type Role string

// The roles of parameters. Weight is a weight input of Conv, ConvTranspose,
// Gemm or MatMul: the tensors that pruners look at.
const (
	Weight    Role = "weight"
	Bias      Role = "bias"
	Scale     Role = "scale"
	Shift     Role = "shift"
	Embedding Role = "embedding"
	Mean      Role = "running mean"
	Variance  Role = "running variance"
	Constant  Role = "constant"
)

// A Param is one floating-point initializer and what is known about it.
type Param struct {
	Value     *graph.Value
	Role      Role
	Node      *graph.Node // the node whose meaning gives the role
	Slot      int         // input of Node
	Trainable bool
	Why       string // when not trainable

	// OutAxis and InAxis give a weight its logical (out, in) view, whatever
	// the exporter's layout: Gemm with transB stores [out in], MatMul [in out].
	OutAxis, InAxis int

	// Label is the parameter's name in PyTorch, LabelFrom where that was found.
	// It is Name where the file does not tell.
	Label, LabelFrom string

	// Parts names the equal parts of the output axis, nil if there are none.
	Parts []string

	// Stored is the half-precision type of the parameter in the file, whose
	// float32 master copy Value holds; Undefined if the file has what is here.
	Stored onnx.DType

	// Mask and Dense are set for weights that pruning hooks masked.
	Mask, Dense *onnx.Tensor
}

// Name is the parameter's name in the file.
func (p *Param) Name() string { return p.Value.Name }

// Tensor is the parameter's value.
func (p *Param) Tensor() *onnx.Tensor { return p.Value.Const }

// State reports whether p is a running statistic of batch normalisation.
func (p *Param) State() bool { return p.Role == Mean || p.Role == Variance }

// Param returns the parameter of that name, nil if there is none.
func (im *Model) Param(name string) *Param {
	for _, p := range im.Params {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// Floats names all floating-point initializers, for Target.Keep.
func (im *Model) Floats() map[string]bool {
	names := map[string]bool{}
	for _, v := range im.Graph.Inits {
		if v.DType.IsFloat() {
			names[v.Name] = true
		}
	}
	return names
}

// origins is what the import saw of parameters before it rewrote the graph.
type origins struct {
	masks     map[string]hooked     // by parameter
	halves    map[string]onnx.DType // types in the file, by the tensor's name there
	computing []*graph.Value        // read by expressions that stay in the graph
}

// findParams lists the floating-point initializers in the order in which the
// graph first reads them.
func (im *Model) findParams(known origins) {
	seen := map[*graph.Value]bool{}
	batch := commonBatch(im.Graph)
	for _, n := range im.Graph.Nodes {
		for slot, v := range n.Inputs {
			if v == nil || v.Const == nil || !v.DType.IsFloat() || seen[v] || shapeOnly(graph.Use{Node: n, Slot: slot}) {
				continue
			}
			seen[v] = true
			p := &Param{Value: v, Stored: known.halves[v.Const.Name]}
			p.Node, p.Slot, p.OutAxis, p.InAxis = consumer(v, graph.Use{Node: n, Slot: slot})
			p.classify(batch)
			p.Parts = p.findParts()
			if slices.Contains(known.computing, v) && v.DType == onnx.Float32 {
				p.Role, p.Trainable, p.Why = Scale, true, ""
			}
			if h, ok := known.masks[v.Name]; ok {
				p.Mask, p.Dense = h.mask, h.dense
			}
			im.Params = append(im.Params, p)
		}
	}
	im.label()
	im.warnFixed()
}

// warnFixed says which constants a fixed batch keeps from being trained.
func (im *Model) warnFixed() {
	var names []string
	for _, p := range im.Params {
		if p.Why == whyFixed {
			names = append(names, fmt.Sprintf("%q", p.Name()))
		}
	}
	if len(names) > 0 {
		im.note("%s cannot be trained: %s", strings.Join(names, ", "), whyFixed)
	}
}

// noteFolded says that batch normalisation went into convolutions, as plain
// exports have it.
func (im *Model) noteFolded() {
	folded := 0
	for _, p := range im.Params {
		if p.Node.Op == "Conv" && p.Slot == 2 && (strings.HasSuffix(p.Name(), ".weight_bias") || strings.HasPrefix(p.Name(), "onnx::Conv_")) {
			folded++
		}
	}
	if folded > 0 {
		im.note("batch normalisation is folded into %d convolutions: they are trained as they are, at a smaller learning rate, and initial weights must come from an export that folds it too", folded)
	}
}

// whyFixed is why an expanded constant is not trained.
const whyFixed = "its leading extent is the batch that the file fixes, so that it holds a copy per sample; export the model with a dynamic batch (dynamic_shapes or dynamic_axes)"

// consumer follows a parameter through nodes that hand it on to the node that
// gives it its meaning, and says along which of the parameter's axes that
// node's outputs and inputs run.
func consumer(v *graph.Value, u graph.Use) (n *graph.Node, slot, outAxis, inAxis int) {
	perm := make([]int, len(v.Shape)) // axis of the value as seen now -> axis of the parameter
	for i := range perm {
		perm[i] = i
	}
	n, slot = u.Node, u.Slot
	for isView(n) && n.Op != "Gather" && slot == 0 && len(n.Output(0).Uses()) == 1 {
		if n.Op == "Transpose" {
			perm = permuted(perm, n.Ints("perm"))
		}
		u = n.Output(0).Uses()[0]
		n, slot = u.Node, u.Slot
	}
	if len(perm) < 2 {
		return n, slot, 0, 0
	}
	out, in := 0, 1 // Conv: [out in/group ...]
	switch {
	case (n.Op == "LSTM" || n.Op == "GRU" || n.Op == "RNN") && len(perm) > 2:
		out, in = 1, 2 // [directions gates*hidden in]
	case n.Op == "ConvTranspose":
		out, in = 1, 0
	case n.Op == "Gemm" && slot == 1 && n.Int("transB", 0) == 0, n.Op == "Gemm" && slot == 0 && n.Int("transA", 0) != 0:
		out, in = 1, 0
	case n.Op == "MatMul" && slot == 1:
		out, in = len(perm)-1, len(perm)-2
	case n.Op == "MatMul" && slot == 0:
		out, in = len(perm)-2, len(perm)-1
	}
	return n, slot, perm[out], perm[in]
}

func permuted(perm, by []int) []int {
	out := make([]int, len(perm))
	for i := range out {
		j := len(perm) - 1 - i // default: reversed
		if len(by) == len(perm) {
			j = by[i]
		}
		if j < 0 || j >= len(perm) {
			return perm // the node's own inference refuses it
		}
		out[i] = perm[j]
	}
	return out
}

// slotRoles gives the role of each constant input per operator.
var slotRoles = map[string][]Role{
	"Conv":                  {Constant, Weight, Bias},
	"ConvTranspose":         {Constant, Weight, Bias},
	"Gemm":                  {Weight, Weight, Bias},
	"MatMul":                {Weight, Weight},
	"BatchNormalization":    {Constant, Scale, Shift, Mean, Variance},
	"LayerNormalization":    {Constant, Scale, Shift},
	"GroupNormalization":    {Constant, Scale, Shift},
	"InstanceNormalization": {Constant, Scale, Shift},
	"RMSNormalization":      {Constant, Scale},
	"PRelu":                 {Constant, Scale},
	"Gather":                {Embedding},
	"Add":                   {Bias, Bias},
	"Sub":                   {Bias, Bias},
	"Mul":                   {Scale, Scale},
	"Concat":                {Bias, Bias, Bias, Bias},
	"Expand":                {Bias},
	"LSTM":                  {Constant, Weight, Weight, Bias, Constant, Bias, Bias, Bias},
	"GRU":                   {Constant, Weight, Weight, Bias, Constant, Bias},
	"RNN":                   {Constant, Weight, Weight, Bias, Constant, Bias},
}

// slotRole is the role of a constant that is input slot of n.
func slotRole(n *graph.Node, slot int) Role {
	if roles := slotRoles[n.Op]; n.Domain == "" && slot < len(roles) {
		return roles[slot]
	}
	return Constant
}

// classify sets role and trainability. batch is the batch that the file
// fixes, 0 if it does not.
func (p *Param) classify(batch int) {
	v := p.Value
	p.Role = slotRole(p.Node, p.Slot)
	if p.Role == Weight && len(v.Shape) < 2 {
		p.Role = Bias
	}
	switch {
	case p.Role == Constant:
		p.Why = fmt.Sprintf("input %d of %s is no parameter", p.Slot, p.Node.Op)
	case p.State():
		p.Why = "running statistic, kept as state"
	case v.DType != onnx.Float32:
		p.Why = fmt.Sprintf("%v is not trained; convert the file to float32", v.DType)
	case len(v.Shape) == 0:
		p.Why = "a scalar constant"
	case p.groupStandIn():
		p.Why = "the ones or zeros of a group normalisation; its scale and shift follow behind"
	case p.Role == Bias && len(v.Shape) > 1 && additiveMask(v.Const):
		p.Why = "an attention mask"
	case p.repeatsBatch(batch):
		p.Why = whyFixed
	case (p.Role == Bias || p.Role == Scale) && v.Const.Len() == 1 && len(v.Shape) <= 1 && !strings.Contains(v.Name, "."):
		p.Why = "a scalar constant"
	default:
		p.Trainable = true
	}
	if !p.Trainable && p.Role != Mean && p.Role != Variance {
		p.Role = Constant
	}
}

// TrainableNames lists the parameters that training changes, in graph order.
func (im *Model) TrainableNames() []string {
	var names []string
	for _, p := range im.Params {
		if p.Trainable {
			names = append(names, p.Name())
		}
	}
	return names
}

// Match pairs the parameters of another export of the same network (its
// initial weights, say) with im's, by position in the graph: names may differ,
// and equal names may hold other values when one export folded batch
// normalisation and the other did not. The result is in the order of
// im.Params. The error says where the two networks first differ.
func (im *Model) Match(other *Model) ([]*Param, error) {
	return im.match(other, func(a, b graph.Shape) bool { return slices.Equal(a, b) })
}

// MatchWide pairs as Match does, but the other file's parameters may be wider:
// units were taken out of im's network.
func (im *Model) MatchWide(other *Model) ([]*Param, error) {
	return im.match(other, func(a, b graph.Shape) bool {
		for axis := range a {
			if len(a) != len(b) || a[axis] > b[axis] {
				return false
			}
		}
		return len(a) == len(b)
	})
}

// match pairs parameters whose shapes fit.
func (im *Model) match(other *Model, fit func(mine, other graph.Shape) bool) ([]*Param, error) {
	a, b := im.Graph.Nodes, other.Graph.Nodes
	if len(im.Params) == 0 {
		return nil, fmt.Errorf("pass: the model has no parameters")
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i].Op != b[i].Op || a[i].Domain != b[i].Domain {
			return nil, fmt.Errorf("pass: the two files are not exports of one network in one way: operation %d is %s %q in the one and %s %q in the other%s",
				i+1, a[i].Op, a[i].Name, b[i].Op, b[i].Name, foldingHint(im, other))
		}
	}
	if len(a) != len(b) {
		return nil, fmt.Errorf("pass: the two files are not exports of one network in one way: %d operations in the one, %d in the other%s",
			len(a), len(b), foldingHint(im, other))
	}
	place := map[*graph.Node]int{}
	for i, n := range a {
		place[n] = i
	}
	var out []*Param
	used := map[*Param]bool{}
	for _, p := range im.Params {
		u := p.Value.Uses()[0]
		twin := b[place[u.Node]].Input(u.Slot)
		if twin == nil && p.Role == Bias {
			out = append(out, p.zeros())
			continue
		}
		if twin == nil || twin.Const == nil {
			return nil, fmt.Errorf("pass: parameter %q has no counterpart in the other file (input %d of %s %q)", p.Name(), u.Slot, u.Node.Op, u.Node.Name)
		}
		if !fit(p.Value.Shape, twin.Shape) {
			return nil, fmt.Errorf("pass: parameter %q has shape %v, in the other file %v (%q): these are different networks",
				p.Name(), []int(p.Value.Shape), []int(twin.Shape), twin.Name)
		}
		q := other.Param(twin.Name)
		if q == nil {
			return nil, fmt.Errorf("pass: parameter %q: its counterpart %q is no parameter", p.Name(), twin.Name)
		}
		out = append(out, q)
		used[q] = true
	}
	for _, q := range other.Params {
		if q.Trainable && !used[q] {
			return nil, fmt.Errorf("pass: parameter %q of the other file has no counterpart: these are different networks", q.Name())
		}
	}
	return out, nil
}

// zeros stands for a bias that the other export left out because it is zero,
// as exporters that fold batch normalisation do before training.
func (p *Param) zeros() *Param {
	q := *p
	t := onnx.NewTensor(p.Value.DType, p.Value.Shape...)
	t.Name = p.Name()
	q.Value = &graph.Value{Name: p.Name(), DType: t.DType, Shape: p.Value.Shape, Const: t}
	return &q
}

// foldingHint explains the most frequent reason for two exports not matching:
// without their normalisations they would.
func foldingHint(a, b *Model) string {
	rest := func(m *Model) (names []string, norms int) {
		for _, n := range m.Graph.Nodes {
			if n.Op == "BatchNormalization" {
				norms++
				continue
			}
			names = append(names, n.Op)
		}
		return names, norms
	}
	na, ca := rest(a)
	nb, cb := rest(b)
	switch {
	case !slices.Equal(na, nb):
		return "; these are different networks, or exports by different calls: export both with the same call"
	case (ca == 0) != (cb == 0):
		return "; one has BatchNormalization folded into Conv: export both with the same call"
	}
	return "; export both with the same call"
}
