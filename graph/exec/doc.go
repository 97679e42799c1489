// Package exec is the native executor. Compile turns a graph whose extents are
// all known into a Program: every value gets a place in one arena by its
// lifetime, every node is prepared once, and a run is a list of calls that
// allocates nothing.
//
// Memory handed in as Options.State (parameters, masks, optimizer state) is
// used in place and may be shared between programs, which is how programs for
// different batch sizes train the same weights. A Program is not safe for
// concurrent use; neither are two programs that share state.
//
// Results are bit-identical whatever the number of threads.
package exec
