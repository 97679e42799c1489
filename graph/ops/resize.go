package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Resize and Upsample. Interpolation is linear in x and separate for each
// axis, so an axis is resized by a product with a constant matrix, or, for
// nearest neighbours, by a Gather.
func init() {
	register(
		Op{Name: "Resize", Since: []int{10, 11, 13, 18, 19}, Infer: inferResize, Body: resizeBody},
		Op{Name: "Upsample", Since: []int{7, 9}, Infer: inferResize, Body: resizeBody},
	)
}

// A resizing is what a Resize node asks for.
type resizing struct {
	axes     []resizedAxis
	mode     string // nearest, linear, cubic
	coords   string // coordinate_transformation_mode
	rounding string // nearest_mode
	cubicA   float64
	exclude  bool    // weights outside count as zero
	smooth   bool    // antialias: wider windows when shrinking
	outside  float64 // extrapolation_value
	out      graph.Shape
}

// A resizedAxis is one axis whose extent or content changes.
type resizedAxis struct {
	axis, in, out int
	scale         float64
	from, to      float64 // region of interest, as parts of the axis
}

func readResize(n *graph.Node) (*resizing, error) {
	r := &resizing{
		mode: n.Str("mode", "nearest"), cubicA: n.Float("cubic_coeff_a", -0.75), exclude: n.Int("exclude_outside", 0) != 0,
		smooth: n.Int("antialias", 0) != 0, outside: n.Float("extrapolation_value", 0),
		coords: n.Str("coordinate_transformation_mode", "half_pixel"), rounding: n.Str("nearest_mode", "round_prefer_floor"),
		out: n.Inputs[0].Shape.Clone(),
	}
	if n.Op == "Upsample" || n.Version < 11 {
		r.coords, r.rounding = "asymmetric", outwards
	}
	if r.mode == "bilinear" { // Upsample before version 7 called it so
		r.mode = "linear"
	}
	if !slices.Contains([]string{"nearest", "linear", "cubic"}, r.mode) {
		return nil, fmt.Errorf("mode is %q, want nearest, linear or cubic", r.mode)
	}
	if r.mode == "nearest" && r.smooth {
		return nil, fmt.Errorf("antialias needs mode linear or cubic")
	}
	return r, r.readExtents(n)
}

// readExtents reads scales or sizes, and the region of interest.
func (r *resizing) readExtents(n *graph.Node) error {
	rank := len(r.out)
	axes := n.Ints("axes")
	if axes == nil {
		axes = sequence(0, rank)
	}
	for i, a := range axes {
		var err error
		if axes[i], err = normAxis(a, rank); err != nil {
			return err
		}
	}
	if _, err := normAxes(axes, rank); err != nil {
		return err
	}
	scales, sizes, err := resizeTargets(n)
	if err != nil {
		return err
	}
	if sizes == nil && len(scales) != len(axes) || sizes != nil && len(sizes) != len(axes) {
		return fmt.Errorf("scales %v or sizes %v: want one for each of %d axes", scales, sizes, len(axes))
	}
	var roi []float64
	if r.coords == "tf_crop_and_resize" {
		if roi, err = constFloats(n, 1); err != nil {
			return err
		}
		if len(roi) != 2*len(axes) {
			return fmt.Errorf("the region of interest has %d numbers, want %d", len(roi), 2*len(axes))
		}
	}
	if sizes != nil {
		scales = r.scalesFor(sizes, axes, n.Str("keep_aspect_ratio_policy", "stretch"))
	}
	for i, a := range axes {
		x := resizedAxis{axis: a, in: r.out[a], scale: scales[i], to: 1}
		if !(x.scale > 0 && x.scale*float64(x.in) < maxElements) {
			return fmt.Errorf("axis %d of extent %d is resized by %v", a, x.in, x.scale)
		}
		x.out = int(math.Floor(x.scale * float64(x.in)))
		if sizes != nil {
			x.out = sizes[i]
		}
		if roi != nil {
			x.from, x.to = roi[i], roi[len(axes)+i]
		}
		if x.out > 0 && x.in == 0 {
			return fmt.Errorf("axis %d is empty", a)
		}
		r.out[a] = x.out
		if x.out != x.in || x.scale != 1 || roi != nil {
			r.axes = append(r.axes, x)
		}
	}
	return nil
}

