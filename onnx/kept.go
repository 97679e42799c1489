package onnx

import "github.com/unprune/unprune/onnx/internal/pb"

// kept holds what a message of the file said beyond the exported fields, so
// that an untouched model is written as it was read.
type kept struct {
	// zero has bit n set when field n was written although it holds its zero
	// value, or left out although this package would write it.
	zero    uint32
	unknown string // encoded fields that this package does not know
}

const dimValueField = 1

func (k *kept) setZero(field int)    { k.zero |= 1 << field }
func (k kept) isZero(field int) bool { return k.zero>>field&1 != 0 }

// deviceConfigs and nodeDevices describe how a model is spread over devices.
// They are carried along, not interpreted.
type (
	deviceConfigs []*pb.DeviceConfigurationProto
	nodeDevices   []*pb.NodeDeviceConfigurationProto
)

// storage is where a tensor's elements stood in its file, and will stand again.
type storage uint8

const (
	storageAuto storage = iota // raw_data, or string_data for strings
	storageRaw
	storageFloat
	storageInt32
	storageInt64
	storageDouble
	storageUint64
	storageString
	storageNone // an undefined tensor without data
)
