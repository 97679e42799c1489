package pass

import (
	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// Unmask folds the products of weights and masks that pruning hooks leave in a
// file into masked weights, and changes nothing else. It returns how many there
// were; without any, the model is m itself.
func Unmask(m *onnx.Model) (*onnx.Model, int, error) {
	g, err := graph.FromONNX(m)
	if err != nil {
		return nil, 0, err
	}
	im := &Model{Graph: g}
	if err := im.casts(); err != nil { // masks may be bools
		return nil, 0, err
	}
	found := len(im.unhook())
	if found == 0 {
		return m, 0, nil
	}
	m, err = written(g, nil)
	return m, found, err
}
