// Package onnxgo lets onnx-go (github.com/owulveryck/onnx-go) compute with the
// native executor: a Graph is a backend that its decoder fills and Run executes.
//
//	g := onnxgo.NewGraph(13)
//	m := onnx.NewModel(g)
//	err := m.UnmarshalBinary(file) // then m.SetInput, g.Run, m.GetOutputTensors
//
// onnx-go's decoder hands over less than the file says: no operator set version
// (NewGraph takes it), no domains, no graphs inside attributes. The packages
// onnx and graph/pass read files whole; this one is for programs that are
// written against onnx-go.
//
// Tensors are those of gorgonia.org/tensor, row-major. An output is the
// caller's; it is not overwritten by the next run. A Graph is not safe for
// concurrent use.
package onnxgo
