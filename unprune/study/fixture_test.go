package study_test

import (
	"bytes"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

func decode(t *testing.T, b []byte) *pass.Model {
	t.Helper()
	m, err := onnx.Decode(bytes.Clone(b), nil)
	if err != nil {
		t.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// weights pairs the parameters of another stage of the network.
func weights(t *testing.T, im, other *pass.Model) *unprune.Weights {
	t.Helper()
	pairs, err := im.Match(other)
	if err != nil {
		t.Fatal(err)
	}
	w := unprune.NewWeights()
	for i, p := range im.Params {
		w.Add(p.Name(), pairs[i].Tensor(), p.State())
	}
	return w
}

func load(t *testing.T, role data.Role, r models.Recipe) *data.Dataset {
	t.Helper()
	d, err := data.LoadFS(models.FashionMNIST(), role)
	if err != nil {
		t.Fatal(err)
	}
	if err := (data.Normalization{Mean: []float64{r.Mean}, SD: []float64{r.Deviation}}).Apply(d); err != nil {
		t.Fatal(err)
	}
	return d
}

// lenet300 is the published set-up on the bundled network and images.
func lenet300(t *testing.T, what string) (*unprune.Problem, *data.Dataset) {
	t.Helper()
	net := models.LeNet300()
	r := net.Recipe
	im := decode(t, net.Pruned)
	team := kernel.NewTeam(2)
	t.Cleanup(team.Close)
	e, err := train.New(im, train.Options{Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		return exec.Compile(g, exec.Options{Team: team, State: state, Into: into})
	}})
	if err != nil {
		t.Fatal(err)
	}
	masks, err := sparsity.MasksOf(e.Layers())
	if err != nil {
		t.Fatal(err)
	}
	trainSet, test := load(t, data.Train, r), load(t, data.Test, r)
	spec, err := data.ParseForget(what)
	if err != nil {
		t.Fatal(err)
	}
	forget, err := spec.Select(trainSet, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &unprune.Problem{
		Engine: e, Train: trainSet, Forget: forget, Retain: data.Complement(trainSet.Len(), forget),
		Theta0: weights(t, im, decode(t, net.Theta0)), Dense: weights(t, im, decode(t, net.Dense)),
		Original: unprune.Result{Weights: e.Weights().Clone(), Masks: masks},
		Recipe: unprune.Recipe{
			Optimizer: ops.Optimizer{Kind: "sgd", Momentum: r.Momentum, WeightDecay: r.WeightDecay},
			Batch:     r.Batch, Epochs: r.DenseEpochs, Rate: r.DenseRate,
			Pruner: sparsity.Magnitude{}, Sparsity: r.Sparsity,
			TuneEpochs: r.FinetuneEpochs, TuneRate: r.FinetuneRate,
		},
	}, test
}
