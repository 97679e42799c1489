package ops

import (
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
)

// Classification losses. Scores are [N C d...], labels [N d...], the optional
// weights [C]. With p the log-probabilities, l the labels and w the weight of
// each label (zero where it is ignore_index), the loss of a label is -w p[l];
// the mean divides their sum by the sum of w.
func init() {
	register(
		Op{
			Name: "SoftmaxCrossEntropyLoss", Since: []int{12, 13},
			Infer: inferCrossEntropy, Grad: gradCrossEntropy, Forward: forwardCrossEntropy,
		},
		Op{
			Name: "NegativeLogLikelihoodLoss", Since: []int{12, 13, 22},
			Infer: inferLikelihood, Body: bodyLikelihood,
		},
		Op{
			Domain: Domain, Name: "SoftmaxCrossEntropyLossGrad",
			Infer: inferCrossEntropyGrad, Forward: forwardCrossEntropyGrad, Body: bodyCrossEntropyGrad,
		},
	)
}

// lossReductions are the values of the attribute reduction.
var lossReductions = map[string]kernel.LossReduction{
	"mean": kernel.LossMean, "sum": kernel.LossSum, "none": kernel.LossNone,
}

// lossShape checks scores, labels and weights, inputs first to first+2 of n,
// and returns the shape of the loss.
func lossShape(n *graph.Node, first int) (graph.Shape, error) {
	scores, labels, weights := n.Inputs[first], n.Inputs[first+1], n.Input(first+2)
	if err := wantType(n, first, floats...); err != nil {
		return nil, err
	}
	if err := wantType(n, first+1, indexes...); err != nil {
		return nil, err
	}
	if err := sameType(n, first, first+2); err != nil {
		return nil, err
	}
	s := scores.Shape
	if len(s) < 2 || !slices.Equal(labels.Shape, without(s, []int{1}, false)) {
		return nil, fmt.Errorf("labels have shape %v, which does not fit scores of shape %v", []int(labels.Shape), []int(s))
	}
	if weights != nil && !slices.Equal(weights.Shape, s[1:2]) {
		return nil, fmt.Errorf("weights have shape %v, want [%d]", []int(weights.Shape), s[1])
	}
	reduction := n.Str("reduction", "mean")
	if _, ok := lossReductions[reduction]; !ok {
		return nil, fmt.Errorf("reduction is %q, want mean, sum or none", reduction)
	}
	if reduction == "none" {
		return labels.Shape, nil
	}
	return graph.Shape{}, nil
}

// lossSpec describes the loss to its kernel.
func lossSpec(n *graph.Node, scores []int) kernel.CrossEntropySpec {
	return kernel.CrossEntropySpec{
		Samples: scores[0], Classes: scores[1], Inner: product(scores[2:]),
		Reduction: lossReductions[n.Str("reduction", "mean")],
		HasIgnore: n.Attr("ignore_index") != nil, Ignore: int64(n.Int("ignore_index", 0)),
	}
}

func inferCrossEntropy(n *graph.Node) error {
	if err := arity(n, 2, 3, 2); err != nil {
		return err
	}
	shape, err := lossShape(n, 0)
	if err != nil {
		return err
	}
	scores := n.Inputs[0]
	if err := setOutput(n, 1, scores.DType, scores.Shape); err != nil {
		return err
	}
	return setOutput(n, 0, scores.DType, shape)
}

// labelReader returns the labels as int64 and what brings them up to date.
func labelReader(labels *onnx.Tensor) ([]int64, func() error, error) {
	if labels.DType == onnx.Int64 {
		return onnx.Of[int64](labels), func() error { return nil }, nil
	}
	wide := onnx.NewTensor(onnx.Int64, labels.Shape...)
	read, err := castTensor(wide, labels)
	return onnx.Of[int64](wide), read, err
}

// optional returns the elements of c's input i, nil when it is left out.
func optional[T kernel.Float](c *Call, i int) []T {
	if i >= len(c.In) || c.In[i] == nil {
		return nil
	}
	return onnx.Of[T](c.In[i])
}

func forwardCrossEntropy(c *Call) (func() error, error) {
	return byFloat(c, forwardCrossEntropyOf[float32], forwardCrossEntropyOf[float64])
}

func forwardCrossEntropyOf[T kernel.Float](c *Call) (func() error, error) {
	scores, loss := onnx.Of[T](c.In[0]), onnx.Of[T](c.Out[0])
	labels, read, err := labelReader(c.In[1])
	if err != nil {
		return nil, err
	}
	var logProbs []T
	if len(c.Out) > 1 && c.Out[1] != nil {
		logProbs = onnx.Of[T](c.Out[1])
	} else {
		logProbs = make([]T, len(scores))
	}
	k, weights := kernel.NewCrossEntropy[T](lossSpec(c.Node, c.In[0].Shape)), optional[T](c, 2)
	return func() error {
		if err := read(); err != nil {
			return err
		}
		return k.Forward(c.Team, loss, logProbs, scores, labels, weights)
	}, nil
}

// gradCrossEntropy also carries the gradient of the log-probabilities, the
// second output. The weights get none.
func gradCrossEntropy(b *Builder, n *graph.Node, dy values) (values, error) {
	scores, logProb := n.Inputs[0], n.Output(1)
	if logProb == nil {
		logProb = b.OpA("LogSoftmax", []*onnx.Attr{onnx.AttrInt("axis", 1)}, scores)
	}
	var dx *graph.Value
	if dy[0] != nil {
		in := append(values{dy[0], logProb}, n.Inputs[1:]...)
		dx = b.Own("SoftmaxCrossEntropyLossGrad", 1, in, n.Attrs...)[0]
	}
	if len(dy) > 1 && dy[1] != nil {
		more := b.Sub(dy[1], b.Mul(b.Op("Exp", logProb), b.ReduceSum(dy[1], true, 1)))
		if dx == nil {
			dx = more
		} else {
			dx = b.Add(dx, more)
		}
	}
	grads := make(values, len(n.Inputs))
	grads[0] = dx
	return grads, nil
}

