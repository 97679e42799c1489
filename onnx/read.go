package onnx

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// Read reads the model in the file path, external data included, which must be
// in plain files below the same folder.
func Read(path string) (*Model, error) {
	f, size, err := openModel(path)
	if err != nil {
		return nil, inFile(err, path)
	}
	defer f.Close()
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	defer root.Close()
	m, err := read(f, size, root)
	return m, inFile(err, path)
}

func read(f io.ReaderAt, size int64, root *os.Root) (*Model, error) {
	l, err := lift(f, size, liftFrom)
	switch {
	case err == nil:
		return decodeWith(l.rest, root, func(p *pb.ModelProto) error { return l.put(f, p) })
	case err != errNotLiftable:
		return nil, err
	}
	b := make([]byte, size)
	if err := readAt(f, b, 0); err != nil {
		return nil, formatErrorf("cannot be read: %v", withoutPath(err))
	}
	return Decode(b, root)
}

// openModel opens a file that is no larger than a model can be.
func openModel(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("onnx: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, formatErrorf("is not a file but %v", kindOf(info))
	}
	if info.Size() > maxFile {
		return nil, 0, formatErrorf("has %d bytes, an ONNX model cannot have more than %d", info.Size(), maxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("onnx: %w", err)
	}
	return f, info.Size(), nil
}

// readPart is how many bytes are worth a thread.
const readPart = 1 << 18

// readAt fills b with what is in f from offset on. Copying it takes most of the
// time of a load, so threads share what is long.
func readAt(f io.ReaderAt, b []byte, offset int64) error {
	parts := max(min(len(b)/readPart, runtime.GOMAXPROCS(0)), 1)
	errs := make([]error, parts)
	var threads sync.WaitGroup
	for i := range parts {
		lo, hi := i*len(b)/parts, (i+1)*len(b)/parts
		threads.Go(func() { _, errs[i] = f.ReadAt(b[lo:hi], offset+int64(lo)) })
	}
	threads.Wait()
	return cmp.Or(errs...)
}
