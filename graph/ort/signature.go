//go:build cgo

package ort

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/unprune/unprune/onnx"
)

// The field numbers of onnx.proto that a signature is made of.
const (
	modelGraph  protowire.Number = 7
	modelOpsets protowire.Number = 8

	opsetDomain  protowire.Number = 1
	opsetVersion protowire.Number = 2

	graphNode        protowire.Number = 1
	graphInitializer protowire.Number = 5
	graphInput       protowire.Number = 11
	graphOutput      protowire.Number = 12
	graphSparse      protowire.Number = 15

	sparseValues protowire.Number = 1

	tensorDims protowire.Number = 1
	tensorType protowire.Number = 2
	tensorI64  protowire.Number = 7
	tensorName protowire.Number = 8
	tensorAt   protowire.Number = 14 // where its data are: 1, in another file

	valueName protowire.Number = 1
	valueType protowire.Number = 2

	typeTensor protowire.Number = 1
	typeDenote protowire.Number = 6

	ttypeElem  protowire.Number = 1
	ttypeShape protowire.Number = 2

	shapeDim protowire.Number = 1
	dimValue protowire.Number = 1
)

// signature is what running a model takes: its inputs without those that an
// initializer fills, and its outputs.
type signature struct {
	inputs, outputs []Info
	standardOps     bool // the model imports ONNX's own operators
}

// readSignature walks the model's encoding and looks at nothing but names and
// types, so that it costs next to nothing however large the weights are. The
// binding can only report them by loading the model a second time, and it
// reports a scalar and a tensor of unknown rank alike.
func readSignature(model []byte) (signature, error) {
	var sig signature
	filled := map[string]bool{}
	err := eachField(model, func(num protowire.Number, v field) error {
		switch num {
		case modelGraph:
			return sig.readGraph(v.bytes, filled)
		case modelOpsets:
			domain, err := stringAt(v.bytes, opsetDomain)
			sig.standardOps = sig.standardOps || domain == "" || domain == "ai.onnx"
			return err
		}
		return nil
	})
	if err != nil {
		return signature{}, fmt.Errorf("ort: read model: %w", err)
	}
	required := sig.inputs[:0]
	for _, in := range sig.inputs {
		if !filled[in.Name] {
			required = append(required, in)
		}
	}
	sig.inputs = required
	if len(sig.outputs) == 0 {
		return signature{}, fmt.Errorf("ort: the model has no outputs, nothing to run")
	}
	return sig, nil
}

func (sig *signature) readGraph(graph []byte, filled map[string]bool) error {
	return eachField(graph, func(num protowire.Number, v field) error {
		switch num {
		case graphInitializer:
			return markFilled(v.bytes, filled)
		case graphSparse:
			return eachField(v.bytes, func(num protowire.Number, v field) error {
				if num != sparseValues {
					return nil
				}
				return markFilled(v.bytes, filled)
			})
		case graphInput:
			in, err := readInfo(v.bytes)
			sig.inputs = append(sig.inputs, in)
			return err
		case graphOutput:
			out, err := readInfo(v.bytes)
			sig.outputs = append(sig.outputs, out)
			return err
		}
		return nil
	})
}

// markFilled notes an initializer's name. One whose data lie in another file
// is refused: ONNX Runtime would look for it in the working directory.
func markFilled(tensor []byte, filled map[string]bool) error {
	var name string
	external := false
	err := eachField(tensor, func(num protowire.Number, v field) error {
		switch num {
		case tensorName:
			name = string(v.bytes)
		case tensorAt:
			external = v.varint == 1
		}
		return nil
	})
	filled[name] = true
	if err == nil && external {
		err = fmt.Errorf("the data of initializer %q lie in another file; embed them first", name)
	}
	return err
}

func readInfo(b []byte) (Info, error) {
	var in Info
	err := eachField(b, func(num protowire.Number, v field) error {
		switch num {
		case valueName:
			in.Name = string(v.bytes)
		case valueType:
			return eachField(v.bytes, func(num protowire.Number, v field) error {
				switch num {
				case typeTensor:
					return in.readTensorType(v.bytes)
				case typeDenote:
					return nil
				}
				return fmt.Errorf("%q is a sequence, a map, an optional or a sparse tensor; only tensors can be passed", in.Name)
			})
		}
		return nil
	})
	return in, err
}

func (in *Info) readTensorType(b []byte) error {
	return eachField(b, func(num protowire.Number, v field) error {
		switch num {
		case ttypeElem:
			in.DType = onnx.DType(v.varint)
		case ttypeShape:
			in.Shape = []int{}
			return eachField(v.bytes, func(num protowire.Number, v field) error {
				if num != shapeDim {
					return nil
				}
				d, err := readExtent(v.bytes)
				in.Shape = append(in.Shape, d)
				return err
			})
		}
		return nil
	})
}

// readExtent returns a dimension's extent, -1 when it is symbolic or absent.
func readExtent(b []byte) (int, error) {
	extent := -1
	err := eachField(b, func(num protowire.Number, v field) error {
		if num == dimValue && v.varint <= math.MaxInt64 {
			extent = int(v.varint)
		}
		return nil
	})
	return extent, err
}

// field is the content of one field: a number or bytes.
type field struct {
	varint uint64
	bytes  []byte // shares the message's memory
}

// eachField calls visit for every field of an encoded message, in order.
func eachField(b []byte, visit func(protowire.Number, field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("not an ONNX file, or a broken one: %w", protowire.ParseError(n))
		}
		b = b[n:]
		var v field
		switch typ {
		case protowire.VarintType:
			v.varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("not an ONNX file, or a broken one: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if err := visit(num, v); err != nil {
			return err
		}
	}
	return nil
}

// stringAt returns the string field num of a message, "" when it has none.
func stringAt(b []byte, num protowire.Number) (string, error) {
	var s string
	err := eachField(b, func(n protowire.Number, v field) error {
		if n == num {
			s = string(v.bytes)
		}
		return nil
	})
	return s, err
}
