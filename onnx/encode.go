package onnx

import (
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// maxFile is the largest message that protobuf allows, and so the largest file.
const maxFile = math.MaxInt32

// Encode returns m as the bytes of a file, with all data inside. An untouched
// model yields the bytes it was read from, if its writer put the fields in order.
func (m *Model) Encode() ([]byte, error) {
	e := encoder{}
	p, err := e.model(m)
	if err != nil {
		return nil, err
	}
	if size := proto.Size(p); size > maxFile {
		return nil, unsupportedf("the model has %d bytes, a file cannot have more than %d: write it with external data", size, maxFile)
	}
	return marshal(p)
}

func marshal(p *pb.ModelProto) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return nil, formatErrorf("cannot be encoded: %v", err)
	}
	return b, nil
}

// encoder turns plain values into messages, which share the values' memory.
type encoder struct {
	external *externalLayout // nil: everything inside
}

// Each method is the inverse of the decoder method of that name.

func (e *encoder) model(m *Model) (*pb.ModelProto, error) {
	k := m.kept
	p := &pb.ModelProto{
		IrVersion:       give(k, modelIRVersion, m.IRVersion),
		ProducerName:    give(k, modelProducer, m.Producer),
		ProducerVersion: give(k, modelProducerVersion, m.ProducerVersion),
		Domain:          give(k, modelDomain, m.Domain),
		ModelVersion:    give(k, modelVersion, m.ModelVersion),
		DocString:       give(k, modelDoc, m.Doc),
		OpsetImport:     opsetMessages(m.Opsets),
		MetadataProps:   pairMessages(m.Metadata),
		Configuration:   m.devices,
	}
	k.giveUnknown(p)
	var err error
	if p.Graph, err = optional(m.Graph, "graph", e.graph); err != nil {
		return nil, err
	}
	if p.Functions, err = list(m.Functions, "functions", e.function); err != nil {
		return nil, err
	}
	p.TrainingInfo, err = list(m.Training, "training_info", e.training)
	return p, err
}

func (e *encoder) graph(g *Graph) (*pb.GraphProto, error) {
	k := g.kept
	p := &pb.GraphProto{
		Name:                   give(k, graphName, g.Name),
		DocString:              give(k, graphDoc, g.Doc),
		QuantizationAnnotation: quantMessages(g.Quantization),
		MetadataProps:          pairMessages(g.Metadata),
		Input:                  valueInfoMessages(g.Inputs),
		Output:                 valueInfoMessages(g.Outputs),
		ValueInfo:              valueInfoMessages(g.ValueInfo),
	}
	k.giveUnknown(p)
	var err error
	if p.Node, err = list(g.Nodes, "node", e.node); err != nil {
		return nil, err
	}
	if p.Initializer, err = list(g.Initializers, "initializer", e.initializer); err != nil {
		return nil, err
	}
	p.SparseInitializer, err = list(g.SparseInitializers, "sparse_initializer", e.sparse)
	return p, err
}

func (e *encoder) node(n *Node) (*pb.NodeProto, error) {
	k := n.kept
	p := &pb.NodeProto{
		Input:                n.Inputs,
		Output:               n.Outputs,
		Name:                 give(k, nodeName, n.Name),
		OpType:               give(k, nodeOpType, n.OpType),
		Domain:               give(k, nodeDomain, n.Domain),
		Overload:             give(k, nodeOverload, n.Overload),
		DocString:            give(k, nodeDoc, n.Doc),
		MetadataProps:        pairMessages(n.Metadata),
		DeviceConfigurations: n.devices,
	}
	k.giveUnknown(p)
	var err error
	p.Attribute, err = list(n.Attrs, "attribute", e.attr)
	return p, err
}

func (e *encoder) function(f *Function) (*pb.FunctionProto, error) {
	k := f.kept
	p := &pb.FunctionProto{
		Name:          give(k, functionName, f.Name),
		Domain:        give(k, functionDomain, f.Domain),
		Overload:      give(k, functionOverload, f.Overload),
		DocString:     give(k, functionDoc, f.Doc),
		Input:         f.Inputs,
		Output:        f.Outputs,
		Attribute:     f.AttrNames,
		OpsetImport:   opsetMessages(f.Opsets),
		ValueInfo:     valueInfoMessages(f.ValueInfo),
		MetadataProps: pairMessages(f.Metadata),
	}
	k.giveUnknown(p)
	var err error
	if p.AttributeProto, err = list(f.AttrDefaults, "attribute_proto", e.attr); err != nil {
		return nil, err
	}
	p.Node, err = list(f.Nodes, "node", e.node)
	return p, err
}

