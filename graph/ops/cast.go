package ops

import (
	"fmt"
	"math"
	"strconv"

	"github.com/x448/float16"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Conversions between element types.
func init() {
	register(
		Op{
			Name: "Cast", Since: []int{6, 9, 13, 19, 21, 23, 24}, Axes: axesCopy,
			Infer: inferCast, Grad: gradCast, Forward: forwardCast,
		},
		Op{
			Name: "CastLike", Since: []int{15, 19, 21, 23, 24},
			Axes: axesCastLike, Infer: inferCastLike, Grad: gradCast, Forward: forwardCast,
		},
	)
}

// Cast converts x to dt; x itself when it has that type.
func (b *Builder) Cast(x *graph.Value, dt onnx.DType) *graph.Value {
	if b.Err != nil || x.DType == dt {
		return x
	}
	return b.OpA("Cast", []*onnx.Attr{onnx.AttrInt("to", int64(dt))}, x)
}

// castable reports whether elements of type dt can be converted.
func castable(dt onnx.DType) bool {
	return dt == onnx.Bool || dt == onnx.String || numberTypes[dt] != nil || dt.IsFloat()
}

func inferCast(n *graph.Node) error {
	if err := arity(n, 1, 1, 1); err != nil {
		return err
	}
	if n.Attr("to") == nil {
		return fmt.Errorf("attribute to is missing")
	}
	return setCast(n, onnx.DType(n.Int("to", 0)))
}

// axesCastLike is axesCopy; the second input gives its type only.
func axesCastLike(n *graph.Node, a *Axes) error {
	for i := range n.Inputs[1].Shape {
		a.Unread = append(a.Unread, Axis{n.Inputs[1], i})
	}
	return axesCopy(n, a)
}

func inferCastLike(n *graph.Node) error {
	if err := arity(n, 2, 2, 1); err != nil {
		return err
	}
	return setCast(n, n.Inputs[1].DType)
}

func setCast(n *graph.Node, to onnx.DType) error {
	from := n.Inputs[0].DType
	if !castable(from) || !castable(to) {
		return fmt.Errorf("cannot convert %v to %v", from, to)
	}
	return setOutput(n, 0, to, n.Inputs[0].Shape)
}

// gradCast: the gradient passes between floating-point types.
func gradCast(b *Builder, n *graph.Node, dy values) (values, error) {
	grads := make(values, len(n.Inputs))
	if from := n.Inputs[0].DType; from.IsFloat() && n.Outputs[0].DType.IsFloat() {
		grads[0] = b.Cast(dy[0], from)
	}
	return grads, nil
}

func forwardCast(c *Call) (func() error, error) { return castTensor(c.Out[0], c.In[0]) }

// castTensor prepares the conversion of in's elements to out's type.
func castTensor(out, in *onnx.Tensor) (func() error, error) {
	if out.DType == in.DType {
		return copyAll(out, in)
	}
	switch src := in.Data.(type) {
	case []float32:
		return castReal(out, src)
	case []float64:
		return castReal(out, src)
	case []int8:
		return castReal(out, src)
	case []int16:
		return castReal(out, src)
	case []int32:
		return castReal(out, src)
	case []int64:
		return castReal(out, src)
	case []uint8:
		return castReal(out, src)
	case []uint16:
		switch in.DType {
		case onnx.Float16:
			return castVia(out, src, func(h uint16) float32 { return float16.Frombits(h).Float32() })
		case onnx.BFloat16:
			return castVia(out, src, func(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) })
		}
		return castReal(out, src)
	case []uint32:
		return castReal(out, src)
	case []uint64:
		return castReal(out, src)
	case []bool:
		return castVia(out, src, func(b bool) uint8 {
			if b {
				return 1
			}
			return 0
		})
	case []string:
		return castStrings(out, src)
	}
	return nil, fmt.Errorf("cannot convert %v to %v", in.DType, out.DType)
}

// castVia converts src to a type of numbers first, one element at a time.
func castVia[S any, T real](out *onnx.Tensor, src []S, f func(S) T) (func() error, error) {
	wide := make([]T, len(src))
	cast, err := castReal(out, wide)
	if err != nil {
		return nil, err
	}
	return func() error {
		for i, x := range src {
			wide[i] = f(x)
		}
		return cast()
	}, nil
}

// castReal converts numbers. Floats to integers drop the fraction.
func castReal[S real](out *onnx.Tensor, src []S) (func() error, error) {
	switch dst := out.Data.(type) {
	case []float32:
		return convert(dst, src), nil
	case []float64:
		return convert(dst, src), nil
	case []int8:
		return convert(dst, src), nil
	case []int16:
		return convert(dst, src), nil
	case []int32:
		return convert(dst, src), nil
	case []int64:
		return convert(dst, src), nil
	case []uint8:
		return convert(dst, src), nil
	case []uint16:
		switch out.DType {
		case onnx.Float16:
			return mapTo(dst, src, func(x S) uint16 { return float16.Fromfloat32(float32(x)).Bits() }), nil
		case onnx.BFloat16:
			return mapTo(dst, src, func(x S) uint16 { return floatToBrain(float32(x)) }), nil
		}
		return convert(dst, src), nil
	case []uint32:
		return convert(dst, src), nil
	case []uint64:
		return convert(dst, src), nil
	case []bool:
		return mapTo(dst, src, func(x S) bool { return x != 0 }), nil
	}
	return nil, fmt.Errorf("cannot convert numbers to %v", out.DType)
}

func convert[D, S real](dst []D, src []S) func() error {
	return func() error {
		for i, x := range src {
			dst[i] = D(x)
		}
		return nil
	}
}

func mapTo[D, S any](dst []D, src []S, f func(S) D) func() error {
	return func() error {
		for i, x := range src {
			dst[i] = f(x)
		}
		return nil
	}
}

// castStrings reads numbers from text.
func castStrings(out *onnx.Tensor, src []string) (func() error, error) {
	wide := make([]float64, len(src))
	cast, err := castReal(out, wide)
	if err != nil {
		return nil, err
	}
	return func() error {
		for i, s := range src {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return fmt.Errorf("element %d, %q, is not a number", i, s)
			}
			wide[i] = x
		}
		return cast()
	}, nil
}

// floatToBrain rounds to the nearest bfloat16, ties to even.
func floatToBrain(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
