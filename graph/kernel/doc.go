// Package kernel holds the numeric loops of the native executor: matrix
// products, convolutions, reductions, elementwise functions, optimizer steps.
// A kernel sees slices and sizes, never a graph: it can be tested, fuzzed and
// timed alone.
//
// # Layout and ownership
//
// Matrices are row-major, images NCHW, both dense unless a leading dimension
// is given. Kernels write only into the slices they were handed and keep none
// of them after they return. A wrong slice length is misuse that the caller
// could see, so it panics; sizes that come from a model file are checked long
// before, in package ops.
//
// # Prepared kernels
//
// What needs blocking decisions or buffers ([Gemm], [Conv], ...) is prepared
// once for its sizes and run many times; Run allocates nothing in the steady
// state. A prepared kernel serves one Run at a time.
//
// # Threads and determinism
//
// Kernels split their work into units and hand them to a [Team]. How work is
// split, and in which order partial sums are added, follows from the problem's
// sizes alone; so a result has the same bits for every number of threads.
// Between the implementations named below, matrix products may differ, because
// some round once where others round twice. Loops over vectors do not differ:
// they never fuse a product with a sum, and every processor runs the same lanes.
//
// # Implementations
//
// The loops that matter exist several times: in Go, generic over float32 and
// float64, and in assembly for float32. Assembly is written by the generators
// under _asm (run go generate) and chosen at run time by [HasAVX512] and
// [HasAVX2]; the build tag purego leaves it out. Each name tells what it is:
//
//	gemm_f32_8x48_avx512
//	|    |   |    +----- instruction set
//	|    |   +---------- tile: 8 rows by 48 columns
//	|    +-------------- element type
//	+------------------- what it computes
//
// A matrix product is built from tiles (tile.go), which exist for every height
// and vector width; blocking.go says which block of C a unit computes. A
// convolution and its input gradient are correlations (correlation.go),
// computed either as one product whose right side is laid out on the fly
// (implicit.go, sample.go) or, for small images, pixel by pixel (pixelwise.go),
// or by Winograd's transforms (winograd.go and, for stride 2,
// winograd_strided.go, which state their error). Gradients of single samples are
// only ever in registers (conv_squares.go). Of images that lie side by side
// already, [N/16 H W C 16], conv_beside.go is the convolution.
//
// The Go twin is the oracle of the tests and what other processors run.
package kernel
