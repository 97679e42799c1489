package onnx

import "github.com/unprune/unprune/onnx/internal/pb"

func typeMessages(ts []*Type) []*pb.TypeProto { return messages(ts, typeMessage) }

func typeMessage(t *Type) *pb.TypeProto {
	if t == nil {
		return nil
	}
	p := &pb.TypeProto{Denotation: give(t.kept, typeDenotation, t.Denotation)}
	t.kept.giveUnknown(p)
	if v := t.Tensor; v != nil {
		p.TensorType = &pb.TypeProto_Tensor{ElemType: give(v.kept, typeElem, int32(v.Elem)), Shape: shapeMessage(v)}
		v.kept.giveUnknown(p.TensorType)
	}
	if v := t.SparseTensor; v != nil {
		p.SparseTensorType = &pb.TypeProto_SparseTensor{ElemType: give(v.kept, typeElem, int32(v.Elem)), Shape: shapeMessage(v)}
		v.kept.giveUnknown(p.SparseTensorType)
	}
	if v := t.Sequence; v != nil {
		p.SequenceType = &pb.TypeProto_Sequence{ElemType: typeMessage(v.Elem)}
		v.kept.giveUnknown(p.SequenceType)
	}
	if v := t.Optional; v != nil {
		p.OptionalType = &pb.TypeProto_Optional{ElemType: typeMessage(v.Elem)}
		v.kept.giveUnknown(p.OptionalType)
	}
	if v := t.Map; v != nil {
		p.MapType = &pb.TypeProto_Map{KeyType: give(v.kept, mapKey, int32(v.Key)), ValueType: typeMessage(v.Value)}
		v.kept.giveUnknown(p.MapType)
	}
	if v := t.Opaque; v != nil {
		p.OpaqueType = &pb.TypeProto_Opaque{
			Domain: give(v.kept, opaqueDomain, v.Domain),
			Name:   give(v.kept, opaqueName, v.Name),
		}
		v.kept.giveUnknown(p.OpaqueType)
	}
	return p
}

func shapeMessage(t *TensorType) *pb.TensorShapeProto {
	if t.Shape == nil {
		return nil
	}
	p := &pb.TensorShapeProto{Dim: messages(t.Shape, dimMessage)}
	t.keptShape.giveUnknown(p)
	return p
}

func dimMessage(d Dim) *pb.TensorShapeProto_Dimension {
	p := &pb.TensorShapeProto_Dimension{Denotation: give(d.kept, dimDenotation, d.Denotation)}
	d.kept.giveUnknown(p)
	if n, ok := d.Known(); ok {
		p.DimValue = &n
	} else {
		p.DimParam = give(d.kept, dimParam, d.Param)
	}
	return p
}
