package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
)

// Structured pruning takes positions away along axes. What has to go with them
// follows from the operators: each says, by its Axes rule, how positions along
// the axes of its inputs and outputs belong together. An axis that the rule
// does not mention cannot lose a position; an operator without a rule lets none
// of its axes lose one.

// An Axis is one axis of a value.
type Axis struct {
	Value *graph.Value
	Index int
}

// Extent is the number of positions along the axis.
func (a Axis) Extent() int { return a.Value.Shape[a.Index] }

// A Tie says that positions I, I+1, ... of A stay or go with positions
// J, J+1, ... of B, Count of them.
type Tie struct {
	A     Axis
	I     int
	B     Axis
	J     int
	Count int
}

// A Product says that the positions of Whole enumerate, in row-major order, all
// combinations of positions of Parts: what a Reshape merges or splits. A
// position of Whole can only go with a whole position of one of the parts.
type Product struct {
	Whole Axis
	Parts []Axis
}

// A Sum says that the operator multiplies X with W and adds up over positions
// that are tied: y = Σ x·w + bias. Positions whose products are all zero can go.
type Sum struct {
	X, Y Axis
	// W is the axis of the weight along X, Out that along Y; Out.Value is nil
	// where both factors are computed.
	W, Out Axis
	Bias   *graph.Value // added along Y, nil for none
	Group  int          // of grouped convolutions, else 1
	Padded bool         // zeros are put around x first, so that a constant x gives no constant y
}

// Carry says what the operator does with positions that hold one number
// everywhere.
type Carry int

// What operators do with constant positions.
const (
	CarryNothing  Carry = iota // not known
	CarryZero                  // zeros stay zeros along ties
	CarryConstant              // constants stay as they are along ties
	CarryFunction              // a function of the numbers at tied positions of all inputs
)

// Axes is what an operator's rule says.
type Axes struct {
	Ties     []Tie
	Products []Product
	Sums     []Sum
	Mixed    []Axis // every output depends on all positions together, as in a softmax
	Held     []Tie  // positions I... of A, Count of them, cannot go
	Unread   []Axis // of an input of which nothing but the type matters
	Carry    Carry
}

// AxesOf returns what n's operator says about n, whose shapes are known. The
// result is nil where the operator has no rule.
func AxesOf(n *graph.Node) (*Axes, error) {
	op, err := Lookup(n)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Concat(n.Inputs, n.Outputs) {
		if v != nil && !v.Shape.Known() {
			return nil, &NodeError{Node: n, Err: fmt.Errorf("the shape of %q is not known", v.Name)}
		}
	}
	if op.Axes == nil {
		return nil, nil
	}
	a := &Axes{}
	if err := op.Axes(n, a); err != nil {
		return nil, &NodeError{Node: n, Err: err}
	}
	return a, nil
}

// Mentioned lists the axes that the rule speaks of.
func (a *Axes) Mentioned() map[Axis]bool {
	m := map[Axis]bool{}
	for _, t := range a.Ties {
		m[t.A], m[t.B] = true, true
	}
	for _, p := range a.Products {
		m[p.Whole] = true
		for _, part := range p.Parts {
			m[part] = true
		}
	}
	for _, t := range a.Held {
		m[t.A] = true
	}
	for _, axis := range a.Unread {
		m[axis] = true
	}
	return m
}

// same ties all positions of two axes, if they have equally many.
func (a *Axes) same(v *graph.Value, i int, w *graph.Value, j int) {
	if v != nil && w != nil && v.Shape[i] == w.Shape[j] {
		a.Ties = append(a.Ties, Tie{A: Axis{v, i}, B: Axis{w, j}, Count: v.Shape[i]})
	}
}

// run ties count positions of two axes.
func (a *Axes) run(v *graph.Value, axis, i int, w *graph.Value, other, j, count int) {
	a.Ties = append(a.Ties, Tie{A: Axis{v, axis}, I: i, B: Axis{w, other}, J: j, Count: count})
}

// axesBroadcast ties the axes of inputs with those of all outputs, from the
// last on: operators that work element by element.
func axesBroadcast(n *graph.Node, a *Axes) error {
	a.Carry = CarryFunction
	for _, y := range n.Outputs {
		for _, x := range n.Inputs {
			if x == nil || y == nil {
				continue
			}
			for i := range x.Shape {
				if j := i + len(y.Shape) - len(x.Shape); j >= 0 {
					a.same(x, i, y, j)
				}
			}
		}
	}
	return nil
}

// axesFirst ties the axes of the first input with those of the first output:
// the rest of the inputs parametrise the operator.
func axesFirst(n *graph.Node, a *Axes) error {
	a.Carry = CarryFunction
	for i := range n.Inputs[0].Shape {
		a.same(n.Inputs[0], i, n.Outputs[0], i)
	}
	return nil
}

