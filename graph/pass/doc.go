// Package pass rewrites graphs, one rewrite a file.
//
// Import turns what an exporter wrote into what training needs: one parameter
// per use, masks of pruning hooks recognised, logits found behind a final
// Softmax, and a table of what can be trained. Specialise binds the batch,
// folds the shape arithmetic away and leaves a graph whose every extent is
// known; it is made anew for each batch size, from a clone.
package pass
