package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// depthwise writes linked_f32_{set} and linked_dot_f32_{set}, the loops of
// depthwise convolutions over 16 images at a time.
func depthwise(set vectorSet) {
	linked(set)
	linkedDot(set)
	besideTaps(set)
}

// vectors of one row of images.
func rowVectors(set vectorSet) int { return 16 / set.lanes() }

func linked(set vectorSet) {
	TEXT("linked_f32_"+set.name(), NOSPLIT, "func(places int, links []int32, w, src, dst []float32, dstNext int, start, floor float32)")
	Doc("Sums up links for places > 0 places and 16 images; see linkedFunc.")
	Pragma("noescape")
	places := Load(Param("places"), GP64())
	link := Load(Param("links").Base(), GP64())
	w, src := Load(Param("w").Base(), GP64()), Load(Param("src").Base(), GP64())
	dst, dstNext := Load(Param("dst").Base(), GP64()), bytes("dstNext")
	start, floor := set.vector(), set.vector()
	broadcastParam("start", start)
	broadcastParam("floor", floor)
	acc := make([]VecVirtual, rowVectors(set))
	for i := range acc {
		acc[i] = set.vector()
	}

	Label("place")
	for _, v := range acc {
		VMOVUPS(start, v)
	}
	count := nextCount(link)
	Label("link")
	tap, from := GP64(), GP64()
	MOVLQSX(Mem{Base: link}, tap)
	MOVLQSX(Mem{Base: link, Disp: 4}, from)
	t := set.vector()
	VBROADCASTSS(Mem{Base: w, Index: tap, Scale: 4}, t)
	for i, v := range acc {
		VFMADD231PS(Mem{Base: src, Index: from, Scale: 4, Disp: i * set.lanes() * 4}, t, v)
	}
	nextLink(link, count)
	for i, v := range acc {
		VMAXPS(v, floor, v) // this order keeps a NaN
		VMOVUPS(v, Mem{Base: dst, Disp: i * set.lanes() * 4})
	}
	ADDQ(dstNext, dst)
	DECQ(places)
	JNZ(LabelRef("place"))
	set.leave()
	RET()
}

func linkedDot(set vectorSet) {
	TEXT("linked_dot_f32_"+set.name(), NOSPLIT, "func(taps int, links []int32, x, y, dst []float32)")
	Doc("Adds the products of links for taps > 0 taps and 16 images; see linkedDotFunc.")
	Pragma("noescape")
	taps := Load(Param("taps"), GP64())
	link := Load(Param("links").Base(), GP64())
	x, y := Load(Param("x").Base(), GP64()), Load(Param("y").Base(), GP64())
	dst := Load(Param("dst").Base(), GP64())
	acc := make([]VecVirtual, rowVectors(set))
	for i := range acc {
		acc[i] = set.vector()
	}

	Label("tap")
	for i, v := range acc {
		VMOVUPS(Mem{Base: dst, Disp: i * set.lanes() * 4}, v)
	}
	count := nextCount(link)
	Label("link")
	one, other := GP64(), GP64()
	MOVLQSX(Mem{Base: link}, one)
	MOVLQSX(Mem{Base: link, Disp: 4}, other)
	for i, v := range acc {
		t := set.vector()
		VMOVUPS(Mem{Base: x, Index: one, Scale: 4, Disp: i * set.lanes() * 4}, t)
		VFMADD231PS(Mem{Base: y, Index: other, Scale: 4, Disp: i * set.lanes() * 4}, t, v)
	}
	nextLink(link, count)
	for i, v := range acc {
		VMOVUPS(v, Mem{Base: dst, Disp: i * set.lanes() * 4})
	}
	ADDQ(Imm(64), dst)
	DECQ(taps)
	JNZ(LabelRef("tap"))
	set.leave()
	RET()
}

// besideTaps writes beside_taps_f32_{set}: the same for channels one behind the
// other, which share their links.
func besideTaps(set vectorSet) {
	TEXT("beside_taps_f32_"+set.name(), NOSPLIT, "func(channels int, links []int32, w []float32, taps int, x, bias, y []float32, low, high float32)")
	Doc("Sums up links for channels > 0 channels and 16 images; see besideTapsFunc.")
	Pragma("noescape")
	channels := Load(Param("channels"), GP64())
	links, end := Load(Param("links").Base(), GP64()), Load(Param("links").Len(), GP64())
	LEAQ(Mem{Base: links, Index: end, Scale: 4}, end)
	w, taps := Load(Param("w").Base(), GP64()), bytes("taps")
	x, bias, y := Load(Param("x").Base(), GP64()), Load(Param("bias").Base(), GP64()), Load(Param("y").Base(), GP64())
	low, high := set.vector(), set.vector()
	broadcastParam("low", low)
	broadcastParam("high", high)
	acc := make([]VecVirtual, rowVectors(set))
	for i := range acc {
		acc[i] = set.vector()
	}

	Label("channel")
	for _, v := range acc {
		VBROADCASTSS(Mem{Base: bias}, v)
	}
	link := GP64()
	MOVQ(links, link)
	CMPQ(link, end)
	JE(LabelRef("summed"))
	Label("link")
	tap, from := GP64(), GP64()
	MOVLQSX(Mem{Base: link}, tap)
	MOVLQSX(Mem{Base: link, Disp: 4}, from)
	t := set.vector()
	VBROADCASTSS(Mem{Base: w, Index: tap, Scale: 4}, t)
	for i, v := range acc {
		VFMADD231PS(Mem{Base: x, Index: from, Scale: 4, Disp: i * set.lanes() * 4}, t, v)
	}
	ADDQ(Imm(8), link)
	CMPQ(link, end)
	JNE(LabelRef("link"))
	Label("summed")
	for i, v := range acc {
		VMAXPS(v, low, v) // this order keeps a NaN
		VMINPS(v, high, v)
		VMOVUPS(v, Mem{Base: y, Disp: i * set.lanes() * 4})
	}
	ADDQ(taps, w)
	ADDQ(Imm(64), x)
	ADDQ(Imm(4), bias)
	ADDQ(Imm(64), y)
	DECQ(channels)
	JNZ(LabelRef("channel"))
	set.leave()
	RET()
}

// broadcastParam loads a float32 parameter into every lane.
func broadcastParam(name string, v VecVirtual) {
	at, _ := Param(name).Resolve()
	VBROADCASTSS(at.Addr, v)
}

// nextCount reads how many links follow and jumps behind them if none do.
func nextCount(link Register) Register {
	count := GP64()
	MOVLQSX(Mem{Base: link}, count)
	ADDQ(Imm(4), link)
	TESTQ(count, count)
	JZ(LabelRef("summed"))
	return count
}

// nextLink ends a loop over links.
func nextLink(link, count Register) {
	ADDQ(Imm(8), link)
	DECQ(count)
	JNZ(LabelRef("link"))
	Label("summed")
}
