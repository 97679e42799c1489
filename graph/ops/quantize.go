package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Quantised arithmetic. It is run, not trained: rounding has no gradient.
func init() {
	const why = "quantised numbers are not trained; export the float model, or make one with convert --dequantize"
	quantised := func(name string, since []int, infer func(*graph.Node) error, body func(*Builder, *graph.Node) (values, error)) Op {
		return Op{Name: name, Since: since, NoGrad: why, Infer: infer, Body: body}
	}
	register(
		quantised("QuantizeLinear", []int{10, 13, 19, 21, 23, 24}, inferQuantize, quantizeBody),
		quantised("DequantizeLinear", []int{10, 13, 19, 21, 23, 24}, inferDequantize, dequantizeBody),
		quantised("DynamicQuantizeLinear", []int{11}, inferDynamicQuantize, dynamicQuantizeBody),
		quantised("MatMulInteger", []int{10}, inferMatMulInteger, matMulIntegerBody),
		quantised("ConvInteger", []int{10}, inferConvInteger, convIntegerBody),
		quantised("QLinearMatMul", []int{10, 21}, inferQLinearMatMul, qLinearMatMulBody),
		quantised("QLinearConv", []int{10}, inferQLinearConv, qLinearConvBody),
	)
}

// quantRange is the numbers that a quantised type holds.
var quantRange = map[onnx.DType][2]float64{
	onnx.Int8: {-128, 127}, onnx.Uint8: {0, 255}, onnx.Int16: {-32768, 32767}, onnx.Uint16: {0, 65535},
}

var quantTypes = []onnx.DType{onnx.Int8, onnx.Uint8, onnx.Int16, onnx.Uint16}

// scaleShape reshapes scales or zero points to broadcast to x: a scalar, one
// per entry of axis, or one per block of entries.
func (b *Builder) scaleShape(n *graph.Node, v *graph.Value, x graph.Shape) *graph.Value {
	if b.Err != nil || v == nil || v.Shape.Size() == 1 {
		return b.scalarOf(v)
	}
	axis, err := normAxis(n.Int("axis", 1), len(x))
	if err != nil {
		b.Fail("%w", err)
		return nil
	}
	if len(v.Shape) == 1 {
		shape := slices.Repeat([]int{1}, len(x))
		shape[axis] = v.Shape[0]
		return b.Reshape(v, shape...)
	}
	// Each entry along the axis counts for block of x.
	block := n.Int("block_size", 0)
	wide := slices.Insert(v.Shape.Clone(), axis+1, 1)
	full := slices.Clone(wide)
	full[axis+1] = block
	flat := v.Shape.Clone()
	flat[axis] *= block
	v = b.Reshape(b.Expand(b.Reshape(v, wide...), full), flat...)
	if b.Err == nil && flat[axis] > x[axis] {
		v = b.Split(v, axis, x[axis], flat[axis]-x[axis])[0]
	}
	return v
}

// scalarOf is a value of one element as a scalar; nil stays nil.
func (b *Builder) scalarOf(v *graph.Value) *graph.Value {
	if v == nil {
		return nil
	}
	return b.Reshape(v)
}

// checkScale checks the shape of scale and zero point against x.
func checkScale(n *graph.Node, x graph.Shape) error {
	scale, zero := n.Inputs[1], n.Input(2)
	if zero != nil && !slices.Equal(zero.Shape, scale.Shape) && zero.Shape.Size() != 1 {
		return fmt.Errorf("scale and zero point have shapes %v and %v", []int(scale.Shape), []int(zero.Shape))
	}
	if scale.Shape.Size() == 1 {
		return nil
	}
	axis, err := normAxis(n.Int("axis", 1), len(x))
	if err != nil {
		return err
	}
	block := n.Int("block_size", 0)
	switch {
	case len(scale.Shape) == 1 && scale.Shape[0] == x[axis]:
		return nil
	case len(scale.Shape) == len(x) && block > 0 && block <= maxWindow:
		want := x.Clone()
		want[axis] = (x[axis] + block - 1) / block
		if slices.Equal(scale.Shape, want) {
			return nil
		}
	}
	return fmt.Errorf("scale of shape %v does not fit x of shape %v along axis %d in blocks of %d", []int(scale.Shape), []int(x), axis, block)
}

func inferQuantize(n *graph.Node) error {
	if err := arity(n, 2, 3, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, onnx.Float32, onnx.Float64, onnx.Int32); err != nil {
		return err
	}
	if err := wantType(n, 1, floats...); err != nil {
		return err
	}
	to := onnx.Uint8
	if dt := n.Int("output_dtype", 0); dt != 0 {
		to = onnx.DType(dt)
	}
	if zero := n.Input(2); zero != nil {
		to = zero.DType
	}
	if !slices.Contains(quantTypes, to) {
		return fmt.Errorf("quantising to %v is not implemented", to)
	}
	if err := checkScale(n, n.Inputs[0].Shape); err != nil {
		return err
	}
	return setOutput(n, 0, to, n.Inputs[0].Shape)
}

