package train

import (
	"context"
	"fmt"
	"math"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

var _ unprune.Scorer = (*Engine)(nil)

// FlowCurvature returns Hg: g is the gradient and H the Hessian of the sum of
// the terms' cross-entropies, in inference mode and with the logits divided by
// the temperature.
func (e *Engine) FlowCurvature(ctx context.Context, temperature float64, terms ...unprune.Term) (map[string]*onnx.Tensor, error) {
	g, err := e.curvature(ctx, temperature, terms, nil, autodiff.GradName)
	if err != nil {
		return nil, err
	}
	return e.curvature(ctx, temperature, terms, g, autodiff.ScoreName)
}

// curvature sums an output of the curvature program over the terms; along is
// what the Hessian is multiplied with, nil for zero.
func (e *Engine) curvature(ctx context.Context, temperature float64, terms []unprune.Term, along map[string]*onnx.Tensor, output func(string) string) (map[string]*onnx.Tensor, error) {
	sum := map[string]*onnx.Tensor{}
	for _, name := range e.params {
		sum[name] = onnx.NewTensor(e.state[name].DType, e.state[name].Shape...)
	}
	for _, t := range terms {
		p, err := e.second(programKey{kind: flowCurvatureKind, batch: len(t.Index)}, autodiff.FlowCurvature)
		if err != nil {
			return nil, err
		}
		if err := e.feed(p, t); err != nil {
			return nil, err
		}
		setElement(p.Input(autodiff.TemperatureName), 0, temperature)
		for _, name := range e.params {
			in := p.Input(autodiff.DirectionName(name))
			if along == nil {
				fill(in, 0)
			} else {
				copyElements(in, along[name])
			}
		}
		if err := p.Run(ctx); err != nil {
			return nil, err
		}
		for _, name := range e.params {
			if out := p.Output(output(name)); out != nil {
				addElements(sum[name], out)
			}
		}
		e.count(t)
		e.cost.HVP += int64(len(t.Index))
	}
	return sum, nil
}

// InputNorms returns, per weight of a layer, the L2 norm of the values that it
// multiplies over the samples, in inference mode.
func (e *Engine) InputNorms(ctx context.Context, d *data.Dataset, index []int) (map[string]*onnx.Tensor, error) {
	sums := map[string]*onnx.Tensor{}
	for start := 0; start < len(index); start += e.opt.Batch {
		rows := index[start:min(start+e.opt.Batch, len(index))]
		p, err := e.second(programKey{kind: inputsKind, batch: len(rows)}, func(g *graph.Graph, o autodiff.CurvatureOptions) error {
			return autodiff.InputSquares(g, o, e.masked())
		})
		if err != nil {
			return nil, err
		}
		if err := e.samples(p, d, rows); err != nil {
			return nil, err
		}
		if err := p.Run(ctx); err != nil {
			return nil, err
		}
		for _, l := range e.layers {
			out := p.Output(autodiff.ScoreName(l.Name))
			if out == nil {
				continue // its inputs are not those of a linear node
			}
			if sums[l.Name] == nil {
				sums[l.Name] = onnx.NewTensor(out.DType, out.Shape...)
			}
			addElements(sums[l.Name], out)
		}
	}
	e.cost.Forward += int64(len(index))
	e.cost.Backward += int64(len(index))
	for _, t := range sums {
		for i := range t.Len() {
			setElement(t, i, math.Sqrt(elementAt(t, i)))
		}
	}
	return sums, nil
}

// SynapticFlow returns ∂R/∂|w| in float64: R is the sum of the outputs for one
// sample of ones when every parameter and running statistic is replaced by its
// absolute value. In float32 the sum overflows in deep networks.
func (e *Engine) SynapticFlow(ctx context.Context) (map[string]*onnx.Tensor, error) {
	p, err := e.flow()
	if err != nil {
		return nil, err
	}
	for _, name := range e.weights.Names {
		if in := p.Input(name); in != nil {
			copyElements(in, e.state[name])
			absolute(in)
		}
	}
	fill(p.Input(e.trunk.Inputs[0].Name), 1)
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	e.cost.Forward++
	e.cost.Backward++
	out := map[string]*onnx.Tensor{}
	for _, name := range e.params {
		if t := p.Output(autodiff.ScoreName(name)); t != nil {
			out[name] = t
		}
	}
	return out, nil
}

// flow compiles the network of absolute values. Its parameters have memory of
// their own, since they are not the engine's.
func (e *Engine) flow() (*compiled, error) {
	return e.cached(programKey{kind: flowKind, batch: 1}, func() (*compiled, error) {
		g := pass.Double(e.trunk)
		for _, p := range e.model.Params {
			v := g.Value(p.Name())
			if v == nil || v.Const == nil || !p.Trainable && !p.State() {
				continue
			}
			t := onnx.NewTensor(v.DType, v.Shape...)
			copyElements(t, v.Const)
			absolute(t)
			v.Const = t
		}
		g, err := pass.Specialise(g, pass.Target{Batch: 1, Keep: e.keep})
		if err != nil {
			return nil, err
		}
		o := autodiff.CurvatureOptions{Logits: e.model.Logits.Name, Params: e.params, State: e.statsOf(g)}
		if err := autodiff.Flow(g, o); err != nil {
			return nil, fmt.Errorf("train: synaptic flow: %w", err)
		}
		return e.compile(g, nil, nil)
	})
}

func absolute(t *onnx.Tensor) {
	for i := range t.Len() {
		setElement(t, i, math.Abs(elementAt(t, i)))
	}
}
