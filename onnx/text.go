package onnx

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strings"
)

// Text describes m in a compact form, one line per value or node, for golden
// files and for people. Data of more than a few elements appear as a hash of
// their bits, so two models with the same text hold the same numbers.
func Text(m *Model) string {
	w := &textWriter{}
	w.line("model ir_version=%d%s", m.IRVersion, text("producer", m.Producer+" "+m.ProducerVersion)+
		text("domain", m.Domain)+number("version", m.ModelVersion))
	w.opsets(m.Opsets)
	w.pairs("metadata", m.Metadata)
	if m.Graph != nil {
		w.graph("graph", m.Graph)
	}
	for _, f := range m.Functions {
		w.function(f)
	}
	for i, t := range m.Training {
		w.training(i, t)
	}
	return w.b.String()
}

type textWriter struct {
	b     bytes.Buffer
	depth int
}

func (w *textWriter) line(format string, args ...any) {
	for range w.depth {
		w.b.WriteString("  ")
	}
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

// inside runs write one level deeper.
func (w *textWriter) inside(write func()) {
	w.depth++
	write()
	w.depth--
}

func text(key, value string) string {
	if value = strings.TrimSpace(value); value == "" {
		return ""
	}
	return fmt.Sprintf(" %s=%q", key, value)
}

func number(key string, value int64) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(" %s=%d", key, value)
}

func (w *textWriter) opsets(opsets []OpsetID) {
	for _, o := range opsets {
		w.line("opset %q %d", o.Domain, o.Version)
	}
}

func (w *textWriter) pairs(kind string, pairs []StringPair) {
	for _, p := range pairs {
		w.line("%s %q=%q", kind, p.Key, p.Value)
	}
}

func (w *textWriter) graph(kind string, g *Graph) {
	w.line("%s %q", kind, g.Name)
	w.inside(func() {
		w.values("input", g.Inputs)
		w.values("output", g.Outputs)
		for _, t := range g.Initializers {
			w.line("initializer %q %s", t.Name, tensorText(t))
		}
		for _, s := range g.SparseInitializers {
			w.line("sparse_initializer %q %s", s.name(), sparseText(s))
		}
		w.values("value", g.ValueInfo)
		for _, q := range g.Quantization {
			w.line("quantization %q", q.Tensor)
			w.inside(func() { w.pairs("parameter", q.Params) })
		}
		w.pairs("metadata", g.Metadata)
		w.nodes(g.Nodes)
	})
}

func (w *textWriter) values(kind string, vs []*ValueInfo) {
	for _, v := range vs {
		w.line("%s %q %s", kind, v.Name, typeText(v.Type))
	}
}

func (w *textWriter) function(f *Function) {
	w.line("function %q (%s) -> (%s)%s", operator(f.Domain, f.Name, f.Overload),
		quoted(f.Inputs), quoted(f.Outputs), text("attributes", strings.Join(f.AttrNames, " ")))
	w.inside(func() {
		w.opsets(f.Opsets)
		for _, a := range f.AttrDefaults {
			w.attr("default", a)
		}
		w.values("value", f.ValueInfo)
		w.pairs("metadata", f.Metadata)
		w.nodes(f.Nodes)
	})
}

func (w *textWriter) training(i int, t *TrainingInfo) {
	w.line("training %d", i)
	w.inside(func() {
		if t.Initialization != nil {
			w.graph("initialization", t.Initialization)
		}
		w.pairs("initialization_binding", t.InitBinding)
		if t.Algorithm != nil {
			w.graph("algorithm", t.Algorithm)
		}
		w.pairs("update_binding", t.UpdateBinding)
	})
}

func (w *textWriter) nodes(nodes []*Node) {
	for _, n := range nodes {
		w.line("%s = %s(%s)%s", quoted(n.Outputs), operator(n.Domain, n.OpType, n.Overload), quoted(n.Inputs), text("name", n.Name))
		w.inside(func() {
			for _, a := range n.Attrs {
				w.attr("attr", a)
			}
			w.pairs("metadata", n.Metadata)
		})
	}
}

