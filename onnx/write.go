package onnx

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// WriteOptions says how a model is laid out in files. The zero value keeps
// everything in one file as long as its format allows (2 GB).
type WriteOptions struct {
	// External puts the data of large initializers into a second file, named
	// like the model with ".data" added. Models of 2 GB and more are written so
	// in any case.
	External bool

	// Threshold is the size in bytes from which an initializer counts as large.
	// Zero stands for 4096.
	Threshold int
}

const (
	defaultThreshold = 4096

	// externalAlign is the alignment of data in their file, so that runtimes can
	// map them into memory (onnx.proto, external_data).
	externalAlign = 4096
)

// Write writes m to the file path. The files are written under other names
// beside their places, synced and renamed, so that path is never half written.
// With external data two files are renamed, the data first.
func Write(path string, m *Model, opts WriteOptions) error {
	return inFile(write(path, m, opts), path)
}

func write(path string, m *Model, opts WriteOptions) error {
	var e encoder
	p, err := e.model(m)
	if err != nil {
		return err
	}
	if opts.External || proto.Size(p) > maxFile {
		e.external = newExternalLayout(path, opts)
		if p, err = e.model(m); err != nil {
			return err
		}
	}
	if size := proto.Size(p); size > maxFile {
		return unsupportedf("the model has %d bytes without its external data, a file cannot have more than %d", size, maxFile)
	}
	return writeFiles(path, p, e.external)
}

func writeFiles(path string, p *pb.ModelProto, external *externalLayout) error {
	b, err := marshal(p)
	if err != nil {
		return err
	}
	model, err := createFile(path)
	if err != nil {
		return err
	}
	defer model.discard()
	if _, err := model.Write(b); err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	if external != nil && len(external.parts) > 0 {
		data, err := createFile(filepath.Join(filepath.Dir(path), external.location))
		if err != nil {
			return err
		}
		defer data.discard()
		if err := external.writeTo(data); err != nil {
			return fmt.Errorf("onnx: %w", err)
		}
		if err := data.commit(); err != nil {
			return err
		}
	}
	return model.commit()
}

// externalLayout collects the data that go into the second file.
type externalLayout struct {
	location  string
	threshold int
	parts     []externalPart
	size      int64
}

type externalPart struct {
	offset int64
	data   []byte
}

func newExternalLayout(path string, opts WriteOptions) *externalLayout {
	threshold := opts.Threshold
	if threshold == 0 {
		threshold = defaultThreshold
	}
	return &externalLayout{location: filepath.Base(path) + ".data", threshold: threshold}
}

// add moves the data of p, raw in the form of raw_data, to the second file.
func (x *externalLayout) add(p *pb.TensorProto, raw []byte) {
	offset := (x.size + externalAlign - 1) / externalAlign * externalAlign
	x.size = offset + int64(len(raw))
	x.parts = append(x.parts, externalPart{offset, raw})

	p.RawData, p.FloatData, p.Int32Data, p.Int64Data, p.DoubleData, p.Uint64Data = nil, nil, nil, nil, nil, nil
	p.DataLocation = pb.TensorProto_EXTERNAL.Enum()
	entry := func(key, value string) *pb.StringStringEntryProto {
		return &pb.StringStringEntryProto{Key: &key, Value: &value}
	}
	p.ExternalData = []*pb.StringStringEntryProto{
		entry("location", x.location),
		entry("offset", strconv.FormatInt(offset, 10)),
		entry("length", strconv.Itoa(len(raw))),
	}
}

func (x *externalLayout) writeTo(w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	var zeros [externalAlign]byte
	var at int64
	for _, part := range x.parts {
		buffered.Write(zeros[:part.offset-at])
		if _, err := buffered.Write(part.data); err != nil {
			return err
		}
		at = part.offset + int64(len(part.data))
	}
	return buffered.Flush()
}

// pendingFile is a file that gets its name when it is complete.
type pendingFile struct {
	*os.File
	path string
}

// createFile starts a file that will be called path.
func createFile(path string) (*pendingFile, error) {
	temporary := fmt.Sprintf(".%s.%s.tmp", filepath.Base(path), rand.Text()[:8])
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), temporary), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return &pendingFile{f, path}, nil
}

// commit makes the file's contents durable and gives it its name.
func (f *pendingFile) commit() error {
	err := f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	return syncFolder(filepath.Dir(f.path))
}

// discard removes the file unless it was committed.
func (f *pendingFile) discard() {
	f.Close()
	os.Remove(f.Name())
}
