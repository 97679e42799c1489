package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// transformCase is a transform with the matrix that it applies and its vectors'
// length.
type transformCase[T Float] struct {
	name   string
	run    tileTransform[T]
	matrix [][]float64
	lanes  int
}

// transformsOf lists the transforms of a tiling.
func transformsOf[T Float](tl *tiling[T]) []transformCase[T] {
	l, s := tl.winograd, tl.strided
	input, weight, result := winogradMatrices[float64]()
	gradient, sum := gradientMatrices[float64]()
	phase, stridedWeight, stridedResult := stridedMatrices[float64]()
	bias := make([]T, l.lanes)
	plain := func(output outputTransform[T]) tileTransform[T] {
		return func(n int, src []T, srcNext, srcRow, srcCol int, dst []T, dstNext, dstRow, dstCol int) {
			output(n, src, srcNext, srcRow, srcCol, dst, dstNext, dstRow, dstCol, bias, T(math.Inf(-1)))
		}
	}
	return []transformCase[T]{
		{"input", l.input, input, l.lanes},
		{"weight", l.weight, weight, packedRow},
		{"mirror", l.mirror, mirrored(weight), packedRow},
		{"gradient", l.gradient, gradient, l.lanes},
		{"sum", l.sum, sum, l.lanes},
		{"output", plain(l.output), transposed(result), l.lanes},
		{"strided_input", s.input, bothParities(phase), l.lanes},
		{"strided_weight", s.weight, stridedWeight, packedRow},
		{"strided_output", plain(s.output), transposed(stridedResult), l.lanes},
		{"strided_input_back", s.inputBack, phase, l.lanes},
		{"strided_mirror", s.mirror, mirrored(stridedWeight), packedRow},
		{"strided_output_back", plain(s.outputBack), transposed(interleaved(stridedResult)), l.lanes},
		{"strided_gradient", s.gradient, stridedResult, l.lanes},
		{"strided_sum", s.sum, transposed(stridedWeight), l.lanes},
	}
}

func TestTileTransforms(t *testing.T) {
	for _, tl := range tilings[float32]() {
		for _, tr := range transformsOf(tl) {
			t.Run(tl.name+"/"+tr.name, func(t *testing.T) {
				rows, cols := len(tr.matrix), len(tr.matrix[0])
				const n = 3
				next := func(side int) (next, row, col int) {
					return side*side*(tr.lanes+1) + 2, side * (tr.lanes + 1), tr.lanes + 1
				}
				srcNext, srcRow, srcCol := next(cols)
				dstNext, dstRow, dstCol := next(rows)
				src, dst := newGuarded[float32](n*srcNext), newGuarded[float32](n*dstNext)
				fill(src.s, 5)
				tr.run(n, src.s, srcNext, srcRow, srcCol, dst.s, dstNext, dstRow, dstCol)
				for at := range n * rows * rows * tr.lanes {
					tile, i, j, lane := at/(rows*rows*tr.lanes), at/(rows*tr.lanes)%rows, at/tr.lanes%rows, at%tr.lanes
					want := 0.0
					for k := range cols * cols {
						want += tr.matrix[i][k/cols] * tr.matrix[j][k%cols] * float64(src.s[tile*srcNext+k/cols*srcRow+k%cols*srcCol+lane])
					}
					if got := dst.s[tile*dstNext+i*dstRow+j*dstCol+lane]; !nearSum(got, want, 100) {
						t.Fatalf("tile %d, element (%d, %d), lane %d is %v, want %v", tile, i, j, lane, got, want)
					}
				}
				src.check(t, "src")
				dst.check(t, "dst")
			})
		}
	}
}

