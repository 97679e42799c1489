package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"

	"codeberg.org/sbinet/npyio/npy"
	sbinet "codeberg.org/sbinet/npyio/npz"

	"github.com/unprune/unprune/onnx"
)

func tensors() []*onnx.Tensor {
	named := func(name string, t *onnx.Tensor) *onnx.Tensor { t.Name = name; return t }
	return []*onnx.Tensor{
		named("f4", onnx.FromSlice([]float32{1, -2, float32(math.Inf(1)), 4, 5, 6}, 2, 3)),
		named("layer/f8", onnx.FromSlice([]float64{math.Pi}, 1)),
		named("scalar", onnx.FromSlice([]int64{-7})),
		named("empty", onnx.FromSlice([]float32{}, 0, 5)),
		named("b1", onnx.FromSlice([]bool{true, false, true}, 3)),
		named("u1", onnx.FromSlice([]uint8{0, 255}, 2)),
		named("i1", onnx.FromSlice([]int8{-1, 1}, 2)),
		named("i2", onnx.FromSlice([]int16{-300}, 1)),
		named("u2", onnx.FromSlice([]uint16{300}, 1)),
		named("i4", onnx.FromSlice([]int32{1, 2, 3, 4}, 2, 1, 2)),
		named("u4", onnx.FromSlice([]uint32{1 << 31}, 1)),
		named("u8", onnx.FromSlice([]uint64{1 << 63}, 1)),
		named("long", onnx.FromSlice(make([]uint8, 3*chunk+1), 3*chunk+1)),
	}
}

