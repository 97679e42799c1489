package unlearn

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/unprune/unprune/unprune"
)

// Certified (CU) takes one Newton step on the retained data, by Neumann series
// over minibatch Hessians, and hides what is left in noise; eval mode (Zhang et
// al. 2024; SparseModels CertifiedUnlearning.py). With the regulariser R,
//
//	g = ∇(L_r + Decay·R)
//	Repeats times:  H = g;  Steps times: H ← H + g - (1/Scale)·∇²[L_B + (Decay+Gamma)·R]·H
//	θ ← θ - mean(H)/Scale + Std·z,  z ~ N(0, 1),  B drawn from D_r with replacement
//
// whose fixed point is the inverse Hessian times g. R is ‖θ‖²/2, the paper's;
// Reference takes the published code's sum over tensors of ‖θ_tensor‖, not
// squared, whose Hessian does not damp along θ; tensors that are all zero, where
// it has none, are left out.
//
// The series converges for Scale > λ_max/2. Defaults: decay 5e-4, gamma 0.01, 2
// repeats of 100 steps with batches of 128, scale 1.1·λ_max by power iteration,
// std 0 (set it by the wanted ε and δ). Where the loss has negative curvature
// λ_min, which lets the series grow like (1+|λ_min|/Scale)^Steps, gamma is
// 2·|λ_min| if neither it nor the scale is given.
type Certified struct {
	Decay   float64 // λ; 0: 5e-4, negative: none
	Gamma   float64 // 0: 0.01, or what negative curvature asks for; negative: none
	Repeats int     // s1; 0: 2
	Steps   int     // s2; 0: 100
	Scale   float64 // 0: 1.1 times the largest eigenvalue
	Std     float64
	Batch   int // 0: 128

	Reference bool

	Noise Noise // nil: drawn from the stream "noise"

	// Sample, if set, gives the positions in Task.Retain of a batch.
	Sample func(repeat, step int) []int
}

// Name is "cu".
func (Certified) Name() string { return "cu" }

// Needs retained data, Hessian-vector products and random numbers.
func (Certified) Needs() unprune.Needs {
	return unprune.NeedsRetain | unprune.NeedsCurvature | unprune.NeedsRandom
}

// newton is one run of the method.
type newton struct {
	Certified
	task  *unprune.Task
	e     unprune.Curvature
	theta unprune.Vector
	parts []unprune.Part
}

// Unlearn takes the step.
func (u Certified) Unlearn(ctx context.Context, t *unprune.Task) error {
	e, err := curvature(t, u.Name())
	if err != nil {
		return err
	}
	u.Decay, u.Batch = orNone(u.Decay, 5e-4), or(u.Batch, 128)
	u.Repeats, u.Steps = or(u.Repeats, 2), or(u.Steps, 100)
	n := &newton{u, t, e, e.Weights().Vector(), e.Weights().Parts()}
	if n.Sample == nil {
		stream := t.Stream("batches")
		if stream.Rand == nil {
			return fmt.Errorf("unlearn: cu: drawing batches needs a stream of random numbers")
		}
		n.Sample = func(int, int) []int { return drawBatch(stream.Rand, len(t.Retain), u.Batch) }
	}
	step, err := n.step(ctx)
	if err != nil {
		return fmt.Errorf("unlearn: cu: %w", err)
	}
	n.theta.Axpy(-1, step)
	if u.Std != 0 {
		draw, err := noise(t, u.Name(), u.Noise)
		if err != nil {
			return err
		}
		sd := make(unprune.Vector, len(n.theta))
		for i := range sd {
			sd[i] = u.Std
		}
		disturb(e.Weights(), n.theta, sd, draw)
	}
	return settle(t, u.Name(), n.theta)
}

// drawBatch draws positions below n with replacement.
func drawBatch(r *rand.Rand, n, size int) []int {
	out := make([]int, size)
	for i := range out {
		out[i] = r.IntN(n)
	}
	return out
}

// step is mean(H)/Scale.
func (n *newton) step(ctx context.Context) (unprune.Vector, error) {
	g, err := meanGradient(ctx, n.task, n.task.Retain, 256)
	if err != nil {
		return nil, err
	}
	n.addGradient(g)
	if err := n.prepare(ctx); err != nil {
		return nil, err
	}
	total := make(unprune.Vector, len(g))
	for repeat := range n.Repeats {
		h := append(unprune.Vector(nil), g...)
		for step := range n.Steps {
			hessian, err := n.hessian(ctx, n.Sample(repeat, step))
			if err != nil {
				return nil, err
			}
			product, err := n.product(ctx, hessian, h)
			if err != nil {
				return nil, err
			}
			h.Axpy(1, g)
			h.Axpy(-1/n.Scale, product)
			if err := n.converging(ctx, step, h, g); err != nil {
				return nil, err
			}
		}
		total.Axpy(1/(float64(n.Repeats)*n.Scale), h)
		n.task.Report("cu", repeat+1, n.Repeats)
	}
	return total, nil
}

// converging stops a series that explodes. A contraction adds at most ‖g‖ per
// step.
func (n *newton) converging(ctx context.Context, step int, h, g unprune.Vector) error {
	if norm := h.Norm(); norm <= 10*float64(step+2)*g.Norm() {
		return nil
	}
	low, high, err := n.spectrum(ctx)
	if err != nil {
		return err
	}
	gamma := max(n.Gamma, -2*low)
	return fmt.Errorf("the series diverges at step %d: scale is %.4g and gamma %.4g, while the eigenvalues of the Hessian reach from about %.4g to %.4g by power iteration; "+
		"choose a gamma of at least %.4g and a scale of at least %.4g; the weights are unchanged",
		step+1, n.Scale, n.Gamma, low, high, gamma, 1.1*(high+gamma))
}

