// Package sparsity decides which weights of a network live and remembers it.
//
// A [Mask] is a set of kept positions of one weight tensor, [Masks] one mask
// per parameter name. A [Layer] says which axes of a weight tensor are output
// and input units, so that a filter is the same thing in Conv, Gemm and MatMul
// whatever the storage order.
//
// Pruning has two halves that stay apart. A [Pruner] scores units (weights,
// filters or input channels): one number each, higher is worth more. [Cut]
// keeps the best of them, to counts given by a [Target]. The scorer that
// pruned a model is the one that prunes it again after un-pruning;
// [Pruner.Prune] is the pruner's own published rule for turning a share into a
// cut.
//
// Pruners that look at data or at the network say so ([Needs]) and are given
// functions in [Input]; a [Plan] prunes in rounds, [Budgeted] spreads the share
// over layers. [Recognise] goes the other way and says which pruner the zeros
// of a model look like, with the evidence.
//
// What structured pruning has to remove together does not end at a layer:
// [Groups] finds it in the graph, from the operators' Axes rules, and [Coupled]
// prunes by it.
//
// Ties and counts (shared rule of all cuts): the lower score goes first, among
// equal scores the one with the higher flat index goes first, and the count
// kept is exact.
//
// Masks are explicit. A weight of value 0 is not thereby pruned, except where
// a model comes without masks and they must be read off its zeros
// ([FromValues], [Recognise]).
//
// Tensors are row-major. Weights are float32 or float64; all scores are
// float64. Nothing here keeps a reference to a tensor's memory or starts
// goroutines.
package sparsity
