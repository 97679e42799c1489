package bound

import (
	"context"
	"fmt"
	"math"

	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// Coupled trains two networks side by side from the same initial weights with
// stochastic gradient descent: the original on all samples, the gold on the
// same batches without the samples to forget. A batch of which nothing is
// retained is skipped by both. Networks with dropout are not covered: their
// two runs do not see the same noise.
type Coupled struct {
	Engine unprune.Engine
	Data   *data.Dataset
	Forget []int // rows of Data, rising
	Theta0 *unprune.Weights

	Batch       int
	Epochs      int
	Schedule    unprune.Schedule
	Momentum    float64
	WeightDecay float64
	Order       unprune.Stream // of the batches

	// Original and Gold hold the masks of the two runs if they are pruned; nil
	// is dense. They cannot be combined with momentum.
	Original, Gold *sparsity.Masks

	// Every is the number of steps between two estimates of the curvature
	// (Lanczos, of Iterations products each; 0: 20), which need an engine that
	// is a unprune.Curvature; 0: none.
	Every, Iterations int

	Progress unprune.Progress
}

// Of is the coupled run of a problem's dense training, from its initial weights
// in the data order of its seed. Only plain gradient descent, with or without
// momentum, is covered.
func Of(p *unprune.Problem) (Coupled, error) {
	o := p.Recipe.Optimizer
	switch {
	case p.Theta0 == nil:
		return Coupled{}, fmt.Errorf("bound: the drift starts at the initial weights (theta_0); give them")
	case o.Kind != "sgd" || o.Nesterov:
		return Coupled{}, fmt.Errorf("bound: the drift of %s is not bounded; it is for gradient descent with or without momentum, not Nesterov's", o.Kind)
	}
	return Coupled{
		Engine: p.Engine, Data: p.Train, Forget: p.Forget, Theta0: p.Theta0,
		Batch: p.Recipe.Batch, Epochs: p.Recipe.Epochs, Schedule: unprune.Cosine(p.Recipe.Rate),
		Momentum: o.Momentum, WeightDecay: o.WeightDecay,
		Order: unprune.Stream{Rand: data.Stream(p.Seed, "bound", "order")}, Progress: p.Progress,
	}, nil
}

// A Step is what was measured at one step of the coupled run. θ, φ are the
// weights before it, d = θ-φ, restricted to the gold's mask where it has one;
// L_r is the loss of the batch's retained samples, weight decay included.
type Step struct {
	Rate      float64 // η
	Share     float64 // ρ, of the batch that is to be forgotten
	Forcing   float64 // ‖∇L(θ) - ∇L_r(θ)‖; with masks see Trace.Certified
	Drift     float64 // ‖d‖
	Outside   float64 // ‖θ‖ where only the original's mask has weights
	Kappa     float64 // ‖d - η(∇L_r(θ) - ∇L_r(φ))‖ / ‖d‖, 1 where d = 0
	Lipschitz float64 // ‖∇L_r(θ) - ∇L_r(φ)‖ / ‖d‖, 0 where d = 0

	// Highest and Lowest are the extreme eigenvalues of the Hessian of L_r at θ,
	// as estimated last; NaN if there is no estimate.
	Highest, Lowest float64
}

// A Trace is a coupled run.
type Trace struct {
	Steps      []Step
	Momentum   float64
	Start      float64        // ‖d‖ before the first step: 0 unless masks differ
	Theta, Phi unprune.Vector // the final weights
	Theta0     unprune.Vector

	gold []float64 // the gold's mask, 0 or 1
}

// Drift is ‖θ-φ‖ at the end.
func (t *Trace) Drift() float64 { return distance(t.Theta, t.Phi) }

// run is the state of a coupled run.
type run struct {
	Coupled
	theta, phi       unprune.Vector
	bufTheta, bufPhi unprune.Vector // momentum
	p, q             []float64      // masks, 0 or 1
	forget           map[int]bool
	highest, lowest  float64
}

// Run trains both and records every step.
func (c Coupled) Run(ctx context.Context) (*Trace, error) {
	if c.Momentum != 0 && (c.Original != nil || c.Gold != nil) {
		return nil, fmt.Errorf("bound: drift with masks is bounded for plain gradient descent only, not with momentum %g", c.Momentum)
	}
	if err := c.Engine.SetMasks(nil); err != nil {
		return nil, err
	}
	if err := c.Engine.Weights().Set(c.Theta0); err != nil {
		return nil, err
	}
	r := &run{Coupled: c, forget: map[int]bool{}, highest: math.NaN(), lowest: math.NaN()}
	for _, i := range c.Forget {
		r.forget[i] = true
	}
	w := c.Engine.Weights()
	r.p, r.q = maskVector(w, c.Original), maskVector(w, c.Gold)
	theta0 := w.Vector()
	r.theta, r.phi = masked(theta0, r.p), masked(theta0, r.q)
	r.bufTheta, r.bufPhi = make(unprune.Vector, len(theta0)), make(unprune.Vector, len(theta0))
	t := &Trace{Momentum: c.Momentum, Theta0: theta0, gold: r.q, Start: masked(difference(r.theta, r.phi), r.q).Norm()}
	all := make([]int, c.Data.Len())
	for i := range all {
		all[i] = i
	}
	for epoch := range c.Epochs {
		rate := c.Schedule(epoch, c.Epochs)
		for _, batch := range unprune.Batches(c.Order.Order(all), c.Batch) {
			if err := r.step(ctx, t, rate, batch); err != nil {
				return nil, err
			}
		}
		if n := r.theta.Norm() + r.phi.Norm(); math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("bound: epoch %d: the run diverged; lower the learning rate", epoch+1)
		}
		if c.Progress != nil {
			c.Progress("coupled runs", epoch+1, c.Epochs)
		}
	}
	t.Theta, t.Phi = r.theta, r.phi
	return t, nil
}

