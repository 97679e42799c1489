package kernel

import "math/bits"

// Behind a ReLU half of a gradient is zero. A product with such an A is summed row by
// row of C, from those rows of B whose factors are not zero, in the order in which all
// of them would be: the bits are the same. Where B is infinite or not a number nothing
// is left out.

// nonzeroFunc sets bit p of bits[r*words] where a[r + p*aCol] is not zero, for r < 8
// and p < k, and clears the other bits; 0 < k <= 64.
type nonzeroFunc[T Float] func(k int, a []T, aCol int, bits []uint64, words int)

// nonzeroRowFunc sets bit p of bits[0], which is 0, where a[p] is not zero, for
// p < 8*vectors; 0 < vectors <= 8.
type nonzeroRowFunc[T Float] func(vectors int, a []T, bits []uint64)

// gapsFunc computes rows of a product from the elements of A whose bits are set,
//
//	c[i*row+j] = sum over set bits p of bits[i*words:(i+1)*words] of a[i*aRow + p*aCol] * b[p*whole + j], j < cols
//
// where whole is cols rounded up to vectors. If coef is not nil that is a gradient
// along which it takes the step of stepMomentum, with c for weights and v for
// velocities; coef points to the step's coefficients.
type gapsFunc[T Float] func(cols, rows, words int, bits []uint64, a []T, aRow, aCol int, b, c, v []T, row int, coef *T)

// copyLinesFunc brings rows of vectors of 8 numbers side by side,
//
//	dst[i*8*vectors+j] = src[i*srcRow+j], i < rows, j < 8*vectors
//
// and returns 0 if all of them are finite, or else no number.
type copyLinesFunc[T Float] func(rows, vectors int, src []T, srcRow int, dst []T) T

// gapsLoops is one implementation of the loops over elements that are not zero.
type gapsLoops[T Float] struct {
	lanes      int
	nonzero    nonzeroFunc[T]
	nonzeroRow nonzeroRowFunc[T]
	copyLines  copyLinesFunc[T]
	whole, cut []gapsFunc[T] // [vectors-1]: of cut the last vector may be cut short
}

// gaps is a product that leaves out the zeros of A. A unit of work is a block of rows
// of C by a part of its columns.
type gaps[T Float] struct {
	m, n, k          int
	aRow, aCol, bRow int
	loops            *gapsLoops[T]
	blocks, parts    int
	words            int      // of bits in a row
	bits             []uint64 // [row][word], of elements that are not zero
	all              []uint64 // the same, of all elements
	dense            bool     // there were too few zeros the last time
	looking, summing func(*Worker, int)

	a, b, c, v []T
	row        int
	coef       *T
}

const (
	// gapsDepth bounds K, gapsHeight bounds M, and gapsPart the bytes of a part of B: it
	// stays in the first-level cache while the rows of a block pass by.
	gapsDepth  = 128
	gapsHeight = 1 << 14
	gapsPart   = 28 << 10
	// gapsBlocks is how many blocks a thread has, of gapsRows rows or more. Each copies
	// the parts of B for itself.
	gapsBlocks = 2
	gapsRows   = 24
	// gapsProducts is the least number of products for which leaving out some pays.
	gapsProducts = 1 << 18
)

// newGaps prepares a product without options that leaves out zeros, or returns nil if
// that does not pay.
func newGaps[T Float](g *Gemm[T]) *gaps[T] {
	loops := g.tiling.gaps
	if loops == nil || g.aRow != 1 && g.aCol != 1 || g.bCol != 1 || g.alpha != 1 || g.K > gapsDepth || g.M > gapsHeight || g.M < 8 || g.M*g.N*g.K < gapsProducts {
		return nil
	}
	most := min(len(loops.whole), gapsPart/(g.K*loops.lanes*4))
	p := &gaps[T]{
		m: g.M, n: g.N, k: g.K, aRow: g.aRow, aCol: g.aCol, bRow: g.bRow, loops: loops,
		parts: ceilDiv(ceilDiv(g.N, loops.lanes), most), words: ceilDiv(g.K, 64),
	}
	p.bits, p.all = make([]uint64, p.m*p.words), make([]uint64, p.m*p.words)
	for i := range p.all {
		p.all[i] = ^uint64(0) >> (64 - min(64, p.k-i%p.words*64))
	}
	p.looking, p.summing = p.look, p.sum
	return p
}