func (e *encoder) training(t *TrainingInfo) (*pb.TrainingInfoProto, error) {
	p := &pb.TrainingInfoProto{
		InitializationBinding: pairMessages(t.InitBinding),
		UpdateBinding:         pairMessages(t.UpdateBinding),
	}
	t.kept.giveUnknown(p)
	var err error
	if p.Initialization, err = optional(t.Initialization, "initialization", e.graph); err != nil {
		return nil, err
	}
	p.Algorithm, err = optional(t.Algorithm, "algorithm", e.graph)
	return p, err
}

func (e *encoder) attr(a *Attr) (*pb.AttributeProto, error) {
	k := a.kept
	p := &pb.AttributeProto{
		Name:        give(k, attrName, a.Name),
		RefAttrName: give(k, attrRefName, a.RefName),
		DocString:   give(k, attrDoc, a.Doc),
		Type:        give(k, attrType, pb.AttributeProto_AttributeType(a.Type)),
		F:           giveValue(k, attrF, a.F, a.holds(AttrTypeFloat)),
		I:           giveValue(k, attrI, a.I, a.holds(AttrTypeInt)),
		Floats:      a.Floats,
		Ints:        a.Ints,
		Strings:     a.Strings,
		TypeProtos:  typeMessages(a.Types),
		Tp:          typeMessage(a.TP),
	}
	if len(a.S) > 0 || k.isZero(attrS) != a.holds(AttrTypeString) {
		p.S = append([]byte{}, a.S...)
	}
	k.giveUnknown(p)
	var err error
	if p.T, err = optional(a.T, "t", e.tensor); err != nil {
		return nil, err
	}
	if p.G, err = optional(a.G, "g", e.graph); err != nil {
		return nil, err
	}
	if p.SparseTensor, err = optional(a.Sparse, "sparse_tensor", e.sparse); err != nil {
		return nil, err
	}
	if p.Tensors, err = list(a.Tensors, "tensors", e.tensor); err != nil {
		return nil, err
	}
	if p.Graphs, err = list(a.Graphs, "graphs", e.graph); err != nil {
		return nil, err
	}
	p.SparseTensors, err = list(a.SparseTensors, "sparse_tensors", e.sparse)
	return p, err
}

func (e *encoder) sparse(s *SparseTensor) (*pb.SparseTensorProto, error) {
	p := &pb.SparseTensorProto{Dims: s.Dims}
	s.kept.giveUnknown(p)
	if s.Values == nil || s.Indices == nil {
		return nil, formatErrorf("needs both values and indices")
	}
	if _, _, err := s.positions(); err != nil {
		return nil, err
	}
	var err error
	if p.Values, err = optional(s.Values, "values", e.tensor); err != nil {
		return nil, err
	}
	p.Indices, err = optional(s.Indices, "indices", e.tensor)
	return p, err
}

// messages converts a list of values that cannot be wrong.
func messages[M, P any](ms []M, convert func(M) P) []P {
	return values(ms, func(m M, p *P) { *p = convert(m) })
}

func valueInfoMessages(vs []*ValueInfo) []*pb.ValueInfoProto {
	return messages(vs, func(v *ValueInfo) *pb.ValueInfoProto {
		p := &pb.ValueInfoProto{
			Name:          give(v.kept, valueName, v.Name),
			Type:          typeMessage(v.Type),
			DocString:     give(v.kept, valueDoc, v.Doc),
			MetadataProps: pairMessages(v.Metadata),
		}
		v.kept.giveUnknown(p)
		return p
	})
}

func opsetMessages(opsets []OpsetID) []*pb.OperatorSetIdProto {
	return messages(opsets, func(o OpsetID) *pb.OperatorSetIdProto {
		p := &pb.OperatorSetIdProto{
			Domain:  give(o.kept, opsetDomain, o.Domain),
			Version: give(o.kept, opsetVersion, o.Version),
		}
		o.kept.giveUnknown(p)
		return p
	})
}

func pairMessages(pairs []StringPair) []*pb.StringStringEntryProto {
	return messages(pairs, func(s StringPair) *pb.StringStringEntryProto {
		p := &pb.StringStringEntryProto{
			Key:   give(s.kept, pairKey, s.Key),
			Value: give(s.kept, pairValue, s.Value),
		}
		s.kept.giveUnknown(p)
		return p
	})
}

func quantMessages(qs []QuantAnnotation) []*pb.TensorAnnotation {
	return messages(qs, func(q QuantAnnotation) *pb.TensorAnnotation {
		p := &pb.TensorAnnotation{
			TensorName:                give(q.kept, quantTensor, q.Tensor),
			QuantParameterTensorNames: pairMessages(q.Params),
		}
		q.kept.giveUnknown(p)
		return p
	})
}
