package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// writeModel writes a model whose initializer w, float32[2], is external.
func writeModel(t *testing.T, folder string, keyValues ...string) string {
	t.Helper()
	p := tensorOf(Float32, 2)
	externalAt(p, keyValues...)
	path := filepath.Join(folder, "m.onnx")
	writeBytes(t, path, fileWith(t, p))
	return path
}

func writeBytes(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// eight is the bytes of float32 1 and 2.
var eight = []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}

func TestReadExternal(t *testing.T) {
	tests := []struct {
		name    string
		file    []byte
		entries []string
	}{
		{"whole file", eight, nil},
		{"offset and length", slices.Concat([]byte{9, 9}, eight, []byte{9}), []string{"offset", "2", "length", "8"}},
		{"rest of the file", slices.Concat([]byte{9}, eight), []string{"offset", "1"}},
		{"from the start", slices.Concat(eight, []byte{9}), []string{"length", "8", "checksum", "unused"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.MkdirAll(filepath.Join(folder, "a", "b"), 0o777); err != nil {
				t.Fatal(err)
			}
			writeBytes(t, filepath.Join(folder, "a", "b", "w.bin"), test.file)
			m := mustRead(t, writeModel(t, folder, append(test.entries, "location", "a/b/w.bin")...))
			if got := Of[float32](m.Graph.Initializer("w")); !slices.Equal(got, []float32{1, 2}) {
				t.Errorf("elements %v", got)
			}
		})
	}
}

func TestReadExternalRefuses(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	writeBytes(t, outside, eight)
	tests := []struct {
		name     string
		location string
		more     []string
		prepare  func(t *testing.T, folder string)
		want     string
	}{
		{"no location", "", nil, nil, "has no location"},
		{"parent", "../secret", nil, nil, `location "../secret" is not a file below the model's folder`},
		{"parent inside", "a/../w", nil, nil, "is not a file below"},
		{"parent of windows", `a\..\w`, nil, nil, "is not a file below"},
		{"absolute", outside, nil, nil, "is not a file below"},
		{"drive", `C:\w`, nil, nil, "is not a file below"},
		{"zero byte", "w\x00", nil, nil, "is not a file below"},
		{"missing", "gone", nil, nil, `"gone" cannot be opened: no such file`},
		{"folder", ".", nil, nil, "is not a plain file but a folder"},
		{"past the end", "w", []string{"offset", "9"}, nil, "offset 9 is past the end"},
		{"too long", "w", []string{"offset", "4", "length", "8"}, nil, "has 8 bytes, too few for 8 bytes at offset 4"},
		{"overflow", "w", []string{"offset", "4", "length", "9223372036854775807"}, nil, "too few for"},
		{"negative", "w", []string{"offset", "-1"}, nil, `offset "-1" is not a number of bytes`},
		{"no number", "w", []string{"length", "8x"}, nil, `length "8x" is not a number of bytes`},
		{"wrong size", "w", []string{"length", "4"}, nil, "has 4 bytes, shape [2] of float32 needs 8"},
		{"symbolic link", "link", nil, func(t *testing.T, folder string) {
			require(t, os.Symlink(outside, filepath.Join(folder, "link")))
		}, `"link" is not a plain file but a symbolic link`},
		{"symbolic link inside", "link", nil, func(t *testing.T, folder string) {
			require(t, os.Symlink("w", filepath.Join(folder, "link")))
		}, `"link" is not a plain file but a symbolic link`},
		{"linked folder", "link/secret", nil, func(t *testing.T, folder string) {
			require(t, os.Symlink(filepath.Dir(outside), filepath.Join(folder, "link")))
		}, `"link" is not a folder but a symbolic link`},
		{"hard link", "link", nil, func(t *testing.T, folder string) {
			require(t, os.Link(outside, filepath.Join(folder, "link")))
		}, `"link" is a hard link`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			writeBytes(t, filepath.Join(folder, "w"), eight)
			if test.prepare != nil {
				test.prepare(t, folder)
			}
			path := writeModel(t, folder, append(test.more, "location", test.location)...)
			_, err := Read(path)
			if err == nil || !strings.Contains(err.Error(), `graph.initializer[0] "w".external_data: `) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			requireTyped(t, err)
		})
	}
}