// axesCopy is axesFirst for operators that leave the numbers as they are.
func axesCopy(n *graph.Node, a *Axes) error {
	err := axesFirst(n, a)
	a.Carry = CarryConstant
	return err
}

// axesZero is axesFirst for functions that are known to be 0 at 0.
func axesZero(n *graph.Node, a *Axes) error {
	err := axesFirst(n, a)
	a.Carry = CarryZero
	return err
}

// axesWindow ties batch and channels: pools.
func axesWindow(n *graph.Node, a *Axes) error {
	for i := range 2 {
		a.same(n.Inputs[0], i, n.Outputs[0], i)
	}
	a.Carry = CarryConstant
	if n.Op == "AveragePool" && n.Int("count_include_pad", 0) != 0 {
		a.Carry = CarryZero
	}
	return nil
}

// axesConv: x [N C ...], w [M C/group ...], y [N M ...]. In groups of several
// channels, positions of all groups go together, so that groups stay alike.
func axesConv(n *graph.Node, a *Axes) error {
	x, w, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	group := n.Int("group", 1)
	if group < 1 || len(x.Shape) < 3 || x.Shape[1]%group != 0 || w.Shape[0]%group != 0 {
		return fmt.Errorf("%d groups do not divide %d channels", group, x.Shape[1])
	}
	inputs, outputs := x.Shape[1]/group, w.Shape[0]/group
	a.same(x, 0, y, 0)
	a.same(w, 0, y, 1)
	if bias := n.Input(2); bias != nil {
		a.same(bias, 0, y, 1)
	}
	for g := range group {
		if inputs == 1 && group > 1 { // depthwise: the channel goes with its outputs
			for o := range outputs {
				a.run(x, 1, g, y, 1, g*outputs+o, 1)
			}
			continue
		}
		a.run(x, 1, g*inputs, w, 1, 0, inputs)
		a.run(y, 1, 0, y, 1, g*outputs, outputs)
	}
	padded := n.Str("auto_pad", "NOTSET") != "NOTSET" || slices.ContainsFunc(n.Ints("pads"), func(p int) bool { return p != 0 })
	a.Sums = append(a.Sums, Sum{X: Axis{x, 1}, W: Axis{w, 1}, Out: Axis{w, 0}, Y: Axis{y, 1}, Bias: n.Input(2), Group: group, Padded: padded})
	return nil
}

// axesConvTranspose: x [N C ...], w [C M/group ...], y [N M ...], of one group;
// in groups nothing can go.
func axesConvTranspose(n *graph.Node, a *Axes) error {
	x, w, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	if n.Int("group", 1) != 1 {
		return nil
	}
	a.same(x, 0, y, 0)
	a.same(x, 1, w, 0)
	a.same(w, 1, y, 1)
	if bias := n.Input(2); bias != nil {
		a.same(bias, 0, y, 1)
	}
	// At the border fewer products are added than inside: as with padding.
	a.Sums = append(a.Sums, Sum{X: Axis{x, 1}, W: Axis{w, 0}, Out: Axis{w, 1}, Y: Axis{y, 1}, Bias: n.Input(2), Group: 1, Padded: true})
	return nil
}

// axesGemm: y = a·b + c with a [M K], b [K N], each perhaps transposed.
func axesGemm(n *graph.Node, a *Axes) error {
	x, w, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	xm, xk, wk, wn := 0, 1, 0, 1
	if n.Int("transA", 0) != 0 {
		xm, xk = 1, 0
	}
	if n.Int("transB", 0) != 0 {
		wk, wn = 1, 0
	}
	a.same(x, xm, y, 0)
	a.same(w, wn, y, 1)
	a.same(x, xk, w, wk)
	c := n.Input(2)
	if c != nil && len(c.Shape) > 0 {
		a.same(c, len(c.Shape)-1, y, 1)
	}
	s := Sum{X: Axis{x, xk}, W: Axis{w, wk}, Out: Axis{w, wn}, Y: Axis{y, 1}, Bias: c, Group: 1}
	if n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 {
		s.Padded = true // constants would have to be scaled
	}
	a.Sums = append(a.Sums, s)
	return nil
}

