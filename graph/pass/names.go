package pass

import (
	"regexp"
	"strings"

	"github.com/unprune/unprune/graph"
)

// Sources of a parameter's label.
const (
	FromFile     = "the file"
	FromBias     = "the bias beside it"
	FromMetadata = "the node's metadata"
	FromNode     = "the node's name"
)

// generated matches names that an exporter made up: numbers, the operators
// that made a value, what TorchScript puts in front of values that it folded.
var generated = regexp.MustCompile(`^(.*::.*|/.*|val_\d+|_?\d+|[a-z]+(_\d+)?|Constant.*)$`)

// label gives every parameter the name that it has in PyTorch, as far as the
// file lets on: exporters that fold or transpose a weight drop its name, but
// keep that of the bias beside it, or that of the module in the node's
// metadata (DYN) or name (TorchScript). A label that two would have is taken
// by neither.
func (im *Model) label() {
	count := map[string]int{}
	for _, p := range im.Params {
		p.Label, p.LabelFrom = p.findLabel()
		count[p.Label]++
	}
	for _, p := range im.Params {
		if count[p.Label] > 1 {
			p.Label, p.LabelFrom = p.Name(), FromFile
		}
	}
}

func (p *Param) findLabel() (label, from string) {
	name := p.Name()
	if layer, ok := strings.CutSuffix(name, ".weight_bias"); ok && p.Role == Bias {
		return plain(layer) + ".bias", FromFile // what folding batch normalisation adds
	}
	if !generated.MatchString(name) {
		return plain(name), FromFile
	}
	part := p.part()
	if part == "" {
		return name, FromFile
	}
	if bias := biasBeside(p.Node); p.Role == Weight && bias != nil && !generated.MatchString(bias.Name) {
		if stem, ok := strings.CutSuffix(bias.Name, "bias"); ok {
			return plain(stem + part), FromBias
		}
	}
	if module := scope(p.Node); module != "" {
		return plain(module) + "." + part, FromMetadata
	}
	if module := modulePath(p.Node.Name); module != "" {
		return plain(module) + "." + part, FromNode
	}
	return name, FromFile
}

// plain removes the prefix of models wrapped in DataParallel.
func plain(name string) string { return strings.TrimPrefix(name, "module.") }

// part is what PyTorch's modules call the parameter in its place.
func (p *Param) part() string {
	switch p.Node.Op {
	case "LSTM", "GRU", "RNN":
		return [...]string{"", "weight_ih", "weight_hh", "bias", "", "", "", ""}[min(p.Slot, 7)]
	case "Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization", "PRelu":
	default:
		return ""
	}
	switch p.Role {
	case Weight, Scale:
		return "weight"
	case Bias, Shift:
		return "bias"
	case Mean:
		return "running_mean"
	case Variance:
		return "running_var"
	}
	return ""
}

// biasBeside is the bias of a node that has a weight: its own, or the constant
// that is added to its output.
func biasBeside(n *graph.Node) *graph.Value {
	if n.Op != "MatMul" {
		if b := n.Input(2); b != nil && b.Const != nil {
			return b
		}
		return nil
	}
	if out := n.Output(0); out != nil && len(out.Uses()) == 1 {
		add := out.Uses()[0].Node
		if add.Op != "Add" || add.Domain != "" {
			return nil
		}
		if b := add.Input(1 - out.Uses()[0].Slot); b != nil && b.Const != nil && len(b.Shape) == 1 {
			return b
		}
	}
	return nil
}

// scope is the innermost module in a node's metadata, whose value is a Python
// list: [”, 'encoder', 'encoder.mlp.0', 'linear_2'].
func scope(n *graph.Node) string {
	if n.Source == nil {
		return ""
	}
	for _, m := range n.Source.Metadata {
		if m.Key != "pkg.torch.onnx.name_scopes" {
			continue
		}
		list := strings.Split(strings.Trim(m.Value, "[]"), ",")
		if len(list) < 2 {
			return ""
		}
		return strings.Trim(strings.TrimSpace(list[len(list)-2]), "'\"")
	}
	return ""
}

// modulePath is the module in a TorchScript node's name,
// /encoder/layers/layers.0/mlp/mlp.0/MatMul: encoder.layers.0.mlp.0. Members
// of lists carry the list's name too.
func modulePath(name string) string {
	if !strings.HasPrefix(name, "/") {
		return ""
	}
	steps := strings.Split(name[1:], "/")
	var path []string
	last := ""
	for _, step := range steps[:len(steps)-1] {
		if rest, ok := strings.CutPrefix(step, last+"."); ok && last != "" {
			path = append(path, rest)
		} else {
			path = append(path, step)
		}
		last = step
	}
	return strings.Join(path, ".")
}
