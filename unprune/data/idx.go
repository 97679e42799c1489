package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/unprune/unprune/onnx"
)

// maxIDX is the most bytes of elements that an IDX file may have. A few
// compressed megabytes can claim any size.
const maxIDX = 4 << 30

// idxTypes are the element types of the IDX format (third byte of a file), see
// the description on the MNIST page.
var idxTypes = map[byte]onnx.DType{
	0x08: onnx.Uint8, 0x09: onnx.Int8, 0x0b: onnx.Int16,
	0x0c: onnx.Int32, 0x0d: onnx.Float32, 0x0e: onnx.Float64,
}

func hasIDX(files []string) bool {
	for _, f := range files {
		if strings.Contains(f, "-idx") || strings.Contains(f, ".idx") {
			return true
		}
	}
	return false
}

// loadIDX reads images and labels of a folder in MNIST's naming.
func loadIDX(folder fs.FS, files []string, role Role) (*Dataset, error) {
	prefixes := []string{"train"}
	if role == Test {
		prefixes = []string{"t10k", "test"}
	}
	var parts [2]*onnx.Tensor
	for i, kind := range []string{"images", "labels"} {
		name, err := findIDX(files, prefixes, kind)
		if err != nil {
			return nil, err
		}
		if parts[i], err = readIDXFile(folder, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	x, err := toInputs(parts[0])
	if err != nil {
		return nil, err
	}
	y, err := toLabels(parts[1])
	if err != nil {
		return nil, err
	}
	return newDataset(x, y, 0)
}

// findIDX finds the one file such as "train-images-idx3-ubyte.gz".
func findIDX(files, prefixes []string, kind string) (string, error) {
	found := ""
	for _, f := range files {
		for _, p := range prefixes {
			if strings.HasPrefix(f, p) && strings.Contains(f, kind) && strings.Contains(f, "idx") {
				if found != "" {
					return "", fmt.Errorf("data: both %s and %s could be meant: remove one", found, f)
				}
				found = f
			}
		}
	}
	if found == "" {
		return "", fmt.Errorf("data: there is no file %s-%s-idx*[.gz]", prefixes[0], kind)
	}
	return found, nil
}

func readIDXFile(folder fs.FS, name string) (*onnx.Tensor, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	if !strings.HasSuffix(name, ".gz") {
		return readIDX(f)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("data: not a gzip file: %w", err)
	}
	return readIDX(z)
}

// readIDX reads one array: bytes 0, 0, type, rank, then the extents and the
// elements, all big-endian.
func readIDX(r io.Reader) (*onnx.Tensor, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || head[0] != 0 || head[1] != 0 {
		return nil, fmt.Errorf("data: not an IDX file: it does not begin with two zero bytes")
	}
	dt, ok := idxTypes[head[2]]
	if !ok || head[3] == 0 || head[3] > 8 {
		return nil, fmt.Errorf("data: not an IDX file: element type %#x, %d axes", head[2], head[3])
	}
	extents := make([]uint32, head[3])
	if err := binary.Read(r, binary.BigEndian, extents); err != nil {
		return nil, fmt.Errorf("data: IDX header cut short after byte 4: %w", err)
	}
	shape, size := make([]int, len(extents)), int64(dt.Size())
	for i, e := range extents {
		if e > 0 && size > maxIDX/int64(e) {
			return nil, fmt.Errorf("data: IDX shape %v exceeds %d bytes", extents, int64(maxIDX))
		}
		shape[i], size = int(e), size*int64(e)
	}
	// Memory grows with what is really there, not with what the header claims.
	var elements bytes.Buffer
	n, err := io.Copy(&elements, io.LimitReader(r, size+1))
	if err != nil {
		return nil, fmt.Errorf("data: IDX file damaged after byte %d: %w", int64(4+4*len(extents))+n, err)
	}
	if n != size {
		return nil, fmt.Errorf("data: IDX file of shape %v has %d bytes of elements, want %d", shape, n, size)
	}
	t := onnx.NewTensor(dt, shape...)
	return t, binary.Read(&elements, binary.BigEndian, t.Data)
}
