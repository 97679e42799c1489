// Package bound evaluates how far a network can be from the gold standard,
// and what that distance allows the two masks to differ by.
//
// The chain has three links. Drift (Coupled, Trace): the original run and the
// gold run start at the same theta_0 and see the same batches, the gold
// without the deleted samples; the distance of their weights obeys a recursion
// whose terms are measured along the run. Unlearning: ‖u-φ‖ <= ‖u-θ‖ + drift
// for any unlearner, u its result, φ gold's weights and θ the original's.
// Masks (Masks): the margins of u's scores say how many bits of its mask a
// network at that distance can have otherwise.
//
// A bound that allows everything is called vacuous and says nothing; on long
// runs of networks that are not convex the drift bounds are. The mask bound
// with the measured distance is not, and is never violated.
package bound
