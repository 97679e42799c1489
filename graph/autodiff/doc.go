// Package autodiff differentiates graphs symbolically: a graph goes in, and
// the nodes that compute gradients are appended to it. What comes out is an
// ordinary graph, so it can be differentiated again (Hessian-vector products),
// optimised, executed natively, or written as an ONNX file that any runtime
// trains with.
//
// Gradient is reverse mode over the rules in package ops. Train turns an
// inference graph into a training graph: loss, gradients and the optimizer's
// update, with the parameters, masks and optimizer state as inputs and
// outputs.
package autodiff
