package bound

import "math"

// Certified bounds ‖θ-φ‖ before each step and after the last, without
// assumptions, from the secants that the recorded gold run gives:
//
//	B_{t+1} = κ_t B_t + η_t f_t,  f_t the forcing
//
// on the gold's coordinates, where B_0 is the distance that the masks cause,
// plus the original's weights outside of them, which are known. With momentum
// μ it is looser: b_{t+1} = μ b_t + L_t a_t + f_t, a_{t+1} = a_t + η_t
// b_{t+1}, a_t the bound.
func (t *Trace) Certified() []float64 {
	return t.recur(func(s Step) (kappa, lipschitz, pull float64) { return s.Kappa, s.Lipschitz, 0 })
}

// Estimated is the same with the extreme eigenvalues at θ in place of the
// secants, as if they held on the whole way from φ to θ: κ = max(|1-ηλ_min|,
// |1-ηλ_max|). It needs no gold run, and it is an estimate: curvature changes
// along the way, and networks with ReLU or max pooling are smooth in pieces
// only. NaN where no curvature was measured.
func (t *Trace) Estimated() []float64 {
	return t.recur(func(s Step) (kappa, lipschitz, pull float64) {
		return max(math.Abs(1-s.Rate*s.Highest), math.Abs(1-s.Rate*s.Lowest)), s.smoothness(), s.smoothness() * s.Outside
	})
}

// smoothness bounds the norm of the Hessian.
func (s Step) smoothness() float64 { return max(math.Abs(s.Highest), math.Abs(s.Lowest)) }

// recur runs the recursion. pull is what the weights outside of the gold's mask
// add to the gradient inside, as far as κ does not hold it already.
func (t *Trace) recur(factors func(Step) (kappa, lipschitz, pull float64)) []float64 {
	out := make([]float64, 0, len(t.Steps)+1)
	inside, buffer := t.Start, 0.0
	for _, s := range t.Steps {
		out = append(out, math.Hypot(inside, s.Outside))
		kappa, lipschitz, pull := factors(s)
		if t.Momentum == 0 {
			inside = kappa*inside + s.Rate*(s.Forcing+pull)
			continue
		}
		buffer = t.Momentum*buffer + lipschitz*inside + s.Forcing
		inside += s.Rate * buffer
	}
	return append(out, math.Hypot(inside, t.lastOutside()))
}

// lastOutside is the norm of the final weights that the gold's mask has not:
// where it has weights, φ is free, elsewhere φ is 0.
func (t *Trace) lastOutside() float64 {
	sum := 0.0
	for i, in := range t.gold {
		if in == 0 {
			sum += float64(t.Theta[i] * t.Theta[i])
		}
	}
	return math.Sqrt(sum)
}

// Proxy is η·σ·‖θ_T-θ_0‖·(T-1)/2, the part of the change of weights over T steps
// that an unlearner misses which looks at gradients at theta_0 only, by
// unrolling to second order (after Thudi et al. 2022); σ is the mean norm of
// the Hessian and η the mean rate. It is a rule of thumb, not a bound, and NaN
// where no curvature was measured.
func (t *Trace) Proxy() float64 {
	rate, norm := 0.0, 0.0
	for _, s := range t.Steps {
		rate += s.Rate
		norm += s.smoothness()
	}
	n := float64(len(t.Steps))
	return (rate / n) * (norm / n) * distance(t.Theta, t.Theta0) * (n - 1) / 2
}

// Descent bounds ‖u_K-φ‖, u_K reached from u_0 by K steps of descent on the
// retained loss: the gold continued alongside contracts the distance by κ_k
// and moves away from φ by η_k‖∇L_r‖ itself. All slices have K entries.
func Descent(start float64, kappa, rate, gradient []float64) float64 {
	moved := 0.0
	for k := range kappa {
		start *= kappa[k]
		moved += rate[k] * gradient[k]
	}
	return start + moved
}
