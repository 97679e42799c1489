package unlearn_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
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
	"github.com/unprune/unprune/unprune/unlearn"

	"math/rand/v2"
)

// BenchmarkUnlearners times the methods without optimizer steps as
// testdata/reference_times.py does in PyTorch: 2,000 samples, a tenth of them to
// forget. UNLEARN_BENCH_MODEL names another network than LeNet-5,
// UNLEARN_BENCH_SAMPLES, UNLEARN_BENCH_THREADS and UNLEARN_BENCH_STEPS (of
// certified unlearning, twice) numbers.
func BenchmarkUnlearners(b *testing.B) {
	e, d := benchEngine(b)
	retain, forget := data.Complement(d.Len(), rows(d.Len()/10)), rows(d.Len()/10)
	methods := []unprune.Unlearner{
		unlearn.Fisher{}, unlearn.FisherNew{}, unlearn.Influence{Reference: true}, unlearn.Influence{},
		unlearn.Certified{Repeats: 2, Steps: setting(b, "UNLEARN_BENCH_STEPS", 50), Batch: min(128, len(retain)), Scale: 1000}, unlearn.SSD{},
	}
	start := e.Weights().Clone()
	for i, u := range methods {
		name := u.Name()
		if i == 3 {
			name = "iu-true"
		}
		b.Run(name, func(b *testing.B) {
			before := processorTime()
			defer func() { b.ReportMetric(1e3*(processorTime()-before)/float64(b.N), "cpu-ms/op") }()
			for b.Loop() {
				if err := e.Weights().Set(start); err != nil {
					b.Fatal(err)
				}
				t := &unprune.Task{
					Engine: e, Data: d, Retain: retain, Forget: forget,
					Rand: func(purpose string) *rand.Rand { return data.Stream(1, "bench", purpose) },
				}
				if err := u.Unlearn(b.Context(), t); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// processorTime is what the process has used, in seconds, where Linux tells; on
// busy machines it says more than the clock.
func processorTime() float64 {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return math.NaN()
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if errors.Join(err1, err2) != nil {
		return math.NaN()
	}
	return (user + system) / 100
}

func rows(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func setting(b *testing.B, name string, def int) int {
	if s := os.Getenv(name); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	return def
}

func benchEngine(b *testing.B) (*train.Engine, *data.Dataset) {
	var m *onnx.Model
	var err error
	if path := os.Getenv("UNLEARN_BENCH_MODEL"); path != "" {
		m, err = onnx.Read(path)
	} else {
		m, err = onnx.Decode(models.LeNet5().Dense, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	im, err := pass.Import(m)
	if err != nil {
		b.Fatal(err)
	}
	team := kernel.NewTeam(setting(b, "UNLEARN_BENCH_THREADS", 1))
	b.Cleanup(team.Close)
	e, err := train.New(im, train.Options{Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		return exec.Compile(g, exec.Options{Team: team, State: state, Into: into})
	}})
	if err != nil {
		b.Fatal(err)
	}
	n := setting(b, "UNLEARN_BENCH_SAMPLES", 2000)
	shape := append([]int{n}, im.Graph.Inputs[0].Shape[1:]...)
	d := &data.Dataset{X: onnx.NewTensor(onnx.Float32, shape...), Y: make([]int64, n), Classes: e.Classes()}
	r := data.Stream(1, "bench", "samples")
	for i := range d.X.Len() {
		onnx.Of[float32](d.X)[i] = float32(r.NormFloat64())
	}
	for i := range d.Y {
		d.Y[i] = r.Int64N(int64(e.Classes()))
	}
	return e, d
}
