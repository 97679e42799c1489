package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// depthwise writes the loops of depthwise convolutions, over 16 images and over
// each of the other numbers, and those of channels one behind the other, some of
// which are summed together.
func depthwise(set vectorSet, images []int, channels int) {
	for _, n := range append(images, rowImages) {
		linked(set, n)
		linkedDot(set, n)
	}
	besideTaps(set, channels)
}

// rowImages is how many images the sums of linkedDot and the channels of besideTaps
// have.
const rowImages = 16

// vectors of some images.
func imageVectors(set vectorSet, images int) []VecVirtual {
	list := make([]VecVirtual, images/set.lanes())
	for i := range list {
		list[i] = set.vector()
	}
	return list
}

// linked writes linked{images}_f32_{set}.
func linked(set vectorSet, images int) {
	TEXT(fmt.Sprintf("linked%d_f32_%s", images, set.name()), NOSPLIT, "func(places int, links []int32, w, src, dst []float32, dstNext int, start, floor float32)")
	Doc(fmt.Sprintf("Sums up links for places > 0 places and %d images; see linkedFunc.", images))
	Pragma("noescape")
	places := Load(Param("places"), GP64())
	link := Load(Param("links").Base(), GP64())
	w, src := Load(Param("w").Base(), GP64()), Load(Param("src").Base(), GP64())
	dst, dstNext := Load(Param("dst").Base(), GP64()), bytes("dstNext")
	start, floor := set.vector(), set.vector()
	broadcastParam("start", start)
	broadcastParam("floor", floor)
	acc := imageVectors(set, images)

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

// linkedDot writes linked_dot{images}_f32_{set}. What is beyond 16 images is added
// to those when a tap ends.
func linkedDot(set vectorSet, images int) {
	TEXT(fmt.Sprintf("linked_dot%d_f32_%s", images, set.name()), NOSPLIT, "func(taps int, links []int32, x, y, dst []float32)")
	Doc(fmt.Sprintf("Adds the products of links for taps > 0 taps and %d images; see linkedDotFunc.", images))
	Pragma("noescape")
	taps := Load(Param("taps"), GP64())
	link := Load(Param("links").Base(), GP64())
	x, y := Load(Param("x").Base(), GP64()), Load(Param("y").Base(), GP64())
	dst := Load(Param("dst").Base(), GP64())
	acc := imageVectors(set, images)
	sums := rowImages / set.lanes()

	Label("tap")
	for i, v := range acc {
		if i < sums {
			VMOVUPS(Mem{Base: dst, Disp: i * set.lanes() * 4}, v)
		} else {
			set.zero(v)
		}
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
	for i, v := range acc[:len(acc)-sums] {
		VADDPS(acc[i+sums], v, acc[i+sums])
	}
	for i, v := range acc[len(acc)-sums:] {
		VMOVUPS(v, Mem{Base: dst, Disp: i * set.lanes() * 4})
	}
	ADDQ(Imm(64), dst)
	DECQ(taps)
	JNZ(LabelRef("tap"))
	set.leave()
	RET()
}

// besideTaps writes beside_taps_f32_{set}: the same for channels one behind the
// other, which share their links, and what it takes to follow them: together is how
// many channels are summed at once, as long as there are as many.
func besideTaps(set vectorSet, together int) {
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
	sum := func(count int, name suffix) {
		acc, weights := make([][]VecVirtual, count), []Register{w}
		for c := range acc {
			acc[c] = imageVectors(set, rowImages)
			for _, v := range acc[c] {
				VBROADCASTSS(Mem{Base: bias, Disp: 4 * c}, v)
			}
			if c > 0 {
				weights = append(weights, GP64())
				LEAQ(Mem{Base: weights[c-1], Index: taps, Scale: 1}, weights[c])
			}
		}
		link := GP64()
		MOVQ(links, link)
		CMPQ(link, end)
		JE(LabelRef(name.of("summed")))
		Label(name.of("link"))
		tap, from := GP64(), GP64()
		MOVLQSX(Mem{Base: link}, tap)
		MOVLQSX(Mem{Base: link, Disp: 4}, from)
		for c, line := range acc {
			t := set.vector()
			VBROADCASTSS(Mem{Base: weights[c], Index: tap, Scale: 4}, t)
			for i, v := range line {
				VFMADD231PS(Mem{Base: x, Index: from, Scale: 4, Disp: 64*c + i*set.lanes()*4}, t, v)
			}
		}
		ADDQ(Imm(8), link)
		CMPQ(link, end)
		JNE(LabelRef(name.of("link")))
		Label(name.of("summed"))
		for c, line := range acc {
			for i, v := range line {
				VMAXPS(v, low, v) // this order keeps a NaN
				VMINPS(v, high, v)
				VMOVUPS(v, Mem{Base: y, Disp: 64*c + i*set.lanes()*4})
			}
		}
		LEAQ(Mem{Base: weights[count-1], Index: taps, Scale: 1}, w)
		ADDQ(U32(64*count), x)
		ADDQ(Imm(uint64(4*count)), bias)
		ADDQ(U32(64*count), y)
	}
	if together > 1 {
		Label("together")
		CMPQ(channels, Imm(uint64(together)))
		JL(LabelRef("rest"))
		sum(together, "_together")
		SUBQ(Imm(uint64(together)), channels)
		JMP(LabelRef("together"))
		Label("rest")
		TESTQ(channels, channels)
		JZ(LabelRef("done"))
	}
	Label("channel")
	sum(1, "")
	DECQ(channels)
	JNZ(LabelRef("channel"))
	if together > 1 {
		Label("done")
	}
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