// quantizeBody: round(x / scale) + zero point, cut off at the type's range.
func quantizeBody(b *Builder, n *graph.Node) (values, error) {
	x, scale := n.Inputs[0], n.Inputs[1]
	x = b.Cast(x, scale.DType)
	return values{b.quantize(b.Div(x, b.scaleShape(n, scale, x.Shape)), b.scaleShape(n, n.Input(2), x.Shape), n.Outputs[0].DType)}, nil
}

// quantize rounds x, adds the zero point and converts to the type to.
func (b *Builder) quantize(x, zero *graph.Value, to onnx.DType) *graph.Value {
	if b.Err != nil {
		return nil
	}
	y := b.Op("Round", x)
	if zero != nil {
		y = b.Add(y, b.Cast(zero, x.DType))
	}
	limits := quantRange[to]
	y = b.Op("Max", b.Op("Min", y, b.Scalar(limits[1], x)), b.Scalar(limits[0], x))
	return b.Cast(y, to)
}

func inferDequantize(n *graph.Node) error {
	if err := arity(n, 2, 3, 1); err != nil {
		return err
	}
	if err := wantType(n, 0, append(slices.Clone(quantTypes), onnx.Int32)...); err != nil {
		return err
	}
	if err := wantType(n, 1, floats...); err != nil {
		return err
	}
	if err := sameType(n, 0, 2); err != nil {
		return err
	}
	if err := checkScale(n, n.Inputs[0].Shape); err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[1].DType, n.Inputs[0].Shape)
}

// dequantizeBody: (x - zero point) scale.
func dequantizeBody(b *Builder, n *graph.Node) (values, error) {
	x, scale := n.Inputs[0], n.Inputs[1]
	y := b.Cast(x, scale.DType)
	if zero := n.Input(2); zero != nil {
		y = b.Sub(y, b.Cast(b.scaleShape(n, zero, x.Shape), scale.DType))
	}
	return values{b.Mul(y, b.scaleShape(n, scale, x.Shape))}, nil
}

func inferDynamicQuantize(n *graph.Node) error {
	if err := arity(n, 1, 1, 3); err != nil {
		return err
	}
	if err := wantType(n, 0, onnx.Float32); err != nil {
		return err
	}
	if n.Inputs[0].Shape.Size() == 0 {
		return fmt.Errorf("input %q is empty", n.Inputs[0].Name)
	}
	if err := setOutput(n, 0, onnx.Uint8, n.Inputs[0].Shape); err != nil {
		return err
	}
	if err := setOutput(n, 1, onnx.Float32, graph.Shape{}); err != nil {
		return err
	}
	return setOutput(n, 2, onnx.Uint8, graph.Shape{})
}

// dynamicQuantizeBody: the range of x, made to contain zero, spread over
// 0..255.
func dynamicQuantizeBody(b *Builder, n *graph.Node) (values, error) {
	x := n.Inputs[0]
	axes := sequence(0, len(x.Shape))
	zero := b.Scalar(0, x)
	high := b.Op("Max", b.scalarOf(b.reduce("ReduceMax", x, axes...)), zero)
	low := b.Op("Min", b.scalarOf(b.reduce("ReduceMin", x, axes...)), zero)
	scale := b.Div(b.Sub(high, low), b.Scalar(255, x))
	point := b.quantize(b.Neg(b.Div(low, scale)), nil, onnx.Uint8)
	return values{b.quantize(b.Div(x, scale), point, onnx.Uint8), scale, point}, nil
}

// integerProduct checks a product of 8-bit tensors with optional zero points
// as inputs 2 and 3.
func integerProduct(n *graph.Node, op string) error {
	if err := arity(n, 2, 4, 1); err != nil {
		return err
	}
	for i := range 2 {
		if err := wantType(n, i, onnx.Int8, onnx.Uint8); err != nil {
			return err
		}
		if err := wantType(n, i+2, n.Inputs[i].DType); err != nil {
			return err
		}
	}
	shape, err := floatShape(n, op, n.Inputs[0], n.Inputs[1])
	if err != nil {
		return err
	}
	return setOutput(n, 0, onnx.Int32, shape)
}

// floatShape infers the shape of op on float tensors shaped like the inputs.
func floatShape(n *graph.Node, op string, inputs ...*graph.Value) (graph.Shape, error) {
	stand := &graph.Node{Name: n.Name, Op: op, Version: n.Version, Attrs: n.Attrs, Outputs: values{{}}}
	for _, v := range inputs {
		stand.Inputs = append(stand.Inputs, &graph.Value{Name: v.Name, DType: onnx.Float64, Shape: v.Shape})
	}
	if err := Infer(stand); err != nil {
		return nil, err
	}
	return stand.Outputs[0].Shape, nil
}