// axesMatMul: the last axis of a is summed with the last but one of b; the
// batch axes before them are broadcast.
func axesMatMul(n *graph.Node, a *Axes) error {
	x, w, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	xr, wr, yr := len(x.Shape), len(w.Shape), len(y.Shape)
	if xr < 2 || wr < 2 {
		return nil // vectors: nothing can go
	}
	a.same(x, xr-2, y, yr-2)
	a.same(w, wr-1, y, yr-1)
	a.same(x, xr-1, w, wr-2)
	for _, v := range []*graph.Value{x, w} {
		for i := range len(v.Shape) - 2 {
			a.same(v, i, y, i+yr-len(v.Shape))
		}
	}
	s := Sum{X: Axis{x, xr - 1}, W: Axis{w, wr - 2}, Y: Axis{y, yr - 1}, Group: 1}
	if w.Const != nil || wr == 2 {
		s.Out = Axis{w, wr - 1}
	}
	a.Sums = append(a.Sums, s)
	return nil
}

// axesBatchNorm: scale, shift, mean and variance run along the channels.
func axesBatchNorm(n *graph.Node, a *Axes) error {
	a.Carry = CarryFunction
	x, y := n.Inputs[0], n.Outputs[0]
	for i := range x.Shape {
		a.same(x, i, y, i)
	}
	for _, p := range n.Inputs[1:] {
		if p != nil {
			a.same(p, 0, y, 1)
		}
	}
	return nil
}

// axesNorm: normalised axes are mixed; scale and shift run along the last ones
// (LayerNormalization) or along the channels.
func axesNorm(n *graph.Node, a *Axes) error {
	x, y := n.Inputs[0], n.Outputs[0]
	for i := range x.Shape {
		a.same(x, i, y, i)
	}
	first := 1
	switch n.Op {
	case "LayerNormalization", "RMSNormalization":
		if first = n.Int("axis", -1); first < 0 {
			first += len(x.Shape)
		}
		for _, p := range n.Inputs[1:] {
			if p != nil {
				for i := range p.Shape {
					a.same(p, i, y, i+len(y.Shape)-len(p.Shape))
				}
			}
		}
	case "InstanceNormalization":
		first = 2
		for _, p := range n.Inputs[1:] {
			a.same(p, 0, y, 1)
		}
	}
	for i := first; i < len(x.Shape); i++ {
		a.Mixed = append(a.Mixed, Axis{x, i})
	}
	return nil
}

// axesSoftmax mixes the axis, or before version 13 all from it on.
func axesSoftmax(n *graph.Node, a *Axes) error {
	x, y := n.Inputs[0], n.Outputs[0]
	axis, last := -1, 0
	if n.Version < 13 {
		axis, last = 1, len(x.Shape)
	}
	if axis = n.Int("axis", axis); axis < 0 {
		axis += len(x.Shape)
	}
	for i := range x.Shape {
		a.same(x, i, y, i)
		if i == axis || i > axis && i < last {
			a.Mixed = append(a.Mixed, Axis{x, i})
		}
	}
	return nil
}

// axesReduce ties the axes that stay; those that are reduced cannot lose a
// position.
func axesReduce(n *graph.Node, a *Axes) error {
	axes, keep, err := reduceAxes(n)
	if err != nil {
		return err
	}
	x, y := n.Inputs[0], n.Outputs[0]
	j := 0
	for i := range x.Shape {
		if slices.Contains(axes, i) {
			if keep {
				j++
			}
			continue
		}
		a.same(x, i, y, j)
		j++
	}
	switch n.Op {
	case "ReduceMean", "ReduceMax", "ReduceMin":
		a.Carry = CarryConstant
	case "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare":
		a.Carry = CarryZero
	}
	return nil
}

// axesTranspose moves axes.
func axesTranspose(n *graph.Node, a *Axes) error {
	a.Carry = CarryConstant
	x, y := n.Inputs[0], n.Outputs[0]
	perm, err := permutation(n)
	for j, i := range perm {
		a.same(x, i, y, j)
	}
	return err
}

// axesConcat puts the parts' positions behind each other.
func axesConcat(n *graph.Node, a *Axes) error {
	a.Carry = CarryConstant
	y := n.Outputs[0]
	axis, err := normAxis(n.Int("axis", 0), len(y.Shape))
	if err != nil {
		return err
	}
	start := 0
	for _, x := range n.Inputs {
		for i := range y.Shape {
			if i != axis {
				a.same(x, i, y, i)
			}
		}
		a.run(x, axis, 0, y, axis, start, x.Shape[axis])
		start += x.Shape[axis]
	}
	return nil
}

// axesSplit is Concat the other way round.
func axesSplit(n *graph.Node, a *Axes) error {
	a.Carry = CarryConstant
	x := n.Inputs[0]
	axis, err := normAxis(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return err
	}
	start := 0
	for _, y := range n.Outputs {
		for i := range x.Shape {
			if i != axis {
				a.same(x, i, y, i)
			}
		}
		a.run(x, axis, start, y, axis, 0, y.Shape[axis])
		start += y.Shape[axis]
	}
	return nil
}

