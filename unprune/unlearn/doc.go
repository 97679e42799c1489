// Package unlearn holds the unlearning algorithms, one file each, with the
// formula and its source on top. Options are fields whose zero value is the
// published default; what a caller prescribes in the task (epochs, rate,
// batch size, optimizer) goes before them.
//
// Masks are the engine's affair: with masks set, every step keeps pruned
// weights at zero (mask setting fixed or grown); without, the methods run as
// published (free).
package unlearn
