package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// inspection is what "unprune inspect" tells about a model.
type inspection struct {
	Model      string         `json:"model"`
	Producer   string         `json:"producer"`
	IRVersion  int64          `json:"ir_version"`
	Opsets     map[string]int `json:"opsets"`
	Size       sizeInfo       `json:"size"`
	Inputs     []valueInfo    `json:"inputs"`
	Outputs    []valueInfo    `json:"outputs"`
	Operators  []operatorInfo `json:"operators"`
	Missing    []string       `json:"missing_operators"`
	Parameters []paramInfo    `json:"parameters"`
	Trainable  int            `json:"trainable_values"`
	Weights    int            `json:"weights"` // in prunable layers
	Zeros      int            `json:"zeros"`   // of them
	Pruner     string         `json:"looks_like_pruner,omitempty"`
	Evidence   string         `json:"evidence,omitempty"` // for that
	Notes      []string       `json:"notes"`
}

// sizeInfo is what a model takes on disk, in bytes.
type sizeInfo struct {
	Model    int64          `json:"model"`    // the file itself
	External []externalInfo `json:"external"` // files beside it
	Dense    int64          `json:"dense"`    // all of it with dense initializers
	Sparse   int64          `json:"sparse"`   // with sparse ones where they are smaller
}

type externalInfo struct {
	File    string `json:"file"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

type valueInfo struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"` // -1: not fixed
}

type operatorInfo struct {
	Name      string `json:"name"`
	Count     int    `json:"count"`
	Supported bool   `json:"supported"`
}

type paramInfo struct {
	Name      string   `json:"name"`
	Label     string   `json:"label"`      // in PyTorch
	LabelFrom string   `json:"label_from"` // where that was found
	Role      string   `json:"role"`
	Shape     []int    `json:"shape"`            // as stored
	Logical   []int    `json:"logical"`          // weights: [out, in, ...]
	Layout    string   `json:"layout,omitempty"` // weights: how the file stores them
	Parts     []string `json:"parts,omitempty"`  // of the output axis, equal ones
	Stored    string   `json:"stored,omitempty"` // half-precision type in the file
	Trainable bool     `json:"trainable"`
	Why       string   `json:"why,omitempty"` // when not trainable
	Sparsity  float64  `json:"sparsity"`      // share of zeros
}

func inspectCommand(a *app) *cobra.Command {
	return a.command(spec{
		use: "inspect MODEL", group: groupLook, min: 1, max: 1,
		short: "Show operators, parameters, sparsity, and what can be trained and what cannot and why",
		long: `Inspect shows what is in a model file and what unprune makes of it: its inputs
and outputs, its operators (those that are not implemented are named all at
once; exit code 1), its parameters with their logical shape, role and sparsity,
which of them are trained or why not, and what the import had to undo.`,
		example: `  unprune inspect model.onnx
  unprune inspect lenet-5 --json`,
		run: func(_ context.Context, args []string) error { return a.inspect(args[0]) },
	})
}

func (a *app) inspect(path string) error {
	m, err := readFile(path)
	if err != nil {
		return err
	}
	g, err := graph.FromONNX(m)
	if err != nil {
		return fmt.Errorf("model %s: %w", path, err)
	}
	size, err := sizeOf(path, m)
	if err != nil {
		return err
	}
	im, err := a.imports.Import(m)
	in := newInspection(path, m, g, missingOperators(err))
	in.Size = size
	switch {
	case len(in.Missing) > 0: // the table below names them
	case err != nil:
		return fmt.Errorf("model %s: %w", path, err)
	default:
		if err := in.addParams(im); err != nil {
			return err
		}
	}
	if err := a.print(in, in.text); err != nil {
		return err
	}
	if len(in.Missing) > 0 {
		return refusal(path, err)
	}
	return nil
}

// newInspection lists what the file holds. missing are the operators that the
// import refuses; functions, branches and loops are looked into there.
func newInspection(path string, m *onnx.Model, g *graph.Graph, missing []string) *inspection {
	in := &inspection{
		Model: path, Producer: strings.TrimSpace(m.Producer + " " + m.ProducerVersion), IRVersion: m.IRVersion,
		Opsets: g.Opsets, Inputs: valueInfos(g.Inputs), Outputs: valueInfos(g.Outputs),
		Missing: append([]string{}, missing...), Parameters: []paramInfo{}, Notes: []string{},
	}
	index := map[string]int{}
	for _, n := range g.Nodes {
		name := operatorName(n.Domain, n.Op)
		i, seen := index[name]
		if !seen {
			i = len(in.Operators)
			index[name] = i
			in.Operators = append(in.Operators, operatorInfo{Name: name, Supported: !slices.Contains(missing, name)})
		}
		in.Operators[i].Count++
	}
	slices.SortFunc(in.Operators, func(a, b operatorInfo) int { return strings.Compare(a.Name, b.Name) })
	return in
}

func valueInfos(values []*graph.Value) []valueInfo {
	out := []valueInfo{}
	for _, v := range values {
		out = append(out, valueInfo{v.Name, v.DType.String(), v.Shape})
	}
	return out
}

