package cli

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune/data"
)

// tensors are inputs or outputs of a model by name.
type tensors = map[string]*onnx.Tensor

// runNative computes all outputs of a model with the native executor.
func (a *app) runNative(ctx context.Context, im *pass.Model, feeds tensors) (tensors, error) {
	g, err := fitted(im.Graph, feeds)
	if err != nil {
		return nil, err
	}
	return a.runGraph(ctx, g, feeds, false)
}

// fitted is the graph for inputs of these extents. What the file leaves open
// is theirs; a batch that it fixes is exchanged where that can be done.
func fitted(g *graph.Graph, feeds tensors) (*graph.Graph, error) {
	for _, in := range g.Inputs {
		t := feeds[in.Name]
		if t == nil {
			return nil, fmt.Errorf("input %q is missing", in.Name)
		}
		if len(t.Shape) == 0 || len(in.Shape) == 0 || in.Shape[0] < 0 || in.Shape[0] == t.Shape[0] {
			continue
		}
		batch, err := batchOf(g.Inputs, feeds)
		if err != nil {
			return nil, err
		}
		return pass.Specialise(g, pass.Target{Batch: batch})
	}
	return pass.Bind(g, feeds)
}

// runGraph computes all outputs of a graph whose extents are known. own says that
// nothing else uses the graph's constants any more.
func (a *app) runGraph(ctx context.Context, g *graph.Graph, feeds tensors, own bool) (tensors, error) {
	p, err := exec.Compile(g, exec.Options{Team: a.team(a.threads), Winograd: a.winograd(), State: feeds, Own: own})
	if err != nil {
		return nil, err
	}
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	outs := tensors{}
	for _, v := range g.Outputs {
		outs[v.Name] = p.Output(v.Name)
	}
	return outs, nil
}

// batchOf is the leading extent that the feeds share.
func batchOf(inputs []*graph.Value, feeds tensors) (int, error) {
	batch := -1
	for _, in := range inputs {
		t := feeds[in.Name]
		switch {
		case t == nil:
			return 0, fmt.Errorf("input %q is missing", in.Name)
		case len(t.Shape) == 0:
			return 0, fmt.Errorf("input %q: a scalar has no batch axis", in.Name)
		case batch >= 0 && t.Shape[0] != batch:
			return 0, fmt.Errorf("input %q has %d samples, the others %d", in.Name, t.Shape[0], batch)
		}
		batch = t.Shape[0]
	}
	if batch < 1 {
		return 0, fmt.Errorf("there is no sample in the input")
	}
	return batch, nil
}

// runONNXRuntime computes all outputs of a model with ONNX Runtime, which must
// be open.
func (a *app) runONNXRuntime(ctx context.Context, m *onnx.Model, feeds tensors) (tensors, error) {
	b, err := m.Encode()
	if err != nil {
		return nil, err
	}
	s, err := ort.NewSession(b, ort.Options{Threads: a.threads})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Run(ctx, feeds)
}

// openRuntime finds ONNX Runtime and loads it, or says why not, once.
func (a *app) openRuntime() (ort.Library, error) {
	if a.library == nil {
		lib, err := ort.Find(a.ortPath)
		if err == nil {
			err = ort.Open(lib)
		}
		if opened, ok := ort.Opened(); ok && err == nil {
			lib = opened
		}
		a.library = &library{lib, err}
	}
	return a.library.Library, a.library.err
}

// library is the outcome of looking for ONNX Runtime.
type library struct {
	ort.Library
	err error
}

// sampleFeeds is the first samples of a data set as a feed: n of them, or as
// many as a file with a fixed batch wants. Without samples, or with too few,
// it is random numbers.
func sampleFeeds(im *pass.Model, d *data.Dataset, n int) (tensors, error) {
	in := im.Graph.Inputs[0]
	if in.Shape[0] > 0 {
		n = in.Shape[0]
	} else if d != nil {
		n = min(n, d.Len())
	}
	if d == nil || d.Len() < n {
		return randomFeeds(im.Graph.Inputs, n, data.Stream(0, "verify", "inputs"))
	}
	return tensors{in.Name: d.Subset(data.Complement(d.Len(), nil)[:n]).X}, nil
}

// openAxis says what to do about an axis beyond the batch without an extent.
func openAxis(in *graph.Value, axis int) error {
	name := "name"
	if in.Info != nil && in.Info.Type != nil && in.Info.Type.Tensor != nil {
		name = cmp.Or(in.Info.Type.Tensor.Shape[axis].Param, name)
	}
	return fmt.Errorf("axis %d of input %q has no fixed extent: give it one with --dim %s=extent", axis, in.Name, name)
}

// randomFeeds fills the inputs of a graph with standard normal numbers, whole
// numbers with 0.
func randomFeeds(inputs []*graph.Value, batch int, r *rand.Rand) (tensors, error) {
	feeds := tensors{}
	for _, in := range inputs {
		shape := slices.Clone([]int(in.Shape))
		for i, d := range shape {
			if d < 0 && i > 0 {
				return nil, openAxis(in, i)
			}
			if d < 0 {
				shape[i] = batch
			}
		}
		if err := ops.CheckSize(shape); err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
		feeds[in.Name] = onnx.NewTensor(in.DType, shape...)
		if !in.DType.IsFloat() {
			continue
		}
		x := make([]float32, onnx.Size(shape))
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		t, err := onnx.Convert(onnx.FromSlice(x, shape...), in.DType)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
		feeds[in.Name] = t
	}
	return feeds, nil
}
