package sparsity

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// A mask file is a .npz archive. Array "index" is UTF-8 JSON (as bytes):
//
//	{"format": "unprune masks", "version": 1, "model": "...",
//	 "masks": [{"name": "fc1.weight", "shape": [300, 784]}, ...]}
//
// and array "mask/I" holds the bits of the I-th mask of that list, packed as
// numpy.packbits does. In Python:
//
//	z = numpy.load(f); ix = json.loads(z["index"].tobytes())
//	numpy.unpackbits(z["mask/0"])[:n].reshape(ix["masks"][0]["shape"])
const (
	fileFormat  = "unprune masks"
	fileVersion = 1
)

type fileIndex struct {
	Format  string      `json:"format"`
	Version int         `json:"version"`
	Model   string      `json:"model"`
	Masks   []fileEntry `json:"masks"`
}

type fileEntry struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

// WriteMasks writes a mask file. model identifies the model that the masks
// belong to: a hash of its file, or "". Equal masks give equal bytes.
func WriteMasks(w io.Writer, ms *Masks, model string) error {
	index := fileIndex{Format: fileFormat, Version: fileVersion, Model: model, Masks: []fileEntry{}}
	arrays := []*onnx.Tensor{nil}
	for name, m := range ms.All() {
		t := onnx.FromSlice(m.Packed(), len(m.Packed()))
		t.Name = entryName(len(index.Masks))
		arrays = append(arrays, t)
		index.Masks = append(index.Masks, fileEntry{Name: name, Shape: m.Shape()})
	}
	text, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("sparsity: mask file: %w", err)
	}
	arrays[0] = onnx.FromSlice(text, len(text))
	arrays[0].Name = "index"
	return npz.Write(w, arrays...)
}

func entryName(i int) string { return fmt.Sprintf("mask/%d", i) }

// ReadMasks reads a mask file of size bytes and returns the identity of the
// model that the masks were written for.
func ReadMasks(r io.ReaderAt, size int64) (ms *Masks, model string, err error) {
	a, err := npz.NewArchive(r, size)
	if err != nil {
		return nil, "", fmt.Errorf("sparsity: not a mask file: %w", err)
	}
	index, err := readIndex(a)
	if err != nil {
		return nil, "", err
	}
	ms = &Masks{}
	for i, e := range index.Masks {
		if ms.Get(e.Name) != nil {
			return nil, "", fmt.Errorf("sparsity: mask file: two masks for %q", e.Name)
		}
		packed, err := readBytes(a, entryName(i))
		if err != nil {
			return nil, "", err
		}
		if !shapeFits(e.Shape, len(packed)) {
			return nil, "", fmt.Errorf("sparsity: mask file: %d bytes of mask for shape %v of %q", len(packed), e.Shape, e.Name)
		}
		m, err := FromPacked(packed, e.Shape...)
		if err != nil {
			return nil, "", fmt.Errorf("%q: %w", e.Name, err)
		}
		ms.Set(e.Name, m)
	}
	return ms, index.Model, nil
}

func readIndex(a *npz.Archive) (fileIndex, error) {
	var index fileIndex
	text, err := readBytes(a, "index")
	if err != nil {
		return index, err
	}
	if err := json.Unmarshal(text, &index); err != nil || index.Format != fileFormat {
		return index, fmt.Errorf("sparsity: mask file: its index does not describe masks")
	}
	if index.Version != fileVersion {
		return index, fmt.Errorf("sparsity: mask file of version %d; this program reads version %d", index.Version, fileVersion)
	}
	return index, nil
}

func readBytes(a *npz.Archive, name string) ([]byte, error) {
	t, err := a.Read(name)
	if err != nil {
		return nil, fmt.Errorf("sparsity: mask file: %w", err)
	}
	b, ok := t.Data.([]uint8)
	if !ok {
		return nil, fmt.Errorf("sparsity: mask file: array %q holds %v, not bytes", name, t.DType)
	}
	return b, nil
}

// shapeFits reports whether a mask of that shape takes so many bytes, without
// overflow whatever the extents.
func shapeFits(shape []int, bytes int) bool {
	n := 1
	for _, d := range shape {
		if d < 0 || d > 0 && n > 8*bytes/d {
			return false
		}
		n *= d
	}
	return (n+7)/8 == bytes
}
