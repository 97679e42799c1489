package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got error %v, want one with %q", err, part)
	}
}

// samples is a dataset of n samples [2] whose values tell their place; classes go round.
func samples(t *testing.T, n, classes int) *Dataset {
	t.Helper()
	x, y := make([]float32, 2*n), make([]int64, n)
	for i := range y {
		x[2*i], x[2*i+1] = float32(i), float32(-i)
		y[i] = int64(i % classes)
	}
	d, err := newDataset(onnx.FromSlice(x, n, 2), y, classes)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func saveNPZ(t *testing.T, tensors ...*onnx.Tensor) string {
	t.Helper()
	var buf bytes.Buffer
	if err := npz.Write(&buf, tensors...); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "set.npz")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func named(name string, t *onnx.Tensor) *onnx.Tensor { t.Name = name; return t }

func TestLoadNPZ(t *testing.T) {
	nan := float32(math.NaN())
	x4 := func(v ...float32) *onnx.Tensor { return named("x", onnx.FromSlice(v, len(v)/2, 2)) }
	y := func(v ...int64) *onnx.Tensor { return named("y", onnx.FromSlice(v, len(v))) }
	for _, c := range []struct {
		name   string
		arrays []*onnx.Tensor
		suffix string
		want   []float32
		err    string
	}{
		{"float32", []*onnx.Tensor{x4(1, 2, 3, 4), y(0, 4)}, "", []float32{1, 2, 3, 4}, ""},
		{"float64 and int32", []*onnx.Tensor{named("x", onnx.FromSlice([]float64{.1, 2}, 2, 1)), named("y", onnx.FromSlice([]int32{0, 4}, 2, 1))}, "", []float32{.1, 2}, ""},
		{"bytes", []*onnx.Tensor{named("x", onnx.FromSlice([]uint8{0, 255}, 2, 1)), named("y", onnx.FromSlice([]uint8{0, 4}, 2))}, "", []float32{0, 1}, ""},
		{"named arrays", []*onnx.Tensor{named("images", onnx.FromSlice([]float32{5, 6}, 2, 1)), named("labels", onnx.FromSlice([]int64{0, 4}, 2))}, ":images,labels", []float32{5, 6}, ""},
		{"missing array", []*onnx.Tensor{named("images", onnx.FromSlice([]float32{5, 6}, 2, 1))}, "", nil, `no array "x" (arrays: images)`},
		{"one array named", []*onnx.Tensor{x4(1, 2), y(0)}, ":x", nil, "name two arrays"},
		{"NaN", []*onnx.Tensor{x4(1, 2, 3, nan), y(0, 1)}, "", nil, "sample 1 has the value NaN (element 1)"},
		{"overflowing float64", []*onnx.Tensor{named("x", onnx.FromSlice([]float64{1e300}, 1, 1)), y(0)}, "", nil, "sample 0 has the value +Inf"},
		{"negative label", []*onnx.Tensor{x4(1, 2, 3, 4), y(0, -1)}, "", nil, "label of sample 1 is -1"},
		{"label count", []*onnx.Tensor{x4(1, 2, 3, 4), y(0)}, "", nil, "2 inputs but 1 labels"},
		{"no samples", []*onnx.Tensor{x4(), y()}, "", nil, "no samples"},
		{"flat inputs", []*onnx.Tensor{named("x", onnx.FromSlice([]float32{1}, 1)), y(0)}, "", nil, "want [samples, ...]"},
		{"one-hot labels", []*onnx.Tensor{x4(1, 2), named("y", onnx.FromSlice([]int64{1, 0}, 1, 2))}, "", nil, "one class index per sample"},
		{"float labels", []*onnx.Tensor{x4(1, 2), named("y", onnx.FromSlice([]float32{1}, 1))}, "", nil, "save them as integers"},
		{"integer inputs", []*onnx.Tensor{named("x", onnx.FromSlice([]int64{1}, 1, 1)), y(0)}, "", nil, "float32, float64 or uint8"},
		{"huge label", []*onnx.Tensor{x4(1, 2), y(math.MaxInt64)}, "", nil, "outside the classes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Load(saveNPZ(t, c.arrays...)+c.suffix, Train)
			if c.err != "" {
				wantError(t, err, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := onnx.Of[float32](d.X); !slices.Equal(got, c.want) {
				t.Errorf("x = %v, want %v", got, c.want)
			}
			if d.Classes != 5 || d.Y[1] != 4 {
				t.Errorf("%d classes, labels %v", d.Classes, d.Y)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	_, err := Load("does-not-exist.npz", Train)
	wantError(t, err, "no such file")
	path := filepath.Join(t.TempDir(), "text.npz")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path, Train)
	wantError(t, err, "not a .npz archive")
	_, err = Load(t.TempDir(), Train)
	wantError(t, err, "holds no data set")
}

func idx(kind byte, shape []uint32, elements ...byte) []byte {
	b := []byte{0, 0, kind, byte(len(shape))}
	for _, d := range shape {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, elements...)
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func folder(files map[string][]byte) fs.FS {
	m := fstest.MapFS{}
	for name, b := range files {
		m[name] = &fstest.MapFile{Data: b}
	}
	return m
}

func TestLoadIDX(t *testing.T) {
	images := idx(8, []uint32{2, 1, 2}, 0, 255, 51, 0)
	f := folder(map[string][]byte{
		"train-images-idx3-ubyte.gz": zipped(t, images),
		"train-labels-idx1-ubyte.gz": zipped(t, idx(8, []uint32{2}, 9, 1)),
		"t10k-images.idx3-ubyte":     idx(8, []uint32{1, 1, 2}, 255, 255),
		"t10k-labels.idx1-ubyte":     idx(8, []uint32{1}, 3),
	})
	train, err := LoadFS(f, Train)
	if err != nil {
		t.Fatal(err)
	}
	if got := onnx.Of[float32](train.X); !slices.Equal(got, []float32{0, 1, .2, 0}) || !slices.Equal(train.X.Shape, []int{2, 1, 2}) {
		t.Errorf("x = %v of shape %v", got, train.X.Shape)
	}
	if !slices.Equal(train.Y, []int64{9, 1}) || train.Classes != 10 {
		t.Errorf("y = %v, %d classes", train.Y, train.Classes)
	}
	test, err := LoadFS(f, Test)
	if err != nil || test.Len() != 1 || test.Y[0] != 3 {
		t.Errorf("test set %+v (%v)", test, err)
	}
}

func TestLoadIDXErrors(t *testing.T) {
	labels := idx(8, []uint32{2}, 0, 1)
	good := idx(8, []uint32{2, 1, 2}, 0, 255, 51, 0)
	for _, c := range []struct {
		name   string
		images []byte
		want   string
	}{
		{"empty", nil, "not an IDX file"},
		{"other format", []byte("\x89PNG...."), "not an IDX file"},
		{"unknown type", idx(7, []uint32{1}, 0), "element type 0x7"},
		{"header cut short", good[:7], "cut short"},
		{"elements missing", good[:len(good)-1], "has 3 bytes of elements, want 4"},
		{"elements left over", append(slices.Clone(good), 0), "want 4"},
		{"absurd shape", idx(8, []uint32{1 << 31, 1 << 31, 1 << 31}), "exceeds"},
		{"large claim", idx(8, []uint32{1 << 30, 1, 2}, 1), "has 1 bytes of elements"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := LoadFS(folder(map[string][]byte{"train-images-idx3-ubyte": c.images, "train-labels-idx1-ubyte": labels}), Train)
			wantError(t, err, c.want)
		})
	}
	_, err := LoadFS(folder(map[string][]byte{"train-images-idx3-ubyte": good}), Train)
	wantError(t, err, "no file train-labels")
	_, err = LoadFS(folder(map[string][]byte{"train-images-idx3-ubyte": good, "train-images-idx3-ubyte.gz": good}), Train)
	wantError(t, err, "remove one")
	_, err = LoadFS(folder(map[string][]byte{"train-images-idx3-ubyte.gz": good}), Train)
	wantError(t, err, "not a gzip file")
}

func TestLoadCIFAR(t *testing.T) {
	record := func(labels ...byte) []byte { return append(labels, bytes.Repeat([]byte{255}, cifarPixels)...) }
	d, err := LoadFS(folder(map[string][]byte{
		"data_batch_1.bin": record(1), "data_batch_2.bin": record(2), "data_batch_3.bin": record(3),
		"data_batch_4.bin": record(4), "data_batch_5.bin": slices.Concat(record(5), record(9)), "test_batch.bin": record(0),
	}), Train)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Y, []int64{1, 2, 3, 4, 5, 9}) || !slices.Equal(d.X.Shape, []int{6, 3, 32, 32}) {
		t.Errorf("y = %v, x of shape %v", d.Y, d.X.Shape)
	}
	hundred := map[string][]byte{"train.bin": nil, "test.bin": slices.Concat(record(19, 99), record(0, 42))}
	d, err = LoadFS(folder(hundred), Test)
	if err != nil || !slices.Equal(d.Y, []int64{99, 42}) || d.Classes != 100 {
		t.Errorf("y = %v (%v)", d, err)
	}
	hundred["test.bin"] = hundred["test.bin"][:4000]
	_, err = LoadFS(folder(hundred), Test)
	wantError(t, err, "at byte 3074 is cut short")
	_, err = LoadFS(folder(map[string][]byte{"data_batch_1.bin": record(12)}), Train)
	wantError(t, err, "data_batch_2.bin")
	_, err = LoadFS(folder(map[string][]byte{"train.bin": nil, "test.bin": record(0, 100)}), Test)
	wantError(t, err, "outside the classes 0 to 99")
}

func TestLoadClassFolders(t *testing.T) {
	picture := func(w, h int, c color.Color) []byte {
		img := image.NewNRGBA(image.Rect(0, 0, w, h))
		for i := range w * h {
			img.Set(i%w, i/w, c)
		}
		var buf bytes.Buffer
		if err := png.Encode(&buf, img); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	red, blue := picture(2, 3, color.NRGBA{R: 255, A: 255}), picture(2, 3, color.NRGBA{B: 51, A: 255})
	files := map[string][]byte{"cat/1.png": red, "cat/2.png": blue, "dog/1.png": blue, "dog/notes.txt": nil}
	d, err := LoadFS(folder(files), Train)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Y, []int64{0, 0, 1}) || !slices.Equal(d.X.Shape, []int{3, 3, 3, 2}) || d.Names[2] != "dog/1.png" {
		t.Errorf("y = %v, x of shape %v, names %v", d.Y, d.X.Shape, d.Names)
	}
	if x := onnx.Of[float32](d.X); x[0] != 1 || x[6] != 0 || x[2*18+12] != .2 {
		t.Errorf("x = %v", x)
	}
	if indices, err := ReadIndices(strings.NewReader("dog/1.png\n0\n"), 12, d); err != nil || !slices.Equal(indices, []int{2, 0}) {
		t.Errorf("indices %v (%v)", indices, err)
	}

	halves, err := LoadFS(folder(map[string][]byte{"train/a/1.png": red, "test/a/1.png": red, "test/b/1.png": red}), Test)
	if err != nil || halves.Len() != 2 {
		t.Errorf("test half %v (%v)", halves, err)
	}

	files["cat/3.png"] = picture(5, 5, color.Black)
	_, err = LoadFS(folder(files), Train)
	wantError(t, err, "cat/3.png has shape [3 5 5]")
	files["cat/3.png"] = []byte("no image")
	_, err = LoadFS(folder(files), Train)
	wantError(t, err, "cat/3.png")
	_, err = LoadFS(folder(map[string][]byte{"a/readme.txt": nil}), Train)
	wantError(t, err, "no .png or .jpg")
}

func TestNormalization(t *testing.T) {
	x := func() *Dataset {
		d, err := newDataset(onnx.FromSlice([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2), []int64{0, 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		name string
		n    Normalization
		want []float32
		err  string
	}{
		{"none", Normalization{}, []float32{1, 2, 3, 4, 5, 6, 7, 8}, ""},
		{"one for all", Normalization{Mean: []float64{1}, SD: []float64{2}}, []float32{0, .5, 1, 1.5, 2, 2.5, 3, 3.5}, ""},
		{"per channel", Normalization{Mean: []float64{1, 3}, SD: []float64{1, 2}}, []float32{0, 1, 0, .5, 4, 5, 2, 2.5}, ""},
		{"channels", Normalization{Mean: []float64{1, 2, 3}, SD: []float64{1, 2, 3}}, nil, "3 channels, but samples have shape [2 2]"},
		{"lengths", Normalization{Mean: []float64{1}, SD: []float64{1, 2}}, nil, "1 means and 2 standard"},
		{"zero", Normalization{Mean: []float64{1}, SD: []float64{0}}, nil, "must be positive"},
	} {
		d := x()
		err := c.n.Apply(d)
		if c.err != "" {
			wantError(t, err, c.err)
		} else if got := onnx.Of[float32](d.X); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v (%v), want %v", c.name, got, err, c.want)
		}
	}
}

func TestParseNormalization(t *testing.T) {
	for _, c := range []struct {
		text     string
		mean, sd []float64
		err      string
	}{
		{"", nil, nil, ""},
		{".286, .353", []float64{.286}, []float64{.353}, ""},
		{"1,2,3,4,5,6", []float64{1, 2, 3}, []float64{4, 5, 6}, ""},
		{"1", nil, nil, "as many standard deviations"},
		{"1,2,3", nil, nil, "as many standard deviations"},
		{"a,1", nil, nil, `"a" is not a number`},
		{"NaN,1", nil, nil, "not a number"},
		{"1,0", nil, nil, "must be positive"},
	} {
		n, err := ParseNormalization(c.text)
		if c.err != "" {
			wantError(t, err, c.err)
		} else if err != nil || !slices.Equal(n.Mean, c.mean) || !slices.Equal(n.SD, c.sd) {
			t.Errorf("%q: got %v (%v)", c.text, n, err)
		}
	}
}

func TestReshapeAndClasses(t *testing.T) {
	d := samples(t, 3, 3)
	r, err := d.Reshape(1, 2, 1)
	if err != nil || !slices.Equal(r.X.Shape, []int{3, 1, 2, 1}) {
		t.Errorf("got %v (%v)", r, err)
	}
	_, err = d.Reshape(3)
	wantError(t, err, "have shape [2] (2 values), the model wants [3] (3)")
	wantError(t, d.SetClasses(2), "label of sample 2 is 2, outside the classes 0 to 1")
	if err := d.SetClasses(10); err != nil || d.Classes != 10 {
		t.Errorf("%d classes (%v)", d.Classes, err)
	}
}

func TestForget(t *testing.T) {
	d := samples(t, 40, 4)
	file := filepath.Join(t.TempDir(), "indices.txt")
	if err := os.WriteFile(file, []byte("# deleted\n7\n\n 3 \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := npz.WriteNPY(&buf, onnx.FromSlice([]int32{39, 0}, 2)); err != nil {
		t.Fatal(err)
	}
	array := filepath.Join(t.TempDir(), "indices.npy")
	if err := os.WriteFile(array, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec  string
		count int
		fits  func(i int) bool
	}{
		{"class:3", 10, func(i int) bool { return i%4 == 3 }},
		{"class:0+1", 20, func(i int) bool { return i%4 < 2 }},
		{"class:3@0.5", 5, func(i int) bool { return i%4 == 3 }},
		{"class:0+2@0.3", 6, func(i int) bool { return i%2 == 0 }},
		{"random:0.1", 4, func(int) bool { return true }},
		{file, 2, func(i int) bool { return i == 3 || i == 7 }},
		{array, 2, func(i int) bool { return i == 0 || i == 39 }},
	} {
		f, err := ParseForget(c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		got, err := f.Select(d, 5)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		again, _ := f.Select(d, 5)
		if len(got) != c.count || !slices.IsSorted(got) || !slices.Equal(got, again) || f.String() != c.spec {
			t.Errorf("%s: got %v, again %v", c.spec, got, again)
		}
		for _, i := range got {
			if !c.fits(i) {
				t.Errorf("%s: sample %d was selected", c.spec, i)
			}
		}
		retain, forgotten := d.Split(got)
		if retain.Len()+forgotten.Len() != d.Len() || forgotten.Y[0] != d.Y[got[0]] || onnx.Of[float32](forgotten.X)[0] != float32(got[0]) {
			t.Errorf("%s: split into %d and %d", c.spec, retain.Len(), forgotten.Len())
		}
	}
	half, _ := ParseForget("random:0.5")
	a, _ := half.Select(d, 1)
	b, _ := half.Select(d, 2)
	if slices.Equal(a, b) {
		t.Error("two seeds select the same samples")
	}
}

func TestForgetErrors(t *testing.T) {
	d := samples(t, 8, 2)
	for spec, want := range map[string]string{
		"":             "nothing to forget",
		"class:":       "not a class number",
		"class:x":      "not a class number",
		"class:-1":     "not a class number",
		"class:1+1":    "named twice",
		"class:1@0":    "not a share",
		"class:1@1.5":  "not a share",
		"random:0":     "not a share",
		"random:1":     "not a share",
		"random:NaN":   "not a share",
		"random:much":  "not a share",
		"class:2":      "no sample of class 2 (the data has classes 0 to 1)",
		"class:0+1":    "selects all 8 samples",
		"class:0@0.01": "selects no sample",
		"random:0.01":  "selects no sample",
		"no-such-file": "no such file",
	} {
		f, err := ParseForget(spec)
		if err == nil {
			_, err = f.Select(d, 0)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", spec, err, want)
		}
	}
	for text, want := range map[string]string{
		"1\nsecond":     "line 2: \"second\" is neither",
		"1\n8":          "line 2: sample 8 does not exist",
		"-1":            "does not exist",
		"1\n2\n1":       "line 3: sample 1 is named twice",
		"\x93NUMPY\x09": "signature",
	} {
		_, err := ReadIndices(strings.NewReader(text), int64(len(text)), d)
		wantError(t, err, want)
	}
}

func TestStreamsAreIndependent(t *testing.T) {
	first := func(r *rand.Rand) uint64 { return r.Uint64() }
	base := first(Stream(1, "ft", "shuffle"))
	if base != first(Stream(1, "ft", "shuffle")) {
		t.Error("a stream does not repeat")
	}
	for _, other := range []uint64{
		first(Stream(2, "ft", "shuffle")), first(Stream(1, "ga", "shuffle")),
		first(Stream(1, "ft", "noise")), first(Stream(1, "fts", "huffle")),
	} {
		if other == base {
			t.Error("two streams agree")
		}
	}
}

// The numbers themselves are part of the contract: saved runs depend on them.
func TestStreamIsPinned(t *testing.T) {
	if got := Order(7, 3, 8); !slices.Equal(got, []int{2, 4, 1, 7, 5, 0, 6, 3}) {
		t.Errorf("got %v", got)
	}
}

func TestOrderIsAPermutation(t *testing.T) {
	for epoch := range 5 {
		got := Order(1, epoch, 100)
		if slices.Equal(got, Order(1, epoch+1, 100)) {
			t.Error("two epochs have the same order")
		}
		slices.Sort(got)
		for i, v := range got {
			if i != v {
				t.Fatalf("epoch %d: not a permutation", epoch)
			}
		}
	}
}

func TestGatherDoesNotAllocate(t *testing.T) {
	d := samples(t, 100, 5)
	batch := Order(1, 0, 100)[:32]
	x, y := make([]float64, 64), make([]int64, 32)
	if n := testing.AllocsPerRun(10, func() { Gather(d, batch, x, y) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for k, i := range batch {
		if x[2*k] != float64(i) || x[2*k+1] != float64(-i) || y[k] != int64(i%5) {
			t.Fatalf("place %d holds %v %v, want sample %d", k, x[2*k], y[k], i)
		}
	}
}

func FuzzReadIDX(f *testing.F) {
	f.Add(idx(8, []uint32{2, 1, 2}, 0, 255, 51, 0))
	f.Add(idx(0x0d, []uint32{1}, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := readIDX(bytes.NewReader(b))
		if err == nil && v.Len()*v.DType.Size() > len(b) {
			t.Errorf("%d elements from %d bytes", v.Len(), len(b))
		}
	})
}

// The bundled subset has 942 training images of class 0.
func TestFashionMNIST(t *testing.T) {
	d, err := Load("../../models/testdata/fashion-mnist", Train)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.X.Shape, []int{10000, 28, 28}) || d.Classes != 10 {
		t.Fatalf("shape %v, %d classes", d.X.Shape, d.Classes)
	}
	f, err := ParseForget("class:0")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Select(d, 0); err != nil || len(got) != 942 {
		t.Errorf("class 0 has %d images (%v), want 942", len(got), err)
	}
}
