//go:build cgo

package ort

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/unprune/unprune/onnx"
)

// adapterPrefix begins the names of the values that an adapter adds.
const adapterPrefix = "__unprune_ort_"

// adapterOpset is the version of ONNX's operators that an adapter asks for
// when the model itself asks for none.
const adapterOpset = 13

// fetch says which of a session's outputs make one output of the model.
type fetch struct {
	info  Info
	value int // index of the elements
	shape int // index of the shape when the elements come flat, else -1
}

// adapter is a model together with how to feed and read it.
//
// The binding cannot return a scalar or a 16-bit float, nor run a model
// without inputs. For each such output the adapter has the model compute the
// shape and the flat elements, 16-bit floats widened to float32 (exactly);
// for a model without inputs it adds one that nothing reads. Every value of
// the model, its outputs included, stays as it is.
type adapter struct {
	model   []byte
	inputs  []string
	outputs []string
	fetches []fetch
	idle    bool // the only input is the one that nothing reads
}

// newAdapter plans the adapter of a model. Protobuf merges two encodings of a
// message when one follows the other, so what is added to the graph is
// appended to the file, which is never decoded.
func newAdapter(model []byte, sig signature) adapter {
	a := adapter{model: model}
	var graph []byte // fields to add to the model's graph
	for _, in := range sig.inputs {
		a.inputs = append(a.inputs, in.Name)
	}
	if len(a.inputs) == 0 {
		a.idle = true
		a.inputs = []string{adapterPrefix + "idle"}
		graph = appendBytes(graph, graphInput, encodeInfo(a.inputs[0], onnx.Float32, 1))
	}
	adapted := false
	for _, out := range sig.outputs {
		if len(out.Shape) > 0 && !isHalf(out.DType) {
			a.fetches = append(a.fetches, fetch{info: out, value: len(a.outputs), shape: -1})
			a.outputs = append(a.outputs, out.Name)
			continue
		}
		adapted = true
		graph = a.adapt(graph, out)
	}
	if adapted {
		graph = appendBytes(graph, graphInitializer, encodeFlatShape(flatShape))
	}
	if len(graph) > 0 {
		a.model = appendBytes(model[:len(model):len(model)], modelGraph, graph)
	}
	if adapted && !sig.standardOps {
		a.model = appendBytes(a.model, modelOpsets, appendVarint(nil, opsetVersion, adapterOpset))
	}
	return a
}

// flatShape names the initializer that makes a Reshape flatten.
const flatShape = adapterPrefix + "flat"

// adapt adds to graph what computes out's shape and flat elements.
func (a *adapter) adapt(graph []byte, out Info) []byte {
	index := len(a.outputs)
	value, shape := fmt.Sprint(adapterPrefix, index), fmt.Sprint(adapterPrefix, index+1)
	a.fetches = append(a.fetches, fetch{info: out, value: index, shape: index + 1})
	a.outputs = append(a.outputs, value, shape)

	elements, dt := out.Name, out.DType
	if isHalf(dt) {
		elements, dt = value+"_wide", onnx.Float32
		graph = appendBytes(graph, graphNode, encodeNode("Cast", elements, castTo(dt), out.Name))
	}
	graph = appendBytes(graph, graphNode, encodeNode("Reshape", value, nil, elements, flatShape))
	graph = appendBytes(graph, graphNode, encodeNode("Shape", shape, nil, out.Name))
	graph = appendBytes(graph, graphOutput, encodeInfo(value, dt, -1))
	return appendBytes(graph, graphOutput, encodeInfo(shape, onnx.Int64, -1))
}

func encodeNode(op, output string, attribute []byte, inputs ...string) []byte {
	const nodeInput, nodeOutput, nodeOp, nodeAttribute = 1, 2, 4, 5
	var b []byte
	for _, in := range inputs {
		b = appendBytes(b, nodeInput, []byte(in))
	}
	b = appendBytes(b, nodeOutput, []byte(output))
	b = appendBytes(b, nodeOp, []byte(op))
	if attribute != nil {
		b = appendBytes(b, nodeAttribute, attribute)
	}
	return b
}

// castTo encodes Cast's attribute.
func castTo(dt onnx.DType) []byte {
	const name, integer, kind, kindInt = 1, 3, 20, 2
	b := appendBytes(nil, name, []byte("to"))
	b = appendVarint(b, integer, uint64(dt))
	return appendVarint(b, kind, kindInt)
}

// encodeFlatShape encodes Reshape's second input, the int64 vector [-1].
func encodeFlatShape(name string) []byte {
	b := appendVarint(nil, tensorDims, 1)
	b = appendVarint(b, tensorType, uint64(onnx.Int64))
	b = appendVarint(b, tensorI64, ^uint64(0))
	return appendBytes(b, tensorName, []byte(name))
}

// encodeInfo encodes the declaration of a vector, of unknown length if -1.
func encodeInfo(name string, dt onnx.DType, length int) []byte {
	var dim []byte
	if length >= 0 {
		dim = appendVarint(nil, dimValue, uint64(length))
	}
	shape := appendBytes(nil, shapeDim, dim)
	b := appendBytes(nil, valueName, []byte(name))
	if dt == onnx.Undefined { // ONNX Runtime infers it
		return b
	}
	typ := appendVarint(nil, ttypeElem, uint64(dt))
	typ = appendBytes(typ, ttypeShape, shape)
	return appendBytes(b, valueType, appendBytes(nil, typeTensor, typ))
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}
