package sparsity

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
)

func randomMask(rng *rand.Rand, shape ...int) *Mask {
	m := NewMask(shape...)
	density := rng.Float64()
	for i := range m.Len() {
		m.Set(i, rng.Float64() < density)
	}
	return m
}

func maskOf(kept ...bool) *Mask {
	m := NewMask(len(kept))
	for i, k := range kept {
		m.Set(i, k)
	}
	return m
}

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got error %v, want one with %q", err, part)
	}
}

func TestMaskIsPackedLikeNumpy(t *testing.T) {
	// numpy.packbits([1,0,1,1,0,0,0,0, 0,1]) is [0b10110000, 0b01000000].
	m := maskOf(true, false, true, true, false, false, false, false, false, true)
	if want := []byte{0xb0, 0x40}; !bytes.Equal(m.Packed(), want) {
		t.Errorf("packed as %x, want %x", m.Packed(), want)
	}
}

func TestMaskSetOperations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range 40 {
		a, b := randomMask(rng, n), randomMask(rng, n)
		and, or, diff := a.And(b), a.Or(b), a.AndNot(b)
		count := 0
		for i := range n {
			if and.Get(i) != (a.Get(i) && b.Get(i)) || or.Get(i) != (a.Get(i) || b.Get(i)) || diff.Get(i) != (a.Get(i) && !b.Get(i)) {
				t.Fatalf("n=%d: wrong at %d", n, i)
			}
			if a.Get(i) {
				count++
			}
		}
		if a.Count() != count || a.Count()+b.Count() != and.Count()+or.Count() {
			t.Fatalf("n=%d: wrong counts", n)
		}
		if kept := slices.Collect(a.Kept()); len(kept) != count || !slices.IsSorted(kept) {
			t.Fatalf("n=%d: kept %v", n, kept)
		}
		if full := FullMask(n); full.Count() != n || !a.Or(full).Equal(full) {
			t.Fatalf("n=%d: full mask has %d", n, full.Count())
		}
		again, err := FromPacked(a.Packed(), n)
		if err != nil || !again.Equal(a) || !a.Clone().Equal(a) {
			t.Fatalf("n=%d: copy differs (%v)", n, err)
		}
	}
}

func TestMaskFromValues(t *testing.T) {
	want := maskOf(false, false, true, true, true)
	negZero := math.Copysign(0, -1)
	for _, v := range []*onnx.Tensor{
		onnx.FromSlice([]float32{0, float32(negZero), 1e-45, -2, float32(math.NaN())}, 5),
		onnx.FromSlice([]float64{0, negZero, 5e-324, -2, math.NaN()}, 5),
		{DType: onnx.Float16, Shape: []int{5}, Data: []uint16{0, 0x8000, 1, 0xc000, 0x7e00}},
		{DType: onnx.BFloat16, Shape: []int{5}, Data: []uint16{0, 0x8000, 1, 0xc000, 0x7fc0}},
	} {
		got, err := FromValues(v)
		if err != nil || !got.Equal(want) {
			t.Errorf("%v: got %v (%v)", v.DType, got, err)
		}
	}
	for _, v := range []*onnx.Tensor{onnx.FromSlice([]int64{1}, 1), onnx.FromSlice([]uint16{1}, 1)} {
		_, err := FromValues(v)
		wantError(t, err, "floating-point")
	}
}

func TestMaskApply(t *testing.T) {
	m := maskOf(true, false, true)
	w := onnx.FromSlice([]float32{-1, -2, float32(math.NaN())}, 3)
	if err := m.Apply(w); err != nil {
		t.Fatal(err)
	}
	d := onnx.Of[float32](w)
	if d[0] != -1 || math.Float32bits(d[1]) != 0 || d[2] == d[2] {
		t.Errorf("got %v", d)
	}
	half := &onnx.Tensor{DType: onnx.Float16, Shape: []int{3}, Data: []uint16{0xbc00, 0xbc00, 0xbc00}}
	if err := m.Apply(half); err != nil || onnx.Of[uint16](half)[1] != 0 || onnx.Of[uint16](half)[0] != 0xbc00 {
		t.Errorf("got %v (%v)", half.Data, err)
	}
	wantError(t, m.Apply(onnx.NewTensor(onnx.Float32, 4)), "different models")
	wantError(t, m.Apply(onnx.NewTensor(onnx.Int8, 3)), "floating-point")
}

