package kernel

import "math"

// Activation is what a kernel does to its results last, while they are still in
// registers or a near cache. The zero value is nothing.
type Activation struct {
	Kind      ActivationKind
	Low, High float64 // bounds of ClipActivation, infinite where there is none
}

// ActivationKind names a family of activations.
type ActivationKind int

// ClipActivation is min(max(x, Low), High); a NaN stays.
const (
	NoActivation ActivationKind = iota
	ClipActivation
)

// Rectifier is ReLU.
var Rectifier = Activation{ClipActivation, 0, math.Inf(1)}

// flags are those of a tile that does the activation, or the part of it that
// tiles can do.
func (a Activation) flags() int {
	if a.Kind == ClipActivation && a.Low == 0 {
		return rectify
	}
	return 0
}

// activateRest does to x what flags leaves.
func activateRest[T Float](a Activation, x []T) {
	low, high := a.rest()
	if low {
		each(loopAtLeast, x, x, nil, T(a.Low), 0, 0)
	}
	if high {
		each(loopAtMost, x, x, nil, T(a.High), 0, 0)
	}
}

// rest tells which bounds flags leaves to activateRest.
func (a Activation) rest() (low, high bool) {
	clips := a.Kind == ClipActivation
	return clips && a.Low != 0 && a.Low > math.Inf(-1), clips && a.High < math.Inf(1)
}
