package kernel

import "math/bits"

// Behind a ReLU half of a gradient is zero. Where A of a GemmStep is such a
// gradient, rows of op(A)·op(B) are summed one by one from those rows of B whose
// factors are not zero, in the order in which all of them would be: the bits are
// those of the whole product, unless B is infinite or not a number where A is zero.

// nonzeroFunc sets bit p of bits[r*words] where a[r + p*aCol] is not zero, for r < 8
// and p < k, and clears the other bits; 0 < k <= 64.
type nonzeroFunc[T Float] func(k int, a []T, aCol int, bits []uint64, words int)

// gapsFunc computes rows of a gradient, one below the other, from the elements of A
// whose bits are set,
//
//	g[i][j] = sum over set bits p of bits[i*words:(i+1)*words] of a[i + p*aCol] * b[p*whole + j], j < cols
//
// where whole is cols rounded up to vectors, and takes the step of stepMomentum with
// weights w[i*row + j] and velocities v[i*row + j]. coef points to the step's
// coefficients.
type gapsFunc[T Float] func(cols, rows, words int, bits []uint64, a []T, aCol int, b, w, v []T, row int, coef *T)

// copyLinesFunc brings rows of vectors of 8 numbers side by side:
//
//	dst[i*8*vectors+j] = src[i*srcRow+j], i < rows, j < 8*vectors
type copyLinesFunc[T Float] func(rows, vectors int, src []T, srcRow int, dst []T)

// gapsLoops is one implementation of the loops over elements that are not zero.
type gapsLoops[T Float] struct {
	lanes      int
	nonzero    nonzeroFunc[T]
	copyLines  copyLinesFunc[T]
	whole, cut []gapsFunc[T] // [vectors-1]: of cut the last vector may be cut short
}

// gaps is the state of a step that leaves out the zeros of A. A unit of work is a
// block of rows of the gradient by a part of its columns.
type gaps[T Float] struct {
	blocks, parts    int
	words            int      // of bits in a row
	bits             []uint64 // [row][word], of elements that are not zero
	looking, summing func(*Worker, int)
}

const (
	// gapsDepth bounds K, and gapsPart the bytes of a part of B: it stays in the
	// first-level cache while the rows of a block pass by.
	gapsDepth = 128
	gapsPart  = 28 << 10
	// gapsBlocks is how many blocks a thread has. Each copies the parts of B for itself.
	gapsBlocks = 2
	// gapsProducts is the least number of products for which looking for zeros pays.
	gapsProducts = 1 << 18
)

// leaveOut prepares leaving out zeros, if it may pay.
func (s *GemmStep[T]) leaveOut() {
	g := s.gemm
	loops := g.tiling.gaps
	if loops == nil || g.aRow != 1 || g.bCol != 1 || g.alpha != 1 || g.K > gapsDepth || g.M < 8 || g.M*g.N*g.K < gapsProducts {
		return
	}
	most := min(len(loops.whole), gapsPart/(g.K*loops.lanes*4))
	s.gaps = &gaps[T]{
		parts: ceilDiv(ceilDiv(g.N, loops.lanes), most),
		words: ceilDiv(g.K, 64), bits: make([]uint64, g.M*ceilDiv(g.K, 64)),
		looking: s.look, summing: s.sum,
	}
}

// sparse takes the step if so much of A is zero that it pays to leave that out.
func (s *GemmStep[T]) sparse(t *Team) bool {
	g, p := s.gemm, s.gaps
	if p == nil || s.step.loop != stepMomentum {
		return false
	}
	p.blocks = min(gapsBlocks*t.Threads(), g.M/8)
	t.For(p.blocks, p.looking)
	count := 0
	for _, word := range p.bits {
		count += bits.OnesCount64(word)
	}
	if 3*count > 2*g.M*g.K {
		return false // here a row of B is loaded for one factor, in tiles for several
	}
	t.For(p.blocks*p.parts, p.summing)
	return true
}

// look finds the elements of A that are not zero in a block of rows.
func (s *GemmStep[T]) look(_ *Worker, unit int) {
	g, p := s.gemm, s.gaps
	first, last := part(g.M, unit, p.blocks)
	for i := first; i < last; i += 8 {
		i = min(i, last-8)
		for k := 0; k < g.K; k += 64 {
			g.tiling.gaps.nonzero(min(64, g.K-k), g.a[i+k*g.aCol:], g.aCol, p.bits[i*p.words+k/64:], p.words)
		}
	}
}

// sum steps along some columns of a block of rows.
func (s *GemmStep[T]) sum(w *Worker, unit int) {
	g, p, loops := s.gemm, s.gaps, s.gemm.tiling.gaps
	first, last := part(g.M, unit/p.parts, p.blocks)
	from, to := part(ceilDiv(g.N, loops.lanes), unit%p.parts, p.parts)
	j, cols, loop := from*loops.lanes, (to-from)*loops.lanes, loops.whole[to-from-1]
	packed := scratchOf[T](w, slotB, g.K*cols)
	rows := g.K // that are there as a whole
	for rows > 0 && (rows-1)*g.bRow+j+cols > len(g.b) {
		rows--
	}
	if rows > 0 {
		loops.copyLines(rows, cols/8, g.b[j:], g.bRow, packed)
	}
	for i := rows; i < g.K; i++ {
		copy(packed[i*cols:], g.b[i*g.bRow+j:])
	}
	if j+cols > g.N {
		cols, loop = g.N-j, loops.cut[to-from-1]
	}
	at := first*g.N + j
	loop(cols, last-first, p.words, p.bits[first*p.words:], g.a[first:], g.aCol, packed, s.step.w[at:], s.step.s[at:], g.N, &s.step.coef[0])
}
