package npz

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/unprune/unprune/onnx"
)

// deflateRatio is the most that DEFLATE can expand (RFC 1951: a 258-byte match
// in about two bits).
const deflateRatio = 1032

// Archive is an open .npz file. Arrays are read when asked for.
type Archive struct {
	files  map[string]*zip.File
	names  []string
	closer io.Closer
}

// Open opens the .npz file at path. The caller closes it.
func Open(path string) (*Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	a, err := NewArchive(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a.closer = f
	return a, nil
}

// NewArchive reads the table of contents of an archive of size bytes.
func NewArchive(r io.ReaderAt, size int64) (*Archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("npz: not a .npz archive (numpy.savez writes them): %w", err)
	}
	a := &Archive{files: map[string]*zip.File{}}
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, ".npy")
		if a.files[name] != nil {
			return nil, fmt.Errorf("npz: two arrays are named %q", name)
		}
		a.files[name] = f
		a.names = append(a.names, name)
	}
	return a, nil
}

// Names are the names of the arrays in the order of the archive.
func (a *Archive) Names() []string { return slices.Clone(a.names) }

// Read reads one array; the tensor carries its name.
func (a *Archive) Read(name string) (*onnx.Tensor, error) {
	f := a.files[name]
	if f == nil {
		return nil, fmt.Errorf("npz: there is no array %q (arrays: %s)", name, strings.Join(a.names, ", "))
	}
	if f.UncompressedSize64 > MaxBytes+maxHeader || f.UncompressedSize64/deflateRatio > f.CompressedSize64 {
		return nil, fmt.Errorf("npz: array %q claims %d bytes out of %d compressed ones: refused", name, f.UncompressedSize64, f.CompressedSize64)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("npz: array %q: %w", name, err)
	}
	defer r.Close()
	t, err := ReadNPY(r, int64(f.UncompressedSize64))
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	// Reading to the end makes the zip reader compare the checksum.
	if n, err := io.Copy(io.Discard, r); err != nil || n > 0 {
		return nil, fmt.Errorf("npz: array %q: damaged (%d bytes too many, %v)", name, n, err)
	}
	t.Name = name
	return t, nil
}

// Close closes the file that Open opened.
func (a *Archive) Close() error {
	if a.closer == nil {
		return nil
	}
	return a.closer.Close()
}

// ReadFile reads all arrays of the .npz file at path, by name.
func ReadFile(path string) (map[string]*onnx.Tensor, error) {
	a, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	arrays := make(map[string]*onnx.Tensor, len(a.names))
	for _, name := range a.names {
		if arrays[name], err = a.Read(name); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return arrays, nil
}

// Write writes the tensors, in this order and under their names, as a .npz
// archive. Equal tensors give equal bytes.
func Write(w io.Writer, tensors ...*onnx.Tensor) error {
	z := zip.NewWriter(w)
	seen := map[string]bool{}
	for _, t := range tensors {
		if seen[t.Name] {
			return fmt.Errorf("npz: two tensors are named %q", t.Name)
		}
		seen[t.Name] = true
		f, err := z.CreateHeader(&zip.FileHeader{Name: t.Name + ".npy", Method: zip.Store})
		if err != nil {
			return fmt.Errorf("npz: tensor %q: %w", t.Name, err)
		}
		if err := WriteNPY(f, t); err != nil {
			return err
		}
	}
	return z.Close()
}