// inferCrossEntropyGrad: inputs are the gradient of the loss, the
// log-probabilities, the labels, and the weights.
func inferCrossEntropyGrad(n *graph.Node) error {
	if err := arity(n, 3, 4, 1); err != nil {
		return err
	}
	shape, err := lossShape(n, 1)
	if err != nil {
		return err
	}
	if err := sameType(n, 0, 1); err != nil {
		return err
	}
	if !slices.Equal(n.Inputs[0].Shape, shape) {
		return fmt.Errorf("the gradient of the loss has shape %v, want %v", []int(n.Inputs[0].Shape), []int(shape))
	}
	return setOutput(n, 0, n.Inputs[1].DType, n.Inputs[1].Shape)
}

func forwardCrossEntropyGrad(c *Call) (func() error, error) {
	return byFloat(c, forwardCrossEntropyGradOf[float32], forwardCrossEntropyGradOf[float64])
}

func forwardCrossEntropyGradOf[T kernel.Float](c *Call) (func() error, error) {
	dx, dLoss, logProbs := onnx.Of[T](c.Out[0]), onnx.Of[T](c.In[0]), onnx.Of[T](c.In[1])
	labels, read, err := labelReader(c.In[2])
	if err != nil {
		return nil, err
	}
	spec, weights := lossSpec(c.Node, c.In[1].Shape), optional[T](c, 3)
	k := kernel.NewCrossEntropy[T](spec)
	return func() error {
		if err := read(); err != nil {
			return err
		}
		for i, l := range labels {
			if (l < 0 || l >= int64(spec.Classes)) && !(spec.HasIgnore && l == spec.Ignore) {
				return fmt.Errorf("label %d at position %d is not a class, want 0 to %d", l, i, spec.Classes-1)
			}
		}
		k.Backward(c.Team, dx, dLoss, logProbs, labels, weights)
		return nil
	}, nil
}

// A labelling is a set of labels as values that broadcast to the scores:
// onehot [N C d...] and the weight of each label [N 1 d...].
type labelling struct{ onehot, weight *graph.Value }

// label spells labels out; weights may be nil.
func (b *Builder) label(n *graph.Node, scores, labels, weights *graph.Value) labelling {
	one, zero := b.Scalar(1, scores), b.Scalar(0, scores)
	if labels.DType != onnx.Int64 {
		labels = b.Cast(labels, onnx.Int64)
	}
	var valid *graph.Value
	if n.Attr("ignore_index") != nil {
		valid = b.Op("Not", b.Op("Equal", labels, b.Int(n.Int("ignore_index", 0))))
		labels = b.Op("Where", valid, labels, b.Int(0))
	}
	weight := b.Expand(one, labels.Shape)
	if weights != nil {
		weight = b.Op("Gather", weights, labels)
	}
	if valid != nil {
		weight = b.Op("Where", valid, weight, zero)
	}
	offOn := b.Concat(0, b.Reshape(zero, 1), b.Reshape(one, 1))
	axis := []*onnx.Attr{onnx.AttrInt("axis", 1)}
	return labelling{
		onehot: b.OpA("OneHot", axis, labels, b.Int(scores.Shape[1]), offOn),
		weight: b.Reshape(weight, without(scores.Shape, []int{1}, true)...),
	}
}

// total is the sum of the weights, a scalar.
func (l labelling) total(b *Builder) *graph.Value {
	axes := make([]int, len(l.weight.Shape))
	for i := range axes {
		axes[i] = i
	}
	return b.ReduceSum(l.weight, false, axes...)
}

// bodyCrossEntropyGrad: dx = dloss w (exp(p) - onehot), divided by the sum of
// w for the mean.
func bodyCrossEntropyGrad(b *Builder, n *graph.Node) (values, error) {
	dLoss, logProb, labels := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	l := b.label(n, logProb, labels, n.Input(3))
	if b.Err != nil {
		return nil, b.Err
	}
	switch n.Str("reduction", "mean") {
	case "mean":
		dLoss = b.Div(dLoss, l.total(b))
	case "none":
		dLoss = b.Reshape(dLoss, l.weight.Shape...)
	}
	return values{b.Mul(b.Sub(b.Op("Exp", logProb), l.onehot), b.Mul(dLoss, l.weight))}, nil
}

func inferLikelihood(n *graph.Node) error {
	if err := arity(n, 2, 3, 1); err != nil {
		return err
	}
	shape, err := lossShape(n, 0)
	if err != nil {
		return err
	}
	return setOutput(n, 0, n.Inputs[0].DType, shape)
}

// bodyLikelihood: -w p[l], where p is the input.
func bodyLikelihood(b *Builder, n *graph.Node) (values, error) {
	logProb := n.Inputs[0]
	l := b.label(n, logProb, n.Inputs[1], n.Input(2))
	if b.Err != nil {
		return nil, b.Err
	}
	axes := make([]int, len(logProb.Shape))
	for i := range axes {
		axes[i] = i
	}
	terms := b.Neg(b.Mul(b.Mul(logProb, l.onehot), l.weight))
	switch n.Str("reduction", "mean") {
	case "none":
		return values{b.ReduceSum(terms, false, 1)}, nil
	case "sum":
		return values{b.ReduceSum(terms, false, axes...)}, nil
	}
	return values{b.Div(b.ReduceSum(terms, false, axes...), l.total(b))}, nil
}
