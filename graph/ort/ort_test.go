//go:build cgo

package ort_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/onnx"
)

type tensors = map[string]*onnx.Tensor

var find = sync.OnceValues(func() (ort.Library, error) { return ort.Find("") })

// library opens ONNX Runtime, or skips the test where there is none.
func library(t testing.TB) {
	t.Helper()
	lib, err := find()
	if err != nil {
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	if err := ort.Open(lib); err != nil {
		t.Fatal(err)
	}
}

func model(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func session(t testing.TB, name string) *ort.Session {
	t.Helper()
	library(t)
	s, err := ort.NewSession(model(t, name), ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func floats(shape []int, data ...float32) *onnx.Tensor { return onnx.FromSlice(data, shape...) }
func scalar[T onnx.Element](x T) *onnx.Tensor          { return onnx.FromSlice([]T{x}) }

// half makes a tensor of 16-bit floats of their bits.
func half(dt onnx.DType, shape []int, bits ...uint16) *onnx.Tensor {
	return &onnx.Tensor{DType: dt, Shape: shape, Data: bits}
}

// wantEqual fails unless have and want agree to the bit.
func wantEqual(t *testing.T, have, want tensors) {
	t.Helper()
	for _, d := range ort.Compare(have, want) {
		if d.Mismatch != "" || d.MaxAbs != 0 || d.NaN != 0 {
			t.Errorf("%+v\nhave %+v\nwant %+v", d, have[d.Output], want[d.Output])
		}
	}
}

func TestOpen(t *testing.T) {
	library(t)
	lib, ok := ort.Opened()
	if !ok || lib.Version == "" || lib.Path == "" {
		t.Fatalf("Opened() = %+v, %v", lib, ok)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := ort.Open(lib); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	err := ort.Open(ort.Library{Path: lib.Path + ".other"})
	if err == nil || !strings.Contains(err.Error(), "only one library") {
		t.Errorf("opening a second library: %v", err)
	}
}

// TestOpenPrivate starts ONNX Runtime in a fresh process whose home is empty:
// it must neither keep an identifier nor queue reports there.
func TestOpenPrivate(t *testing.T) {
	library(t)
	lib, _ := ort.Opened()
	home := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRun$")
	cmd.Env = []string{"HOME=" + home, "XDG_CACHE_HOME=" + home, ort.LibraryEnv + "=" + lib.Path}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(home)
	if err != nil || len(left) > 0 {
		t.Errorf("ONNX Runtime left %v, error %v", left, err)
	}
}

func TestInputsOutputs(t *testing.T) {
	tests := []struct {
		model           string
		inputs, outputs string
	}{
		{"affine", "x float32 [? 3]", "y float32 [? 2]"},
		{"step", "w float32 [4], target float32 [4], lr float32 []", "loss float32 [], w_grad float32 [4], w_next float32 [4]"},
		{"unknown_rank", "x float32 [? 2], axes int64 [?]", "y float32 of unknown rank"},
		{"scalar_constants", "", "string string [], float16 float16 [], bfloat16 bfloat16 []"},
	}
	list := func(infos []ort.Info) string {
		var s []string
		for _, in := range infos {
			s = append(s, in.Name+" "+in.String())
		}
		return strings.Join(s, ", ")
	}
	for _, tt := range tests {
		t.Run(tt.model, func(t *testing.T) {
			s := session(t, tt.model)
			if have := list(s.Inputs()); have != tt.inputs {
				t.Errorf("inputs %s, want %s", have, tt.inputs)
			}
			if have := list(s.Outputs()); have != tt.outputs {
				t.Errorf("outputs %s, want %s", have, tt.outputs)
			}
		})
	}
}

func TestRun(t *testing.T) {
	tests := []struct {
		name, model string
		feeds, want tensors
	}{
		{"batch of 2", "affine", tensors{"x": floats([]int{2, 3}, 1, 0, 0, 0, 1, 1)}, tensors{"y": floats([]int{2, 2}, 1.5, 1.5, 8.5, 9.5)}},
		{"batch of 1", "affine", tensors{"x": floats([]int{1, 3}, 0, 0, 0)}, tensors{"y": floats([]int{1, 2}, 0.5, -0.5)}},
		{"batch of 0", "affine", tensors{"x": floats([]int{0, 3})}, tensors{"y": floats([]int{0, 2})}},
		{"data-dependent shape", "nonzero", tensors{"x": floats([]int{4}, 0, 2, 0, 3)}, tensors{"y": onnx.FromSlice([]int64{1, 3}, 1, 2)}},
		{"empty result", "nonzero", tensors{"x": floats([]int{2}, 0, 0)}, tensors{"y": onnx.FromSlice([]int64{}, 1, 0)}},
		{"unknown rank, vector", "unknown_rank",
			tensors{"x": floats([]int{2, 2}, 1, 2, 3, 4), "axes": onnx.FromSlice([]int64{0}, 1)}, tensors{"y": floats([]int{2}, 4, 6)}},
		{"unknown rank, scalar", "unknown_rank",
			tensors{"x": floats([]int{2, 2}, 1, 2, 3, 4), "axes": onnx.FromSlice([]int64{0, 1}, 2)}, tensors{"y": scalar[float32](10)}},
		{"no inputs, scalars", "scalar_constants", tensors{}, tensors{
			"string": scalar("prune"), "float16": half(onnx.Float16, nil, 0x3e00), "bfloat16": half(onnx.BFloat16, nil, 0xc000)}},
		{"scalar of a function", "function_only", tensors{"x": floats([]int{3}, 1, 2, 3)}, tensors{"y": scalar[float32](6)}},
		{"training step", "step",
			tensors{"w": floats([]int{4}, 1, 2, 3, 4), "target": floats([]int{4}, 0, 2, 3, 2), "lr": scalar[float32](0.25)},
			tensors{"loss": scalar[float32](5), "w_grad": floats([]int{4}, 2, 0, 0, 4), "w_next": floats([]int{4}, 0.5, 2, 3, 3)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have, err := session(t, tt.model).Run(context.Background(), tt.feeds)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, have, tt.want)
			for name, x := range have {
				if x.Name != name {
					t.Errorf("output %q is called %q", name, x.Name)
				}
			}
		})
	}
}

// TestRunTypes passes the extreme values of every type through an Identity.
func TestRunTypes(t *testing.T) {
	shape := []int{2, 2}
	inf, nan := math.Inf(1), math.NaN()
	in := tensors{
		"FLOAT":    onnx.FromSlice([]float32{float32(inf), float32(nan), math.SmallestNonzeroFloat32, -math.MaxFloat32}, shape...),
		"DOUBLE":   onnx.FromSlice([]float64{-inf, nan, math.SmallestNonzeroFloat64, math.MaxFloat64}, shape...),
		"INT8":     onnx.FromSlice([]int8{math.MinInt8, math.MaxInt8, 0, -1}, shape...),
		"INT16":    onnx.FromSlice([]int16{math.MinInt16, math.MaxInt16, 0, -1}, shape...),
		"INT32":    onnx.FromSlice([]int32{math.MinInt32, math.MaxInt32, 0, -1}, shape...),
		"INT64":    onnx.FromSlice([]int64{math.MinInt64, math.MaxInt64, 0, -1}, shape...),
		"UINT8":    onnx.FromSlice([]uint8{0, 1, math.MaxUint8, 2}, shape...),
		"UINT16":   onnx.FromSlice([]uint16{0, 1, math.MaxUint16, 2}, shape...),
		"UINT32":   onnx.FromSlice([]uint32{0, 1, math.MaxUint32, 2}, shape...),
		"UINT64":   onnx.FromSlice([]uint64{0, 1, math.MaxUint64, 2}, shape...),
		"BOOL":     onnx.FromSlice([]bool{true, false, false, true}, shape...),
		"STRING":   onnx.FromSlice([]string{"", "weights", "Gewöhnliches", "a b"}, shape...),
		"FLOAT16":  half(onnx.Float16, shape, 0x0001, 0x7bff, 0xfc00, 0x8000), // least, largest, -Inf, -0
		"BFLOAT16": half(onnx.BFloat16, shape, 0x0001, 0x7f7f, 0xff80, 0x8000),
	}
	empty := tensors{}
	for name, x := range in {
		empty[name] = onnx.NewTensor(x.DType, 0, 2)
	}
	scalars := tensors{}
	for name, x := range in {
		if name != "STRING" && name != "FLOAT16" && name != "BFLOAT16" {
			scalars[name] = onnx.NewTensor(x.DType)
		}
	}
	*scalars["INT64"] = *scalar(int64(math.MinInt64))
	*scalars["BOOL"] = *scalar(true)

	for _, tt := range []struct {
		name, model string
		values      tensors
	}{
		{"matrices", "types", in}, {"empty", "types", empty}, {"scalars", "scalars", scalars},
	} {
		t.Run(tt.name, func(t *testing.T) {
			feeds, want := tensors{}, tensors{}
			for name, x := range tt.values {
				feeds["in_"+name], want["out_"+name] = x, x
			}
			have, err := session(t, tt.model).Run(context.Background(), feeds)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, have, want)
			for _, name := range []string{"FLOAT16", "BFLOAT16"} {
				if x := have["out_"+name]; x != nil && !slices.Equal(onnx.Of[uint16](x), onnx.Of[uint16](tt.values[name])) {
					t.Errorf("%s: bits %#04x, want %#04x", name, x.Data, tt.values[name].Data)
				}
			}
		})
	}
}

// TestHalfBits passes every 16-bit float there is: all must keep their bits,
// NaN its being NaN.
func TestHalfBits(t *testing.T) {
	s := session(t, "types")
	feeds := tensors{}
	for _, in := range s.Inputs() {
		feeds[in.Name] = onnx.NewTensor(in.DType, 0, 2)
	}
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	for _, tt := range []struct {
		name     string
		dt       onnx.DType
		exponent uint16
	}{{"FLOAT16", onnx.Float16, 0x7c00}, {"BFLOAT16", onnx.BFloat16, 0x7f80}} {
		feeds["in_"+tt.name] = half(tt.dt, []int{1 << 15, 2}, all...)
		outs, err := s.Run(context.Background(), feeds)
		if err != nil {
			t.Fatal(err)
		}
		isNaN := func(b uint16) bool { return b&tt.exponent == tt.exponent && b&^(0x8000|tt.exponent) != 0 }
		for i, b := range onnx.Of[uint16](outs["out_"+tt.name]) {
			if b != uint16(i) && !(isNaN(b) && isNaN(uint16(i))) {
				t.Fatalf("%s %#04x comes back as %#04x", tt.name, i, b)
			}
		}
	}
}

func TestRunErrors(t *testing.T) {
	x := floats([]int{1, 3}, 1, 2, 3)
	tests := []struct {
		name, model string
		feeds       tensors
		want        string
	}{
		{"missing", "affine", tensors{}, `no tensor for input "x" (float32 [? 3])`},
		{"nil", "affine", tensors{"x": nil}, `no tensor for input "x"`},
		{"unknown", "affine", tensors{"x": x, "z": x}, `the model has no input "z"; its inputs are "x"`},
		{"unknown, none wanted", "scalar_constants", tensors{"z": x}, `its inputs are none`},
		{"type", "affine", tensors{"x": onnx.NewTensor(onnx.Float64, 1, 3)}, `input "x": want float32, have float64`},
		{"rank", "affine", tensors{"x": floats([]int{3}, 1, 2, 3)}, `input "x": want shape [? 3], have [3]`},
		{"extent", "affine", tensors{"x": floats([]int{3, 1}, 1, 2, 3)}, `input "x": want shape [? 3], have [3 1]`},
		{"too few elements", "affine", tensors{"x": {DType: onnx.Float32, Shape: []int{2, 3}, Data: []float32{1}}}, `shape [2 3] needs 6 elements, have 1`},
		{"negative extent", "affine", tensors{"x": {DType: onnx.Float32, Shape: []int{-1, 3}, Data: []float32{}}}, `no tensor has shape [-1 3]`},
		{"overflow", "affine", tensors{"x": {DType: onnx.Float32, Shape: []int{1 << 62, 4}, Data: []float32{}}}, `no tensor has shape`},
		{"wrong Go type", "affine", tensors{"x": {DType: onnx.Float32, Shape: []int{1, 3}, Data: []int32{1, 2, 3}}}, `holds its elements as []int32, want []float32`},
		{"no data", "affine", tensors{"x": {DType: onnx.Float32, Shape: []int{1, 3}}}, `holds its elements as <nil>`},
		{"complex", "affine", tensors{"x": onnx.NewTensor(onnx.Complex64, 1, 3)}, `cannot pass complex64`},
		{"ONNX Runtime's own", "gather", tensors{"x": floats([]int{2}, 1, 2), "i": onnx.FromSlice([]int64{5}, 1)}, `ort: run: Non-zero status code returned while running Gather node. Name:'pick'`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := session(t, tt.model)
			outs, err := s.Run(context.Background(), tt.feeds)
			if err == nil || outs != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("outputs %v, error %v; want %q", outs, err, tt.want)
			}
		})
	}
}

func TestStringErrors(t *testing.T) {
	s := session(t, "types")
	feeds := tensors{}
	for _, in := range s.Inputs() {
		feeds[in.Name] = onnx.NewTensor(in.DType, 0, 2)
	}
	feeds["in_STRING"] = onnx.FromSlice([]string{"a\x00b", ""}, 1, 2)
	if _, err := s.Run(context.Background(), feeds); err == nil || !strings.Contains(err.Error(), "zero byte") {
		t.Errorf("a string with a zero byte: %v", err)
	}
}

func TestNewSessionErrors(t *testing.T) {
	library(t)
	affine := model(t, "affine")
	tests := []struct {
		name  string
		model []byte
		want  string
	}{
		{"empty", nil, "no outputs"},
		{"text", []byte("this is not a model, it is a sentence"), "not an ONNX file"},
		{"truncated", affine[:len(affine)/2], "not an ONNX file"},
		{"sequence", model(t, "sequence"), `"y" is a sequence`},
		{"external data", model(t, "external"), `initializer "W" lie in another file; embed them first`},
		{"unknown operator", bytes.Replace(affine, []byte("Gemm"), []byte("Nope"), 1), "ort: load model: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ort.NewSession(tt.model, ort.Options{})
			if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("session %v, error %v; want %q", s, err, tt.want)
			}
		})
	}
}