// step trains both on one batch.
func (r *run) step(ctx context.Context, t *Trace, rate float64, batch []int) error {
	var kept []int
	for _, i := range batch {
		if !r.forget[i] {
			kept = append(kept, i)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	share := float64(len(batch)-len(kept)) / float64(len(batch))
	if err := r.measureCurvature(ctx, len(t.Steps), kept); err != nil {
		return err
	}
	retained, err := r.gradient(ctx, r.theta, kept)
	if err != nil {
		return err
	}
	full := retained
	if share > 0 {
		if full, err = r.gradient(ctx, r.theta, batch); err != nil {
			return err
		}
	}
	gold, err := r.gradient(ctx, r.phi, kept)
	if err != nil {
		return err
	}
	t.Steps = append(t.Steps, r.measure(rate, share, full, retained, gold))
	descend(r.theta, r.bufTheta, full, r.Momentum, rate, r.p)
	descend(r.phi, r.bufPhi, gold, r.Momentum, rate, r.q)
	return nil
}

// gradient is that of the mean loss over rows at w, with weight decay.
func (r *run) gradient(ctx context.Context, w unprune.Vector, rows []int) (unprune.Vector, error) {
	live := r.Engine.Weights()
	live.SetVector(w)
	tensors, err := r.Engine.Gradient(ctx, unprune.Term{Data: r.Data, Index: rows, Weight: 1})
	if err != nil {
		return nil, err
	}
	g := live.Flatten(tensors)
	g.Axpy(r.WeightDecay, w)
	return g, nil
}

// measure computes the terms of the recursion. On the gold's coordinates that
// the original has too, the runs are forced apart by ∇L-∇L_r; where the
// original is held at 0, by ∇L_r.
func (r *run) measure(rate, share float64, full, retained, gold unprune.Vector) Step {
	s := Step{Rate: rate, Share: share, Kappa: 1, Highest: r.highest, Lowest: r.lowest}
	forcing, pull, drift, moved, outside := 0.0, 0.0, 0.0, 0.0, 0.0
	square := func(x float64) float64 { return float64(x * x) }
	for i := range r.theta {
		if r.q[i] == 0 {
			outside += square(r.theta[i])
			continue
		}
		d, g := r.theta[i]-r.phi[i], retained[i]-gold[i]
		drift += square(d)
		pull += square(g)
		moved += square(d - rate*g)
		if r.p[i] == 0 {
			forcing += square(retained[i])
		} else {
			forcing += square(full[i] - retained[i])
		}
	}
	s.Forcing, s.Drift, s.Outside = math.Sqrt(forcing), math.Sqrt(drift), math.Sqrt(outside)
	if drift > 0 {
		s.Kappa, s.Lipschitz = math.Sqrt(moved/drift), math.Sqrt(pull/drift)
	}
	return s
}

func (r *run) measureCurvature(ctx context.Context, step int, rows []int) error {
	if r.Every == 0 || step%r.Every != 0 {
		return nil
	}
	e, ok := r.Engine.(unprune.Curvature)
	if !ok {
		return fmt.Errorf("bound: estimating the curvature needs an engine with Hessian-vector products")
	}
	e.Weights().SetVector(r.theta)
	n := r.Iterations
	if n == 0 {
		n = 20
	}
	hessian, err := e.Hessian(ctx, unprune.Term{Data: r.Data, Index: rows, Weight: 1, Eval: true})
	if err != nil {
		return err
	}
	s, err := Lanczos(len(r.theta), n, data.Stream(uint64(step), "bound", "lanczos"), func(v unprune.Vector) (unprune.Vector, error) {
		return hessian(ctx, v)
	})
	if err != nil {
		return err
	}
	r.highest, r.lowest = s.Highest+r.WeightDecay, s.Lowest+r.WeightDecay
	return nil
}

// descend takes one step v = μv + g, w -= ηv inside a mask.
func descend(w, v, g unprune.Vector, momentum, rate float64, mask []float64) {
	for i := range w {
		v[i] = (momentum*v[i] + g[i]) * mask[i]
		w[i] -= float64(rate * v[i])
	}
}

// maskVector is 1 for kept weights and for all other parameters.
func maskVector(w *unprune.Weights, masks *sparsity.Masks) []float64 {
	out := make([]float64, w.Params())
	for i := range out {
		out[i] = 1
	}
	if masks == nil {
		return out
	}
	for _, part := range w.Parts() {
		if m := masks.Get(part.Name); m != nil {
			clear(out[part.At : part.At+m.Len()])
			for i := range m.Kept() {
				out[part.At+i] = 1
			}
		}
	}
	return out
}

func masked(v unprune.Vector, mask []float64) unprune.Vector {
	out := make(unprune.Vector, len(v))
	for i, x := range v {
		out[i] = x * mask[i]
	}
	return out
}

func difference(a, b unprune.Vector) unprune.Vector {
	d := make(unprune.Vector, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

func distance(a, b unprune.Vector) float64 { return difference(a, b).Norm() }
