// Package train computes: it turns an imported model into training graphs,
// compiles them with an executor, and is the engine (unprune.Engine) that the
// loop and the unlearners work with.
//
// A program is compiled once per batch size and mode and kept; all of them
// share the memory of the parameters, masks and optimizer state, so growing or
// cutting a mask changes numbers only. Which executor runs the programs is the
// caller's choice (Options.Compile).
package train