// TestLoadFile: ONNX Runtime opens a file itself, with what lies beside it.
func TestLoadFile(t *testing.T) {
	library(t)
	if err := ort.LoadFile("../../onnx/testdata/dynamo_external.onnx", ort.Options{Threads: 1}); err != nil {
		t.Error(err)
	}
	if err := ort.LoadFile("testdata/missing.onnx", ort.Options{}); err == nil || !strings.HasPrefix(err.Error(), "ort: load testdata/missing.onnx: ") {
		t.Errorf("error %v", err)
	}
}

// TestRunInto trains: each step's parameters are written over the last ones,
// directly and as seen through another tensor that shares their memory.
func TestRunInto(t *testing.T) {
	s := session(t, "step")
	for _, tt := range []struct {
		name     string
		separate bool // w_next has memory of its own
	}{{"in place", false}, {"ping-pong", true}} {
		t.Run(tt.name, func(t *testing.T) {
			w, next := onnx.NewTensor(onnx.Float32, 4), onnx.NewTensor(onnx.Float32, 4)
			loss, grad := onnx.NewTensor(onnx.Float32), onnx.NewTensor(onnx.Float32, 4)
			want := []float32{0, 0, 0, 0}
			target := []float32{1, -2, 3, 0.5}
			for step := range 5 {
				feeds := tensors{"w": w, "target": floats([]int{4}, target...), "lr": scalar[float32](0.25)}
				outs := tensors{"w_next": w, "loss": loss, "w_grad": grad}
				if tt.separate {
					outs["w_next"] = next
				}
				if err := s.RunInto(context.Background(), feeds, outs); err != nil {
					t.Fatal(err)
				}
				if tt.separate {
					w, next = next, w
				}
				wantLoss, wantGrad := float32(0), make([]float32, 4)
				for i, d := range target {
					wantLoss += (want[i] - d) * (want[i] - d)
					wantGrad[i] = 2 * (want[i] - d)
					want[i] -= 0.25 * wantGrad[i]
				}
				wantEqual(t, tensors{"w": w, "loss": loss, "grad": grad},
					tensors{"w": floats([]int{4}, want...), "loss": scalar(wantLoss), "grad": floats([]int{4}, wantGrad...)})
				if t.Failed() {
					t.Fatalf("at step %d", step)
				}
			}
		})
	}
}

