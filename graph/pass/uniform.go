package pass

import (
	"math"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// uniform knows, per axis and position, the number that a value has in all of
// its elements there, whatever the graph is fed; NaN where it may have several.
// A filter of zeros makes such a channel: its bias, then a function of that.
type uniform struct {
	rules map[*graph.Node]*ops.Axes
	at    map[ops.Axis][]float64
	data  map[*graph.Value]*onnx.Tensor // of values that depend on constants alone
}

func findUniform(g *graph.Graph, c *ops.Coupling) (*uniform, error) {
	u := &uniform{rules: c.Rules, at: map[ops.Axis][]float64{}, data: map[*graph.Value]*onnx.Tensor{}}
	for _, v := range g.Inits {
		u.constant(v, v.Const)
	}
	for _, n := range g.Nodes {
		if err := u.node(n); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// constant reads the numbers off a tensor.
func (u *uniform) constant(v *graph.Value, t *onnx.Tensor) {
	u.data[v] = t
	at := floats(t)
	if at == nil {
		return
	}
	for axis, d := range v.Shape {
		list := make([]float64, d)
		inner := onnx.Size(v.Shape[axis+1:])
		seen := make([]bool, d)
		for i := range t.Len() {
			switch p := i / inner % d; {
			case !seen[p]:
				list[p], seen[p] = at(i), true
			case list[p] != at(i):
				list[p] = math.NaN()
			}
		}
		u.at[ops.Axis{Value: v, Index: axis}] = list
	}
}

// floats reads a tensor of floating point; nil for others.
func floats(t *onnx.Tensor) func(i int) float64 {
	switch d := t.Data.(type) {
	case []float32:
		return func(i int) float64 { return float64(d[i]) }
	case []float64:
		return func(i int) float64 { return d[i] }
	}
	return nil
}

// get is the number at a place, NaN if there is no single one.
func (u *uniform) get(a ops.Axis, position int) float64 {
	if list := u.at[a]; list != nil {
		return list[position]
	}
	return math.NaN()
}

func (u *uniform) set(a ops.Axis, position int, x float64) {
	if u.at[a] == nil {
		u.at[a] = slices.Repeat([]float64{math.NaN()}, a.Extent())
	}
	u.at[a][position] = x
}

// node works out what the node's outputs have.
func (u *uniform) node(n *graph.Node) error {
	if tensors, err := u.evaluate(n); tensors != nil || err != nil {
		for i, t := range tensors {
			if n.Outputs[i] != nil {
				u.constant(n.Outputs[i], t)
			}
		}
		return err
	}
	rule := u.rules[n]
	if rule == nil {
		return nil
	}
	for _, s := range rule.Sums {
		u.sum(s)
		u.zeros(n, rule)
	}
	switch rule.Carry {
	case ops.CarryZero, ops.CarryConstant:
		u.carry(n, rule)
	case ops.CarryFunction:
		return u.function(n, rule)
	}
	return nil
}

// evaluate computes a small node of constants alone; nil for others.
func (u *uniform) evaluate(n *graph.Node) ([]*onnx.Tensor, error) {
	stand := *n
	stand.Inputs = nil
	for _, in := range n.Inputs {
		if in == nil {
			stand.Inputs = append(stand.Inputs, nil)
			continue
		}
		t := u.data[in]
		if t == nil {
			return nil, nil
		}
		stand.Inputs = append(stand.Inputs, &graph.Value{Name: in.Name, DType: in.DType, Shape: in.Shape, Const: t})
	}
	if len(n.Inputs) == 0 || !foldable(n) {
		return nil, nil
	}
	return ops.Eval(&stand)
}

// sum finds outputs of a linear layer that do not depend on its input.
func (u *uniform) sum(s ops.Sum) {
	if s.Out.Value == nil || u.data[s.W.Value] == nil {
		return
	}
	at := floats(u.data[s.W.Value])
	if at == nil {
		return
	}
	w := slicesOf(s.W.Value.Shape, s.Out.Index, s.W.Index)
	inputs, outputs := s.W.Extent(), s.Out.Extent()
	for o := range outputs {
		total := 0.0
		if s.Bias != nil {
			total = u.bias(s, o)
		}
		for k := range inputs {
			x := u.get(s.X, o/(outputs/s.Group)*inputs+k)
			if x == 0 {
				continue
			}
			part, zero := 0.0, true
			for i := range w(o, k) {
				part += at(i)
				zero = zero && at(i) == 0
			}
			if zero {
				continue
			}
			if s.Padded {
				x = math.NaN()
			}
			total += x * part
		}
		u.set(s.Y, o, total)
	}
}

// bias is what is added to output o; NaN if it differs along other axes.
func (u *uniform) bias(s ops.Sum, o int) float64 {
	last := ops.Axis{Value: s.Bias, Index: len(s.Bias.Shape) - 1}
	switch {
	case len(s.Bias.Shape) > 0 && last.Extent() == s.Y.Extent():
		return u.get(last, o)
	case s.Bias.Shape.Size() == 1 && u.data[s.Bias] != nil:
		if at := floats(u.data[s.Bias]); at != nil {
			return at(0)
		}
	}
	return math.NaN()
}

// slicesOf yields the flat indices of the weights with given positions along
// two axes.
func slicesOf(shape graph.Shape, out, in int) func(o, k int) func(yield func(int) bool) {
	strides := make([]int, len(shape))
	stride := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = stride
		stride *= shape[i]
	}
	var offsets []int // of all other positions
	var walk func(axis, at int)
	walk = func(axis, at int) {
		if axis == len(shape) {
			offsets = append(offsets, at)
			return
		}
		if axis == out || axis == in {
			walk(axis+1, at)
			return
		}
		for i := range shape[axis] {
			walk(axis+1, at+i*strides[axis])
		}
	}
	walk(0, 0)
	return func(o, k int) func(yield func(int) bool) {
		return func(yield func(int) bool) {
			start := o*strides[out] + k*strides[in]
			for _, off := range offsets {
				if !yield(start + off) {
					return
				}
			}
		}
	}
}

// zeros: where a factor of a product is zero, so is the product, along axes
// that are not summed over.
func (u *uniform) zeros(n *graph.Node, rule *ops.Axes) {
	if n.Input(2) != nil {
		return // something is added
	}
	y := n.Outputs[0]
	for _, t := range rule.Ties {
		if t.B.Value != y {
			continue
		}
		for k := range t.Count {
			if u.get(t.A, t.I+k) == 0 {
				u.set(t.B, t.J+k, 0)
			}
		}
	}
}

// carry moves numbers along ties. Where several inputs meet they must agree; a
// place that nothing is tied to is padding.
func (u *uniform) carry(n *graph.Node, rule *ops.Axes) {
	made := map[*graph.Value]bool{}
	for _, y := range n.Outputs {
		made[y] = true
	}
	found := map[ops.Axis][]float64{}
	meet := func(a ops.Axis, position int, x float64) {
		if rule.Carry == ops.CarryZero && x != 0 {
			x = math.NaN()
		}
		if found[a] == nil {
			found[a] = slices.Repeat([]float64{math.Inf(1)}, a.Extent()) // Inf: nothing yet
		}
		if have := found[a][position]; math.IsInf(have, 1) {
			found[a][position] = x
		} else if have != x {
			found[a][position] = math.NaN()
		}
	}
	for _, t := range rule.Ties {
		if made[t.B.Value] && !made[t.A.Value] {
			for k := range t.Count {
				meet(t.B, t.J+k, u.get(t.A, t.I+k))
			}
		}
	}
	for _, p := range rule.Products {
		u.product(p, made, meet)
	}
	for a, list := range found {
		for position, x := range list {
			switch {
			case !math.IsInf(x, 1):
				u.set(a, position, x)
			case rule.Carry == ops.CarryZero:
				u.set(a, position, 0)
			}
		}
	}
}

// product carries numbers between a merged axis and its parts.
func (u *uniform) product(p ops.Product, made map[*graph.Value]bool, meet func(ops.Axis, int, float64)) {
	for j := range p.Whole.Extent() {
		whole := math.NaN()
		for i, part := range p.Parts {
			k := p.At(i, j)
			if made[p.Whole.Value] {
				if x := u.get(part, k); !math.IsNaN(x) {
					whole = x
				}
			} else {
				meet(part, k, u.get(p.Whole, j))
			}
		}
		if made[p.Whole.Value] {
			meet(p.Whole, j, whole)
		}
	}
}

// function computes a function of numbers at tied places of all inputs.
func (u *uniform) function(n *graph.Node, rule *ops.Axes) error {
	y := n.Outputs[0]
	for axis := range y.Shape {
		a := ops.Axis{Value: y, Index: axis}
		from := tiedTo(rule, a)
		if len(from) == 0 {
			continue
		}
		for position := range a.Extent() {
			x, err := u.apply(n, from, position)
			if err != nil {
				return err
			}
			if !math.IsNaN(x) {
				u.set(a, position, x)
			}
		}
	}
	return nil
}

// tiedTo gives, per input, the axis that is tied to a, position by position.
func tiedTo(rule *ops.Axes, a ops.Axis) map[*graph.Value]ops.Axis {
	from := map[*graph.Value]ops.Axis{}
	for _, t := range rule.Ties {
		if t.B == a {
			from[t.A.Value] = t.A
		}
	}
	return from
}

// apply is the node's result where its inputs have single numbers, else NaN.
func (u *uniform) apply(n *graph.Node, from map[*graph.Value]ops.Axis, position int) (float64, error) {
	stand := *n
	stand.Inputs, stand.Outputs = nil, []*graph.Value{{Name: n.Outputs[0].Name}}
	known := true
	for _, in := range n.Inputs {
		if in == nil {
			stand.Inputs = append(stand.Inputs, nil)
			continue
		}
		x := math.NaN()
		if a, ok := from[in]; ok {
			x = u.get(a, position)
		} else if t := u.data[in]; t != nil && t.Len() == 1 {
			if at := floats(t); at != nil {
				x = at(0)
			}
		}
		if x == 0 && n.Op == "Mul" {
			return 0, nil
		}
		known = known && !math.IsNaN(x)
		stand.Inputs = append(stand.Inputs, element(in, x))
	}
	if !known || !foldable(n) {
		return math.NaN(), nil
	}
	if err := ops.Infer(&stand); err != nil {
		return 0, err
	}
	tensors, err := ops.Eval(&stand)
	if err != nil {
		return 0, err
	}
	if at := floats(tensors[0]); at != nil {
		return at(0), nil
	}
	return math.NaN(), nil
}

// element is a constant of v's rank and type with one element.
func element(v *graph.Value, x float64) *graph.Value {
	shape := slices.Repeat([]int{1}, len(v.Shape))
	t := onnx.NewTensor(v.DType, shape...)
	switch d := t.Data.(type) {
	case []float32:
		d[0] = float32(x)
	case []float64:
		d[0] = x
	}
	return &graph.Value{Name: v.Name, DType: v.DType, Shape: shape, Const: t}
}
