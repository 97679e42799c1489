package unlearn_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

// Uniform is an unlearner of one's own: it teaches equal probabilities for the
// samples to forget, and the true labels for the rest. This is all that it takes.
type Uniform struct{ Rate float64 }

func (Uniform) Name() string         { return "uniform" }
func (Uniform) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

func (u Uniform) Unlearn(ctx context.Context, t *unprune.Task) error {
	retain := unprune.Batches(t.Stream("order").Order(t.Retain), 64)
	for i, forget := range unprune.Batches(t.Stream("forget order").Order(t.Forget), 64) {
		equal := make([]float64, len(forget)*t.Engine.Classes())
		for j := range equal {
			equal[j] = 1 / float64(t.Engine.Classes())
		}
		_, err := t.Engine.Step(ctx, u.Rate,
			unprune.Term{Data: t.Data, Index: retain[i%len(retain)], Weight: 1},
			unprune.Term{Data: t.Data, Index: forget, Soft: &unprune.Soft{Targets: equal, Weight: 1}})
		if err != nil {
			return err
		}
		t.Report(u.Name(), i+1, (len(t.Forget)+63)/64)
	}
	return nil
}

// An unlearner that is not of this package runs in the un-pruning loop as the
// others do. What follows is a whole program: an ONNX file goes in, an ONNX file
// comes out.
func Example() {
	net := models.LeNet300()
	file, err := onnx.Decode(net.Pruned, nil)
	if err != nil {
		log.Fatal(err)
	}
	model, err := pass.Import(file) // prepares it for training
	if err != nil {
		log.Fatal(err)
	}
	engine, err := train.New(model, train.Options{
		Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
			return exec.Compile(g, exec.Options{State: state, Into: into})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	samples, err := data.LoadFS(models.FashionMNIST(), data.Train)
	if err != nil {
		log.Fatal(err)
	}
	scale := data.Normalization{Mean: []float64{net.Recipe.Mean}, SD: []float64{net.Recipe.Deviation}}
	if err := scale.Apply(samples); err != nil {
		log.Fatal(err)
	}
	task := &unprune.Task{
		Engine: engine, Data: samples,
		Rand: func(purpose string) *rand.Rand { return data.Stream(1, "example", purpose) },
	}
	for row := range 2000 {
		if samples.Y[row] == 3 {
			task.Forget = append(task.Forget, row)
		} else {
			task.Retain = append(task.Retain, row)
		}
	}
	masks, err := sparsity.MasksOf(engine.Layers())
	if err != nil {
		log.Fatal(err)
	}
	loop := unprune.Loop{Unlearner: Uniform{Rate: 0.05}, Pruner: sparsity.Magnitude{}, Rounds: 2}
	after, err := loop.Run(context.Background(), task, masks)
	if err != nil {
		log.Fatal(err)
	}
	engine.Export()
	out, err := model.Graph.ToONNX().Encode()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("kept before %.3f, after %.3f; the masks are equal: %v\n", masks.Density(), after.Density(), masks.Equal(after))
	fmt.Println("an ONNX file as large as before:", len(out) > len(net.Pruned)*9/10)
	// Output:
	// kept before 0.100, after 0.100; the masks are equal: false
	// an ONNX file as large as before: true
}
