package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/unprune/unprune/onnx"
)

// sparseBytes is what a kept float32 costs in a sparse initializer: the value
// and its place.
const sparseBytes = 4 + 8

// sizeOf measures a model on disk. One that the program carries has the size of
// its encoding.
func sizeOf(path string, m *onnx.Model) (sizeInfo, error) {
	s := sizeInfo{External: []externalInfo{}}
	info, err := os.Stat(path)
	switch {
	case err == nil:
		s.Model = info.Size()
	case errors.Is(err, fs.ErrNotExist):
		b, err := m.Encode()
		if err != nil {
			return s, err
		}
		s.Model = int64(len(b))
	default:
		return s, err
	}
	if err := s.addExternal(filepath.Dir(path), m.Graph.Initializers); err != nil {
		return s, err
	}
	s.Dense = s.Model
	for _, e := range s.External {
		s.Dense += e.Bytes
	}
	s.Sparse = s.Dense
	for _, t := range m.Graph.Initializers {
		if t.DType == onnx.Float32 && len(t.Shape) > 0 && pays(t) {
			s.Sparse -= saved(t.Len(), int64(float64(t.Len())*(1-zeroShare(t))+0.5))
		}
	}
	for _, t := range m.Graph.SparseInitializers {
		n := 1
		for _, d := range t.Dims {
			n *= int(d) // the reader has bounded them
		}
		s.Dense += saved(n, int64(t.Values.Len()))
	}
	return s, nil
}

// saved is how many bytes fewer a sparse initializer takes.
func saved(all int, kept int64) int64 { return int64(all)*4 - kept*sparseBytes }

func (s *sizeInfo) addExternal(folder string, tensors []*onnx.Tensor) error {
	index := map[string]int{}
	for _, t := range tensors {
		if t.External == "" {
			continue
		}
		i, seen := index[t.External]
		if !seen {
			info, err := os.Stat(filepath.Join(folder, filepath.FromSlash(t.External)))
			if err != nil {
				return err
			}
			i = len(s.External)
			index[t.External] = i
			s.External = append(s.External, externalInfo{File: t.External, Bytes: info.Size()})
		}
		s.External[i].Tensors++
	}
	return nil
}

func (s *sizeInfo) text(w io.Writer) {
	parts := []string{"model " + bytesText(s.Model)}
	for _, e := range s.External {
		parts = append(parts, fmt.Sprintf("%s %s (%d tensors)", e.File, bytesText(e.Bytes), e.Tensors))
	}
	fmt.Fprintf(w, "on disk %s; with dense initializers %s, with sparse ones %s\n", strings.Join(parts, ", "), bytesText(s.Dense), bytesText(s.Sparse))
}

// bytesText is a number of bytes in the unit that suits it.
func bytesText(n int64) string {
	switch {
	case n >= 10e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
