package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
)

// compactTolerance is how far outputs may move, relative to the largest.
const compactTolerance = 1e-5

// latencyBatch is the batch that latencies are measured with.
const latencyBatch = 8

// compaction is what "unprune convert --compact" tells.
type compaction struct {
	Parameters int           `json:"parameters_that_shrank"`
	Outputs    []outputCheck `json:"outputs"`
	Runtime    string        `json:"runtime,omitempty"`
	Before     modelSize     `json:"before"`
	After      modelSize     `json:"after"`
}

// modelSize is what a model costs.
type modelSize struct {
	Weights int     `json:"weights"`
	Bytes   int     `json:"bytes"`
	Seconds float64 `json:"seconds_per_batch_of_8,omitempty"` // in ONNX Runtime, median
}

// compact takes out what pruning has emptied and prints what that brings.
func (a *app) compact(ctx context.Context, path string, m *onnx.Model, roundTo int) (*onnx.Model, error) {
	small, report, err := a.compactModel(ctx, path, m, roundTo)
	if err != nil {
		return nil, err
	}
	return small, a.print(report, report.text)
}

// compactModel takes out what pruning has emptied, and proves that outputs
// stay. roundTo is as for pass.CompactAligned.
func (a *app) compactModel(ctx context.Context, path string, m *onnx.Model, roundTo int) (*onnx.Model, *compaction, error) {
	im, err := a.importModel(path, m)
	if err != nil {
		return nil, nil, err
	}
	feeds, err := sampleFeeds(im, nil, latencyBatch)
	if err != nil {
		return nil, nil, fmt.Errorf("model %s: %w", path, err)
	}
	want, err := a.runNative(ctx, im, feeds)
	if err != nil {
		return nil, nil, err
	}
	report := &compaction{}
	if report.Before, err = a.measureSize(ctx, m, feeds, report); err != nil {
		return nil, nil, err
	}
	c, err := pass.CompactAligned(im, roundTo)
	if err != nil {
		return nil, nil, fmt.Errorf("model %s cannot be compacted: %w", path, err)
	}
	small := im.Graph.ToONNX()
	small.Metadata = slices.DeleteFunc(slices.Clone(small.Metadata), func(p onnx.StringPair) bool {
		return p.Key == sparsity.MetadataKey // masks of the old width
	})
	if err := c.Store(small); err != nil {
		return nil, nil, err
	}
	if report.After, err = a.measureSize(ctx, small, feeds, report); err != nil {
		return nil, nil, err
	}
	again, err := pass.Import(small)
	if err != nil {
		return nil, nil, err
	}
	have, err := a.runNative(ctx, again, feeds)
	if err != nil {
		return nil, nil, err
	}
	v := newVerification(have, want, compactTolerance)
	if report.Runtime != "" && v.OK {
		if have, err = a.runONNXRuntime(ctx, small, feeds); err != nil {
			return nil, nil, err
		}
		v = newVerification(have, want, 10*compactTolerance) // another program's rounding comes on top
	}
	if !v.OK {
		return nil, nil, brokenf("compacting %s changes its outputs: %s", path, v.worst())
	}
	report.Parameters, report.Outputs = len(c.Kept), v.Outputs
	return small, report, nil
}

// measureSize counts a model's weights and bytes and, if ONNX Runtime is
// there, times it.
func (a *app) measureSize(ctx context.Context, m *onnx.Model, feeds tensors, r *compaction) (modelSize, error) {
	var s modelSize
	for _, t := range m.Graph.Initializers {
		if t.DType.IsFloat() {
			s.Weights += t.Len()
		}
	}
	encoded, err := m.Encode()
	if err != nil {
		return s, err
	}
	s.Bytes = len(encoded)
	lib, err := a.openRuntime()
	if err != nil {
		a.log.Info("latency is not measured: " + sentence(err))
		return s, nil
	}
	r.Runtime = "ONNX Runtime " + lib.Version
	session, err := ort.NewSession(encoded, ort.Options{Threads: a.threads})
	if err != nil {
		return s, err
	}
	defer session.Close()
	s.Seconds, err = median(7, func() error { _, err := session.Run(ctx, feeds); return err })
	return s, err
}

// median times several calls after a first that warms up.
func median(calls int, f func() error) (float64, error) {
	var all []float64
	for range calls + 1 {
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(start).Seconds())
	}
	all = all[1:]
	slices.Sort(all)
	return all[len(all)/2], nil
}

func (c *compaction) text(w io.Writer) {
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "\tbefore\tafter\tratio")
		fmt.Fprintf(w, "weights\t%d\t%d\t%.2f\n", c.Before.Weights, c.After.Weights, ratio(float64(c.Before.Weights), float64(c.After.Weights)))
		fmt.Fprintf(w, "bytes\t%d\t%d\t%.2f\n", c.Before.Bytes, c.After.Bytes, ratio(float64(c.Before.Bytes), float64(c.After.Bytes)))
		if c.Runtime != "" {
			fmt.Fprintf(w, "%s, %d samples\t%.3g ms\t%.3g ms\t%.2f\n", c.Runtime, latencyBatch, 1e3*c.Before.Seconds, 1e3*c.After.Seconds, ratio(c.Before.Seconds, c.After.Seconds))
		}
	})
	for _, o := range c.Outputs {
		fmt.Fprintf(w, "output %s: max abs error %.2g, largest value %.3g\n", o.Name, o.MaxAbs, o.Scale)
	}
}

// summary is what shrank, in a clause.
func (c *compaction) summary() string {
	text := fmt.Sprintf("%.3g times fewer weights", ratio(float64(c.Before.Weights), float64(c.After.Weights)))
	if c.Runtime != "" {
		text += fmt.Sprintf(", %.3g times faster in %s", ratio(c.Before.Seconds, c.After.Seconds), c.Runtime)
	}
	return text
}

func ratio(before, after float64) float64 { return before / max(after, 1e-12) }

// expand puts a compacted model back into its original's width.
func (a *app) expand(path string, m *onnx.Model, original string) (*onnx.Model, error) {
	c, err := pass.CompactionOf(m)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	if c == nil {
		return nil, fmt.Errorf("model %s was not compacted by unprune, or its metadata is gone: what it kept is not known", path)
	}
	small, err := a.importModel(path, m)
	if err != nil {
		return nil, err
	}
	wide, err := a.readNetwork(original)
	if err != nil {
		return nil, err
	}
	if err := c.Expand(small, wide); err != nil {
		return nil, fmt.Errorf("models %s and %s: %w", path, original, err)
	}
	return wide.Graph.ToONNX(), nil
}
