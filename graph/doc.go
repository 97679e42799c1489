// Package graph is the editable form of a model: values, the nodes that make
// them, and who uses what. It converts to and from package onnx without loss
// and knows no operator's meaning; that is in graph/ops, as go/types is to
// go/ast.
//
// A Graph is a list of nodes in topological order. A Value is a graph input,
// an initializer (Const is set) or the output of a node. Shapes are row-major
// extents; an extent that is not known yet is -1 and a nil shape has unknown
// rank. Autodiff and the executors want every extent known: bind the free ones
// (the batch, mostly) with pass.Specialise first.
//
// A Graph is not safe for concurrent use. Functions that edit a graph keep the
// uses of every value current; to look at nodes while editing, range over
// slices.Clone(g.Nodes).
package graph
