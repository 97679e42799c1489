package train_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

// benchEngine is an engine for LeNet-5, or for the file that TRAIN_BENCH_MODEL
// names, on TRAIN_BENCH_THREADS threads, and a dataset of noise.
func benchEngine(b *testing.B, samples int) (*train.Engine, *data.Dataset) {
	b.Helper()
	m, err := onnx.Decode(models.LeNet5().Dense, nil)
	if path := os.Getenv("TRAIN_BENCH_MODEL"); path != "" {
		m, err = onnx.Read(path)
	}
	if err != nil {
		b.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		b.Fatal(err)
	}
	threads, _ := strconv.Atoi(os.Getenv("TRAIN_BENCH_THREADS"))
	team := kernel.NewTeam(threads)
	b.Cleanup(team.Close)
	e, err := train.New(im, train.Options{Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		return exec.Compile(g, exec.Options{Team: team, State: state, Into: into})
	}})
	if err != nil {
		b.Fatal(err)
	}
	shape := append([]int{samples}, im.Graph.Inputs[0].Shape[1:]...)
	d := &data.Dataset{X: onnx.NewTensor(onnx.Float32, shape...), Y: make([]int64, samples), Classes: e.Classes()}
	r := data.Stream(1, "bench", "samples")
	for i := range d.X.Len() {
		onnx.Of[float32](d.X)[i] = float32(r.NormFloat64())
	}
	return e, d
}

// BenchmarkSampleSquares times the Fisher information of 128 samples.
func BenchmarkSampleSquares(b *testing.B) {
	e, d := benchEngine(b, 128)
	term := unprune.Term{Data: d, Index: rows(128)}
	for b.Loop() {
		if _, err := e.SampleSquares(b.Context(), term); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHVP times a Hessian-vector product of a batch of 64, one at a point
// where none was computed before, and what both are compared with, a gradient.
func BenchmarkHVP(b *testing.B) {
	e, d := benchEngine(b, 64)
	term := unprune.Term{Data: d, Index: rows(64), Weight: 1, Eval: true}
	v := directions(e.Weights().Params(), 1)[0]
	hessian, err := e.Hessian(b.Context(), term)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("product", func(b *testing.B) {
		for b.Loop() {
			if _, err := hessian(b.Context(), v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			hessian, err := e.Hessian(b.Context(), term)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := hessian(b.Context(), v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("gradient", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Gradient(b.Context(), term); err != nil {
				b.Fatal(err)
			}
		}
	})
}
