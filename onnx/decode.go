package onnx

import (
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// maxDepth bounds how deep graphs and types may be nested.
const maxDepth = 64

// MaxNodes bounds the nodes of a file, those of graphs inside nodes included.
// Networks have thousands.
const MaxNodes = 1 << 18

// Decode reads a model from the bytes of a file. External data is looked for
// below dir; a nil dir means that there must be none. The model shares no
// memory with b.
func Decode(b []byte, dir *os.Root) (*Model, error) {
	return decodeWith(b, dir, func(*pb.ModelProto) error { return nil })
}

// decodeWith completes the message that it parses with fill.
func decodeWith(b []byte, dir *os.Root, fill func(*pb.ModelProto) error) (*Model, error) {
	p := new(pb.ModelProto)
	if err := (proto.UnmarshalOptions{RecursionLimit: 8 * maxDepth}).Unmarshal(b, p); err != nil {
		return nil, formatErrorf("not an ONNX model, or cut short: %v", err)
	}
	if err := fill(p); err != nil {
		return nil, err
	}
	d := decoder{external: newExternalFiles(dir)}
	defer d.external.close()
	return d.model(p)
}

// decoder turns the messages of one file into plain values, which take over the
// messages' memory.
type decoder struct {
	external *externalFiles
	depth    int
	nodes    int
}

// enter counts a level of nesting; every call that succeeds is followed by leave.
func (d *decoder) enter() error {
	if d.depth == maxDepth {
		return unsupportedf("nested deeper than %d levels", maxDepth)
	}
	d.depth++
	return nil
}

func (d *decoder) leave() { d.depth-- }

// list converts the elements of a repeated field.
func list[P, M any](ps []P, field string, convert func(P) (M, error)) ([]M, error) {
	if len(ps) == 0 {
		return nil, nil
	}
	ms := make([]M, len(ps))
	for i, p := range ps {
		m, err := convert(p)
		if err != nil {
			return nil, at(err, element(field, i, nameOf(p)))
		}
		ms[i] = m
	}
	return ms, nil
}

// optional converts a message that may be missing.
func optional[P comparable, M any](p P, field string, convert func(P) (M, error)) (M, error) {
	var noP P
	var m M
	if p == noP {
		return m, nil
	}
	m, err := convert(p)
	return m, at(err, field)
}

// nameOf is the name of a message, or of the value that it stands for; "" if
// its kind has none.
func nameOf(p any) string {
	switch p := p.(type) {
	case *Tensor:
		return p.Name
	case *SparseTensor:
		return p.name()
	case *Node:
		return p.Name
	case *Function:
		return p.Name
	case *Attr:
		return p.Name
	case interface{ GetName() string }:
		return p.GetName()
	case *pb.SparseTensorProto:
		return p.GetValues().GetName()
	}
	return ""
}

func (d *decoder) model(p *pb.ModelProto) (*Model, error) {
	if p.Graph == nil {
		return nil, formatErrorf("has no graph; is it an ONNX model?")
	}
	m := &Model{
		Opsets:   opsets(p.OpsetImport),
		Metadata: pairs(p.MetadataProps),
		devices:  p.Configuration,
	}
	k := &m.kept
	k.keepUnknown(p)
	m.IRVersion = take(k, modelIRVersion, p.IrVersion)
	m.Producer = take(k, modelProducer, p.ProducerName)
	m.ProducerVersion = take(k, modelProducerVersion, p.ProducerVersion)
	m.Domain = take(k, modelDomain, p.Domain)
	m.ModelVersion = take(k, modelVersion, p.ModelVersion)
	m.Doc = take(k, modelDoc, p.DocString)
	var err error
	if m.Graph, err = optional(p.Graph, "graph", d.graph); err != nil {
		return nil, err
	}
	if m.Functions, err = list(p.Functions, "functions", d.function); err != nil {
		return nil, err
	}
	m.Training, err = list(p.TrainingInfo, "training_info", d.training)
	return m, err
}

func (d *decoder) graph(p *pb.GraphProto) (*Graph, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	g := &Graph{Quantization: quantAnnotations(p.QuantizationAnnotation), Metadata: pairs(p.MetadataProps)}
	k := &g.kept
	k.keepUnknown(p)
	g.Name = take(k, graphName, p.Name)
	g.Doc = take(k, graphDoc, p.DocString)
	if d.nodes += len(p.Node); d.nodes > MaxNodes {
		return nil, tooManyNodes()
	}
	var err error
	if g.Nodes, err = list(p.Node, "node", d.node); err != nil {
		return nil, err
	}
	if g.Initializers, err = list(p.Initializer, "initializer", d.tensor); err != nil {
		return nil, err
	}
	if g.SparseInitializers, err = list(p.SparseInitializer, "sparse_initializer", d.sparse); err != nil {
		return nil, err
	}
	if g.Inputs, err = list(p.Input, "input", d.valueInfo); err != nil {
		return nil, err
	}
	if g.Outputs, err = list(p.Output, "output", d.valueInfo); err != nil {
		return nil, err
	}
	g.ValueInfo, err = list(p.ValueInfo, "value_info", d.valueInfo)
	return g, err
}

func tooManyNodes() error {
	return unsupportedf("has more than %d nodes, the most that are taken", MaxNodes)
}

func (d *decoder) node(p *pb.NodeProto) (*Node, error) {
	n := &Node{
		Inputs:   p.Input,
		Outputs:  p.Output,
		Metadata: pairs(p.MetadataProps),
		devices:  p.DeviceConfigurations,
	}
	k := &n.kept
	k.keepUnknown(p)
	n.Name = take(k, nodeName, p.Name)
	n.OpType = take(k, nodeOpType, p.OpType)
	n.Domain = take(k, nodeDomain, p.Domain)
	n.Overload = take(k, nodeOverload, p.Overload)
	n.Doc = take(k, nodeDoc, p.DocString)
	var err error
	n.Attrs, err = list(p.Attribute, "attribute", d.attr)
	return n, err
}

func (d *decoder) function(p *pb.FunctionProto) (*Function, error) {
	f := &Function{
		Inputs:    p.Input,
		Outputs:   p.Output,
		AttrNames: p.Attribute,
		Opsets:    opsets(p.OpsetImport),
		Metadata:  pairs(p.MetadataProps),
	}
	k := &f.kept
	k.keepUnknown(p)
	f.Name = take(k, functionName, p.Name)
	f.Domain = take(k, functionDomain, p.Domain)
	f.Overload = take(k, functionOverload, p.Overload)
	f.Doc = take(k, functionDoc, p.DocString)
	var err error
	if f.AttrDefaults, err = list(p.AttributeProto, "attribute_proto", d.attr); err != nil {
		return nil, err
	}
	if f.Nodes, err = list(p.Node, "node", d.node); err != nil {
		return nil, err
	}
	f.ValueInfo, err = list(p.ValueInfo, "value_info", d.valueInfo)
	return f, err
}

func (d *decoder) training(p *pb.TrainingInfoProto) (*TrainingInfo, error) {
	t := &TrainingInfo{InitBinding: pairs(p.InitializationBinding), UpdateBinding: pairs(p.UpdateBinding)}
	t.kept.keepUnknown(p)
	var err error
	if t.Initialization, err = optional(p.Initialization, "initialization", d.graph); err != nil {
		return nil, err
	}
	t.Algorithm, err = optional(p.Algorithm, "algorithm", d.graph)
	return t, err
}

func (d *decoder) attr(p *pb.AttributeProto) (*Attr, error) {
	a := &Attr{Floats: p.Floats, Ints: p.Ints, Strings: p.Strings, S: p.S}
	k := &a.kept
	k.keepUnknown(p)
	a.Name = take(k, attrName, p.Name)
	a.RefName = take(k, attrRefName, p.RefAttrName)
	a.Doc = take(k, attrDoc, p.DocString)
	a.Type = AttrType(take(k, attrType, p.Type))
	a.F = takeValue(k, attrF, p.F, a.holds(AttrTypeFloat))
	a.I = takeValue(k, attrI, p.I, a.holds(AttrTypeInt))
	if len(p.S) == 0 && (p.S != nil) != a.holds(AttrTypeString) {
		k.setZero(attrS)
	}
	var err error
	if a.T, err = optional(p.T, "t", d.tensor); err != nil {
		return nil, err
	}
	if a.G, err = optional(p.G, "g", d.graph); err != nil {
		return nil, err
	}
	if a.Sparse, err = optional(p.SparseTensor, "sparse_tensor", d.sparse); err != nil {
		return nil, err
	}
	if a.TP, err = optional(p.Tp, "tp", d.typ); err != nil {
		return nil, err
	}
	if a.Tensors, err = list(p.Tensors, "tensors", d.tensor); err != nil {
		return nil, err
	}
	if a.Graphs, err = list(p.Graphs, "graphs", d.graph); err != nil {
		return nil, err
	}
	if a.SparseTensors, err = list(p.SparseTensors, "sparse_tensors", d.sparse); err != nil {
		return nil, err
	}
	a.Types, err = list(p.TypeProtos, "type_protos", d.typ)
	return a, err
}

// holds reports whether a has a value of its own in the field of type t.
func (a *Attr) holds(t AttrType) bool { return a.Type == t && a.RefName == "" }

func (d *decoder) valueInfo(p *pb.ValueInfoProto) (*ValueInfo, error) {
	v := &ValueInfo{Metadata: pairs(p.MetadataProps)}
	v.kept.keepUnknown(p)
	v.Name = take(&v.kept, valueName, p.Name)
	v.Doc = take(&v.kept, valueDoc, p.DocString)
	var err error
	v.Type, err = optional(p.Type, "type", d.typ)
	return v, err
}

func opsets(ps []*pb.OperatorSetIdProto) []OpsetID {
	return values(ps, func(p *pb.OperatorSetIdProto, o *OpsetID) {
		o.kept.keepUnknown(p)
		o.Domain = take(&o.kept, opsetDomain, p.Domain)
		o.Version = take(&o.kept, opsetVersion, p.Version)
	})
}

func pairs(ps []*pb.StringStringEntryProto) []StringPair {
	return values(ps, func(p *pb.StringStringEntryProto, s *StringPair) {
		s.kept.keepUnknown(p)
		s.Key = take(&s.kept, pairKey, p.Key)
		s.Value = take(&s.kept, pairValue, p.Value)
	})
}

func quantAnnotations(ps []*pb.TensorAnnotation) []QuantAnnotation {
	return values(ps, func(p *pb.TensorAnnotation, q *QuantAnnotation) {
		q.kept.keepUnknown(p)
		q.Tensor = take(&q.kept, quantTensor, p.TensorName)
		q.Params = pairs(p.QuantParameterTensorNames)
	})
}

// values converts a repeated field of small messages that cannot be wrong.
func values[P, M any](ps []P, fill func(P, *M)) []M {
	if len(ps) == 0 {
		return nil
	}
	ms := make([]M, len(ps))
	for i, p := range ps {
		fill(p, &ms[i])
	}
	return ms
}
