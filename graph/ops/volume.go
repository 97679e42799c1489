package ops

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Convolution and pooling over more than two spatial axes go through the
// kernels for images.

// isVolume reports whether there are more than two spatial axes.
func (w *window) isVolume() bool { return len(w.in) > 2 }

// volume is the kernel's form of the geometry.
func (c *conv) volume() (kernel.VolumeGeom, error) {
	v := kernel.VolumeGeom{ConvGeom: c.geom()}
	images := []int{v.C, v.H, v.W} // what the kernel lays out of one sample
	for i := range len(c.in) - 2 {
		v.Lead = append(v.Lead, kernel.LeadAxis{
			In: c.in[i], Out: c.out[i], Kernel: c.kernel[i], Stride: c.stride[i], Dilation: c.dilation[i], Pad: c.begin[i],
		})
		images = append(images, c.out[i], c.kernel[i])
	}
	if err := CheckSize(images); err != nil {
		return v, fmt.Errorf("what the kernel reads of one sample: %w", err)
	}
	return v, nil
}

func runVolumeConv[T kernel.Float](c *Call, geometry *conv) (func() error, error) {
	v, err := geometry.volume()
	if err != nil {
		return nil, err
	}
	x, w, bias, y := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.In, 2), slot[T](c.Out, 0)
	k := kernel.NewVolumeConv[T](v, kernel.ConvOptions{Winograd: c.Winograd, Activation: c.Activation})
	return func() error {
		k.Run(c.Team, x, w, bias, y)
		return nil
	}, nil
}

func runVolumeGradInput[T kernel.Float](c *Call, geometry *conv) (func() error, error) {
	v, err := geometry.volume()
	if err != nil {
		return nil, err
	}
	dy, w, dx := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	k := kernel.NewVolumeGradInput[T](v, kernel.ConvOptions{Winograd: c.Winograd})
	return func() error {
		k.Run(c.Team, dy, w, dx)
		return nil
	}, nil
}

func runVolumeGradWeight[T kernel.Float](c *Call, geometry *conv) (func() error, error) {
	v, err := geometry.volume()
	if err != nil {
		return nil, err
	}
	x, dy, dw := slot[T](c.In, 0), slot[T](c.In, 1), slot[T](c.Out, 0)
	k := kernel.NewVolumeGradWeight[T](v, kernel.ConvOptions{Winograd: c.Winograd})
	return func() error {
		k.Run(c.Team, x, dy, dw)
		return nil
	}, nil
}

// stages are poolings over at most two axes each which, one after the other,
// are the pooling over all: first the last two spatial axes, then those before
// them one by one, whose images are [extent, everything after it]. For the mean
// that is so because a window counts as many elements as the product over its
// axes; for the maximum the first one in row-major order stays the first.
func (w *window) stages(first kernel.PoolSpec) []kernel.PoolSpec {
	lead := len(w.in) - 2
	planes := onnx.Size(w.in[:max(lead, 0)]) * first.Planes
	first.Planes = planes
	list := []kernel.PoolSpec{first}
	width := first.OH * first.OW
	for i := lead - 1; i >= 0; i-- {
		planes /= w.in[i]
		list = append(list, kernel.PoolSpec{
			Planes: planes, H: w.in[i], W: width, OH: w.out[i], OW: width,
			KernelH: w.kernel[i], KernelW: 1, StrideH: w.stride[i], StrideW: 1, DilationH: w.dilation[i], DilationW: 1,
			PadTop: w.begin[i], PadBottom: w.end[i], CountPadding: first.CountPadding,
		})
		width *= w.out[i]
	}
	return list
}

// runVolumeMaxPool is runMaxPool over more than two spatial axes.
func runVolumeMaxPool[T kernel.Float](c *Call, w *window) (func() error, error) {
	specs := w.stages(w.spec(c.Node, c.In[0].Shape))
	if c.Node.Int("storage_order", 0) != 0 {
		return nil, fmt.Errorf("storage_order 1 over %d spatial axes is not implemented", len(w.in))
	}
	x, y := slot[T](c.In, 0), slot[T](c.Out, 0)
	var places []int64
	if len(c.Out) > 1 && c.Out[1] != nil {
		places = onnx.Of[int64](c.Out[1])
	}
	kernels, results, index := make([]*kernel.MaxPool[T], len(specs)), make([][]T, len(specs)), make([][]int32, len(specs))
	for i, s := range specs {
		kernels[i], results[i] = kernel.NewMaxPool[T](s), y
		if i < len(specs)-1 {
			results[i] = make([]T, s.Planes*s.OH*s.OW)
		}
		if places != nil {
			index[i] = make([]int32, s.Planes*s.OH*s.OW)
		}
	}
	trace := func(_ *kernel.Worker, plane int) {
		size := len(places) / specs[len(specs)-1].Planes
		for i := plane * size; i < (plane+1)*size; i++ {
			at := i
			for stage := len(specs) - 1; stage >= 0; stage-- {
				s := &specs[stage]
				at = at/(s.OH*s.OW)*(s.H*s.W) + int(index[stage][at])
			}
			places[i] = int64(at)
		}
	}
	return func() error {
		in := x
		for i, k := range kernels {
			k.Forward(c.Team, results[i], index[i], in)
			in = results[i]
		}
		if places != nil {
			c.Team.For(specs[len(specs)-1].Planes, trace)
		}
		return nil
	}, nil
}

// averageStages prepares the stages of a mean, and memory for what is between
// them.
func averageStages[T kernel.Float](n *graph.Node, w *window, x []int) (list []*kernel.AveragePool[T], between [][]T) {
	specs := w.stages(w.spec(n, x))
	for i, s := range specs {
		list = append(list, kernel.NewAveragePool[T](s))
		if i < len(specs)-1 {
			between = append(between, make([]T, s.Planes*s.OH*s.OW))
		}
	}
	return list, between
}

// runVolumeAveragePool is runAveragePool over more than two spatial axes.
func runVolumeAveragePool[T kernel.Float](c *Call, w *window) (func() error, error) {
	x, y := slot[T](c.In, 0), slot[T](c.Out, 0)
	stages, between := averageStages[T](c.Node, w, c.In[0].Shape)
	outs := append(between, y)
	return func() error {
		in := x
		for i, k := range stages {
			k.Forward(c.Team, outs[i], in)
			in = outs[i]
		}
		return nil
	}, nil
}

// runVolumeAveragePoolGrad goes back through the stages.
func runVolumeAveragePoolGrad[T kernel.Float](c *Call, w *window) (func() error, error) {
	dy, dx := slot[T](c.In, 0), slot[T](c.Out, 0)
	stages, between := averageStages[T](c.Node, w, c.Out[0].Shape)
	ins := append([][]T{dx}, between...)
	return func() error {
		d := dy
		for i := len(stages) - 1; i >= 0; i-- {
			stages[i].Backward(c.Team, ins[i], d)
			d = ins[i]
		}
		return nil
	}, nil
}