// shifted is x minus its zero point in double precision, in which products of
// 8-bit integers are exact. A zero point per row of the left matrix, or per
// output channel of a kernel, stands at the axis given.
func (b *Builder) shifted(x, zero *graph.Value, axis int) *graph.Value {
	y := b.Cast(x, onnx.Float64)
	if zero == nil || b.Err != nil {
		return y
	}
	if len(zero.Shape) == 1 && zero.Shape[0] != 1 {
		shape := slices.Repeat([]int{1}, len(x.Shape))
		shape[axis] = zero.Shape[0]
		zero = b.Reshape(zero, shape...)
	} else if len(zero.Shape) == 1 {
		zero = b.Reshape(zero)
	}
	return b.Sub(y, b.Cast(zero, onnx.Float64))
}

func inferMatMulInteger(n *graph.Node) error { return integerProduct(n, "MatMul") }

func matMulIntegerBody(b *Builder, n *graph.Node) (values, error) {
	x, w := n.Inputs[0], n.Inputs[1]
	y := b.Op("MatMul", b.shifted(x, n.Input(2), max(len(x.Shape)-2, 0)), b.shifted(w, n.Input(3), len(w.Shape)-1))
	return values{b.Cast(y, onnx.Int32)}, nil
}

func inferConvInteger(n *graph.Node) error { return integerProduct(n, "Conv") }

func convIntegerBody(b *Builder, n *graph.Node) (values, error) {
	y := b.OpA("Conv", n.Attrs, b.shifted(n.Inputs[0], n.Input(2), 0), b.shifted(n.Inputs[1], n.Input(3), 0))
	return values{b.Cast(y, onnx.Int32)}, nil
}

// Inputs of QLinearMatMul and QLinearConv: x, its scale and zero point, w with
// the same, scale and zero point of the result, and a bias of Conv.

func inferQLinear(n *graph.Node, op string, maxIn int) error {
	if err := arity(n, 8, maxIn, 1); err != nil {
		return err
	}
	for _, i := range []int{0, 3, 7} {
		if err := wantType(n, i, onnx.Int8, onnx.Uint8); err != nil {
			return err
		}
	}
	for _, i := range []int{1, 4, 6} {
		if err := wantType(n, i, floats...); err != nil {
			return err
		}
	}
	if n.Inputs[6].Shape.Size() != 1 || n.Inputs[7].Shape.Size() != 1 {
		return fmt.Errorf("scale and zero point of the result must be one number each")
	}
	shape, err := floatShape(n, op, n.Inputs[0], n.Inputs[3])
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[7].DType, shape)
}

func inferQLinearMatMul(n *graph.Node) error { return inferQLinear(n, "MatMul", 8) }

func inferQLinearConv(n *graph.Node) error {
	if err := inferQLinear(n, "Conv", 9); err != nil {
		return err
	}
	if err := wantType(n, 8, onnx.Int32); err != nil {
		return err
	}
	return wantShape(n, 8, n.Inputs[3].Shape[0])
}

func qLinearMatMulBody(b *Builder, n *graph.Node) (values, error) {
	x, w := n.Inputs[0], n.Inputs[3]
	y := b.Op("MatMul", b.shifted(x, n.Inputs[2], max(len(x.Shape)-2, 0)), b.shifted(w, n.Inputs[5], len(w.Shape)-1))
	return values{b.requantize(n, y, len(x.Shape)-2, len(w.Shape)-1)}, nil
}

func qLinearConvBody(b *Builder, n *graph.Node) (values, error) {
	y := b.OpA("Conv", n.Attrs, b.shifted(n.Inputs[0], n.Inputs[2], 0), b.shifted(n.Inputs[3], n.Inputs[5], 0))
	if bias := n.Input(8); bias != nil {
		y = b.Add(y, b.perChannel(b.Cast(bias, onnx.Float64), len(n.Inputs[0].Shape)-2))
	}
	return values{b.requantize(n, y, 0, 1)}, nil
}

// requantize is y times the scales of both factors, over that of the result.
// The scale of the left factor may have an entry along its axis rows, that of
// the right one along columns.
func (b *Builder) requantize(n *graph.Node, y *graph.Value, rows, columns int) *graph.Value {
	if b.Err != nil {
		return nil
	}
	along := func(v *graph.Value, axis int) *graph.Value {
		v = b.Cast(v, onnx.Float64)
		if b.Err != nil || v.Shape.Size() == 1 {
			return b.scalarOf(v)
		}
		if len(v.Shape) != 1 {
			return v
		}
		shape := slices.Repeat([]int{1}, len(y.Shape))
		shape[axis] = v.Shape[0]
		return b.Reshape(v, shape...)
	}
	scale := b.Div(b.Mul(along(n.Inputs[1], rows), along(n.Inputs[4], columns)), along(n.Inputs[6], 0))
	return b.quantize(b.Mul(y, scale), b.scalarOf(n.Inputs[7]), n.Outputs[0].DType)
}
