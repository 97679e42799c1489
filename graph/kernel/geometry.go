package kernel

import "fmt"

// ConvGeom is the geometry of a two-dimensional convolution of x [N C H W] with
// w [OutC C/Group KH KW] to y [N OutC OH OW]; one dimension is H = KH = 1. In
// strides, dilations and Group 0 means 1; OH and OW may be left 0.
type ConvGeom struct {
	N, C, H, W             int
	OutC, KH, KW, OH, OW   int
	StrideH, StrideW       int
	DilH, DilW             int
	PadT, PadL, PadB, PadR int // rows and columns of zeros around x
	Group                  int
}

// withDefaults fills in what was left 0 and panics on sizes that contradict
// each other.
func (g ConvGeom) withDefaults() ConvGeom {
	for _, p := range []*int{&g.StrideH, &g.StrideW, &g.DilH, &g.DilW, &g.Group} {
		*p = max(*p, 1)
	}
	oh := (g.H+g.PadT+g.PadB-g.DilH*(g.KH-1)-1)/g.StrideH + 1
	ow := (g.W+g.PadL+g.PadR-g.DilW*(g.KW-1)-1)/g.StrideW + 1
	if g.OH == 0 && g.OW == 0 {
		g.OH, g.OW = oh, ow
	}
	if g.OH != oh || g.OW != ow || oh < 1 || ow < 1 || g.N < 0 || g.C%g.Group != 0 || g.OutC%g.Group != 0 {
		panic(fmt.Sprintf("kernel: impossible convolution %+v: its output is %d by %d", g, oh, ow))
	}
	return g
}

// Sizes of the three tensors, in elements.
func (g *ConvGeom) xSize() int { return g.N * g.C * g.H * g.W }
func (g *ConvGeom) wSize() int { return g.OutC * g.C / g.Group * g.KH * g.KW }
func (g *ConvGeom) ySize() int { return g.N * g.OutC * g.OH * g.OW }

// forward is how pixels of y read x.
func (g *ConvGeom) forward() sampling {
	s := sampling{
		planeH: g.H, planeW: g.W, rows: g.OH, cols: g.OW,
		stepH: g.StrideH, stepW: g.StrideW, originH: -g.PadT, originW: -g.PadL,
	}
	for kh := range g.KH {
		for kw := range g.KW {
			s.taps = append(s.taps, tap{kh * g.DilH, kw * g.DilW})
		}
	}
	return s
}

// phase is the part of the input gradient whose pixels lie at one remainder of
// the strides. Only some kernel elements reach it, and among its pixels they
// reach y with stride one:
//
//	h + PadT = oh*StrideH + kh*DilH
type phase struct {
	sampling
	kernel []int // the kernel element, kh*KW + kw, of each tap
	h, w   int   // the phase's first pixel in x
}

// phases splits the pixels of x.
func (g *ConvGeom) phases() []phase {
	var list []phase
	for h := range min(g.StrideH, g.H) {
		for w := range min(g.StrideW, g.W) {
			list = append(list, g.phase(h, w))
		}
	}
	return list
}

func (g *ConvGeom) phase(h, w int) phase {
	p := phase{h: h, w: w, sampling: sampling{
		planeH: g.OH, planeW: g.OW,
		rows: ceilDiv(g.H-h, g.StrideH), cols: ceilDiv(g.W-w, g.StrideW),
		stepH: 1, stepW: 1,
	}}
	for kh := range g.KH {
		for kw := range g.KW {
			dh, dw := h+g.PadT-kh*g.DilH, w+g.PadL-kw*g.DilW
			if dh%g.StrideH == 0 && dw%g.StrideW == 0 {
				p.taps = append(p.taps, tap{dh / g.StrideH, dw / g.StrideW})
				p.kernel = append(p.kernel, kh*g.KW+kw)
			}
		}
	}
	return p
}
