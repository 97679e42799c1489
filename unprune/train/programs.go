package train

import (
	"maps"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

// programKey identifies a compiled program: what it computes, for how many
// samples, in which mode.
type programKey struct {
	kind     kind
	batch    int
	training bool
	loss     autodiff.Loss
	count    int  // of classes (classesKind), of directions (dotsKind)
	masked   bool // an update keeps to masks
}

type kind int

const (
	forwardKind       kind = iota // logits
	statsKind                     // running statistics of a batch
	gradientKind                  // loss and gradients
	stepKind                      // loss, gradients and update
	updateKind                    // update from the gradient sums
	hvpKind                       // Hessian-vector product, from what pointKind left
	pointKind                     // what Hessian-vector products at one point share
	squaresKind                   // sums of squared gradients of samples
	dotsKind                      // products of gradients of samples with a direction
	classesKind                   // sums of squared gradients of classes
	flowCurvatureKind             // gradient and Hessian-vector product, at a temperature
	inputsKind                    // squares of what weights multiply
	flowKind                      // gradient of the sum of the outputs
)

// A compiled program with the inputs that it wants fresh noise in.
type compiled struct {
	Program
	noise []noiseInput
}

func (e *Engine) compile(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (*compiled, error) {
	p, err := e.opt.Compile(g, state, into)
	if err != nil {
		return nil, err
	}
	return &compiled{p, e.noise.inputs(g)}, nil
}

// cached compiles a program on first use.
func (e *Engine) cached(k programKey, build func() (*compiled, error)) (*compiled, error) {
	if p := e.programs[k]; p != nil {
		return p, nil
	}
	p, err := build()
	if err == nil {
		e.programs[k] = p
	}
	return p, err
}

// forget drops programs that have the old optimizer built in.
func (e *Engine) forget(kinds ...kind) {
	maps.DeleteFunc(e.programs, func(k programKey, _ *compiled) bool { return slices.Contains(kinds, k.kind) })
}

func (e *Engine) specialise(k programKey) (*graph.Graph, error) {
	return pass.Specialise(e.trunk, pass.Target{Batch: k.batch, Training: k.training, Keep: e.keep})
}

func (e *Engine) forward(batch int) (*compiled, error) {
	k := programKey{kind: forwardKind, batch: batch}
	return e.cached(k, func() (*compiled, error) {
		g, err := e.specialise(k)
		if err != nil {
			return nil, err
		}
		return e.compile(g, e.state, nil)
	})
}

// statistics computes (1-momentum) times the statistics of a batch: the old
// statistics are fed as zeros.
func (e *Engine) statistics(batch int) (*compiled, error) {
	k := programKey{kind: statsKind, batch: batch, training: true}
	return e.cached(k, func() (*compiled, error) {
		g, err := e.specialise(k)
		if err != nil {
			return nil, err
		}
		g.Outputs = g.Outputs[:0]
		state := maps.Clone(e.state)
		for _, name := range e.stats {
			g.AddOutput(g.Value(pass.NewValue(name)))
			state[name] = onnx.NewTensor(e.state[name].DType, e.state[name].Shape...)
		}
		g.Prune()
		return e.compile(g, state, nil)
	})
}

func (e *Engine) gradient(t unprune.Term) (*compiled, error) {
	return e.train(gradientKind, t, autodiff.TrainOptions{Gradients: true})
}

func (e *Engine) step(t unprune.Term) (*compiled, error) {
	return e.train(stepKind, t, autodiff.TrainOptions{Optimizer: &e.optimizer})
}

func (e *Engine) train(kind kind, t unprune.Term, o autodiff.TrainOptions) (*compiled, error) {
	k := programKey{kind: kind, batch: len(t.Index), training: !t.Eval, loss: lossKind(t), masked: o.Optimizer != nil && e.masking}
	return e.cached(k, func() (*compiled, error) {
		g, err := e.specialise(k)
		if err != nil {
			return nil, err
		}
		if err := pass.Contract(g); err != nil {
			return nil, err
		}
		o.Logits, o.Params, o.State = e.model.Logits.Name, e.params, e.statsOf(g)
		o.Weighted, o.Loss = true, k.loss
		if k.masked {
			o.Masked = e.masked()
		}
		if err := autodiff.Train(g, o); err != nil {
			return nil, err
		}
		return e.compile(g, e.state, e.into(g))
	})
}

// statsOf lists the running statistics that g reads.
func (e *Engine) statsOf(g *graph.Graph) []string {
	var out []string
	for _, name := range e.stats {
		if g.Value(name) != nil {
			out = append(out, name)
		}
	}
	return out
}

// apply applies the optimizer to the gradient sums.
func (e *Engine) apply() (*compiled, error) {
	k := programKey{kind: updateKind, masked: e.masking}
	return e.cached(k, func() (*compiled, error) {
		g := graph.New("update", 17)
		var params, grads []*graph.Value
		for _, name := range e.params {
			w := e.state[name]
			params = append(params, g.AddInput(name, w.DType, w.Shape...))
			grads = append(grads, g.AddInput(autodiff.GradName(name), w.DType, w.Shape...))
		}
		var masked []string
		if k.masked {
			masked = e.masked()
		}
		if err := autodiff.Update(g, e.optimizer, params, grads, masked); err != nil {
			return nil, err
		}
		return e.compile(g, e.state, e.into(g))
	})
}

// into names the state that each output of g is the new value of.
func (e *Engine) into(g *graph.Graph) map[string]string {
	m := map[string]string{}
	for name := range e.state {
		if g.Value(pass.NewValue(name)) != nil {
			m[pass.NewValue(name)] = name
		}
	}
	return m
}

// masked lists the parameters that have a mask.
func (e *Engine) masked() []string {
	names := make([]string, len(e.layers))
	for i, l := range e.layers {
		names[i] = l.Name
	}
	return names
}
