package onnx

import "fmt"

// AttrType says which field of an Attr holds its value. The numbers are those
// of ONNX's AttributeProto.AttributeType.
type AttrType int32

// The types of attributes.
const (
	AttrTypeUndefined     AttrType = 0 // files of IR version 1 leave the type out
	AttrTypeFloat         AttrType = 1
	AttrTypeInt           AttrType = 2
	AttrTypeString        AttrType = 3
	AttrTypeTensor        AttrType = 4
	AttrTypeGraph         AttrType = 5
	AttrTypeFloats        AttrType = 6
	AttrTypeInts          AttrType = 7
	AttrTypeStrings       AttrType = 8
	AttrTypeTensors       AttrType = 9
	AttrTypeGraphs        AttrType = 10
	AttrTypeSparseTensor  AttrType = 11
	AttrTypeSparseTensors AttrType = 12
	AttrTypeType          AttrType = 13
	AttrTypeTypes         AttrType = 14
)

var attrTypeNames = [...]string{
	"undefined", "float", "int", "string", "tensor", "graph", "floats", "ints",
	"strings", "tensors", "graphs", "sparse_tensor", "sparse_tensors", "type", "types",
}

func (t AttrType) String() string {
	if t >= 0 && int(t) < len(attrTypeNames) {
		return attrTypeNames[t]
	}
	return fmt.Sprintf("AttrType(%d)", int32(t))
}

// Attr is a named constant of a node. Type says which field counts; inside a
// function, RefName may name the function's attribute that gives the value.
type Attr struct {
	Name    string
	RefName string
	Doc     string
	Type    AttrType

	F             float32
	I             int64
	S             []byte
	T             *Tensor
	G             *Graph
	Sparse        *SparseTensor
	TP            *Type
	Floats        []float32
	Ints          []int64
	Strings       [][]byte
	Tensors       []*Tensor
	Graphs        []*Graph
	SparseTensors []*SparseTensor
	Types         []*Type

	kept kept
}

// AttrFloat returns an attribute that holds a float.
func AttrFloat(name string, v float32) *Attr {
	return &Attr{Name: name, Type: AttrTypeFloat, F: v}
}

// AttrInt returns an attribute that holds an integer.
func AttrInt(name string, v int64) *Attr {
	return &Attr{Name: name, Type: AttrTypeInt, I: v}
}

// AttrString returns an attribute that holds a string.
func AttrString(name, v string) *Attr {
	return &Attr{Name: name, Type: AttrTypeString, S: []byte(v)}
}

// AttrTensor returns an attribute that holds a tensor.
func AttrTensor(name string, v *Tensor) *Attr {
	return &Attr{Name: name, Type: AttrTypeTensor, T: v}
}

// AttrGraph returns an attribute that holds a graph, such as a branch of an If.
func AttrGraph(name string, v *Graph) *Attr {
	return &Attr{Name: name, Type: AttrTypeGraph, G: v}
}

// AttrFloats returns an attribute that holds a list of floats.
func AttrFloats(name string, v ...float32) *Attr {
	return &Attr{Name: name, Type: AttrTypeFloats, Floats: v}
}

// AttrInts returns an attribute that holds a list of integers.
func AttrInts(name string, v ...int64) *Attr {
	return &Attr{Name: name, Type: AttrTypeInts, Ints: v}
}

// AttrStrings returns an attribute that holds a list of strings.
func AttrStrings(name string, v ...string) *Attr {
	a := &Attr{Name: name, Type: AttrTypeStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

// AttrRef returns an attribute of a function's node whose value is that of the
// function's attribute ref.
func AttrRef(name, ref string, t AttrType) *Attr {
	return &Attr{Name: name, RefName: ref, Type: t}
}
