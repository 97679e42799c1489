package kernel

import (
	"fmt"
	"testing"
)

// layer is a convolution of a known network with square images and kernels.
type layer struct {
	name                                      string
	n, c, size, outC, kernel, stride, pad, of int
}

func (l layer) geom() ConvGeom {
	return ConvGeom{
		N: l.n, C: l.c, H: l.size, W: l.size, OutC: l.outC, KH: l.kernel, KW: l.kernel,
		StrideH: l.stride, StrideW: l.stride, PadT: l.pad, PadL: l.pad, PadB: l.pad, PadR: l.pad,
	}.withDefaults()
}

// benchLayers are the layers of the networks the project is about; of is how
// often the network has the layer.
var benchLayers = []layer{
	{"lenet5.conv1", 64, 1, 28, 6, 5, 1, 2, 1},
	{"lenet5.conv2", 64, 6, 14, 16, 5, 1, 0, 1},
	{"resnet18.stem", 64, 3, 32, 64, 3, 1, 1, 1},
	{"resnet18.layer1", 64, 64, 32, 64, 3, 1, 1, 4},
	{"resnet18.layer2.down", 64, 64, 32, 128, 3, 2, 1, 1},
	{"resnet18.layer2.shortcut", 64, 64, 32, 128, 1, 2, 0, 1},
	{"resnet18.layer2", 64, 128, 16, 128, 3, 1, 1, 3},
	{"resnet18.layer3.down", 64, 128, 16, 256, 3, 2, 1, 1},
	{"resnet18.layer3.shortcut", 64, 128, 16, 256, 1, 2, 0, 1},
	{"resnet18.layer3", 64, 256, 8, 256, 3, 1, 1, 3},
	{"resnet18.layer4.down", 64, 256, 8, 512, 3, 2, 1, 1},
	{"resnet18.layer4.shortcut", 64, 256, 8, 512, 1, 2, 0, 1},
	{"resnet18.layer4", 64, 512, 4, 512, 3, 1, 1, 3},
	{"vgg16.conv5", 64, 512, 2, 512, 3, 1, 1, 3},
	{"alexnet.conv1", 8, 3, 224, 64, 11, 4, 2, 1},
	{"alexnet.conv2", 8, 64, 27, 192, 5, 1, 2, 1},
	{"densenet.growth", 16, 128, 32, 32, 3, 1, 1, 1},
	{"batch1.layer1", 1, 64, 32, 64, 3, 1, 1, 1},
	{"batch1.layer2.down", 1, 64, 32, 128, 3, 2, 1, 1},
	{"batch1.layer2", 1, 128, 16, 128, 3, 1, 1, 1},
	{"batch1.layer4", 1, 512, 4, 512, 3, 1, 1, 1},
}

func BenchmarkConv(b *testing.B) {
	for _, threads := range []int{1, 2} {
		team := NewTeam(threads)
		defer team.Close()
		for _, l := range benchLayers {
			g := l.geom()
			x, w, y := fill(make([]float32, g.xSize()), 1), fill(make([]float32, g.wSize()), 2), fill(make([]float32, g.ySize()), 3)
			flop := 2 * g.ySize() * g.C * g.KH * g.KW
			bench := func(what string, run func()) {
				b.Run(fmt.Sprintf("%s/%s/threads%d", l.name, what, threads), func(b *testing.B) {
					for b.Loop() {
						run()
					}
					reportGFLOPS(b, flop)
				})
			}
			conv, input, weight := NewConv[float32](g, ConvOptions{}), NewConvGradInput[float32](g, ConvOptions{}), NewConvGradWeight[float32](g, ConvOptions{})
			bench("forward", func() { conv.Run(team, x, w, nil, y) })
			bench("dx", func() { input.Run(team, y, w, x) })
			bench("dw", func() { weight.Run(team, x, y, w) })
			squares := NewConvSampleSquares[float32](g, ConvOptions{})
			bench("squares", func() { squares.Run(team, x, y, w) })
		}
	}
}

// BenchmarkConvMaxPool times LeNet-5's convolutions with their pooling.
func BenchmarkConvMaxPool(b *testing.B) {
	for _, g := range []ConvGeom{
		{N: 128, C: 1, H: 28, W: 28, OutC: 6, KH: 5, KW: 5, PadT: 2, PadL: 2, PadB: 2, PadR: 2},
		{N: 128, C: 6, H: 14, W: 14, OutC: 16, KH: 5, KW: 5},
	} {
		g = g.withDefaults()
		b.Run(fmt.Sprintf("%dx%dx%d-%d", g.C, g.H, g.W, g.OutC), func(b *testing.B) {
			x, w, bias := fill(make([]float32, g.xSize()), 1), fill(make([]float32, g.wSize()), 2), fill(make([]float32, g.OutC), 3)
			size := g.N * g.OutC * (g.OH / 2) * (g.OW / 2)
			y, places := make([]float32, size), make([]int64, size)
			k := NewConvMaxPool[float32](g, ConvOptions{Activation: Rectifier})
			for b.Loop() {
				k.Run(nil, x, w, bias, y, places)
			}
			b.ReportMetric(2e-9*float64(g.wSize()*g.N*g.OH*g.OW)*float64(b.N)/b.Elapsed().Seconds(), "GFLOP/s")
		})
	}
}