// resizeTargets reads the factors, or the extents wanted; one of them is nil.
func resizeTargets(n *graph.Node) (scales []float64, sizes []int, err error) {
	switch {
	case n.Op == "Upsample" && n.Version < 9:
		for _, s := range attrFloats(n, "scales") {
			scales = append(scales, float64(s))
		}
		return scales, nil, nil
	case n.Op == "Upsample" || n.Version < 11:
		scales, err = constFloats(n, 1)
		return scales, nil, err
	}
	if v := n.Input(3); v != nil && v.Shape.Size() > 0 {
		sizes, _, err = constInts(n, 3)
		return nil, sizes, err
	}
	if n.Input(2) == nil {
		return nil, nil, fmt.Errorf("neither scales nor sizes are given")
	}
	scales, err = constFloats(n, 2)
	return scales, nil, err
}

// scalesFor turns sizes into factors. With a policy that keeps the ratio of
// the extents, one factor serves all axes, and sizes are changed to it.
func (r *resizing) scalesFor(sizes, axes []int, policy string) []float64 {
	scales := make([]float64, len(sizes))
	for i, s := range sizes {
		scales[i] = float64(s) / float64(max(r.out[axes[i]], 1))
	}
	common := scales
	switch policy {
	case "not_larger":
		common = []float64{slices.Min(scales)}
	case "not_smaller":
		common = []float64{slices.Max(scales)}
	default:
		return scales
	}
	for i := range sizes {
		scales[i] = common[0]
		sizes[i] = int(math.Floor(common[0]*float64(r.out[axes[i]]) + 0.5))
	}
	return scales
}

func inferResize(n *graph.Node) error {
	if err := arity(n, 1, 4, 1); err != nil {
		return err
	}
	r, err := readResize(n)
	if err != nil {
		return err
	}
	if r.mode != "nearest" {
		if err := wantType(n, 0, floats...); err != nil {
			return err
		}
	}
	for _, a := range r.axes {
		if _, err := r.position(a, 0); err != nil {
			return err
		}
	}
	return setOutput(n, 0, n.Inputs[0].DType, r.out)
}

// resizeBody resizes one axis after the other.
func resizeBody(b *Builder, n *graph.Node) (values, error) {
	r, err := readResize(n)
	if err != nil {
		return nil, err
	}
	y := n.Inputs[0]
	var outside *graph.Value
	for _, a := range r.axes {
		rows, gone, err := r.weights(a)
		if err != nil {
			return nil, err
		}
		if r.mode == "nearest" {
			at := make([]int, len(rows))
			for i, row := range rows {
				at[i] = row[0].from
			}
			y = b.OpA("Gather", []*onnx.Attr{onnx.AttrInt("axis", int64(a.axis))}, y, b.Ints(at...))
		} else {
			y = b.interpolate(y, a, rows)
		}
		if slices.Contains(gone, true) {
			shape := slices.Repeat([]int{1}, len(r.out))
			shape[a.axis] = a.out
			mask := b.Const(onnx.FromSlice(gone, shape...))
			if outside != nil {
				mask = b.Op("Or", outside, mask)
			}
			outside = mask
		}
	}
	if outside != nil {
		y = b.Op("Where", outside, b.Scalar(r.outside, y), y)
	}
	if y == n.Inputs[0] {
		y = b.Op("Identity", y)
	}
	return values{y}, nil
}

// interpolate multiplies axis a of x by the matrix whose rows are given.
func (b *Builder) interpolate(x *graph.Value, a resizedAxis, rows [][]weight) *graph.Value {
	if b.Err != nil {
		return nil
	}
	matrix := make([]float64, a.out*a.in)
	for i, row := range rows {
		for _, w := range row {
			matrix[i*a.in+w.from] += w.by
		}
	}
	m := b.floatConst(matrix, x.DType, a.out, a.in)
	outer, inner := product(x.Shape[:a.axis]), product(x.Shape[a.axis+1:])
	shape := x.Shape.Clone()
	shape[a.axis] = a.out
	if inner == 1 {
		return b.Reshape(b.Gemm(b.Reshape(x, outer, a.in), m, false, true), shape...)
	}
	return b.Reshape(b.Op("MatMul", m, b.Reshape(x, outer, a.in, inner)), shape...)
}

