// Package evalmetrics measures what a model forgot and what it kept:
// accuracies, agreement of masks, divergence of outputs, distance of weights,
// attacks on membership, cost.
//
// All functions are pure and work on slices: a matrix of outputs is one slice
// in row-major order, [samples, classes]. Each comment gives the formula, the
// range, and which direction is better. Where a metric compares with the gold
// standard (the model retrained without the deleted data), the gold model
// comes first.
//
// Sums run in the order of the slices in float64, so that equal input gives
// equal bits.
package evalmetrics
