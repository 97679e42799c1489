package train_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
)

func fixture(t *testing.T, name string) *data.Dataset {
	t.Helper()
	z, err := npz.ReadFile(filepath.Join(gradients, name))
	if err != nil {
		t.Fatal(err)
	}
	return dataset(z)
}

// TestThreads: three steps give the same bits with one, two and three threads.
func TestThreads(t *testing.T) {
	for _, net := range networks(t) {
		d := fixture(t, net.Data)
		t.Run(net.Name, func(t *testing.T) {
			var want *unprune.Weights
			for threads := 1; threads <= 3; threads++ {
				e := newEngine(t, net.Models[0], threads)
				if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4}); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if _, err := e.Step(t.Context(), 0.05, unprune.Term{Data: d, Index: rows(d.Len()), Weight: 1}); err != nil {
						t.Fatal(err)
					}
				}
				if want == nil {
					want = e.Weights().Clone()
					continue
				}
				for _, name := range want.Names {
					a, b := onnx.Of[float32](want.Tensors[name]), onnx.Of[float32](e.Weights().Tensors[name])
					for i := range a {
						if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
							t.Fatalf("%s[%d] is %g with one thread, %g with %d", name, i, a[i], b[i], threads)
						}
					}
				}
			}
		})
	}
}

// TestStepAllocatesNothing: once its program is compiled, a step leaves no
// garbage.
func TestStepAllocatesNothing(t *testing.T) {
	for _, net := range networks(t) {
		d := fixture(t, net.Data)
		t.Run(net.Name, func(t *testing.T) {
			e := newEngine(t, net.Models[0], 1)
			if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9}); err != nil {
				t.Fatal(err)
			}
			ctx, term, index := t.Context(), unprune.Term{Data: d, Weight: 1}, rows(d.Len())
			term.Index = index
			step := func() {
				if _, err := e.Step(ctx, 0.01, term); err != nil {
					t.Fatal(err)
				}
			}
			step()
			// The variadic terms are the caller's one allocation.
			if n := testing.AllocsPerRun(10, step); n > 1 {
				t.Errorf("a step makes %g allocations", n)
			}
		})
	}
}

// TestDouble: a float64 engine takes the float32 engine's steps, closer to
// PyTorch's float64 gradients.
func TestDouble(t *testing.T) {
	z, err := npz.ReadFile(filepath.Join(gradients, "resnet-18.npz"))
	if err != nil {
		t.Fatal(err)
	}
	im := importFile(t, "resnet-18.onnx")
	e, err := train.New(im, train.Options{Compile: native(2), Double: true})
	if err != nil {
		t.Fatal(err)
	}
	d := dataset(z)
	got, err := e.Gradient(t.Context(), unprune.Term{Data: d, Index: rows(d.Len()), Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, g := range got {
		compare(t, name, g, z["grad_train/"+name], 1e-6) // the fixture is stored in float32
	}
}
