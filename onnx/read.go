package onnx

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Read reads the model in the file path, external data included, which must be
// in plain files below the same folder.
func Read(path string) (*Model, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, inFile(err, path)
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	defer root.Close()
	m, err := Decode(b, root)
	return m, inFile(err, path)
}

// readFile reads a file that is no larger than a model can be.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, formatErrorf("is not a file but %v", kindOf(info))
	}
	if info.Size() > maxFile {
		return nil, formatErrorf("has %d bytes, an ONNX model cannot have more than %d", info.Size(), maxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	defer f.Close()
	b := make([]byte, info.Size())
	if _, err = io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("onnx: read %s: %w", path, err)
	}
	return b, nil
}
