package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
)

// WeightedSum(x, factor, mask, offset, x, factor, ...) adds tensors of one shape,
// [N C ...] where there are factors or an offset, which are of [C]:
//
//	y = offset[c] + sum over the pairs of factor[c] * x, where mask > 0, else 0
//
// All but the first x may be left out. It takes one pass over memory. The executor
// puts it in.
func init() {
	register(Op{Domain: Domain, Name: "WeightedSum", Infer: inferWeightedSum, Body: weightedSumBody, InPlace: []int{0, sumMore},
		Forward: kernels(runWeightedSum[float32], runWeightedSum[float64])})
}

// Inputs of WeightedSum; from sumMore on follow further pairs, up to MaxSumTerms in all.
const (
	sumMask = 2 + iota
	sumOffset
	sumMore

	MaxSumTerms = 8
)

// weightedSumSlots lists where the terms are.
func weightedSumSlots() []int {
	list := []int{0}
	for i := 1; i < MaxSumTerms; i++ {
		list = append(list, sumMore+2*(i-1))
	}
	return list
}

// SumTerm is a term of a WeightedSum; Factor may be nil.
type SumTerm struct{ X, Factor *graph.Value }

// WeightedSum appends the sum of some terms; offset and mask may be nil.
func (b *Builder) WeightedSum(terms []SumTerm, offset, mask *graph.Value) *graph.Value {
	in := values{terms[0].X, terms[0].Factor, mask, offset}
	for _, t := range terms[1:] {
		in = append(in, t.X, t.Factor)
	}
	for in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	return b.Own("WeightedSum", 1, in)[0]
}

func sumTerms(n *graph.Node) []SumTerm {
	var list []SumTerm
	for _, slot := range weightedSumSlots() {
		if slot < len(n.Inputs) {
			list = append(list, SumTerm{n.Inputs[slot], n.Input(slot + 1)})
		}
	}
	return list
}

func inferWeightedSum(n *graph.Node) error {
	if err := floatInputs(n, 1, sumMore+2*(MaxSumTerms-1), 1); err != nil {
		return err
	}
	x := n.Inputs[0]
	if err := wantShape(n, sumMask, x.Shape...); err != nil {
		return err
	}
	factors := n.Input(sumOffset) != nil
	for _, t := range sumTerms(n) {
		if t.X == nil || !slices.Equal(t.X.Shape, x.Shape) {
			return fmt.Errorf("want terms of shape %v", []int(x.Shape))
		}
		factors = factors || t.Factor != nil
	}
	if factors && len(x.Shape) < 2 {
		return fmt.Errorf("input %q has rank %d, want [N C ...]", x.Name, len(x.Shape))
	}
	if factors {
		for _, slot := range append(weightedSumSlots(), sumMask) {
			if err := wantShape(n, slot+1, x.Shape[1]); err != nil {
				return err
			}
		}
	}
	return setOutput(n, 0, x.DType, x.Shape)
}

func weightedSumBody(b *Builder, n *graph.Node) ([]*graph.Value, error) {
	spatial := len(n.Inputs[0].Shape) - 2
	var y *graph.Value
	for _, t := range sumTerms(n) {
		x := t.X
		if t.Factor != nil {
			x = b.Mul(x, b.perChannel(t.Factor, spatial))
		}
		if y != nil {
			x = b.Add(y, x)
		}
		y = x
	}
	if offset := n.Input(sumOffset); offset != nil {
		y = b.Add(y, b.perChannel(offset, spatial))
	}
	if mask := n.Input(sumMask); mask != nil {
		y = b.reluGrad(y, mask)
	}
	if y == n.Inputs[0] {
		y = b.Op("Identity", y)
	}
	return values{y}, b.Err
}

func runWeightedSum[T kernel.Float](c *Call) (func() error, error) {
	shape := c.In[0].Shape
	s := &kernel.WeightedSum[T]{N: 1, Channels: 1, Spatial: product(shape), Offset: slot[T](c.In, sumOffset), Mask: slot[T](c.In, sumMask),
		Relu: c.Activation == kernel.Rectifier}
	if len(shape) > 1 {
		s.N, s.Channels, s.Spatial = shape[0], shape[1], product(shape[2:])
	}
	for _, at := range weightedSumSlots() {
		if at < len(c.In) {
			x := slot[T](c.In, at)
			s.Terms = append(s.Terms, kernel.SumTerm[T]{X: x, Factor: slot[T](c.In, at+1)})
		}
	}
	z := slot[T](c.Out, 0)
	return func() error {
		s.Run(c.Team, z)
		return nil
	}, nil
}