func (in *inspection) addParams(im *pass.Model) error {
	in.Notes = append(in.Notes, im.Notes...)
	for _, p := range im.Untrainable() {
		in.Notes = append(in.Notes, p.String())
	}
	for _, p := range im.Params {
		in.Parameters = append(in.Parameters, newParamInfo(p))
		if p.Trainable {
			in.Trainable += p.Tensor().Len()
		}
	}
	layers := layersOf(im)
	if len(layers) == 0 {
		return nil
	}
	pattern, _, err := recognise(im, layers, false)
	if err != nil {
		return err
	}
	in.Weights = pattern.Masks.Len()
	in.Zeros = in.Weights - pattern.Masks.Count()
	if !pattern.Dense {
		in.Pruner, in.Evidence = pattern.Pruner().Name(), pattern.Evidence
	}
	return nil
}

func newParamInfo(p *pass.Param) paramInfo {
	t := p.Tensor()
	info := paramInfo{
		Name: p.Name(), Role: string(p.Role), Shape: t.Shape, Logical: t.Shape,
		Label: p.Label, LabelFrom: p.LabelFrom, Parts: p.Parts,
		Trainable: p.Trainable, Why: p.Why, Sparsity: zeroShare(t),
	}
	if p.Stored != onnx.Undefined {
		info.Stored = p.Stored.String()
	}
	if p.Role == pass.Weight {
		info.Logical = []int{t.Shape[p.OutAxis], t.Shape[p.InAxis]}
		for i, d := range t.Shape {
			if i != p.OutAxis && i != p.InAxis {
				info.Logical = append(info.Logical, d)
			}
		}
		info.Layout = "out, in"
		if p.OutAxis > p.InAxis {
			info.Layout = "in, out"
		}
	}
	return info
}

// title is the name, and the one in PyTorch where that is another.
func (p paramInfo) title() string {
	title := p.Name
	if p.Label != p.Name {
		title += fmt.Sprintf(" = %s (from %s)", p.Label, p.LabelFrom)
	}
	if len(p.Parts) > 0 {
		title += " [" + strings.Join(p.Parts, " ") + "]"
	}
	return title
}

func zeroShare(t *onnx.Tensor) float64 {
	m, err := sparsity.FromValues(t)
	if err != nil || t.Len() == 0 {
		return 0
	}
	return 1 - m.Density()
}

// layersOf is the weight tensors of a model as pruners see them.
func layersOf(im *pass.Model) []sparsity.Layer {
	var layers []sparsity.Layer
	for _, p := range im.Params {
		if p.Role == pass.Weight && p.Trainable {
			layers = append(layers, sparsity.Layer{Name: p.Name(), Weight: p.Tensor(), OutAxis: p.OutAxis, InAxis: p.InAxis})
		}
	}
	return layers
}

func (in *inspection) text(w io.Writer) {
	producer := cmp.Or(in.Producer, "an exporter without a name")
	fmt.Fprintf(w, "%s: written by %s, IR version %d, %s\n", in.Model, producer, in.IRVersion, in.opsets())
	in.Size.text(w)
	for _, v := range in.Inputs {
		fmt.Fprintf(w, "input   %s %s %s\n", v.Name, v.DType, shapeText(v.Shape))
	}
	for _, v := range in.Outputs {
		fmt.Fprintf(w, "output  %s %s %s\n", v.Name, v.DType, shapeText(v.Shape))
	}
	fmt.Fprint(w, "operators:")
	for _, op := range in.Operators {
		mark := ""
		if !op.Supported {
			mark = " (NOT IMPLEMENTED)"
		}
		fmt.Fprintf(w, " %d %s%s", op.Count, op.Name, mark)
	}
	fmt.Fprintln(w)
	if len(in.Parameters) == 0 {
		return
	}
	fmt.Fprintln(w)
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "parameter\trole\tshape (logical)\tstored\tzeros\ttrained")
		for _, p := range in.Parameters {
			trained := "yes"
			if !p.Trainable {
				trained = "no: " + p.Why
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f %%\t%s\n", p.title(), p.Role, shapeText(p.Logical), p.Layout, 100*p.Sparsity, trained)
		}
	})
	fmt.Fprintf(w, "\n%d values are trained; ", in.Trainable)
	if in.Pruner == "" {
		fmt.Fprintf(w, "of %d weights none is pruned\n", in.Weights)
	} else {
		fmt.Fprintf(w, "of %d weights %d are zero (%.2f %%), which looks like pruner %s: %s\n", in.Weights, in.Zeros, 100*float64(in.Zeros)/float64(in.Weights), in.Pruner, in.Evidence)
	}
	for _, n := range in.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// opsets lists the operator sets, ONNX's own first.
func (in *inspection) opsets() string {
	list := []string{fmt.Sprintf("opset %d", in.Opsets[""])}
	for _, domain := range slices.Sorted(maps.Keys(in.Opsets)) {
		if domain != "" {
			list = append(list, fmt.Sprintf("%s %d", domain, in.Opsets[domain]))
		}
	}
	return strings.Join(list, ", ")
}

func shapeText(shape []int) string {
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = fmt.Sprint(d)
		if d < 0 {
			parts[i] = "?"
		}
	}
	return "[" + strings.Join(parts, " ") + "]"
}
