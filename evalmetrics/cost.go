package evalmetrics

// Cost counts what a method spent, evaluation not included. All but the
// seconds depend only on the method and its input.
type Cost struct {
	Forward  int64   `json:"sample_forwards"`   // forward passes of one sample, those of training steps included
	Backward int64   `json:"sample_backwards"`  // backward passes of one sample
	HVP      int64   `json:"sample_hvps"`       // Hessian-vector products of one sample
	Seconds  float64 `json:"seconds,omitempty"` // wall time
}

// The price of one sample's operation in forward passes, by the usual count:
// the backward pass computes gradients of inputs and of weights, two matrix
// products for each one of the forward pass; a Hessian-vector product
// differentiates forward and backward pass once more.
const (
	backwardPrice = 2
	hvpPrice      = 2 * (1 + backwardPrice)
)

// Add returns the cost of both.
func (c Cost) Add(d Cost) Cost {
	return Cost{c.Forward + d.Forward, c.Backward + d.Backward, c.HVP + d.HVP, c.Seconds + d.Seconds}
}

// Passes is the work in training passes (forward and backward) over a set of n
// samples, so that a training epoch on it counts 1; lower is cheaper.
func (c Cost) Passes(n int) float64 {
	if n == 0 {
		return 0
	}
	return c.work() / float64((1+backwardPrice)*n)
}

// Relative is the work as a share of that of another cost, such as retraining;
// lower is cheaper. It is NaN if neither did any.
func (c Cost) Relative(to Cost) float64 { return c.work() / to.work() }

func (c Cost) work() float64 {
	return float64(c.Forward + backwardPrice*c.Backward + hvpPrice*c.HVP)
}
