// Package onnx reads and writes model files in the ONNX format.
//
// A Model holds a Graph; a graph holds nodes, initializers (Tensor) and the
// names and types of its values. All are plain values that may be edited freely.
// Tensors are row-major, and their Data are ordinary slices; nothing read from a
// file shares memory with anything else.
//
// A model that is read and written untouched is the same model, and the same
// bytes if its writer put the fields in order, as PyTorch's exporters do. Fields
// that this package does not know, optional fields that hold their default, and
// the storage that a tensor used (raw_data, float_data, ...) are remembered in
// unexported fields and travel with copies of the structs. Two things are not
// kept: external data become part of the file unless WriteOptions asks for a
// second one, and a true Bool is written as 1.
//
// Files are taken to be hostile. Sizes are checked before memory is taken, and
// external data are read only from plain files below the model's folder. A
// FormatError says that a file is broken, an UnsupportedError that it is valid
// but more than this package does; both name the field.
//
// The format is that of onnx.proto of ONNX 1.23 (IR version 13, and the element
// types of 14).
package onnx
