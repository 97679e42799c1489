package kernel

// Float is the element type of kernels that exist in both precisions. float32
// is what models run in; float64 is what gradient checks run in.
type Float interface{ float32 | float64 }

// Instruction sets that the processor and the operating system both support.
// Both are false under the build tag purego and on other architectures.
var (
	HasAVX2   = detected.avx2   // AVX2, FMA3 and BMI1
	HasAVX512 = detected.avx512 // AVX-512 F, VL, BW and DQ, and HasAVX2
)

// features is what one build on one machine can use.
type features struct{ avx2, avx512 bool }
