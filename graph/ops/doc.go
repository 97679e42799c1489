// Package ops holds the meaning of every operator: what shapes it makes, its
// gradient as more graph, and how it is computed natively. One entry of the
// registry (type Op) holds all of it, so an operator is added in one place;
// the gradient checks and the parity tests with ONNX Runtime are generated
// from the entries and their sample cases.
//
// Names, attributes and versions are those of ONNX's operator sets. Operators
// of our own live in Domain; each has a Body in standard operators, which is
// its definition, so a graph that uses them can be written as ONNX that any
// runtime executes.
//
// Layout is row-major, images are NCHW. Shape inference and gradients work on
// graphs whose extents are all known (see package graph).
package ops
