// Package pb holds the protobuf messages of the ONNX file format, generated from
// onnx.proto. Package onnx turns them into plain values; nothing else uses them.
package pb

//go:generate protoc -I ../../.. --go_out=../../.. --go_opt=paths=source_relative onnx/internal/pb/onnx.proto
