package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune/data"
)

const (
	// halfTolerance is how far outputs may move, relative to the largest, when
	// weights are rounded to half precision, which has 11 bits.
	halfTolerance = 2e-2

	// sameTolerance is for changes that round nothing; ONNX Runtime may then
	// fuse other nodes.
	sameTolerance = 1e-5
)

// restore stores weights in another way, as the options of convert say, and
// compares outputs in ONNX Runtime, if there is one.
func (a *app) restore(ctx context.Context, path string, m *onnx.Model, o convertOptions) (*onnx.Model, error) {
	before, tolerance, changed := m, sameTolerance, 0
	if o.unmask {
		var n int
		var err error
		if m, n, err = pass.Unmask(m); err != nil {
			return nil, fmt.Errorf("model %s: %w", path, err)
		}
		changed += n
		a.log.Info(fmt.Sprintf("%d products of weight and mask are folded", n))
	}
	if o.fp16 {
		half, n, kept, err := pass.StoreHalf(m, onnx.Float16)
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", path, err)
		}
		m, changed, tolerance = half, changed+n, halfTolerance
		a.log.Info(fmt.Sprintf("%d parameters are stored in float16", n))
		if len(kept) > 0 {
			a.log.Warn(fmt.Sprintf("%s: an element is beyond float16's 65504; stored in float32", strings.Join(kept, ", ")))
		}
	}
	if o.fp32 {
		single, n, err := pass.StoreSingle(m)
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", path, err)
		}
		m, changed = single, changed+n
		a.log.Info(fmt.Sprintf("%d parameters are stored in float32", n))
	}
	if changed == 0 {
		return m, nil
	}
	return m, a.compareStored(ctx, path, before, m, tolerance)
}

// compareStored runs the file as it was and as it is going to be.
func (a *app) compareStored(ctx context.Context, path string, before, after *onnx.Model, tolerance float64) error {
	if _, err := a.openRuntime(); err != nil {
		a.log.Warn("the outputs are not compared: " + sentence(err))
		return nil
	}
	g, err := graph.FromONNX(before)
	if err != nil {
		return fmt.Errorf("model %s: %w", path, err)
	}
	feeds, err := randomFeeds(g.Inputs, latencyBatch, data.Stream(0, "convert", "inputs"))
	if err != nil {
		a.log.Warn("the outputs are not compared: " + sentence(err))
		return nil
	}
	want, err := a.runONNXRuntime(ctx, before, feeds)
	if err != nil {
		return fmt.Errorf("model %s: ONNX Runtime cannot run it as it is: %w", path, err)
	}
	have, err := a.runONNXRuntime(ctx, after, feeds)
	if err != nil {
		return fmt.Errorf("model %s: ONNX Runtime cannot run what became of it: %w", path, err)
	}
	v := newVerification(have, want, tolerance)
	if !v.OK {
		return brokenf("storing %s in another way changes its outputs: %s", path, v.worst())
	}
	a.log.Info("in ONNX Runtime the outputs stay: " + v.worst())
	return nil
}