func operator(domain, name, overload string) string {
	if domain != "" {
		name = domain + "." + name
	}
	if overload != "" {
		name += ":" + overload
	}
	return name
}

func quoted(names []string) string {
	return strings.Join(messages(names, func(s string) string { return fmt.Sprintf("%q", s) }), ", ")
}

func (w *textWriter) attr(kind string, a *Attr) {
	if a.RefName != "" {
		w.line("%s %q %v = @%q", kind, a.Name, a.Type, a.RefName)
		return
	}
	w.line("%s %q %v%s", kind, a.Name, a.Type, scalarText(a))
	w.inside(func() {
		for _, t := range present(a.T, a.Tensors) {
			w.line("tensor %q %s", t.Name, tensorText(t))
		}
		for _, s := range present(a.Sparse, a.SparseTensors) {
			w.line("sparse_tensor %q %s", s.name(), sparseText(s))
		}
		for _, t := range present(a.TP, a.Types) {
			w.line("type %s", typeText(t))
		}
		for _, g := range present(a.G, a.Graphs) {
			w.graph("graph", g)
		}
	})
}

// scalarText is the value of an attribute that fits on its line.
func scalarText(a *Attr) string {
	switch a.Type {
	case AttrTypeFloat:
		return fmt.Sprintf(" = %v", a.F)
	case AttrTypeInt:
		return fmt.Sprintf(" = %d", a.I)
	case AttrTypeString:
		return fmt.Sprintf(" = %q", a.S)
	case AttrTypeFloats:
		return fmt.Sprintf(" = %v", a.Floats)
	case AttrTypeInts:
		return fmt.Sprintf(" = %d", a.Ints)
	case AttrTypeStrings:
		return fmt.Sprintf(" = %q", a.Strings)
	}
	return ""
}

// maxShown is the number of elements that are shown one by one.
const maxShown = 8

func tensorText(t *Tensor) string {
	s := fmt.Sprintf("%v%v", t.DType, t.Shape)
	if t.storage != storageAuto {
		s += " " + t.storage.String()
	}
	switch data := t.Data.(type) {
	case nil:
		return s
	case []string:
		return s + fmt.Sprintf(" = %q", data)
	default:
		if lengthOf(data) <= maxShown {
			return s + fmt.Sprintf(" = %v", data)
		}
		hash := fnv.New64a()
		hash.Write(rawBytes(data))
		return s + fmt.Sprintf(" #%016x", hash.Sum64())
	}
}

func sparseText(s *SparseTensor) string {
	if s.Values == nil || s.Indices == nil {
		return "incomplete"
	}
	return fmt.Sprintf("dims%v values %s indices %s", s.Dims, tensorText(s.Values), tensorText(s.Indices))
}

func typeText(t *Type) string {
	if t == nil {
		return "?"
	}
	s := "?"
	switch {
	case t.Tensor != nil:
		s = t.Tensor.Elem.String() + shapeText(t.Tensor.Shape)
	case t.SparseTensor != nil:
		s = "sparse " + t.SparseTensor.Elem.String() + shapeText(t.SparseTensor.Shape)
	case t.Sequence != nil:
		s = "sequence(" + typeText(t.Sequence.Elem) + ")"
	case t.Optional != nil:
		s = "optional(" + typeText(t.Optional.Elem) + ")"
	case t.Map != nil:
		s = fmt.Sprintf("map(%v, %s)", t.Map.Key, typeText(t.Map.Value))
	case t.Opaque != nil:
		s = fmt.Sprintf("opaque(%q)", operator(t.Opaque.Domain, t.Opaque.Name, ""))
	}
	return s + text("denotation", t.Denotation)
}

// shapeText shows a shape: "[batch 3 ?]", or "..." when the rank is unknown.
func shapeText(dims []Dim) string {
	if dims == nil {
		return "..."
	}
	return "[" + strings.Join(messages(dims, Dim.String), " ") + "]"
}

// String shows the extent: a number, a name, or "?" when it is unknown.
func (d Dim) String() string {
	switch n, known := d.Known(); {
	case known:
		return fmt.Sprint(n)
	case d.Param != "":
		return d.Param
	}
	return "?"
}