// TestWinogradMatrices checks the identity that makes the algorithm exact, for
// convolutions and for gradients by their weights.
func TestWinogradMatrices(t *testing.T) {
	input, weight, result := winogradMatrices[float64]()
	gradient, sum := gradientMatrices[float64]()
	for out := range tileOut {
		for in := range tileIn {
			for tap := range 3 {
				forward, backward := 0.0, 0.0
				for e := range tileIn {
					forward += result[e][out] * weight[e][tap] * input[e][in]
					backward += gradient[e][out] * sum[tap][e] * input[e][in]
				}
				want := 0.0
				if in == out+tap {
					want = 1
				}
				if math.Abs(forward-want) > 1e-15 || math.Abs(backward-want) > 1e-15 {
					t.Errorf("input %d times tap %d counts %v times in result %d, %v times in the gradient, want %v", in, tap, forward, out, backward, want)
				}
			}
		}
	}
}

// TestStridedMatrices does so for stride 2, and for the gradient by the input,
// whose first result is one that the middle tap reaches.
func TestStridedMatrices(t *testing.T) {
	phase, weight, result := stridedMatrices[float64]()
	x, dx := bothParities(phase), interleaved(result)
	check := func(what string, got float64, holds bool) {
		t.Helper()
		want := 0.0
		if holds {
			want = 1
		}
		if math.Abs(got-want) > 1e-15 {
			t.Errorf("%s counts %v times, want %v", what, got, want)
		}
	}
	for tap := range 3 {
		for out := range tileOut {
			for in := range stridedX.extent {
				sum := 0.0
				for e := range wideSide {
					sum += result[pointOf(e)][out] * weight[tapOf(e)][tap] * x[e][in]
				}
				check(fmt.Sprintf("x[%d] times tap %d in y[%d]", in, tap, out), sum, in == 2*out+tap)
			}
		}
		for out := range stridedDX.extent {
			for in := range stridedDY.extent {
				sum := 0.0
				for e := range wideSide {
					sum += dx[e][out] * weight[tapOf(e)][2-tap] * phase[pointOf(e)][in]
				}
				check(fmt.Sprintf("dy[%d] times tap %d in dx[%d]", in, tap, out), sum, out+1 == 2*in+tap)
			}
		}
	}
}

// TestWinogradError states the price of the transforms: on inputs and weights
// as networks have them, the root mean square of the error stays below 2e-6 of
// the result's in all three kernels (that of the plain sum is some 3e-7), and no
// error is above 5e-6 of the largest result.
func TestWinogradError(t *testing.T) {
	for _, l := range []layer{
		{"channels16", 4, 16, 16, 16, 3, 1, 1, 1},
		{"channels64", 2, 64, 16, 64, 3, 1, 1, 1},
		{"channels256", 2, 256, 8, 256, 3, 1, 1, 1},
		{"stride 2, channels64", 2, 64, 16, 64, 3, 2, 1, 1},
		{"stride 2, channels256", 2, 256, 8, 256, 3, 2, 1, 1},
	} {
		t.Run(l.name, func(t *testing.T) {
			g := l.geom()
			rng := rand.New(rand.NewPCG(1, 2))
			x, w, dy := normal[float64](rng, g.xSize()), normal[float64](rng, g.wSize()), normal[float64](rng, g.ySize())
			for i := range x {
				x[i] = float64(float32(max(x[i], 0)))
			}
			for i := range w {
				w[i] = float64(float32(w[i] / math.Sqrt(float64(9*g.C))))
			}
			want := allOfConv(g, WinogradNever, x, w, widen(narrow(dy)))
			plain := allOfConv(g, WinogradNever, narrow(x), narrow(w), narrow(dy))
			fast := allOfConv(g, WinogradWhereFits, narrow(x), narrow(w), narrow(dy))
			for i, what := range []string{"y", "dx", "dw"} {
				plainRMS, _ := errorOf(plain[i], want[i])
				rms, worst := errorOf(fast[i], want[i])
				t.Logf("%-2s: error %.1e (plain %.1e), largest %.1e of the largest result", what, rms, plainRMS, worst)
				if rms > 2e-6 || worst > 5e-6 {
					t.Errorf("%s: error %.2e with transforms, %.2e without; largest %.2e", what, rms, plainRMS, worst)
				}
			}
		})
	}
}

