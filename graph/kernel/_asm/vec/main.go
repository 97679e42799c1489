// Command vec writes the assembly loops over float32 slices of package kernel:
// element-wise functions, reductions and optimizer steps, each once for AVX2
// (VEX, 256 bits) and once for AVX-512 (512 bits).
//
// Every loop handles a multiple of 16 elements; the Go caller does the rest. No
// loop uses fused multiply-add: rounding after every operation is what lets the
// plain-Go twins in kernel/vec_generic.go give the same bits on every
// processor, and these loops are bound by memory, not by arithmetic.
package main

import (
	. "github.com/mmcloughlin/avo/build"
)

func main() {
	ConstraintExpr("!purego")
	for _, v := range []isa{avx2, avx512} {
		for _, l := range elementwiseLoops {
			elementwise(v, l)
		}
		twoResults(v, "gelu", v.gelu)
		for _, l := range rowLoops {
			row(v, l)
		}
		for _, l := range reductionLoops {
			reduction(v, l)
		}
		for _, l := range stepLoops() {
			step(v, l)
		}
	}
	poolTap(1)
	poolTap(2)
	pool2x2()
	pool2x2Halves()
	poolBeside()
	number()
	Generate()
}
