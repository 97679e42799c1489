package kernel

import (
	"fmt"
	"slices"
)

const (
	// sparseChunk bounds what is laid out side by side at once, so that it stays in a cache.
	sparseChunk = 1 << 20
	// sparsePixels is how many pixels of each image are brought side by side at
	// once; rows of sparseWide and more go to their place one by one.
	sparsePixels = 256
	sparseWide   = 16
)

// sparsePlanes is how images [N channels h w] lie side by side, with zeros around:
//
//	[N/lanes channels phases rows cols lanes]
//
// A phase has the pixels of one remainder of the steps: (y, x) lies at row
// (y+top)/stepH and column (x+left)/stepW of phase (y+top)%stepH*stepW + (x+left)%stepW.
type sparsePlanes struct {
	n, channels, h, w int
	lanes             int
	stepH, stepW      int
	top, left         int
	rows, cols        int
	slots             []int // of each phase, -1 for those that nothing reads
	used              int
}

func (p *sparsePlanes) plane() int  { return p.rows * p.cols * p.lanes }
func (p *sparsePlanes) block() int  { return p.channels * p.used * p.plane() }
func (p *sparsePlanes) blocks() int { return ceilDiv(p.n, p.lanes) }

// place is where channel c of a phase begins in its block, at a row and column.
func (p *sparsePlanes) place(c, phase, row, col int) int {
	return (c*p.used+p.slots[phase])*p.plane() + (row*p.cols+col)*p.lanes
}

// use gives phases their slots.
func (p *sparsePlanes) use(phase int) {
	if p.slots == nil {
		p.slots = slices.Repeat([]int{-1}, p.stepH*p.stepW)
	}
	if p.slots[phase] < 0 {
		p.slots[phase] = p.used
		p.used++
	}
}

// sparseFill lays out one channel of a block of images.
func sparseFill[T Float](tl *tiling[T], w *Worker, p *sparsePlanes, src []T, block, channel int, dst []T) {
	images, image := min(p.lanes, p.n-block*p.lanes), p.channels*p.h*p.w
	src = src[block*p.lanes*image+channel*p.h*p.w:]
	dst = dst[channel*p.used*p.plane():][:p.used*p.plane()]
	if images < p.lanes {
		clear(dst)
	} else {
		sparseBorder(p, dst)
	}
	together := min(max(sparsePixels/p.w, 1), p.h)
	switch first, end := p.inside(0); {
	case p.stepH*p.stepW == 1 && p.cols == p.w && p.rows == p.h:
		for y := 0; y < p.h; y += together {
			tl.transpose(images, min(together, p.h-y)*p.w, src[y*p.w:], image, dst[y*p.w*p.lanes:], p.lanes)
		}
	case p.stepW == 1 && p.w >= sparseWide && first < end:
		for y := range p.h {
			i, slot := (y+p.top)/p.stepH, p.slots[(y+p.top)%p.stepH]
			if i < p.rows && slot >= 0 {
				tl.transpose(images, end-first, src[y*p.w+first-p.left:], image, dst[slot*p.plane()+(i*p.cols+first)*p.lanes:], p.lanes)
			}
		}
	default:
		band := scratchOf[T](w, slotA, together*p.w*p.lanes)
		if images < p.lanes {
			clear(band)
		}
		for y := 0; y < p.h; y += together {
			rows := min(together, p.h-y)
			tl.transpose(images, rows*p.w, src[y*p.w:], image, band, p.lanes)
			for i := range rows {
				sparseRow(p, y+i, band[i*p.w*p.lanes:], dst)
			}
		}
	}
}

// inside is what columns of a phase's plane hold pixels.
func (p *sparsePlanes) inside(phase int) (first, end int) {
	s := phase % p.stepW
	first = max(ceilDiv(p.left-s, p.stepW), 0)
	return min(first, p.cols), max(min(p.cols, ceilDiv(p.w+p.left-s, p.stepW)), min(first, p.cols))
}

// sparseBorder clears what no pixel is at.
func sparseBorder[T Float](p *sparsePlanes, dst []T) {
	for phase, slot := range p.slots {
		if slot < 0 {
			continue
		}
		first, end := p.inside(phase)
		for i := range p.rows {
			row := dst[slot*p.plane()+i*p.cols*p.lanes:][:p.cols*p.lanes]
			if y := i*p.stepH + phase/p.stepW - p.top; y < 0 || y >= p.h {
				clear(row)
				continue
			}
			clear(row[:first*p.lanes])
			clear(row[end*p.lanes:])
		}
	}
}

