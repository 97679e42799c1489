package sparsity_test

import (
	"fmt"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// Half of a linear layer is pruned; after its weights have moved, the mask is
// chosen anew with as many weights.
func Example() {
	w := onnx.FromSlice([]float32{0.1, -0.9, 0.5, -0.2}, 2, 2)
	layers := []sparsity.Layer{{Name: "fc.weight", Weight: w, OutAxis: 0, InAxis: 1}}
	pruner, err := sparsity.ByName("magnitude")
	if err != nil {
		panic(err)
	}

	scores, err := pruner.Score(sparsity.Input{Layers: layers})
	if err != nil {
		panic(err)
	}
	before, err := pruner.Prune(scores, nil, 0.5)
	if err != nil {
		panic(err)
	}

	onnx.Of[float32](w)[0] = 1
	if scores, err = pruner.Score(sparsity.Input{Layers: layers}); err != nil {
		panic(err)
	}
	after, err := sparsity.Cut(scores, sparsity.TargetOf(scores, pruner.Scope(), before))
	if err != nil {
		panic(err)
	}

	fmt.Printf("%04b %04b\n", before.Get("fc.weight").Packed()[0]>>4, after.Get("fc.weight").Packed()[0]>>4)
	// Output: 0110 1100
}