// TestWinogradSquaresError states the price for the sums of squared gradients of
// single samples, within the same bounds.
func TestWinogradSquaresError(t *testing.T) {
	for _, l := range []layer{
		{"channels16", 4, 16, 32, 16, 3, 1, 1, 1},
		{"channels64", 3, 64, 16, 64, 3, 1, 1, 1},
		{"channels128", 3, 128, 8, 128, 3, 1, 1, 1},
		{"stride 2, channels64", 3, 64, 32, 64, 3, 2, 1, 1},
		{"stride 2, channels128", 3, 128, 16, 128, 3, 2, 1, 1},
	} {
		t.Run(l.name, func(t *testing.T) {
			g := l.geom()
			rng := rand.New(rand.NewPCG(1, 2))
			x, dy := normal[float64](rng, g.xSize()), normal[float64](rng, g.ySize())
			for i := range x {
				x[i] = max(x[i], 0)
			}
			want := squaresOfConv(g, WinogradNever, widen(narrow(x)), widen(narrow(dy)))
			plain := squaresOfConv(g, WinogradNever, narrow(x), narrow(dy))
			fast := squaresOfConv(g, WinogradWhereFits, narrow(x), narrow(dy))
			plainRMS, _ := errorOf(plain, want)
			rms, worst := errorOf(fast, want)
			t.Logf("error %.1e (plain %.1e), largest %.1e of the largest result", rms, plainRMS, worst)
			if rms > 2e-6 || worst > 5e-6 {
				t.Errorf("error %.2e with transforms, %.2e without; largest %.2e", rms, plainRMS, worst)
			}
		})
	}
}

// squaresOfConv computes ConvSampleSquares.
func squaresOfConv[T Float](g ConvGeom, wish Winograd, x, dy []T) []T {
	squares := make([]T, g.wSize())
	NewConvSampleSquares[T](g, ConvOptions{Winograd: wish}).Run(nil, x, dy, squares)
	return squares
}

// allOfConv computes y, dx and dw.
func allOfConv[T Float](g ConvGeom, wish Winograd, x, w, dy []T) [3][]T {
	y, dx, dw := make([]T, g.ySize()), make([]T, g.xSize()), make([]T, g.wSize())
	opt := ConvOptions{Winograd: wish}
	NewConv[T](g, opt).Run(nil, x, w, nil, y)
	NewConvGradInput[T](g, opt).Run(nil, dy, w, dx)
	NewConvGradWeight[T](g, opt).Run(nil, x, dy, dw)
	return [3][]T{y, dx, dw}
}

// errorOf is the root mean square error relative to that of want, and the
// largest error relative to the largest element.
func errorOf(got []float32, want []float64) (rms, worst float64) {
	var squares, sum, top float64
	for i, w := range want {
		d := math.Abs(float64(got[i]) - w)
		squares, sum = squares+d*d, sum+w*w
		worst, top = max(worst, d), max(top, math.Abs(w))
	}
	return math.Sqrt(squares / sum), worst / top
}