// sparseRow copies row y of the images, [w lanes], to its phases.
func sparseRow[T Float](p *sparsePlanes, y int, row, dst []T) {
	i := (y + p.top) / p.stepH
	if i >= p.rows {
		return
	}
	for s := range p.stepW {
		phase := (y+p.top)%p.stepH*p.stepW + s
		slot := p.slots[phase]
		if slot < 0 {
			continue
		}
		first, end := p.inside(phase)
		to, from := dst[slot*p.plane()+(i*p.cols+first)*p.lanes:], (first*p.stepW+s-p.left)*p.lanes
		if p.stepW == 1 {
			copy(to[:(end-first)*p.lanes], row[from:])
			continue
		}
		for j := range end - first {
			copy(to[j*p.lanes:(j+1)*p.lanes], row[from+j*p.stepW*p.lanes:])
		}
	}
}

// sparseLanes is how many images to bring side by side, so that few lanes are empty.
func sparseLanes(n, width int) int {
	best, least := 0, 0
	for lanes := pickLanes; lanes <= sparseSamples; lanes *= 2 {
		if cost := roundUp(n, lanes) * roundUp(width, sparseSamples/lanes); best == 0 || cost < least {
			best, least = lanes, cost
		}
	}
	return best
}

// weightPlace is the place of a kept weight w[o][c][kh][kw], c counted through all groups.
type weightPlace struct{ o, c, kh, kw int }

// places checks the numbers of kept weights.
func (g *ConvGeom) places(kept []int64) []weightPlace {
	channels := g.C / g.Group
	list := make([]weightPlace, len(kept))
	for i, at := range kept {
		if at < 0 || at >= int64(g.wSize()) || i > 0 && at <= kept[i-1] {
			panic(fmt.Sprintf("kernel: kept weight %d of %d is number %d", i, g.wSize(), at))
		}
		rest := int(at)
		p := weightPlace{kw: rest % g.KW, kh: rest / g.KW % g.KH}
		rest /= g.KW * g.KH
		p.o = rest / channels
		p.c = p.o/(g.OutC/g.Group)*channels + rest%channels
		list[i] = p
	}
	return list
}

// sparseInput is how a convolution reads x, and the taps of its kept weights.
func (g *ConvGeom) sparseInput(kept []int64, lanes int) (sparsePlanes, []sparseTap) {
	p := sparsePlanes{
		n: g.N, channels: g.C, h: g.H, w: g.W, lanes: lanes, stepH: g.StrideH, stepW: g.StrideW, top: g.PadT, left: g.PadL,
		rows: g.OH + (g.KH-1)*g.DilH/g.StrideH, cols: roundUp(g.OW, sparseSamples/lanes) + (g.KW-1)*g.DilW/g.StrideW,
	}
	phase := func(t weightPlace) int {
		return t.kh*g.DilH%g.StrideH*g.StrideW + t.kw*g.DilW%g.StrideW
	}
	places := g.places(kept)
	p.use(0)
	for _, t := range places {
		p.use(phase(t))
	}
	taps := make([]sparseTap, len(kept))
	for i, t := range places {
		taps[i] = sparseTap{row: t.o, channel: t.c, at: p.place(t.c, phase(t), t.kh*g.DilH/g.StrideH, t.kw*g.DilW/g.StrideW)}
	}
	return p, taps
}

// sparseGradient is how the gradient by the input reads dy. Pixel h of x at
// remainder r of h+PadT reads row (h+PadT-kh*DilH)/StrideH, for kh of the same remainder.
func (g *ConvGeom) sparseGradient(kept []int64, lanes int) (sparsePlanes, []sparseTap) {
	top, left := (g.KH-1)*g.DilH/g.StrideH, (g.KW-1)*g.DilW/g.StrideW
	last := (g.W - 1 + g.PadL) / g.StrideW
	p := sparsePlanes{
		n: g.N, channels: g.OutC, h: g.OH, w: g.OW, lanes: lanes, stepH: 1, stepW: 1, top: top, left: left,
		rows: (g.H-1+g.PadT)/g.StrideH + top + 1, cols: last + left + sparseSamples/lanes,
	}
	p.use(0)
	taps := make([]sparseTap, len(kept))
	for i, t := range g.places(kept) {
		h, w := t.kh*g.DilH, t.kw*g.DilW
		taps[i] = sparseTap{
			phase: h%g.StrideH*g.StrideW + w%g.StrideW, row: t.c, channel: t.o,
			at: p.place(t.o, 0, top-h/g.StrideH, left-w/g.StrideW),
		}
	}
	return p, taps
}
