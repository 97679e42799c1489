package onnx

import (
	"bufio"
	"errors"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// Most of a model file is the elements of initializers. They are read from the
// file straight into the memory where they stay; only the rest, the lifted
// file, is read and parsed as a message. So a load takes little more memory
// than the model, and copies nothing.

// liftFrom is the size in bytes from which raw_data is worth lifting.
const liftFrom = 1 << 12

// Numbers of the fields on the way to raw_data (onnx.proto).
const (
	fieldModelGraph       protowire.Number = 7
	fieldGraphNode        protowire.Number = 1
	fieldGraphInitializer protowire.Number = 5
	fieldTensorRaw        protowire.Number = 9
)

// A lifted file is the file without the raw_data of the initializers that raw
// tells by their place among the initializers.
type lifted struct {
	rest []byte
	raw  map[int]fileRange
}

type fileRange struct{ offset, length int64 }

// errNotLiftable says that a file is not of the shape that exporters write, or
// broken: it is read as a whole.
var errNotLiftable = errors.New("not liftable")

// lift reads all of a file of the given size but raw_data of at least from
// bytes, which is at least 1.
func lift(f io.ReaderAt, size, from int64) (*lifted, error) {
	l := &lifter{src: f, size: size, from: from, in: bufio.NewReader(io.NewSectionReader(f, 0, size)), file: &lifted{raw: map[int]fileRange{}}}
	rest, err := l.message(nil, size, func(out []byte, num protowire.Number, n int64) ([]byte, bool, error) {
		if num != fieldModelGraph {
			return out, false, nil
		}
		graph, err := l.graph(n)
		return protowire.AppendBytes(out, graph), true, err
	})
	l.file.rest = rest
	return l.file, err
}

// put brings the elements back into the message that was parsed from rest.
func (l *lifted) put(f io.ReaderAt, p *pb.ModelProto) error {
	for i, r := range l.raw {
		raw := make([]byte, r.length)
		if err := readAt(f, raw, r.offset); err != nil {
			return formatErrorf("the elements of %s cannot be read: %v", element("graph.initializer", i, p.Graph.Initializer[i].GetName()), withoutPath(err))
		}
		p.Graph.Initializer[i].RawData = raw
	}
	return nil
}

type lifter struct {
	src          io.ReaderAt
	size, from   int64
	in           *bufio.Reader
	at           int64 // offset of in
	nodes        int   // seen so far
	initializers int
	file         *lifted
}

func (l *lifter) graph(size int64) ([]byte, error) {
	return l.message(nil, size, func(out []byte, num protowire.Number, n int64) ([]byte, bool, error) {
		if num == fieldGraphNode {
			if l.nodes++; l.nodes > MaxNodes { // before memory is taken for them
				return out, false, tooManyNodes()
			}
		}
		if num != fieldGraphInitializer {
			return out, false, nil
		}
		l.initializers++
		if n < l.from {
			return out, false, nil
		}
		tensor, err := l.tensor(n)
		return protowire.AppendBytes(out, tensor), true, err
	})
}

func (l *lifter) tensor(size int64) ([]byte, error) {
	seen := false
	return l.message(nil, size, func(out []byte, num protowire.Number, n int64) ([]byte, bool, error) {
		if num != fieldTensorRaw {
			return out, false, nil
		}
		if seen {
			return out, false, errNotLiftable // the last one counts
		}
		seen = true
		if n < l.from {
			return out, false, nil
		}
		l.file.raw[l.initializers-1] = fileRange{l.at, n}
		// Its tag is there already: an empty field, which the elements replace.
		return protowire.AppendVarint(out, 0), true, l.skip(n)
	})
}

// message copies the fields of a message of the given size behind out. Fields
// of bytes go to field first, after their tag is written; it reports whether it
// has dealt with them.
func (l *lifter) message(out []byte, size int64, field func(out []byte, num protowire.Number, n int64) ([]byte, bool, error)) ([]byte, error) {
	end := l.at + size
	for l.at < end {
		tag, err := l.varint()
		if err != nil {
			return nil, err
		}
		num, typ := protowire.DecodeTag(tag)
		if num < protowire.MinValidNumber {
			return nil, errNotLiftable
		}
		out = protowire.AppendTag(out, num, typ)
		n := int64(0) // bytes to copy
		switch typ {
		case protowire.VarintType:
			v, err := l.varint()
			if err != nil {
				return nil, err
			}
			out = protowire.AppendVarint(out, v)
		case protowire.Fixed32Type:
			n = 4
		case protowire.Fixed64Type:
			n = 8
		case protowire.BytesType:
			v, err := l.varint()
			if err != nil || v > uint64(max(end-l.at, 0)) { // beyond the message
				return nil, errNotLiftable
			}
			var done bool
			if out, done, err = field(out, num, int64(v)); err != nil {
				return nil, err
			}
			if done {
				continue
			}
			out, n = protowire.AppendVarint(out, v), int64(v)
		default: // groups, which ONNX does not have
			return nil, errNotLiftable
		}
		if out, err = l.copy(out, n, end); err != nil {
			return nil, err
		}
	}
	if l.at != end {
		return nil, errNotLiftable
	}
	return out, nil
}

func (l *lifter) varint() (uint64, error) {
	var b [10]byte
	for i := range b {
		c, err := l.in.ReadByte()
		if err != nil {
			return 0, errNotLiftable
		}
		l.at++
		if b[i] = c; c < 0x80 {
			v, n := protowire.ConsumeVarint(b[:i+1])
			if n != protowire.SizeVarint(v) {
				return 0, errNotLiftable // it would not come back as it was
			}
			return v, nil
		}
	}
	return 0, errNotLiftable
}

// copy appends the next n bytes, which must not go beyond end.
func (l *lifter) copy(out []byte, n, end int64) ([]byte, error) {
	if n > end-l.at {
		return nil, errNotLiftable
	}
	l.at += n
	start := len(out)
	out = append(out, make([]byte, n)...)
	_, err := io.ReadFull(l.in, out[start:])
	return out, err
}

// skip leaves out the next n bytes.
func (l *lifter) skip(n int64) error {
	l.at += n
	if n <= int64(l.in.Buffered()) {
		_, err := l.in.Discard(int(n))
		return err
	}
	l.in.Reset(io.NewSectionReader(l.src, l.at, l.size-l.at))
	return nil
}