// A weight is one term of an output position.
type weight struct {
	from int
	by   float64
}

// weights lists the terms of every output position of an axis, and which
// positions lie outside the input.
func (r *resizing) weights(a resizedAxis) (rows [][]weight, gone []bool, err error) {
	rows, gone = make([][]weight, a.out), make([]bool, a.out)
	for i := range rows {
		x, err := r.position(a, i)
		if err != nil {
			return nil, nil, err
		}
		gone[i] = r.coords == "tf_crop_and_resize" && (x < 0 || x > float64(a.in-1))
		first, taps := r.taps(a, x)
		total := 0.0
		for k, by := range taps {
			from := first + k
			if (from < 0 || from >= a.in) && r.exclude {
				continue
			}
			rows[i] = append(rows[i], weight{min(max(from, 0), a.in-1), by})
			total += by
		}
		if r.exclude || r.smooth {
			for k := range rows[i] {
				rows[i][k].by /= total
			}
		}
	}
	return rows, gone, nil
}

// position is where output position i lies in the input (ONNX, Resize,
// coordinate_transformation_mode).
func (r *resizing) position(a resizedAxis, i int) (float64, error) {
	x, in, out := float64(i), float64(a.in), a.scale*float64(a.in)
	switch r.coords {
	case "asymmetric":
		return x / a.scale, nil
	case "tf_half_pixel_for_nn": // of opset 11 alone
		return (x + 0.5) / a.scale, nil
	case "half_pixel":
		return (x+0.5)/a.scale - 0.5, nil
	case "pytorch_half_pixel":
		if out <= 1 {
			return -0.5, nil
		}
		return (x+0.5)/a.scale - 0.5, nil
	case "half_pixel_symmetric":
		return in/2*(1-float64(a.out)/out) + (x+0.5)/a.scale - 0.5, nil
	case "align_corners":
		if out == 1 {
			return 0, nil
		}
		return x * (in - 1) / (out - 1), nil
	case "tf_crop_and_resize":
		if out == 1 {
			return (a.from + (a.to-a.from)/2) * (in - 1), nil
		}
		return a.from*(in-1) + x*(a.to-a.from)*(in-1)/(out-1), nil
	}
	return 0, fmt.Errorf("coordinate_transformation_mode %q is not implemented", r.coords)
}

// taps returns the weights around position x, the first of which belongs to
// input position first.
func (r *resizing) taps(a resizedAxis, x float64) (first int, list []float64) {
	base := math.Floor(x)
	ratio := x - base
	switch {
	case r.mode == "nearest":
		return int(r.nearest(a, x)), []float64{1}
	case r.mode == "linear" && !r.smooth:
		return int(base), []float64{1 - ratio, ratio}
	}
	scale, reach, kernel := 1.0, 2.0, r.cubic
	if r.smooth {
		scale = min(a.scale, 1)
	}
	if r.mode == "linear" {
		reach, kernel = 1, func(d float64) float64 { return max(0, 1-d) }
	}
	start := math.Floor(-reach/scale) + 1
	for i := start; i < 2-start; i++ {
		list = append(list, kernel(scale*math.Abs(i-ratio)))
	}
	return int(base + start), list
}

// outwards stands for what ONNX 1.5's cases do before there was nearest_mode:
// round down where the axis grows, up where it shrinks.
const outwards = "outwards"

// nearest rounds a position along axis a as nearest_mode says.
func (r *resizing) nearest(a resizedAxis, x float64) float64 {
	switch r.rounding {
	case outwards:
		if a.scale < 1 {
			return math.Ceil(x)
		}
		return math.Floor(x)
	case "round_prefer_ceil":
		return math.Floor(x + 0.5)
	case "floor":
		return math.Floor(x)
	case "ceil":
		return math.Ceil(x)
	}
	return math.Ceil(x - 0.5)
}

// cubic is the weight at distance d >= 0 (Keys 1981, with the free parameter
// cubic_coeff_a).
func (r *resizing) cubic(d float64) float64 {
	a := r.cubicA
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return a * (((d-5)*d+8)*d - 4)
	}
	return 0
}
