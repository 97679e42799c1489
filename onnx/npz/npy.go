package npz

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/unprune/unprune/onnx"
)

const (
	magic     = "\x93NUMPY"
	maxHeader = 1 << 16 // bytes; NumPy itself refuses more than 10,000 characters
	maxAxes   = 32      // NumPy's own limit up to version 1.26

	chunk = 1 << 16 // elements converted at a time

	// MaxBytes is the largest array that is read, in bytes. A few compressed
	// megabytes can claim that much, so it stays below common memory sizes.
	MaxBytes = 4 << 30
)

// dtypes maps NumPy's type codes, without the byte order, to element types.
var dtypes = map[string]onnx.DType{
	"b1": onnx.Bool,
	"i1": onnx.Int8, "i2": onnx.Int16, "i4": onnx.Int32, "i8": onnx.Int64,
	"u1": onnx.Uint8, "u2": onnx.Uint16, "u4": onnx.Uint32, "u8": onnx.Uint64,
	"f2": onnx.Float16, "f4": onnx.Float32, "f8": onnx.Float64,
}

// header is the description that precedes an array's elements.
type header struct {
	dtype   onnx.DType
	order   binary.ByteOrder
	fortran bool
	shape   []int
	bytes   int64 // size of the elements
}

// headerGrammar matches the Python dictionary that NumPy writes: the three
// keys in alphabetical order.
var headerGrammar = regexp.MustCompile(
	`^\{'descr': '([<>|=])([a-zA-Z][0-9]*)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? *\}\s*$`)

// ReadNPY reads one array in .npy format. size is the number of bytes that r
// holds, header included.
func ReadNPY(r io.Reader, size int64) (*onnx.Tensor, error) {
	h, length, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if rest := size - length; h.bytes > rest {
		return nil, fmt.Errorf("npz: array %v of %v needs %d bytes, the file has %d: it is cut short or its header is wrong", h.shape, h.dtype, h.bytes, rest)
	}
	t := onnx.NewTensor(h.dtype, h.shape...)
	for part := range chunks(t.Data) {
		if err := binary.Read(r, h.order, part); err != nil {
			return nil, fmt.Errorf("npz: array %v of %v: %w", h.shape, h.dtype, err)
		}
	}
	if h.fortran {
		transpose(t)
	}
	return t, nil
}

