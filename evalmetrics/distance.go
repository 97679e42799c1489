package evalmetrics

import (
	"fmt"
	"math"

	"github.com/unprune/unprune/sparsity"
)

// Distance is a Euclidean distance ‖u-φ‖₂ that can be added up over layers. 0
// and up; lower is closer.
type Distance struct {
	squares float64
}

// NewDistance is the distance of two weight tensors, on the positions of on
// only if it is not nil (such as A∩B, the weights that both models keep).
func NewDistance[T float32 | float64](u, phi []T, on *sparsity.Mask) (Distance, error) {
	if len(u) != len(phi) || on != nil && on.Len() != len(u) {
		return Distance{}, fmt.Errorf("evalmetrics: distance of %d and %d weights: the models differ", len(u), len(phi))
	}
	var d Distance
	if on == nil {
		on = sparsity.FullMask(len(u))
	}
	for i := range on.Kept() {
		x := float64(u[i]) - float64(phi[i])
		d.squares += float64(x * x)
	}
	return d, nil
}

// Add joins the distances of two layers.
func (d Distance) Add(e Distance) Distance { return Distance{d.squares + e.squares} }

// L2 is the distance.
func (d Distance) L2() float64 { return math.Sqrt(d.squares) }
