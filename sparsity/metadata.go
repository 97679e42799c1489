package sparsity

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/unprune/unprune/onnx"
)

// MetadataKey is the key in a file's metadata_props under which masks are kept:
// JSON {"format": "unprune masks", "version": 1, "masks": [{"name": ...,
// "shape": [...], "bits": base64 of the packed bits}, ...]}.
const MetadataKey = "unprune.masks"

type metadata struct {
	Format  string          `json:"format"`
	Version int             `json:"version"`
	Masks   []metadataEntry `json:"masks"`
}

type metadataEntry struct {
	fileEntry
	Bits string `json:"bits"`
}

// StoreMasks writes masks into a model, in place of those that it had.
func StoreMasks(m *onnx.Model, ms *Masks) error {
	all := metadata{Format: fileFormat, Version: fileVersion, Masks: []metadataEntry{}}
	for name, mask := range ms.All() {
		all.Masks = append(all.Masks, metadataEntry{
			fileEntry: fileEntry{Name: name, Shape: mask.Shape()}, Bits: base64.StdEncoding.EncodeToString(mask.Packed()),
		})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("sparsity: masks in a model: %w", err)
	}
	rest := slices.DeleteFunc(slices.Clone(m.Metadata), func(p onnx.StringPair) bool { return p.Key == MetadataKey })
	m.Metadata = append(rest, onnx.StringPair{Key: MetadataKey, Value: string(text)})
	return nil
}

// StoredMasks reads what StoreMasks wrote; nil if the model holds no masks. A
// mask says what was pruned where a zero cannot: a weight may be zero and
// alive.
func StoredMasks(m *onnx.Model) (*Masks, error) {
	i := slices.IndexFunc(m.Metadata, func(p onnx.StringPair) bool { return p.Key == MetadataKey })
	if i < 0 {
		return nil, nil
	}
	var all metadata
	if err := json.Unmarshal([]byte(m.Metadata[i].Value), &all); err != nil || all.Format != fileFormat {
		return nil, fmt.Errorf("sparsity: metadata %q does not describe masks", MetadataKey)
	}
	if all.Version != fileVersion {
		return nil, fmt.Errorf("sparsity: masks of version %d in the model; this program reads version %d", all.Version, fileVersion)
	}
	ms := &Masks{}
	for _, e := range all.Masks {
		bits, err := base64.StdEncoding.DecodeString(e.Bits)
		if err != nil || !shapeFits(e.Shape, len(bits)) {
			return nil, fmt.Errorf("sparsity: metadata %q: the mask of %q is damaged", MetadataKey, e.Name)
		}
		if ms.Get(e.Name) != nil {
			return nil, fmt.Errorf("sparsity: metadata %q: two masks for %q", MetadataKey, e.Name)
		}
		m, err := FromPacked(bits, e.Shape...)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", e.Name, err)
		}
		ms.Set(e.Name, m)
	}
	return ms, nil
}