// readHeader reads up to the first element and returns the number of bytes read.
func readHeader(r io.Reader) (header, int64, error) {
	var start [8]byte
	if _, err := io.ReadFull(r, start[:]); err != nil || string(start[:6]) != magic {
		return header{}, 0, fmt.Errorf("npz: not a .npy array: it does not begin with NumPy's signature")
	}
	var length, width int
	switch start[6] {
	case 1:
		width = 2
	case 2, 3:
		width = 4
	default:
		return header{}, 0, fmt.Errorf("npz: .npy version %d.%d is not known (1 to 3 are)", start[6], start[7])
	}
	var le [4]byte
	if _, err := io.ReadFull(r, le[:width]); err != nil {
		return header{}, 0, fmt.Errorf("npz: .npy header cut short: %w", err)
	}
	length = int(binary.LittleEndian.Uint32(le[:]))
	if length > maxHeader {
		return header{}, 0, fmt.Errorf("npz: .npy header of %d bytes exceeds the limit of %d", length, maxHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, 0, fmt.Errorf("npz: .npy header cut short: %w", err)
	}
	h, err := parseHeader(string(text))
	return h, int64(len(start) + width + length), err
}

func parseHeader(text string) (header, error) {
	m := headerGrammar.FindStringSubmatch(text)
	if m == nil {
		return header{}, fmt.Errorf("npz: .npy header %.80q describes no plain array (booleans, integers or floats)", text)
	}
	h := header{order: binary.LittleEndian, fortran: m[3] == "True"}
	if m[1] == ">" {
		h.order = binary.BigEndian
	}
	dt, ok := dtypes[m[2]]
	if !ok {
		return header{}, fmt.Errorf("npz: element type %q is not supported: save the array as booleans, integers or floats", m[2])
	}
	h.dtype = dt
	shape, bytes, err := parseShape(m[4], dt.Size())
	h.shape, h.bytes = shape, bytes
	return h, err
}

// parseShape reads "3, 4" and returns the shape and the size in bytes.
func parseShape(text string, elemSize int) (shape []int, bytes int64, err error) {
	size := uint64(elemSize)
	for field := range strings.SplitSeq(text, ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		d, err := strconv.ParseUint(field, 10, 62)
		if err != nil {
			return nil, 0, fmt.Errorf("npz: shape (%s): %q is not an extent", text, field)
		}
		shape = append(shape, int(d))
		hi, lo := bits.Mul64(size, max(d, 1)) // a zero extent must not hide the others' size
		if size = lo; hi != 0 || size > MaxBytes || len(shape) > maxAxes {
			return nil, 0, fmt.Errorf("npz: shape (%s) exceeds the limits of %d bytes and %d axes", text, uint64(MaxBytes), maxAxes)
		}
	}
	if slices.Contains(shape, 0) {
		size = 0
	}
	return shape, int64(size), nil
}

// chunks yields consecutive sub-slices of a slice, so that converting to and
// from bytes takes little memory of its own.
func chunks(slice any) iter.Seq[any] {
	return func(yield func(any) bool) {
		v := reflect.ValueOf(slice)
		for i := 0; i < v.Len(); i += chunk {
			if !yield(v.Slice(i, min(i+chunk, v.Len())).Interface()) {
				return
			}
		}
	}
}

// transpose turns t, whose elements were read in Fortran order (first axis
// fastest), into row-major order.
func transpose(t *onnx.Tensor) {
	switch d := t.Data.(type) {
	case []bool:
		t.Data = rowMajor(d, t.Shape)
	case []int8:
		t.Data = rowMajor(d, t.Shape)
	case []int16:
		t.Data = rowMajor(d, t.Shape)
	case []int32:
		t.Data = rowMajor(d, t.Shape)
	case []int64:
		t.Data = rowMajor(d, t.Shape)
	case []uint8:
		t.Data = rowMajor(d, t.Shape)
	case []uint16:
		t.Data = rowMajor(d, t.Shape)
	case []uint32:
		t.Data = rowMajor(d, t.Shape)
	case []uint64:
		t.Data = rowMajor(d, t.Shape)
	case []float32:
		t.Data = rowMajor(d, t.Shape)
	case []float64:
		t.Data = rowMajor(d, t.Shape)
	}
}

func rowMajor[T any](src []T, shape []int) []T {
	stride := make([]int, len(shape)) // of src
	for i, n := 0, 1; i < len(shape); i++ {
		stride[i] = n
		n *= shape[i]
	}
	dst := make([]T, len(src))
	index := make([]int, len(shape))
	from := 0
	for to := range dst {
		dst[to] = src[from]
		for axis := len(shape) - 1; axis >= 0; axis-- {
			index[axis]++
			from += stride[axis]
			if index[axis] < shape[axis] {
				break
			}
			from -= stride[axis] * shape[axis]
			index[axis] = 0
		}
	}
	return dst
}

// WriteNPY writes t in .npy format, version 1.0, little-endian, C order.
func WriteNPY(w io.Writer, t *onnx.Tensor) error {
	code := ""
	for c, dt := range dtypes {
		if dt == t.DType {
			code = c
		}
	}
	if code == "" {
		return fmt.Errorf("npz: tensor %q: NumPy has no element type %v", t.Name, t.DType)
	}
	order := "<"
	if t.DType.Size() == 1 {
		order = "|"
	}
	text := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': %s, }", order, code, shapeText(t.Shape))
	const prefix = len(magic) + 2 + 2
	pad := 63 - (prefix+len(text))%64 // elements start at a multiple of 64 bytes
	text += strings.Repeat(" ", pad) + "\n"

	buf := bufio.NewWriter(w)
	buf.WriteString(magic + "\x01\x00")
	buf.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(text))))
	buf.WriteString(text)
	for part := range chunks(t.Data) {
		if err := binary.Write(buf, binary.LittleEndian, part); err != nil {
			return fmt.Errorf("npz: tensor %q: %w", t.Name, err)
		}
	}
	return buf.Flush()
}

// shapeText is a Python tuple: "()", "(3,)", "(3, 4)".
func shapeText(shape []int) string {
	fields := make([]string, len(shape))
	for i, d := range shape {
		fields[i] = strconv.Itoa(d)
	}
	text := strings.Join(fields, ", ")
	if len(shape) == 1 {
		text += ","
	}
	return "(" + text + ")"
}