func TestExpand(t *testing.T) {
	dst := []float32{9, 9, 9}
	Expand(maskOf(true, false, true), dst)
	if !slices.Equal(dst, []float32{1, 0, 1}) {
		t.Errorf("got %v", dst)
	}
}

func TestFromPackedErrors(t *testing.T) {
	_, err := FromPacked([]byte{0}, 9)
	wantError(t, err, "takes 2 bytes")
	_, err = FromPacked([]byte{0x01}, 7)
	wantError(t, err, "beyond its end")
}

func TestMaskFileRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	ms := &Masks{}
	ms.Set("conv1.weight", randomMask(rng, 4, 1, 3, 3))
	ms.Set("../fc \"é\".weight", randomMask(rng, 10, 6))
	ms.Set("empty", NewMask(0, 3))
	ms.Set("scalar", FullMask())
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := WriteMasks(w, ms, "sha256:abc"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two files of the same masks differ")
	}
	got, model, err := ReadMasks(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if model != "sha256:abc" || !got.Equal(ms) || !slices.Equal(got.Names(), ms.Names()) {
		t.Errorf("got model %q, names %q", model, got.Names())
	}
}

func TestMaskFileErrors(t *testing.T) {
	ms := &Masks{}
	ms.Set("w", FullMask(3, 3))
	var buf bytes.Buffer
	if err := WriteMasks(&buf, ms, ""); err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) error {
		_, _, err := ReadMasks(bytes.NewReader(b), int64(len(b)))
		return err
	}
	change := func(old, new string) []byte {
		var rewritten bytes.Buffer
		rewrite(t, buf.Bytes(), &rewritten, old, new)
		return rewritten.Bytes()
	}
	wantError(t, read([]byte("no archive")), "not a mask file")
	wantError(t, read(buf.Bytes()[:buf.Len()/2]), "not a mask file")
	wantError(t, read(change("unprune masks", "other")), "does not describe masks")
	wantError(t, read(change(`"version":1`, `"version":2`)), "version 2")
	wantError(t, read(change(`[3,3]`, `[3,9]`)), "2 bytes of mask for shape [3 9]")
	wantError(t, read(change(`[3,3]`, `[-3,-3]`)), "bytes of mask for shape")
	wantError(t, read(change(`[3,3]`, `[4611686018427387904,4]`)), "bytes of mask for shape")
	wantError(t, read(change(`[{"name":"w","shape":[3,3]}]`, `[{"name":"w","shape":[3,3]},{"name":"w","shape":[3,3]}]`)), "two masks")
	wantError(t, read(change(`[{"name":"w","shape":[3,3]}]`, `[{"name":"w","shape":[3,3]},{"name":"v","shape":[3,3]}]`)), "no array \"mask/1\"")
}

func TestMasksApply(t *testing.T) {
	layers := []Layer{linear("a", 2, 2, 1, 2, 3, 4), linear("b", 1, 2, 5, 6)}
	ms := &Masks{}
	m := FullMask(2, 2)
	m.Set(2, false)
	ms.Set("a", m)
	if err := ms.Apply(layers); err != nil {
		t.Fatal(err)
	}
	if got := onnx.Of[float32](layers[0].Weight); !slices.Equal(got, []float32{1, 2, 0, 4}) {
		t.Errorf("got %v", got)
	}
	read, err := MasksOf(layers)
	if err != nil || !read.Get("a").Equal(m) || read.Get("b").Count() != 2 || read.Count() != 5 || read.Len() != 6 {
		t.Errorf("read back %v (%v)", read, err)
	}
	ms.Set("c", m)
	wantError(t, ms.Apply(layers), "no such weight")
	wantError(t, ms.Apply([]Layer{linear("a", 1, 4, 1, 2, 3, 4)}), "different models")
}
