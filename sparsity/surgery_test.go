package sparsity

import (
	"math/rand/v2"
	"testing"

	"github.com/unprune/unprune/onnx"
)

func TestSurgery(t *testing.T) {
	a, b := &Masks{}, &Masks{}
	a.Set("fc", maskOf(true, true, false, false))
	b.Set("fc", maskOf(true, false, true, false))
	for _, c := range []struct {
		name string
		join func(*Masks) (*Masks, error)
		want *Mask
	}{
		{"union", a.Union, maskOf(true, true, true, false)},
		{"intersection", a.Intersection, maskOf(true, false, false, false)},
		{"difference", a.Difference, maskOf(false, true, false, false)},
	} {
		got, err := c.join(b)
		if err != nil || !got.Get("fc").Equal(c.want) {
			t.Errorf("%s: got %v (%v)", c.name, got, err)
		}
	}
	b.Set("conv", maskOf(true))
	_, err := a.Union(b)
	wantError(t, err, `only the second masks have "conv"`)
	_, err = b.Union(a)
	wantError(t, err, `only the first masks have "conv"`)
	a.Set("conv", maskOf(true, true))
	_, err = a.Union(b)
	wantError(t, err, "have shapes")
}

func TestMasksInMetadata(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	want := &Masks{}
	for name, shape := range map[string][]int{"conv": {4, 3, 3, 3}, "fc": {5, 7}, "empty": {0, 3}} {
		m := NewMask(shape...)
		for i := range m.Len() {
			m.Set(i, rng.IntN(2) == 0)
		}
		want.Set(name, m)
	}
	model := &onnx.Model{Graph: &onnx.Graph{}, Metadata: []onnx.StringPair{{Key: "author", Value: "x"}}}
	for range 2 { // the second replaces the first
		if err := StoreMasks(model, want); err != nil {
			t.Fatal(err)
		}
	}
	if len(model.Metadata) != 2 || model.Metadata[0].Key != "author" {
		t.Errorf("metadata %v", model.Metadata)
	}
	got, err := StoredMasks(model)
	if err != nil || !got.Equal(want) {
		t.Errorf("masks changed on the way (%v)", err)
	}
	for _, bad := range []string{
		`{`, `{"format": "other"}`, `{"format": "unprune masks", "version": 9}`,
		`{"format": "unprune masks", "version": 1, "masks": [{"name": "a", "shape": [9], "bits": "AA=="}]}`,
		`{"format": "unprune masks", "version": 1, "masks": [{"name": "a", "shape": [-1], "bits": ""}]}`,
		`{"format": "unprune masks", "version": 1, "masks": [{"name": "a", "shape": [1], "bits": "!"}]}`,
		`{"format": "unprune masks", "version": 1, "masks": [{"name": "a", "shape": [1], "bits": "AQ=="}]}`,
	} {
		model.Metadata[1].Value = bad
		if _, err := StoredMasks(model); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
	if ms, err := StoredMasks(&onnx.Model{}); ms != nil || err != nil {
		t.Errorf("a model without masks has %v (%v)", ms, err)
	}
}
