package autodiff

import (
	"fmt"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/ops"
)

// HVP appends to g the Hessian-vector products of the scalar y: for
// parameters xs and directions vs (of the same shapes) it returns H·v, one
// value per parameter, as the gradient of <gradient of y, v>. An entry is nil
// where it is identically zero.
func HVP(g *graph.Graph, y *graph.Value, xs, vs []*graph.Value) ([]*graph.Value, error) {
	if len(y.Shape) != 0 {
		return nil, fmt.Errorf("autodiff: HVP of %q: want a scalar, have shape %v", y.Name, []int(y.Shape))
	}
	grads, err := Gradient(g, y, nil, xs)
	if err != nil {
		return nil, err
	}
	var ys, seeds []*graph.Value
	for i, d := range grads {
		if d != nil {
			ys, seeds = append(ys, d), append(seeds, vs[i])
		}
	}
	return gradient(ops.NewBuilder(g), ys, seeds, xs)
}

// DirectionName is the input that holds the direction for parameter p,
// ProductName the output that holds the Hessian's product with it.
func DirectionName(p string) string { return p + "_direction" }
func ProductName(p string) string   { return p + "_hvp" }

// CurvatureOptions name what graphs of per-sample and second-order quantities
// are about: the logits, the parameters, and running statistics.
type CurvatureOptions struct {
	Logits string
	Params []string
	State  []string
}

// TrainHVP turns a specialised inference graph into one that computes the
// product of the Hessian of the mean cross-entropy with the inputs
// DirectionName. A parameter without the output ProductName has the product
// zero.
func TrainHVP(g *graph.Graph, o CurvatureOptions) error {
	logits, params, err := begin(g, o.Logits, o.Params, o.State)
	if err != nil {
		return err
	}
	b := ops.NewBuilder(g)
	loss := crossEntropies(b, logits, "mean")
	if b.Err != nil {
		return b.Err
	}
	directions := make([]*graph.Value, len(params))
	for i, p := range params {
		directions[i] = g.AddInput(DirectionName(p.Name), p.DType, p.Shape...)
	}
	products, err := HVP(g, loss, params, directions)
	if err != nil {
		return err
	}
	g.Outputs = nil
	for i, p := range params {
		if products[i] == nil {
			continue
		}
		if err := hand(b, products[i], ProductName(p.Name)); err != nil {
			return err
		}
	}
	g.Prune()
	return nil
}
