package onnx

import (
	"google.golang.org/protobuf/proto"

	"github.com/unprune/unprune/onnx/internal/pb"
)

func (d *decoder) typ(p *pb.TypeProto) (*Type, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	t := new(Type)
	t.kept.keepUnknown(p)
	t.Denotation = take(&t.kept, typeDenotation, p.Denotation)
	if v := p.TensorType; v != nil {
		t.Tensor = tensorType(v, v.ElemType, v.Shape)
	}
	if v := p.SparseTensorType; v != nil {
		t.SparseTensor = tensorType(v, v.ElemType, v.Shape)
	}
	if v := p.OpaqueType; v != nil {
		t.Opaque = opaqueType(v)
	}
	var err error
	if t.Sequence, err = optional(p.SequenceType, "sequence_type", d.sequenceType); err != nil {
		return nil, err
	}
	if t.Optional, err = optional(p.OptionalType, "optional_type", d.optionalType); err != nil {
		return nil, err
	}
	t.Map, err = optional(p.MapType, "map_type", d.mapType)
	return t, err
}

func (d *decoder) sequenceType(p *pb.TypeProto_Sequence) (*SequenceType, error) {
	s := new(SequenceType)
	s.kept.keepUnknown(p)
	var err error
	s.Elem, err = optional(p.ElemType, "elem_type", d.typ)
	return s, err
}

func (d *decoder) optionalType(p *pb.TypeProto_Optional) (*OptionalType, error) {
	o := new(OptionalType)
	o.kept.keepUnknown(p)
	var err error
	o.Elem, err = optional(p.ElemType, "elem_type", d.typ)
	return o, err
}

func (d *decoder) mapType(p *pb.TypeProto_Map) (*MapType, error) {
	m := new(MapType)
	m.kept.keepUnknown(p)
	m.Key = DType(take(&m.kept, mapKey, p.KeyType))
	var err error
	m.Value, err = optional(p.ValueType, "value_type", d.typ)
	return m, err
}

func opaqueType(p *pb.TypeProto_Opaque) *OpaqueType {
	o := new(OpaqueType)
	o.kept.keepUnknown(p)
	o.Domain = take(&o.kept, opaqueDomain, p.Domain)
	o.Name = take(&o.kept, opaqueName, p.Name)
	return o
}

// tensorType converts the message p for the type of a dense or sparse tensor.
func tensorType(p proto.Message, elem *int32, shape *pb.TensorShapeProto) *TensorType {
	t := new(TensorType)
	t.kept.keepUnknown(p)
	t.Elem = DType(take(&t.kept, typeElem, elem))
	if shape == nil {
		return t
	}
	t.keptShape.keepUnknown(shape)
	t.Shape = make([]Dim, len(shape.Dim))
	for i, p := range shape.Dim {
		t.Shape[i] = dim(p)
	}
	return t
}

func dim(p *pb.TensorShapeProto_Dimension) Dim {
	var d Dim
	d.kept.keepUnknown(p)
	d.Denotation = take(&d.kept, dimDenotation, p.Denotation)
	d.Value = take(&d.kept, dimValue, p.DimValue)
	d.Param = take(&d.kept, dimParam, p.DimParam)
	return d
}