func archive(t *testing.T, ts ...*onnx.Tensor) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, ts...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func open(t *testing.T, data []byte) *Archive {
	t.Helper()
	a, err := NewArchive(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRoundTrip(t *testing.T) {
	want := tensors()
	data := archive(t, want...)
	if !bytes.Equal(data, archive(t, want...)) {
		t.Error("two writes of the same tensors differ")
	}
	a := open(t, data)
	for _, w := range want {
		got, err := a.Read(w.Name)
		if err != nil {
			t.Errorf("%s: %v", w.Name, err)
			continue
		}
		if got.DType != w.DType || onnx.Size(got.Shape) != w.Len() || !reflect.DeepEqual(got.Data, w.Data) {
			t.Errorf("%s: got %v, want %v", w.Name, got, w)
		}
	}
}

// An independent implementation reads what we write.
func TestWrittenFileReadByNpyio(t *testing.T) {
	data := archive(t, tensors()...)
	r, err := sbinet.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var got []float32
	if err := r.Read("f4.npy", &got); err != nil {
		t.Fatal(err)
	}
	if want := []float32{1, -2, float32(math.Inf(1)), 4, 5, 6}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if h := r.Header("f4.npy"); !reflect.DeepEqual(h.Descr.Shape, []int{2, 3}) || h.Descr.Fortran {
		t.Errorf("header %v", h)
	}
}

// We read what an independent implementation writes.
func TestReadsFileOfNpyio(t *testing.T) {
	var buf bytes.Buffer
	w := sbinet.NewWriter(&buf)
	if err := w.Write("x", [2][3]int32{{1, 2, 3}, {4, 5, 6}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, buf.Bytes()).Read("x")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Shape, []int{2, 3}) || !reflect.DeepEqual(got.Data, []int32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("got %v", got)
	}
}

// npyArray makes a .npy file from a header text and raw elements.
func npyArray(version byte, text string, elements ...byte) []byte {
	b := []byte(magic + string([]byte{version, 0}))
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	}
	return append(append(b, text...), elements...)
}

func TestFortranAndBigEndian(t *testing.T) {
	// [[1 2 3] [4 5 6]] stored column by column.
	b := npyArray(2, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n",
		0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6)
	got, err := ReadNPY(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Data, []int16{1, 2, 3, 4, 5, 6}) {
		t.Errorf("got %v", got.Data)
	}
}

// An array written row by row is the transposed array column by column.
func TestFortranOrderOfEveryType(t *testing.T) {
	for _, w := range []*onnx.Tensor{
		onnx.FromSlice([]bool{true, false, false, true, true, false}, 3, 2),
		onnx.FromSlice([]int8{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]int16{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]int32{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]int64{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]uint8{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]uint16{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]uint32{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]uint64{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 3, 2),
		onnx.FromSlice([]float64{1, 2, 3, 4, 5, 6}, 3, 2),
		{DType: onnx.Float16, Shape: []int{3, 2}, Data: []uint16{1, 2, 3, 4, 5, 6}},
	} {
		t.Run(w.DType.String(), func(t *testing.T) {
			var buf bytes.Buffer
			if err := WriteNPY(&buf, w); err != nil {
				t.Fatal(err)
			}
			file := bytes.Replace(buf.Bytes(), []byte("False, 'shape': (3, 2), }"), []byte("True, 'shape': (2, 3), } "), 1)
			got, err := ReadNPY(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			if got.DType != w.DType || !reflect.DeepEqual(got.Shape, []int{2, 3}) {
				t.Fatalf("got %v of shape %v", got.DType, got.Shape)
			}
			a, b := reflect.ValueOf(w.Data), reflect.ValueOf(got.Data)
			for i := range 2 {
				for j := range 3 {
					if !b.Index(3*i + j).Equal(a.Index(2*j + i)) {
						t.Errorf("element [%d,%d] is %v, want %v", i, j, b.Index(3*i+j), a.Index(2*j+i))
					}
				}
			}
		})
	}
}

func TestReadNPYErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty file", nil, "signature"},
		{"other format", []byte("PK\x03\x04 something else"), "signature"},
		{"unknown version", npyArray(9, ""), "version 9.0"},
		{"header cut short", []byte(magic + "\x01\x00\xff\x00{'descr'"), "cut short"},
		{"empty header", npyArray(1, ""), "no plain array"},
		{"huge header", []byte(magic + "\x02\x00\xff\xff\xff\xff"), "exceeds the limit"},
		{"object array", npyArray(1, "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"), "not supported"},
		{"text array", npyArray(1, "{'descr': '<U3', 'fortran_order': False, 'shape': (1,), }\n"), "not supported"},
		{"structure", npyArray(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n"), "no plain array"},
		{"absurd shape", npyArray(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000, 4000000000), }\n"), "exceeds"},
		{"absurd shape beside zero", npyArray(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4000000000, 4000000000), }\n"), "exceeds"},
		{"elements missing", npyArray(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 1, 2, 3, 4), "cut short"},
		{"negative extent", npyArray(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }\n"), "no plain array"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadNPY(bytes.NewReader(c.file), int64(len(c.file)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestArchiveErrors(t *testing.T) {
	data := archive(t, tensors()...)
	if _, err := open(t, data).Read("nothing"); err == nil || !strings.Contains(err.Error(), "layer/f8") {
		t.Errorf("missing array: %v", err)
	}
	if _, err := NewArchive(bytes.NewReader(data[:50]), 50); err == nil {
		t.Error("a truncated archive was accepted")
	}
	damaged := bytes.Clone(data)
	damaged[bytes.Index(data, []byte("NUMPY"))+140] ^= 1 // inside the first array's elements
	if _, err := open(t, damaged).Read("f4"); err == nil {
		t.Error("a damaged array was accepted")
	}
	twice := onnx.FromSlice([]float32{1}, 1)
	if err := Write(&bytes.Buffer{}, twice, twice); err == nil {
		t.Error("two arrays of one name were written")
	}
	if err := Write(&bytes.Buffer{}, onnx.FromSlice([]string{"a"}, 1)); err == nil {
		t.Error("a text tensor was written")
	}
}

// An entry that claims more bytes than its compressed ones can expand to is
// refused before memory is taken.
func TestBombRefused(t *testing.T) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	f, err := z.CreateRaw(&zip.FileHeader{Name: "x.npy", Method: zip.Deflate, CompressedSize64: 2, UncompressedSize64: 1 << 31})
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte{3, 0})
	z.Close()
	if _, err := open(t, buf.Bytes()).Read("x"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

func FuzzReadNPY(f *testing.F) {
	for _, t := range tensors()[:6] {
		var buf bytes.Buffer
		if err := WriteNPY(&buf, t); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadNPY(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		var buf bytes.Buffer
		if err := WriteNPY(&buf, got); err != nil {
			t.Fatal(err)
		}
		again, err := ReadNPY(&buf, int64(buf.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if again.DType != got.DType || onnx.Size(again.Shape) != got.Len() {
			t.Fatalf("round trip changed %v to %v", got, again)
		}
	})
}

// The header parser this package would otherwise rely on panics on malformed
// files; should that ever change, the reason for our own is gone.
func TestNpyioPanicsOnMalformedHeader(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("npyio no longer panics: reconsider using it for reading")
		}
	}()
	npy.NewReader(bytes.NewReader(npyArray(1, "")))
}
