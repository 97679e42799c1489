package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// A window is what convolution and pooling have in common: a kernel that moves
// over the spatial axes. Every list has one entry per spatial axis. Output
// position o reads input positions o*stride + k*dilation - begin for k in
// [0, kernel).
type window struct {
	in, out          []int
	kernel           []int
	stride, dilation []int
	begin, end       []int // padding
}

// maxWindow bounds kernel, stride, dilation and padding, so that sizes computed
// from them cannot overflow.
const maxWindow = 1 << 20

// rounding says how many positions a window has whose last step does not fit.
type rounding int

const (
	roundDown rounding = iota
	roundUp            // ceil_mode=1
)

// readWindow reads strides, dilations, pads and auto_pad of n for input
// extents in and a kernel, and computes the output extents (ONNX, Conv and
// MaxPool). With roundUp a last position is dropped that would start in the
// padding at the end, as PyTorch and ONNX Runtime do.
func readWindow(n *graph.Node, in, kernel []int, r rounding) (*window, error) {
	w := &window{in: in, kernel: kernel}
	if err := w.readSteps(n); err != nil {
		return nil, err
	}
	if err := w.readPads(n); err != nil {
		return nil, err
	}
	w.out = make([]int, len(in))
	for i, size := range in {
		room := size + w.begin[i] + w.end[i] - w.extent(i)
		if room < 0 {
			return nil, fmt.Errorf("the window covers %d positions along spatial axis %d, the padded input has %d",
				w.extent(i), i, room+w.extent(i))
		}
		w.out[i] = room/w.stride[i] + 1
		if r == roundUp && room%w.stride[i] != 0 && w.out[i]*w.stride[i] < size+w.begin[i] {
			w.out[i]++
		}
	}
	return w, nil
}

// spatial checks a tensor [N, C, spatial...], which must not be empty, and
// returns the spatial extents.
func spatial(n *graph.Node, x *graph.Value) ([]int, error) {
	if rank := len(x.Shape); rank < 3 {
		return nil, fmt.Errorf("input %q has rank %d, want [N C spatial...]", x.Name, rank)
	}
	if product(x.Shape) == 0 {
		return nil, fmt.Errorf("input %q of shape %v is empty", x.Name, []int(x.Shape))
	}
	return x.Shape[2:], nil
}

// readSteps reads strides and dilations.
func (w *window) readSteps(n *graph.Node) error {
	for _, k := range w.kernel {
		if k < 1 || k > maxWindow {
			return fmt.Errorf("kernel extents %v: want between 1 and %d", w.kernel, maxWindow)
		}
	}
	var err error
	if w.stride, err = spatialInts(n, "strides", len(w.kernel), 1, 1); err != nil {
		return err
	}
	w.dilation, err = spatialInts(n, "dilations", len(w.kernel), 1, 1)
	return err
}

// spatialInts reads an attribute with count entries of at least lo, def each
// when it is absent.
func spatialInts(n *graph.Node, name string, count, lo, def int) ([]int, error) {
	list := n.Ints(name)
	if len(list) == 0 {
		return slices.Repeat([]int{def}, count), nil
	}
	if len(list) != count {
		return nil, fmt.Errorf("attribute %s has %d entries, want %d", name, len(list), count)
	}
	for _, v := range list {
		if v < lo || v > maxWindow {
			return nil, fmt.Errorf("attribute %s is %v, want entries between %d and %d", name, list, lo, maxWindow)
		}
	}
	return list, nil
}

// readPads reads pads or, as auto_pad asks, computes them.
func (w *window) readPads(n *graph.Node) error {
	rank := len(w.kernel)
	switch auto := n.Str("auto_pad", "NOTSET"); auto {
	case "NOTSET", "":
		pads, err := spatialInts(n, "pads", 2*rank, 0, 0)
		if err != nil {
			return err
		}
		w.begin, w.end = pads[:rank], pads[rank:]
	case "VALID":
		w.begin, w.end = make([]int, rank), make([]int, rank)
	case "SAME_UPPER", "SAME_LOWER":
		w.begin, w.end = make([]int, rank), make([]int, rank)
		for i, size := range w.in {
			out := ceilDiv(size, w.stride[i])
			total := max((out-1)*w.stride[i]+w.extent(i)-size, 0)
			w.begin[i], w.end[i] = split(total, auto == "SAME_UPPER")
		}
	default:
		return fmt.Errorf("auto_pad %q is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER", auto)
	}
	return nil
}

// split halves a padding; the odd one goes to the end if upper.
func split(total int, upper bool) (begin, end int) {
	if upper {
		return total / 2, total - total/2
	}
	return total - total/2, total / 2
}

// extent is how many input positions the window spans along axis i.
func (w *window) extent(i int) int { return (w.kernel[i]-1)*w.dilation[i] + 1 }

// attrs spells stride, dilation and padding out as attributes.
func (w *window) attrs() []*onnx.Attr {
	return []*onnx.Attr{
		onnx.AttrInts("strides", toInt64(w.stride)...),
		onnx.AttrInts("dilations", toInt64(w.dilation)...),
		onnx.AttrInts("pads", toInt64(slices.Concat(w.begin, w.end))...),
	}
}

// transposeAttrs are the attributes of the ConvTranspose that maps the output
// positions of the window back to its input positions. Where the window leaves
// input positions at the end unread, or reads beyond the padding (ceil_mode),
// output_padding and pads make up for it.
func (w *window) transposeAttrs() []*onnx.Attr {
	end := make([]int, len(w.in))
	extra := make([]int, len(w.in))
	for i := range w.in {
		over := (w.out[i]-1)*w.stride[i] + w.extent(i) - w.begin[i] - w.in[i]
		end[i], extra[i] = max(over, 0), max(-over, 0)
	}
	return []*onnx.Attr{
		onnx.AttrInts("strides", toInt64(w.stride)...),
		onnx.AttrInts("dilations", toInt64(w.dilation)...),
		onnx.AttrInts("pads", toInt64(slices.Concat(w.begin, end))...),
		onnx.AttrInts("output_padding", toInt64(extra)...),
	}
}

// planar returns the window over the last two spatial axes: one over a single
// axis becomes one over the rows of an image of height 1.
func (w *window) planar() *window {
	last := func(missing int, list []int) []int {
		if len(list) == 1 {
			return []int{missing, list[0]}
		}
		return list[len(list)-2:]
	}
	return &window{
		in: last(1, w.in), out: last(1, w.out), kernel: last(1, w.kernel),
		stride: last(1, w.stride), dilation: last(1, w.dilation),
		begin: last(0, w.begin), end: last(0, w.end),
	}
}
