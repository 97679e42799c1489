package pass

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/onnx"
)

// CompactionKey is the key in a file's metadata_props under which the
// compaction of its model is kept as JSON.
const CompactionKey = "unprune.compaction"

// Store writes the compaction into a file, which can then be expanded again.
func (c *Compaction) Store(m *onnx.Model) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("pass: compaction: %w", err)
	}
	rest := slices.DeleteFunc(slices.Clone(m.Metadata), func(p onnx.StringPair) bool { return p.Key == CompactionKey })
	m.Metadata = append(rest, onnx.StringPair{Key: CompactionKey, Value: string(text)})
	return nil
}

// CompactionOf reads what Store wrote; nil if the file holds none.
func CompactionOf(m *onnx.Model) (*Compaction, error) {
	for _, p := range m.Metadata {
		if p.Key != CompactionKey {
			continue
		}
		c := &Compaction{}
		if err := json.Unmarshal([]byte(p.Value), c); err != nil {
			return nil, fmt.Errorf("pass: metadata %q is not that of a compaction: %w", CompactionKey, err)
		}
		return c, nil
	}
	return nil, nil
}

// Expand puts the parameters of a compacted model back into the original's
// width: what the compaction took out is zero, variances of batch normalisation
// are one there. original, an import of the file that was compacted or of any
// other state of the same network, theta_0 say, gets the values. A filter that
// was taken out can then be grown again.
func (c *Compaction) Expand(compact, original *Model) error {
	byName := map[string]*onnx.Tensor{}
	for _, v := range compact.Graph.Inits {
		byName[v.Name] = v.Const
	}
	return c.ExpandTo(original, byName)
}

// ExpandTo is Expand for parameters that may have had other names in the
// compacted model.
func (c *Compaction) ExpandTo(original *Model, compact map[string]*onnx.Tensor) error {
	for _, v := range original.Graph.Inits {
		if !v.DType.IsFloat() {
			continue
		}
		small := compact[v.Name]
		if small == nil {
			if p := original.Param(v.Name); p != nil && (p.Trainable || p.State()) {
				return fmt.Errorf("pass: the compacted model has no parameter %q: these are different networks", v.Name)
			}
			continue
		}
		t, err := c.widen(v, small, 0)
		if p := original.Param(v.Name); err == nil && p != nil && p.Role == Variance {
			t, err = c.widen(v, small, 1)
		}
		if err != nil {
			return err
		}
		v.Const = t
	}
	return nil
}

// widen is a parameter in its original shape, with fill in what was taken out.
func (c *Compaction) widen(v *graph.Value, small *onnx.Tensor, fill float32) (*onnx.Tensor, error) {
	wide := onnx.NewTensor(v.DType, v.Shape...)
	wide.Name = v.Name
	if small.DType != v.DType || len(small.Shape) != len(v.Shape) {
		return nil, fmt.Errorf("pass: %q is %v %v in the compacted model and %v %v in the original", v.Name, small.DType, small.Shape, v.DType, []int(v.Shape))
	}
	at := make([][]int, len(v.Shape)) // positions of the original, per axis
	for axis, d := range v.Shape {
		at[axis] = c.Kept[v.Name][axis]
		if at[axis] == nil {
			for p := range d {
				at[axis] = append(at[axis], p)
			}
		}
		if len(at[axis]) != small.Shape[axis] || slices.ContainsFunc(at[axis], func(p int) bool { return p < 0 || p >= d }) {
			return nil, fmt.Errorf("pass: axis %d of %q has extent %d in the compacted model; the compaction kept %d positions of %d", axis, v.Name, small.Shape[axis], len(at[axis]), d)
		}
	}
	if data, ok := wide.Data.([]float32); ok && fill != 0 {
		for i := range data {
			data[i] = fill
		}
	}
	scatter(wide, small, at, 0, 0, 0)
	return wide, nil
}

// scatter copies small to the listed positions of wide, from an axis on.
func scatter(wide, small *onnx.Tensor, at [][]int, axis, to, from int) {
	if axis == len(at) {
		copyRange(wide, to, small, from, 1)
		return
	}
	for k, p := range at[axis] {
		scatter(wide, small, at, axis+1, to*wide.Shape[axis]+p, from*small.Shape[axis]+k)
	}
}
