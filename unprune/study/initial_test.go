package study_test

import (
	"slices"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/train"
)

// TestDrawInitial: seed 0 draws the embedded theta_0 of both networks, which
// PyTorch drew from that seed.
func TestDrawInitial(t *testing.T) {
	for name, net := range map[string]models.Net{"lenet-300-100": models.LeNet300(), "lenet-5": models.LeNet5()} {
		im := decode(t, net.Theta0)
		e, err := train.New(im, train.Options{Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
			return exec.Compile(g, exec.Options{State: state, Into: into})
		}})
		if err != nil {
			t.Fatal(err)
		}
		drawn, err := unprune.DrawInitial(e, uint32(net.Recipe.Seed))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range im.TrainableNames() {
			want, got := onnx.Of[float32](e.Weights().Tensors[p]), onnx.Of[float32](drawn.Tensors[p])
			if !slices.Equal(want, got) {
				t.Errorf("%s: %s differs from PyTorch's: %v..., want %v...", name, p, got[:3], want[:3])
			}
		}
	}
}
