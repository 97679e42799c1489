// Package unlearn holds the unlearning algorithms, one file each, with the
// formula and its source on top.
//
// Options are fields whose zero value is the published default. Where zero
// means something itself, a negative value stands for it, and the field says so.
// What a caller prescribes in the task (epochs, rate, batch size, optimizer)
// goes before the published settings; methods that take no optimizer steps have
// batch sizes of their own. All lists the methods, New sets options by name,
// Info tells what a method needs, costs and is good for.
//
// Masks are the engine's affair: with masks set, every step keeps pruned
// weights at zero (mask setting fixed or grown), and one-shot methods multiply
// their update by the mask; without, the methods run as published (free).
//
// A method that diverges leaves the network in the state after its last good
// epoch and returns a DivergedError. What is likely to be a mistake is said
// through Task.Warning.
//
// Results agree with the published code, case by case and step by step
// (TestGolden; GOLDEN_DIR names another folder of cases).
package unlearn