// axesReshape matches runs of extents with equal products; extents of 1 are
// left out. A run of one axis on one side and several on the other merges or
// splits; any other run is fixed.
func axesReshape(n *graph.Node, a *Axes) error {
	a.Carry = CarryConstant
	x, y := n.Inputs[0], n.Outputs[0]
	i, j := 0, 0
	for i < len(x.Shape) || j < len(y.Shape) {
		var left, right []Axis
		p, q := 1, 1
		take := func(v *graph.Value, at *int, list *[]Axis, product *int) bool {
			if *at == len(v.Shape) {
				return false
			}
			if d := v.Shape[*at]; d != 1 {
				*list = append(*list, Axis{v, *at})
				*product *= d
			}
			*at++
			return true
		}
		for {
			if p <= q && (len(left) == 0 || p < q) && take(x, &i, &left, &p) {
				continue
			}
			if q <= p && (len(right) == 0 || q < p) && take(y, &j, &right, &q) {
				continue
			}
			break
		}
		switch {
		case p != q || len(left) == 0 || len(right) == 0:
			if p != q {
				return nil // what follows does not line up: it stays as it is
			}
		case len(left) == 1 && len(right) == 1:
			a.same(x, left[0].Index, y, right[0].Index)
		case len(left) == 1:
			a.Products = append(a.Products, Product{Whole: left[0], Parts: right})
		case len(right) == 1:
			a.Products = append(a.Products, Product{Whole: right[0], Parts: left})
		}
	}
	return nil
}

// axesGather ties the axes that are not indexed; along the indexed one the
// positions that constant indices name are tied or, for a single one, held.
func axesGather(n *graph.Node, a *Axes) error {
	x, index, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	axis, err := normAxis(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return err
	}
	a.Carry = CarryConstant
	for i := range x.Shape {
		switch {
		case i < axis:
			a.same(x, i, y, i)
		case i > axis:
			a.same(x, i, y, i-1+len(index.Shape))
		}
	}
	if index.Const == nil || len(index.Shape) > 1 {
		return nil // any position may be asked for
	}
	list, _, err := constInts(n, 1)
	if err != nil {
		return err
	}
	for k, p := range list {
		if p < 0 {
			p += x.Shape[axis]
		}
		if p < 0 || p >= x.Shape[axis] {
			return fmt.Errorf("index %d of %d positions", list[k], x.Shape[axis])
		}
		if len(index.Shape) == 0 {
			a.Held = append(a.Held, Tie{A: Axis{x, axis}, I: p, Count: 1})
		} else {
			a.run(x, axis, p, y, axis, k, 1)
		}
	}
	return nil
}

// axesSlice ties the positions that the slice takes; an axis of which it takes
// every second one, say, stays as it is.
func axesSlice(n *graph.Node, a *Axes) error {
	a.Carry = CarryConstant
	c, err := sliceCut(n)
	if err != nil {
		return err
	}
	x, y := n.Inputs[0], n.Outputs[0]
	for i := range x.Shape {
		if c.step[i] == 1 {
			a.run(x, i, c.start[i], y, i, 0, c.extent[i])
		}
	}
	return nil
}

// axesPad ties positions of x with where they stand in y; the padding itself
// is tied to nothing. Zeros stay zeros when zeros are put around them.
func axesPad(n *graph.Node, a *Axes) error {
	before, after, err := padding(n)
	if err != nil {
		return err
	}
	x, y := n.Inputs[0], n.Outputs[0]
	for i := range x.Shape {
		if before[i] < 0 || after[i] < 0 {
			continue // cuts off
		}
		if n.Str("mode", "constant") == "constant" || before[i]+after[i] == 0 {
			a.run(x, i, 0, y, i, before[i], x.Shape[i])
		}
	}
	if value := n.Input(2); n.Str("mode", "constant") == "constant" && n.Float("value", 0) == 0 && (value == nil || zero(value)) {
		a.Carry = CarryZero
	}
	return nil
}

// axesExpand ties the axes that keep their extent.
func axesExpand(n *graph.Node, a *Axes) error {
	a.Carry = CarryConstant
	x, y := n.Inputs[0], n.Outputs[0]
	for i := range x.Shape {
		if j := i + len(y.Shape) - len(x.Shape); j >= 0 {
			a.same(x, i, y, j)
		}
	}
	return nil
}

// zero reports whether a value is known to be all zeros.
func zero(v *graph.Value) bool {
	if v.Const == nil {
		return false
	}
	switch d := v.Const.Data.(type) {
	case []float32:
		return !slices.ContainsFunc(d, func(x float32) bool { return x != 0 })
	case []float64:
		return !slices.ContainsFunc(d, func(x float64) bool { return x != 0 })
	}
	return false
}