func TestWinogradChoice(t *testing.T) {
	for _, c := range []struct {
		layer layer
		want  bool
	}{
		{layer{"wide", 64, 64, 32, 64, 3, 1, 1, 1}, true},
		{layer{"deep", 64, 512, 4, 512, 3, 1, 1, 1}, true},
		{layer{"three channels", 64, 3, 32, 64, 3, 1, 1, 1}, false},
		{layer{"tiny planes", 64, 512, 2, 512, 3, 1, 1, 1}, false},
		{layer{"one image of a deep layer", 1, 512, 4, 512, 3, 1, 1, 1}, false},
		{layer{"few channels", 64, 4, 32, 4, 3, 1, 1, 1}, false},
		{layer{"some channels", 64, 16, 32, 16, 3, 1, 1, 1}, true},
		{layer{"stride 2", 64, 64, 32, 128, 3, 2, 1, 1}, true},
		{layer{"stride 2 of a deep layer", 64, 256, 8, 512, 3, 2, 1, 1}, true},
		{layer{"stride 2, three channels", 64, 3, 32, 64, 3, 2, 1, 1}, false},
		{layer{"stride 2, tiny planes", 64, 256, 4, 512, 3, 2, 1, 1}, false},
		{layer{"stride 2, one image of a deep layer", 1, 256, 8, 512, 3, 2, 1, 1}, false},
		{layer{"stride 3", 64, 64, 33, 64, 3, 3, 1, 1}, false},
	} {
		g := c.layer.geom()
		if got := transformed[float32](g, ConvOptions{}); got != [3]bool{c.want, c.want, c.want} {
			t.Errorf("%s: forward and gradients use transforms: %v, want %v", c.layer.name, got, c.want)
		}
		if got := transformed[float32](g, ConvOptions{Winograd: WinogradNever}); got != [3]bool{} {
			t.Errorf("%s: forward and gradients use transforms when told not to: %v", c.layer.name, got)
		}
		if got := transformed[float64](g, ConvOptions{}); got != [3]bool{} {
			t.Errorf("%s: forward and gradients use transforms in float64: %v", c.layer.name, got)
		}
	}
	g := layer{"", 64, 8, 32, 16, 3, 2, 1, 1}.geom() // whose phases' pixels are put in their places one by one
	if got := transformed[float32](g, ConvOptions{}); got != [3]bool{false, true, false} {
		t.Errorf("stride 2, few channels: forward and gradients use transforms: %v, want the gradient by the input alone", got)
	}
}

// transformed tells which of a convolution and its gradients by input and weights
// use transforms.
func transformed[T Float](g ConvGeom, opt ConvOptions) [3]bool {
	_, forward := NewConv[T](g, opt).method.(*winograd[T])
	_, input := NewConvGradInput[T](g, opt).parts[0].method.(*winograd[T])
	return [3]bool{forward, input, NewConvGradWeight[T](g, opt).winograd != nil}
}

// TestWinogradSquaresChoice: transforming a gradient back pays from images of 7
// by 7 on, and with stride 2 from 8 by 8 results on.
func TestWinogradSquaresChoice(t *testing.T) {
	for _, c := range []struct {
		size, stride int
		want         bool
	}{
		{4, 1, false}, {6, 1, false}, {7, 1, true}, {8, 1, true}, {32, 1, true},
		{8, 2, false}, {16, 2, true}, {32, 2, true},
	} {
		size, want := c.size, c.want
		g := layer{"", 64, 128, size, 128, 3, c.stride, 1, 1}.geom()
		if got := NewConvSampleSquares[float32](g, ConvOptions{}).winograd != nil; got != want {
			t.Errorf("images of %d by %d: uses transforms: %v, want %v", size, size, got, want)
		}
		if NewConvSampleSquares[float32](g, ConvOptions{Winograd: WinogradNever}).winograd != nil {
			t.Errorf("images of %d by %d: uses transforms when told not to", size, size)
		}
	}
}

func BenchmarkTileTransforms(b *testing.B) {
	for _, tl := range tilings[float32]() {
		for _, tr := range transformsOf(tl) {
			const n, pitch = 8, 64
			rows, cols := len(tr.matrix), len(tr.matrix[0])
			src, dst := make([]float32, n*cols*cols*pitch), make([]float32, rows*rows*(n*pitch+16))
			b.Run(fmt.Sprintf("%s/%s", tl.name, tr.name), func(b *testing.B) {
				for b.Loop() {
					tr.run(n, src, 4*pitch, cols*pitch, pitch, dst, pitch, rows*(n*pitch+16), n*pitch+16)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/tile")
			})
		}
	}
}
