package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// fileWith is the bytes of a model with one initializer.
func fileWith(t testing.TB, init *pb.TensorProto) []byte {
	return fileOf(t, &pb.GraphProto{Initializer: []*pb.TensorProto{init}})
}

func fileOf(t testing.TB, g *pb.GraphProto) []byte {
	t.Helper()
	b, err := proto.Marshal(&pb.ModelProto{IrVersion: proto.Int64(8), Graph: g})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tensorOf is a tensor message named w.
func tensorOf(dt DType, dims ...int64) *pb.TensorProto {
	return &pb.TensorProto{Name: proto.String("w"), DataType: proto.Int32(int32(dt)), Dims: dims}
}

func TestDecodeBrokenTensor(t *testing.T) {
	tests := []struct {
		name   string
		tensor *pb.TensorProto
		edit   func(*pb.TensorProto)
		want   string
	}{
		{"raw too short", tensorOf(Float32, 2, 2), func(p *pb.TensorProto) { p.RawData = make([]byte, 12) },
			`raw_data has 12 bytes, shape [2 2] of float32 needs 16`},
		{"raw too long", tensorOf(Int4, 3), func(p *pb.TensorProto) { p.RawData = make([]byte, 3) },
			`raw_data has 3 bytes, shape [3] of int4 needs 2`},
		{"typed too short", tensorOf(Int64, 3), func(p *pb.TensorProto) { p.Int64Data = []int64{1, 2} },
			`int64_data has 2 values, shape [3] of int64 needs 3`},
		{"complex halves", tensorOf(Complex64, 1), func(p *pb.TensorProto) { p.FloatData = []float32{1} },
			`float_data has 1 values, shape [1] of complex64 needs 2`},
		{"no data", tensorOf(Float32, 2), func(p *pb.TensorProto) {},
			`has no data, shape [2] of float32 needs some`},
		{"no type", tensorOf(Undefined, 1), func(p *pb.TensorProto) { p.RawData = []byte{1} },
			`has raw_data but no data_type`},
		{"two storages", tensorOf(Float32, 1), func(p *pb.TensorProto) { p.RawData, p.FloatData = make([]byte, 4), []float32{1} },
			`has both raw_data and float_data`},
		{"wrong storage", tensorOf(Float32, 1), func(p *pb.TensorProto) { p.Int32Data = []int32{1} },
			`int32_data cannot hold float32, which belongs in float_data`},
		{"raw strings", tensorOf(String, 1), func(p *pb.TensorProto) { p.RawData = []byte("a") },
			`raw_data cannot hold elements of type string`},
		{"out of range", tensorOf(Int8, 2), func(p *pb.TensorProto) { p.Int32Data = []int32{-128, 128} },
			`int32_data[1] is 128, which is no int8`},
		{"6 bits", tensorOf(Float6E2M3, 1), func(p *pb.TensorProto) { p.Int32Data = []int32{64} },
			`int32_data[0] is 64, which is no float6e2m3`},
		{"negative extent", tensorOf(Float32, 2, -1), func(p *pb.TensorProto) {},
			`dims [2 -1]: extent 1 is negative`},
		{"overflow", tensorOf(Float32, 1<<32, 1<<32), func(p *pb.TensorProto) {},
			`dims [4294967296 4294967296]: too many elements`},
		{"overflow to zero", tensorOf(Float32, 1<<62, 4), func(p *pb.TensorProto) {},
			`dims [4611686018427387904 4]: too many elements`},
		{"absurd size", tensorOf(Float32, 1<<40), func(p *pb.TensorProto) { p.RawData = []byte{1} },
			`raw_data has 1 bytes, shape [1099511627776] of float32 needs 4398046511104`},
		{"segment", tensorOf(Float32, 1), func(p *pb.TensorProto) { p.Segment = &pb.TensorProto_Segment{} },
			`is cut into segments`},
		{"unknown location", tensorOf(Float32, 1), func(p *pb.TensorProto) { p.DataLocation = pb.TensorProto_DataLocation(7).Enum() },
			`data_location 7 is unknown`},
		{"external without folder", tensorOf(Float32, 1), func(p *pb.TensorProto) { externalAt(p, "location", "a") },
			`external_data: the data are in "a", but the model was not read from a folder`},
		{"external and inside", tensorOf(Float32, 1), func(p *pb.TensorProto) { externalAt(p); p.FloatData = []float32{1} },
			`has both external data and float_data`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.edit(test.tensor)
			_, err := Decode(fileWith(t, test.tensor), nil)
			if err == nil {
				t.Fatal("no error")
			}
			if want := `onnx: graph.initializer[0] "w"`; !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q: %q", err, want, test.want)
			}
			requireTyped(t, err)
		})
	}
}

