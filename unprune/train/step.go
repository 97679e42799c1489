package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/unprune/unprune/graph/autodiff"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
)

var errNoTerm = errors.New("train: no term to differentiate")

// Step takes one optimizer step on the sum of the terms.
func (e *Engine) Step(ctx context.Context, rate float64, terms ...unprune.Term) (float64, error) {
	if len(terms) == 0 {
		return 0, errNoTerm
	}
	w, err := e.narrow(len(terms[0].Index))
	if err != nil {
		return 0, err
	}
	if w != nil {
		loss, done, err := e.stepNarrow(ctx, w, rate, terms)
		if done || err != nil {
			return loss, err
		}
	}
	if len(terms) == 1 {
		return e.fusedStep(ctx, rate, terms[0])
	}
	loss, err := e.accumulate(ctx, terms)
	if err != nil {
		return 0, err
	}
	return loss, e.Apply(ctx, rate)
}

// fusedStep runs forward, backward and update as one program.
func (e *Engine) fusedStep(ctx context.Context, rate float64, t unprune.Term) (float64, error) {
	p, err := e.step(t)
	if err != nil {
		return 0, err
	}
	if err := e.feed(p, t); err != nil {
		return 0, err
	}
	if err := e.update(ctx, p, rate); err != nil {
		return 0, err
	}
	e.count(t)
	return lossOf(p, t), nil
}

// Gradient returns the gradient of the sum of the terms.
func (e *Engine) Gradient(ctx context.Context, terms ...unprune.Term) (map[string]*onnx.Tensor, error) {
	if _, err := e.accumulate(ctx, terms); err != nil {
		return nil, err
	}
	grads := make(map[string]*onnx.Tensor, len(e.params))
	for _, name := range e.params {
		grads[name] = e.state[autodiff.GradName(name)]
	}
	return grads, nil
}

// Apply takes the optimizer's step along the gradient sums.
func (e *Engine) Apply(ctx context.Context, rate float64) error {
	if e.state[autodiff.GradName(e.params[0])] == nil {
		return fmt.Errorf("train: there is no gradient to apply; compute one first")
	}
	e.fetchSlots()
	p, err := e.apply()
	if err != nil {
		return err
	}
	return e.update(ctx, p, rate)
}

// update runs a program that changes the weights.
func (e *Engine) update(ctx context.Context, p *compiled, rate float64) error {
	setElement(p.Input(autodiff.RateName), 0, rate)
	if t := p.Input(autodiff.StepName); t != nil {
		setElement(t, 0, float64(e.steps+1))
	}
	if err := p.Run(ctx); err != nil {
		return err
	}
	e.steps++
	return nil
}

// accumulate leaves the gradient of the sum of the terms in the gradient sums
// and returns its value.
func (e *Engine) accumulate(ctx context.Context, terms []unprune.Term) (loss float64, err error) {
	if len(terms) == 0 {
		return 0, errNoTerm
	}
	for i, t := range terms {
		p, err := e.gradient(t)
		if err != nil {
			return 0, err
		}
		if err := e.feed(p, t); err != nil {
			return 0, err
		}
		if err := p.Run(ctx); err != nil {
			return 0, err
		}
		for _, name := range e.params {
			e.accumulateOne(autodiff.GradName(name), p, i == 0)
		}
		e.count(t)
		loss += lossOf(p, t)
	}
	return loss, nil
}

// accumulateOne adds one gradient to its sum, or starts the sum with it.
func (e *Engine) accumulateOne(name string, p *compiled, first bool) {
	g := p.Output(name)
	sum := e.state[name]
	if sum == nil {
		sum = onnx.NewTensor(g.DType, g.Shape...)
		e.state[name] = sum
	}
	if first {
		copyElements(sum, g)
		return
	}
	addElements(sum, g)
}

func (e *Engine) count(t unprune.Term) {
	e.cost.Forward += int64(len(t.Index))
	e.cost.Backward += int64(len(t.Index))
}

// lossOf is the value of the term that p has computed.
func lossOf(p *compiled, t unprune.Term) float64 {
	loss := t.Weight * elementAt(p.Output(autodiff.LossName), 0)
	if s := t.Soft; s != nil {
		loss += s.Weight * (elementAt(p.Output(autodiff.SoftLossName), 0) - entropy(s.Targets)/float64(len(t.Index)))
	}
	return loss
}

// entropy is -Σ q·log q, the part of the divergence that has no gradient.
func entropy(q []float64) float64 {
	sum := 0.0
	for _, x := range q {
		if x > 0 {
			sum -= float64(x * math.Log(x))
		}
	}
	return sum
}

// lossKind is the loss that a term needs.
func lossKind(t unprune.Term) autodiff.Loss {
	return autodiff.Loss{Samples: t.Samples != nil || t.Power != 0, Soft: t.Soft != nil}
}

// feed writes a term's samples, labels and weights into a program's inputs.
func (e *Engine) feed(p *compiled, t unprune.Term) error {
	if err := e.batch(p, t); err != nil {
		return err
	}
	setElement(p.Input(autodiff.WeightName), 0, t.Weight)
	if t.Samples != nil && len(t.Samples) != len(t.Index) {
		return fmt.Errorf("train: %d sample weights for %d samples", len(t.Samples), len(t.Index))
	}
	if in := p.Input(autodiff.SamplesName); in != nil {
		fill(in, 1)
		setElements(in, t.Samples)
		setElement(p.Input(autodiff.PowerName), 0, t.Power)
	}
	if s := t.Soft; s != nil {
		targets := p.Input(autodiff.TargetsName)
		if len(s.Targets) != targets.Len() {
			return fmt.Errorf("train: %d target probabilities for %d samples of %d classes", len(s.Targets), len(t.Index), e.classes)
		}
		setElements(targets, s.Targets)
		setElement(p.Input(autodiff.SoftWeightName), 0, s.Weight)
		temperature := s.Temperature
		if temperature == 0 {
			temperature = 1
		}
		setElement(p.Input(autodiff.TemperatureName), 0, temperature)
	}
	return nil
}

// batch writes a term's samples, labels and fresh noise into a program.
func (e *Engine) batch(p *compiled, t unprune.Term) error {
	if err := e.samples(p, t.Data, t.Index); err != nil {
		return err
	}
	if t.Labels != nil && len(t.Labels) != len(t.Index) {
		return fmt.Errorf("train: %d labels for %d samples", len(t.Labels), len(t.Index))
	}
	labels := onnx.Of[int64](p.Input(autodiff.LabelsName))
	for i, row := range t.Index {
		y := e.labels[i]
		if t.Labels != nil {
			y = t.Labels[i]
		}
		if y < 0 || y >= int64(e.classes) {
			return fmt.Errorf("train: sample %d has label %d; the model has classes 0 to %d", row, y, e.classes-1)
		}
		labels[i] = y
	}
	e.noise.draw(p)
	return nil
}
