package train_test

import (
	"path/filepath"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/train"
)

// TestWinogradGradients bounds what Winograd's transforms, of both strides, add to
// the rounding of a whole network's gradients: they stay within 2e-5 of the largest
// entry of each tensor from those of float64. Softplus takes the place of Relu,
// whose gradient jumps where rounding takes an input to the other side of zero.
func TestWinogradGradients(t *testing.T) {
	z, err := npz.ReadFile(filepath.Join(gradients, "resnet-18.npz"))
	if err != nil {
		t.Fatal(err)
	}
	d := dataset(z)
	for _, eval := range []bool{false, true} {
		gradient := func(double bool, wish kernel.Winograd) map[string]*onnx.Tensor {
			im := importFile(t, "resnet-18.onnx")
			for _, n := range im.Graph.Nodes {
				if n.Op == "Relu" {
					n.Op = "Softplus"
				}
			}
			e, err := train.New(im, train.Options{Double: double, Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
				return exec.Compile(g, exec.Options{State: state, Into: into, Winograd: wish})
			}})
			if err != nil {
				t.Fatal(err)
			}
			g, err := e.Gradient(t.Context(), unprune.Term{Data: d, Index: rows(d.Len()), Weight: 1, Eval: eval})
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		want := gradient(true, kernel.WinogradNever)
		for name, g := range gradient(false, kernel.WinogradWhereFits) {
			compare(t, name, g, want[name], 2e-5)
		}
	}
}
