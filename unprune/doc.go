// Package unprune makes a pruned network forget training data, its pruning
// mask included.
//
// The loop (Loop) is that of arXiv 2507.18725: grow, re-initialise, unlearn,
// prune again. Rescore is the rule that our measurements favour: the new mask
// is chosen by a score to which a short run from the initial weights on the
// retained data contributes. Both start from a Problem, which also computes
// what they are judged by: the gold standard (retrain on what is kept, then
// prune), baselines that keep the mask, and controls.
//
// Computation is behind Engine, unlearning algorithms behind Unlearner; this
// package decides what is computed in which order and on which samples.
// Everything is a function of the problem and its seed.
package unprune
