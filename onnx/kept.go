package onnx

import (
	"google.golang.org/protobuf/proto"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// kept holds what a message of the file said beyond the exported fields, so
// that an untouched model is written as it was read.
type kept struct {
	// zero has bit n set when field n was in the file although it holds its zero
	// value. For the value of an attribute, which is normally written even when
	// it is zero, the bit says that it was not in the file.
	zero    uint32
	unknown string // encoded fields that this package does not know
}

func (k *kept) setZero(field int)    { k.zero |= 1 << field }
func (k kept) isZero(field int) bool { return k.zero>>field&1 != 0 }

// keepUnknown takes over the fields of p that this package does not know.
func (k *kept) keepUnknown(p proto.Message) {
	if u := p.ProtoReflect().GetUnknown(); len(u) > 0 {
		k.unknown = string(u)
	}
}

// giveUnknown is the inverse of keepUnknown.
func (k kept) giveUnknown(p proto.Message) {
	if k.unknown != "" {
		p.ProtoReflect().SetUnknown([]byte(k.unknown))
	}
}

// take returns the value of an optional field and notes a zero that was written.
func take[T comparable](k *kept, field int, p *T) T {
	return takeValue(k, field, p, false)
}

// give is the inverse of take: nil when the field is to be left out.
func give[T comparable](k kept, field int, v T) *T {
	return giveValue(k, field, v, false)
}

// takeValue is take for a field that is written even when zero if always is set.
func takeValue[T comparable](k *kept, field int, p *T, always bool) T {
	var zero, v T
	if p != nil {
		v = *p
	}
	if v == zero && (p != nil) != always {
		k.setZero(field)
	}
	return v
}

// giveValue is the inverse of takeValue.
func giveValue[T comparable](k kept, field int, v T, always bool) *T {
	var zero T
	if v == zero && k.isZero(field) == always {
		return nil
	}
	return &v
}

// deviceConfigs and nodeDevices describe how a model is spread over devices.
// They are carried along, not interpreted.
type (
	deviceConfigs []*pb.DeviceConfigurationProto
	nodeDevices   []*pb.NodeDeviceConfigurationProto
)