// externalAt marks p as external data with the given keys and values.
func externalAt(p *pb.TensorProto, keyValues ...string) {
	p.DataLocation = pb.TensorProto_EXTERNAL.Enum()
	for i := 0; i < len(keyValues); i += 2 {
		p.ExternalData = append(p.ExternalData, &pb.StringStringEntryProto{Key: &keyValues[i], Value: &keyValues[i+1]})
	}
}

// requireTyped fails unless err is one of the package's error types.
func requireTyped(t *testing.T, err error) {
	t.Helper()
	var formatErr *FormatError
	var unsupported *UnsupportedError
	if !errors.As(err, &formatErr) && !errors.As(err, &unsupported) {
		t.Errorf("error %v is a %T", err, err)
	}
}

func TestDecodeBrokenFile(t *testing.T) {
	good := mustEncode(t, mustRead(t, "testdata/torchscript.onnx"))
	deep := &pb.GraphProto{}
	for range maxDepth {
		deep = &pb.GraphProto{Node: []*pb.NodeProto{{Attribute: []*pb.AttributeProto{{G: deep}}}}}
	}
	deepType := &pb.TypeProto{}
	for range maxDepth {
		deepType = &pb.TypeProto{SequenceType: &pb.TypeProto_Sequence{ElemType: deepType}}
	}
	abyss := &pb.GraphProto{}
	for range 4 * maxDepth {
		abyss = &pb.GraphProto{Node: []*pb.NodeProto{{Attribute: []*pb.AttributeProto{{G: abyss}}}}}
	}
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "has no graph; is it an ONNX model?"},
		{"text", []byte("hello, this is no model\n"), "not an ONNX model, or cut short"},
		{"cut short", good[:len(good)/2], "not an ONNX model, or cut short"},
		{"no graph", []byte{8, 8}, "has no graph"},
		{"nested graphs", fileOf(t, deep), "nested deeper than 64 levels"},
		{"nested messages", fileOf(t, abyss), "recursion"},
		{"nested types", fileOf(t, &pb.GraphProto{Input: []*pb.ValueInfoProto{{Type: deepType}}}), "nested deeper than 64 levels"},
		{"sparse without values", fileOf(t, &pb.GraphProto{SparseInitializer: []*pb.SparseTensorProto{{}}}),
			"graph.sparse_initializer[0]: needs both values and indices"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Decode(test.file, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			requireTyped(t, err)
		})
	}
}

func TestReadNamesTheFile(t *testing.T) {
	_, err := Read("testdata/make.py")
	if err == nil || !strings.HasPrefix(err.Error(), "onnx: testdata/make.py: not an ONNX model") {
		t.Errorf("error %v", err)
	}
	if _, err = Read("testdata"); err == nil || err.Error() != "onnx: testdata: is not a file but a folder" {
		t.Errorf("error %v", err)
	}
	if _, err = Read("testdata/none.onnx"); err == nil || !strings.Contains(err.Error(), "none.onnx") {
		t.Errorf("error %v", err)
	}
}