func require(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A small file must not fill the memory by being read again and again.
func TestSharedExternalDataAreBounded(t *testing.T) {
	for _, test := range []struct {
		tensors int
		ok      bool
	}{{maxSharing, true}, {maxSharing + 1, false}} {
		folder := t.TempDir()
		writeBytes(t, filepath.Join(folder, "w"), eight)
		p := tensorOf(Float32, 2)
		externalAt(p, "location", "w")
		g := &pb.GraphProto{}
		for range test.tensors {
			g.Initializer = append(g.Initializer, p)
		}
		path := filepath.Join(folder, "m.onnx")
		writeBytes(t, path, fileOf(t, g))
		if _, err := Read(path); (err == nil) != test.ok {
			t.Errorf("%d tensors: error %v", test.tensors, err)
		}
	}
}

// What PyTorch wrote in two files comes back in one, and in two again.
func TestExternalData(t *testing.T) {
	const source = "testdata/dynamo_external.onnx"
	m := mustRead(t, source)
	folder := t.TempDir()
	for _, test := range []struct {
		name  string
		opts  WriteOptions
		files []string
	}{
		{"one.onnx", WriteOptions{}, []string{"one.onnx"}},
		{"two.onnx", WriteOptions{External: true, Threshold: 100}, []string{"two.onnx", "two.onnx.data"}},
		{"small.onnx", WriteOptions{External: true}, []string{"small.onnx"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(folder, test.name)
			require(t, Write(path, m, test.opts))
			files, err := filepath.Glob(filepath.Join(folder, strings.TrimSuffix(test.name, ".onnx")+"*"))
			require(t, err)
			for i := range files {
				files[i] = filepath.Base(files[i])
			}
			if !slices.Equal(files, test.files) {
				t.Errorf("files %v, want %v", files, test.files)
			}
			if got, want := Text(mustRead(t, path)), Text(m); got != want {
				t.Errorf("read back as\n%s\nwant\n%s", got, want)
			}
			if !bytes.Equal(mustEncode(t, mustRead(t, path)), mustEncode(t, m)) {
				t.Error("bytes differ")
			}
		})
	}
}

// External data start at page boundaries, and tensors of all storages can move.
func TestExternalLayout(t *testing.T) {
	m := mustRead(t, "testdata/storages.onnx")
	path := filepath.Join(t.TempDir(), "m.onnx")
	require(t, Write(path, m, WriteOptions{External: true, Threshold: 1}))
	b, err := os.ReadFile(path)
	require(t, err)
	var p pb.ModelProto
	require(t, proto.Unmarshal(b, &p))
	for i, x := range p.Graph.Initializer {
		external := x.GetDataLocation() == pb.TensorProto_EXTERNAL
		source := m.Graph.Initializers[i]
		if want := source.DType != String && source.Len() > 0; external != want {
			t.Errorf("%s: external %v, want %v", source.Name, external, want)
		}
		if !external {
			continue
		}
		if r, err := parseExternal(x.ExternalData); err != nil || r.offset%externalAlign != 0 || r.location != "m.onnx.data" {
			t.Errorf("%s: %+v, error %v", source.Name, r, err)
		}
	}
	again := mustRead(t, path)
	for i, x := range again.Graph.Initializers {
		a, _ := view(x.Data)
		b, _ := view(m.Graph.Initializers[i].Data)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: %v, want %v", x.Name, x.Data, m.Graph.Initializers[i].Data)
		}
	}
}

func TestWriteLeavesNothingBehind(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "m.onnx")
	writeBytes(t, path, []byte("old"))
	bad := &Model{IRVersion: 8, Graph: &Graph{Initializers: []*Tensor{{Name: "w", DType: Float32, Shape: []int{2}, Data: []float32{1}}}}}
	err := Write(path, bad, WriteOptions{})
	if want := "onnx: " + path + `: graph.initializer[0] "w": data have 1 elements`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("the old file holds %q", b)
	}
	if err := Write(filepath.Join(folder, "none", "m.onnx"), bad, WriteOptions{}); err == nil {
		t.Error("written into a folder that is not there")
	}
	require(t, os.Mkdir(filepath.Join(folder, "taken"), 0o777))
	good := mustRead(t, "testdata/sparse.onnx")
	if err := Write(filepath.Join(folder, "taken"), good, WriteOptions{}); err == nil {
		t.Error("a folder was replaced")
	}
	entries, err := os.ReadDir(folder)
	require(t, err)
	if len(entries) != 2 {
		t.Errorf("%v are left", entries)
	}
}