// sparse looks whether so much of A is zero that it pays to leave that out: a row of B
// is loaded for one factor, while tiles load it for several.
func (p *gaps[T]) sparse(t *Team, a []T) bool {
	if p == nil {
		return false
	}
	p.a = a
	if p.dense && !p.someZeros() {
		p.a = nil
		return false
	}
	p.blocks = max(min(gapsBlocks*t.Threads(), p.m/gapsRows), 1)
	t.For(p.blocks, p.looking)
	if p.dense = 3*p.count(0, p.m) > 2*p.m*p.k; p.dense {
		p.a = nil
	}
	return !p.dense
}

// someZeros looks at some rows only: an A after one of too few zeros mostly has none.
func (p *gaps[T]) someZeros() bool {
	const samples, rows = 4, 8
	count := 0
	for i := range samples {
		first := i * (p.m - rows) / (samples - 1)
		p.rows(first, first+rows)
		count += p.count(first, first+rows)
	}
	return 8*count <= 7*samples*rows*p.k
}

// count is how many elements of some rows are not zero.
func (p *gaps[T]) count(first, last int) int {
	count := 0
	for _, word := range p.bits[first*p.words : last*p.words] {
		count += bits.OnesCount64(word)
	}
	return count
}

func (p *gaps[T]) look(_ *Worker, unit int) {
	p.rows(part(p.m, unit, p.blocks))
}

// rows finds the elements that are not zero in 8 rows of A or more.
func (p *gaps[T]) rows(first, last int) {
	if p.aRow == 1 {
		for i := first; i < last; i += 8 {
			i = min(i, last-8)
			for k := 0; k < p.k; k += 64 {
				p.loops.nonzero(min(64, p.k-k), p.a[i+k*p.aCol:], p.aCol, p.bits[i*p.words+k/64:], p.words)
			}
		}
		return
	}
	for i := first; i < last; i++ {
		row, set := p.a[i*p.aRow:][:p.k], p.bits[i*p.words:(i+1)*p.words]
		clear(set)
		for k := 0; k+8 <= p.k; k += 64 {
			p.loops.nonzeroRow(min(8, (p.k-k)/8), row[k:], set[k/64:])
		}
		for k := p.k &^ 7; k < p.k; k++ {
			if row[k] != 0 {
				set[k/64] |= 1 << (k % 64)
			}
		}
	}
}

// run computes the product of the A that sparse has looked at; c, v, row and coef are
// those of gapsFunc.
func (p *gaps[T]) run(t *Team, b, c, v []T, row int, coef *T) {
	p.b, p.c, p.v, p.row, p.coef = b, c, v, row, coef
	t.For(p.blocks*p.parts, p.summing)
	p.a, p.b, p.c, p.v, p.coef = nil, nil, nil, nil, nil
}

// sum computes some columns of a block of rows.
func (p *gaps[T]) sum(w *Worker, unit int) {
	first, last := part(p.m, unit/p.parts, p.blocks)
	from, to := part(ceilDiv(p.n, p.loops.lanes), unit%p.parts, p.parts)
	j, cols, loop := from*p.loops.lanes, (to-from)*p.loops.lanes, p.loops.whole[to-from-1]
	packed := scratchOf[T](w, slotB, p.k*cols)
	set := p.bits[first*p.words:]
	if !p.pack(j, cols, packed) {
		set = p.all
	}
	if j+cols > p.n {
		cols, loop = p.n-j, p.loops.cut[to-from-1]
	}
	at := first*p.row + j
	loop(cols, last-first, p.words, set, p.a[first*p.aRow:], p.aRow, p.aCol, packed, p.c[at:], p.v[at:], p.row, p.coef)
}

// pack brings columns of B side by side, and tells whether all are finite.
func (p *gaps[T]) pack(j, cols int, packed []T) bool {
	rows := p.k // that are there as a whole
	for rows > 0 && (rows-1)*p.bRow+j+cols > len(p.b) {
		rows--
	}
	var sum T
	if rows > 0 {
		sum = p.loops.copyLines(rows, cols/8, p.b[j:], p.bRow, packed)
	}
	for i := rows; i < p.k; i++ {
		for k, x := range p.b[i*p.bRow+j:][:min(cols, p.n-j)] {
			packed[i*cols+k] = x
			sum += x * 0
		}
	}
	return sum == 0
}