// TestRunIntoOverlap writes an output over the input it is computed from,
// whole and shifted by one row.
func TestRunIntoOverlap(t *testing.T) {
	s := session(t, "transpose")
	const n = 64
	for _, shift := range []int{0, n} {
		memory := make([]float32, n*n+shift)
		for i := range memory {
			memory[i] = float32(i)
		}
		x, y := onnx.FromSlice(memory[:n*n], n, n), onnx.FromSlice(memory[shift:], n, n)
		if err := s.RunInto(context.Background(), tensors{"x": x}, tensors{"y": y}); err != nil {
			t.Fatal(err)
		}
		for i, v := range onnx.Of[float32](y) {
			if want := float32(i%n*n + i/n); v != want {
				t.Fatalf("shifted by %d: y[%d] = %v, want %v", shift, i, v, want)
			}
		}
	}
}

func TestRunIntoErrors(t *testing.T) {
	tests := []struct {
		name string
		outs tensors
		want string
	}{
		{"unknown", tensors{"nope": onnx.NewTensor(onnx.Float32, 4)}, `its outputs are "loss", "w_grad", "w_next"`},
		{"nil", tensors{"loss": nil}, `output "loss": nil tensor`},
		{"type", tensors{"w_next": onnx.NewTensor(onnx.Float64, 4)}, `output "w_next": want float32, have float64`},
		{"shape", tensors{"w_next": onnx.NewTensor(onnx.Float32, 5)}, `output "w_next": want shape [4], have [5]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feeds := tensors{"w": onnx.NewTensor(onnx.Float32, 4), "target": onnx.NewTensor(onnx.Float32, 4), "lr": onnx.NewTensor(onnx.Float32)}
			err := session(t, "step").RunInto(context.Background(), feeds, tt.outs)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v; want %q", err, tt.want)
			}
		})
	}
	t.Run("shape known after the run only", func(t *testing.T) {
		feeds := tensors{"x": onnx.NewTensor(onnx.Float32, 2, 2), "axes": onnx.FromSlice([]int64{0}, 1)}
		err := session(t, "unknown_rank").RunInto(context.Background(), feeds, tensors{"y": onnx.NewTensor(onnx.Float32, 7)})
		if err == nil || !strings.Contains(err.Error(), "the result is float32 [2]") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("batch of another size", func(t *testing.T) {
		feeds := tensors{"x": onnx.NewTensor(onnx.Float32, 2, 3)}
		err := session(t, "affine").RunInto(context.Background(), feeds, tensors{"y": onnx.NewTensor(onnx.Float32, 5, 2)})
		if err == nil || !strings.HasPrefix(err.Error(), "ort: run: ") {
			t.Errorf("error %v", err)
		}
	})
}

func TestRunCancelled(t *testing.T) {
	s := session(t, "loop")
	feeds := tensors{"trips": scalar(int64(1) << 40), "x": floats([]int{1}, 0)}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Run(ctx, feeds); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a run stopped half-way: %v", err)
	}
	if _, err := s.Run(ctx, feeds); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a run stopped before it began: %v", err)
	}
	feeds["trips"] = scalar(int64(1000))
	outs, err := s.Run(context.Background(), feeds)
	if err != nil {
		t.Fatalf("a run after one that was stopped: %v", err)
	}
	wantEqual(t, outs, tensors{"y": floats([]int{1}, 1000)})
}

func TestConcurrentRuns(t *testing.T) {
	s := session(t, "affine")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			v := float32(g)
			for range 50 {
				outs, err := s.Run(context.Background(), tensors{"x": floats([]int{1, 3}, v, 0, 0)})
				if err != nil {
					t.Error(err)
					return
				}
				if y := onnx.Of[float32](outs["y"]); y[0] != v+0.5 || y[1] != 2*v-0.5 {
					t.Errorf("x = %v: y = %v", v, y)
				}
			}
		})
	}
	wg.Wait()
}

func TestClose(t *testing.T) {
	s := session(t, "affine")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Run(context.Background(), tensors{"x": floats([]int{0, 3})}); err == nil {
		t.Error("a closed session runs")
	}
}

// TestMemory runs and reopens sessions, with success and without, until a
// leak of one tensor or session a round would show.
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the memory in use is read from /proc")
	}
	s := session(t, "types")
	const rows = 1 << 15 // 64 Ki elements of each type
	feeds, halves := tensors{}, tensors{}
	for _, in := range s.Inputs() {
		feeds[in.Name] = onnx.NewTensor(in.DType, rows, 2)
		halves[in.Name] = onnx.NewTensor(in.DType, 1, 2)
	}
	halves["in_STRING"] = onnx.FromSlice([]string{"\x00", ""}, 1, 2)
	affine := model(t, "affine")
	round := func() {
		if _, err := s.Run(context.Background(), feeds); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(context.Background(), halves); err == nil {
			t.Fatal("want an error")
		}
		again, err := ort.NewSession(affine, ort.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
	}
	for range 20 {
		round()
	}
	before := resident(t)
	for range 100 {
		round()
	}
	if grown := resident(t) - before; grown > 64<<20 { // 100 rounds return 500 MiB
		t.Errorf("100 rounds took %d MiB more", grown>>20)
	}
}

// resident is the memory this process has in RAM after a collection, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func BenchmarkRunInto(b *testing.B) {
	s := session(b, "step")
	w := onnx.NewTensor(onnx.Float32, 4)
	feeds := tensors{"w": w, "target": onnx.NewTensor(onnx.Float32, 4), "lr": scalar[float32](0.25)}
	outs := tensors{"w_next": w, "loss": onnx.NewTensor(onnx.Float32)}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.RunInto(context.Background(), feeds, outs); err != nil {
			b.Fatal(err)
		}
	}
}