// The file that make.py wrote holds each type twice, with equal elements.
func TestElementsOfAllStorages(t *testing.T) {
	g := mustRead(t, "testdata/storages.onnx").Graph
	compared := 0
	for _, typed := range g.Initializers {
		name, ok := strings.CutSuffix(typed.Name, "_typed")
		if !ok || name == "empty" || name == "bits" {
			continue
		}
		raw := g.Initializer(name + "_raw")
		if raw == nil {
			t.Fatalf("no %s_raw", name)
		}
		if typed.storage == raw.storage {
			t.Errorf("%s: both in %v", name, raw.storage)
		}
		a, _ := view(typed.Data)
		b, _ := view(raw.Data)
		if typed.DType != raw.DType || string(a) != string(b) || len(a) == 0 {
			t.Errorf("%s: %v in its field, %v in raw_data", name, typed.Data, raw.Data)
		}
		compared++
	}
	if compared != len(dtypes)-2 { // all but undefined and string
		t.Errorf("%d types compared, %d known", compared, len(dtypes))
	}
	if got, want := Of[int64](g.Initializer("INT64_raw"))[3], int64(-2); got != want {
		t.Errorf("int64 %d, want %d", got, want)
	}
	if got := Of[string](g.Initializer("STRING"))[2]; got != "\xff\x01" {
		t.Errorf("string %q", got)
	}
}

func TestBitsOfFloatsSurvive(t *testing.T) {
	bits := []uint32{0x80000000, 0x7fc00001, 0xffa00002, 1} // -0, a quiet and a signalling NaN, denormal
	m := mustRead(t, "testdata/storages.onnx")
	for _, name := range []string{"bits_raw", "bits_typed"} {
		for i, v := range bits {
			Of[float32](m.Graph.Initializer(name))[i] = math.Float32frombits(v)
		}
	}
	m, err := Decode(mustEncode(t, m), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bits_raw", "bits_typed"} {
		for i, v := range Of[float32](m.Graph.Initializer(name)) {
			if got := math.Float32bits(v); got != bits[i] {
				t.Errorf("%s[%d] is %#x, want %#x", name, i, got, bits[i])
			}
		}
	}
}

// However a file is made, decoding takes memory in proportion to its size.
func TestMemoryIsBounded(t *testing.T) {
	const size = 1 << 16
	repeated := func(message ...byte) []byte {
		graph := bytes.Repeat(message, size/len(message))
		file := append([]byte{8, 8, 0x3a}, binary.AppendUvarint(nil, uint64(len(graph)))...)
		return append(file, graph...)
	}
	tests := []struct {
		name string
		file []byte
	}{
		{"empty nodes", repeated(0x0a, 0)},
		{"empty tensors", repeated(0x2a, 0)},
		{"empty values", repeated(0x5a, 2, 0x12, 0)},
		{"nodes with an empty attribute", repeated(0x0a, 2, 0x2a, 0)},
		{"large extents", fileWith(t, tensorOf(Float32, 1<<45))},
		{"sparse", fileOf(t, &pb.GraphProto{SparseInitializer: []*pb.SparseTensorProto{{
			Values:  &pb.TensorProto{DataType: proto.Int32(1), Dims: []int64{1}, FloatData: []float32{1}},
			Indices: &pb.TensorProto{DataType: proto.Int32(7), Dims: []int64{1}, Int64Data: []int64{1}},
			Dims:    []int64{1 << 50},
		}}})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			Decode(test.file, nil)
			runtime.ReadMemStats(&after)
			const fixed, factor = 1 << 18, 500
			if taken := after.TotalAlloc - before.TotalAlloc; taken > fixed+factor*uint64(len(test.file)) {
				t.Errorf("%d bytes taken for a file of %d", taken, len(test.file))
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	x := NewTensor(Float32, 1<<22)
	file := mustEncode(b, &Model{IRVersion: 8, Graph: &Graph{Initializers: []*Tensor{x}}})
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := Decode(file, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCopy is what BenchmarkDecode is to be compared with.
func BenchmarkCopy(b *testing.B) {
	file := make([]byte, 1<<24)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		copied := make([]byte, len(file))
		copy(copied, file)
	}
}