// prepare takes the default of gamma, and without a given scale chooses it, and
// what gamma must be at least, by the spectrum.
func (n *newton) prepare(ctx context.Context) error {
	gamma := n.Gamma
	n.Gamma = orNone(gamma, 0.01)
	if n.Scale != 0 {
		return nil
	}
	low, high, err := n.spectrum(ctx)
	if err != nil {
		return err
	}
	if least := -2 * low; gamma == 0 && least > n.Gamma {
		n.Gamma = least
		n.task.Warn("cu: the loss has negative curvature, about %.3g: gamma is %.3g so that the series converges", low, n.Gamma)
	}
	n.Scale = 1.1 * (high + n.Gamma)
	return nil
}

// powerSteps is the length of a power iteration.
const powerSteps = 20

// spectrum estimates the smallest and the largest eigenvalue of the Hessian
// without gamma, on some retained samples: the one of larger magnitude by power
// iteration, the other by power iteration on the Hessian shifted by it.
func (n *newton) spectrum(ctx context.Context) (low, high float64, err error) {
	gamma := n.Gamma
	n.Gamma = 0
	defer func() { n.Gamma = gamma }()
	first, err := n.dominant(ctx, 0)
	if err != nil {
		return 0, 0, err
	}
	second, err := n.dominant(ctx, first)
	return min(first, first+second), max(first, first+second), err
}

// dominant is the eigenvalue of largest magnitude of the Hessian minus shift·I.
func (n *newton) dominant(ctx context.Context, shift float64) (float64, error) {
	positions := make([]int, min(len(n.task.Retain), 4*n.Batch))
	for i := range positions {
		positions[i] = i
	}
	hessian, err := n.hessian(ctx, positions)
	if err != nil {
		return 0, err
	}
	v := make(unprune.Vector, len(n.theta))
	for i := range v { // not orthogonal to anything in particular
		v[i] = 1 + float64(i%7)
	}
	value := 0.0
	for range powerSteps {
		length := v.Norm()
		if length == 0 {
			return 0, nil
		}
		v.Scale(1 / length)
		next, err := n.product(ctx, hessian, v)
		if err != nil {
			return 0, err
		}
		next.Axpy(-shift, v)
		value, v = v.Dot(next), next
	}
	return value, nil
}

// hessian is ∇²L_B.
func (n *newton) hessian(ctx context.Context, batch []int) (unprune.Hessian, error) {
	return n.e.Hessian(ctx, unprune.Term{Data: n.task.Data, Index: pickRows(n.task.Retain, batch)})
}

// product is ∇²[L_B + (Decay+Gamma)·R]·h.
func (n *newton) product(ctx context.Context, hessian unprune.Hessian, h unprune.Vector) (unprune.Vector, error) {
	p, err := hessian(ctx, h)
	if err != nil {
		return nil, err
	}
	rate := n.Decay + n.Gamma
	if !n.Reference {
		p.Axpy(rate, h)
		return p, nil
	}
	for _, part := range n.parts {
		theta, hp := part.Of(n.theta), part.Of(h)
		norm := theta.Norm()
		if norm == 0 {
			continue
		}
		dst := part.Of(p)
		dst.Axpy(rate/norm, hp) // (I - θθᵀ/‖θ‖²)/‖θ‖
		dst.Axpy(-rate*theta.Dot(hp)/(norm*norm*norm), theta)
	}
	return p, nil
}

// addGradient adds Decay·∇R.
func (n *newton) addGradient(g unprune.Vector) {
	if !n.Reference {
		g.Axpy(n.Decay, n.theta)
		return
	}
	for _, part := range n.parts {
		theta := part.Of(n.theta)
		if norm := theta.Norm(); norm > 0 {
			part.Of(g).Axpy(n.Decay/norm, theta)
		}
	}
}

func pickRows(rows, positions []int) []int {
	out := make([]int, len(positions))
	for i, p := range positions {
		out[i] = rows[p]
	}
	return out
}

// Info describes certified unlearning.
func (u *Certified) Info() Info {
	return Info{
		About:  "one Newton step on the retained data, and noise that hides the rest",
		Good:   "comes with a theory (its conditions do not hold for deep networks); needs no forgotten sample",
		Cost:   "n_r training samples and repeats·steps·batch Hessian-vector products; unless scale is given 2·20·min(4·batch, n_r) more",
		Source: "Zhang et al. 2024; SparseModels unlearn/CertifiedUnlearning.py",
		Options: []Option{
			number("lambda", &u.Decay, 5e-4, "weight of the regulariser in the loss; negative: none"),
			number("gamma", &u.Gamma, 0.01, "convexity added to the Hessian; more by default where the curvature is negative; negative: none"),
			integer("s1", &u.Repeats, 2, "repetitions that are averaged"),
			integer("s2", &u.Steps, 100, "steps of the series"),
			number("scale", &u.Scale, 0, "step size is 1/scale; 0: 1.1 times the largest eigenvalue"),
			number("std", &u.Std, 0, "standard deviation of the noise, by the wanted epsilon and delta"),
			integer("batch", &u.Batch, 128, "samples per Hessian"),
			flag("reference", &u.Reference, "the published code's regulariser, norms that are not squared"),
		},
	}
}
