package pass

import (
	"slices"

	"github.com/unprune/unprune/graph"
)

// A strided value is what chains of Reshape, Transpose, Slice and the like show
// of a dense tensor, and a factor of it: each axis is a list of strides, the
// outer ones first, because joining axes that are not neighbours in memory
// makes one that no single stride walks along.
type strided struct {
	base   *graph.Value
	offset int
	axes   [][]stride
	scale  float64
}

type stride struct{ size, step int }

// denseOf is v itself.
func denseOf(v *graph.Value) strided {
	s := strided{base: v, scale: 1, axes: make([][]stride, len(v.Shape))}
	step := 1
	for i := len(v.Shape) - 1; i >= 0; i-- {
		s.axes[i] = []stride{{v.Shape[i], step}}
		step *= v.Shape[i]
	}
	return s
}

// stridedOf follows v to the tensor that it shows.
func stridedOf(v *graph.Value) strided {
	n := v.Producer()
	if n == nil || n.Domain != "" || !v.Shape.Known() || v.Shape.Size() == 0 {
		return denseOf(v)
	}
	if s, ok := throughView(n, v); ok {
		return s
	}
	return denseOf(v)
}

// throughView is v as a view of what n's input shows.
func throughView(n *graph.Node, v *graph.Value) (strided, bool) {
	if f, x, ok := scaled(n); ok {
		s := stridedOf(x)
		s.scale *= f
		return s, true
	}
	switch n.Op {
	case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
		return stridedOf(n.Inputs[0]).reshape(v.Shape)
	case "Transpose":
		return stridedOf(n.Inputs[0]).transpose(n.Ints("perm")), true
	case "Gather":
		index := intsOf(n.Input(1))
		if len(index) != 1 || len(v.Shape) != len(n.Inputs[0].Shape)-1 {
			return strided{}, false
		}
		return stridedOf(n.Inputs[0]).take(n.Int("axis", 0), index[0])
	case "Slice":
		return slice(n, v)
	case "Split":
		axis := axisOf(n.Int("axis", 0), len(v.Shape))
		first := 0
		for _, out := range n.Outputs {
			if out == v {
				break
			}
			first += out.Shape[axis]
		}
		return stridedOf(n.Inputs[0]).part(axis, first, v.Shape[axis])
	}
	return strided{}, false
}

// scaled recognises a product of a tensor with a constant number.
func scaled(n *graph.Node) (factor float64, x *graph.Value, ok bool) {
	if n.Op != "Mul" && n.Op != "Div" {
		return 0, nil, false
	}
	for i, v := range n.Inputs {
		f, isNumber := numberOf(v)
		x = n.Inputs[1-i]
		if !isNumber || !slices.Equal(x.Shape, n.Outputs[0].Shape) || n.Op == "Div" && (i == 0 || f == 0) {
			continue
		}
		if n.Op == "Div" {
			f = 1 / f
		}
		return f, x, true
	}
	return 0, nil, false
}

// numberOf is the only element of a floating constant.
func numberOf(v *graph.Value) (float64, bool) {
	t := constOf(v)
	if t == nil || t.Len() != 1 {
		return 0, false
	}
	switch x := t.Data.(type) {
	case []float32:
		return float64(x[0]), true
	case []float64:
		return x[0], true
	}
	return 0, false
}

// intsOf are the elements of an integer constant, nil for anything else.
func intsOf(v *graph.Value) []int {
	var list []int
	if t := constOf(v); t != nil {
		switch x := t.Data.(type) {
		case []int64:
			for _, i := range x {
				list = append(list, int(i))
			}
		case []int32:
			for _, i := range x {
				list = append(list, int(i))
			}
		}
	}
	return list
}

func axisOf(axis, rank int) int {
	if axis < 0 {
		axis += rank
	}
	return axis
}

// slice is a Slice of one axis with step 1.
func slice(n *graph.Node, v *graph.Value) (strided, bool) {
	x := n.Inputs[0]
	starts, axes, steps := intsOf(n.Input(1)), intsOf(n.Input(3)), intsOf(n.Input(4))
	if len(starts) != 1 || len(axes) > 1 || len(steps) > 1 || len(steps) == 1 && steps[0] != 1 || n.Input(3) != nil && len(axes) == 0 {
		return strided{}, false
	}
	axis := 0
	if len(axes) == 1 {
		axis = axisOf(axes[0], len(x.Shape))
	}
	first := starts[0]
	if first < 0 {
		first += x.Shape[axis]
	}
	return stridedOf(x).part(axis, min(max(first, 0), x.Shape[axis]), v.Shape[axis])
}

func (s strided) transpose(perm []int) strided {
	axes := make([][]stride, len(s.axes))
	for i := range axes {
		from := len(axes) - 1 - i
		if perm != nil {
			from = perm[i]
		}
		axes[i] = s.axes[from]
	}
	s.axes = axes
	return s
}

// reshape deals the strides out to axes of the given extents.
func (s strided) reshape(shape []int) (strided, bool) {
	var list []stride
	for _, axis := range s.axes {
		for _, f := range axis {
			if f.size != 1 {
				list = append(list, f)
			}
		}
	}
	s.axes = make([][]stride, len(shape))
	for i, need := range shape {
		for need > 1 {
			if len(list) == 0 {
				return s, false
			}
			f := list[0]
			switch {
			case need%f.size == 0:
				list = list[1:]
			case f.size%need == 0: // its outer part goes here
				list = append([]stride{{f.size / need, f.step}}, list[1:]...)
				f = stride{need, f.step * (f.size / need)}
			default:
				return s, false
			}
			s.axes[i] = append(s.axes[i], f)
			need /= f.size
		}
	}
	return s, true
}

// take is position i of an axis, which disappears.
func (s strided) take(axis, i int) (strided, bool) {
	axis = axisOf(axis, len(s.axes))
	f, ok := joined(s.axes[axis])
	if !ok {
		return s, false
	}
	if i < 0 {
		i += f.size
	}
	s.offset += i * f.step
	s.axes = slices.Delete(slices.Clone(s.axes), axis, axis+1)
	return s, true
}

// part is size positions of an axis from first on.
func (s strided) part(axis, first, size int) (strided, bool) {
	f, ok := joined(s.axes[axis])
	if !ok {
		return s, false
	}
	s.offset += first * f.step
	s.axes = slices.Clone(s.axes)
	s.axes[axis] = []stride{{size, f.step}}
	return s, true
}

// joined joins the strides of an axis to one, if one walks along all of it. The
// step of an axis of one position is 0.
func joined(axis []stride) (stride, bool) {
	all := stride{1, 0}
	for i := len(axis) - 1; i >= 0; i-- {
		switch f := axis[i]; {
		case f.size == 1:
		case all.size == 1:
			all = f
		case f.step == all.size*all.step:
			all.size *= f.size
		default:
			return stride{}, false
		}
	}
	return all, true
}
