package exectest

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"google.golang.org/protobuf/encoding/protowire"
)

// NodeTestsVar is the environment variable that names the folder of the
// official node cases, as nodetests.py or Debian's libonnx-testdata lay it out.
const NodeTestsVar = "ONNX_NODE_TESTS"

const debianNodeTests = "/usr/share/libonnx-testdata/data/node"

//go:embed nodetests.txt
var nodeManifest string

// A Runner computes the outputs of a model file for the inputs given.
type Runner func(model []byte, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error)

// RunNodeTests runs the official ONNX node cases. The cases that nodetests.txt
// lists for this executor, each with its reason, need not pass.
func RunNodeTests(t *testing.T, executor string, run Runner) {
	dir := os.Getenv(NodeTestsVar)
	if dir == "" {
		dir = debianNodeTests
	}
	folders, err := filepath.Glob(filepath.Join(dir, "*", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) == 0 {
		t.Skipf("SKIPPED, NOT TESTED: no official node cases in %s. Install libonnx-testdata, or write them with nodetests.py and set %s", dir, NodeTestsVar)
	}
	omitted := omissions(t, executor)
	passed, left := 0, 0
	for _, model := range folders {
		folder := filepath.Dir(model)
		name := filepath.Base(folder)
		o, listed := omitted[name]
		t.Run(name, func(t *testing.T) {
			err := runNodeCase(folder, run)
			switch {
			case err == nil && o.strict:
				t.Errorf("passes, but nodetests.txt omits it (%s): take it off the list", o.reason)
			case err != nil && !listed:
				t.Error(err)
			case err != nil:
				left++
				t.Skip("omitted: ", o.reason)
			default:
				passed++
			}
		})
	}
	t.Logf("%s: of %d official node cases in %s, %d pass and %d are omitted for reasons", executor, len(folders), dir, passed, left)
}

// An omission is a case that need not pass. A strict one must fail, so that the
// list stays true: what the native executor does with the newest cases. What
// ONNX Runtime passes, and what older cases hold, differs between versions.
type omission struct {
	reason string
	strict bool
}

// omissions reads the manifest: a line "[executor] reason", or "[executor old]
// reason" for what older versions of the cases held, and below it the names.
func omissions(t *testing.T, executor string) map[string]omission {
	list := map[string]omission{}
	var o omission
	ours := false
	for scan := bufio.NewScanner(strings.NewReader(nodeManifest)); scan.Scan(); {
		line := strings.TrimSpace(scan.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section, reason, ok := strings.Cut(line[1:], "] ")
			if !ok || reason == "" {
				t.Fatalf("nodetests.txt: section %q has no reason", line)
			}
			who, old, _ := strings.Cut(section, " ")
			o = omission{reason: reason, strict: who == "native" && old == ""}
			ours = who == executor
		case ours && list[line].reason != "":
			t.Fatalf("nodetests.txt: %s is listed twice for %s", line, executor)
		case ours:
			list[line] = o
		}
	}
	return list
}

// runNodeCase runs every data set of one case.
func runNodeCase(folder string, run Runner) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	model, err := os.ReadFile(filepath.Join(folder, "model.onnx"))
	if err != nil {
		return err
	}
	m, err := onnx.Decode(model, nil)
	if err != nil {
		return err
	}
	tolerance := struct{ Rtol, Atol float64 }{1e-3, 1e-7} // what the official runner takes
	if b, err := os.ReadFile(filepath.Join(folder, "data.json")); err == nil {
		if err := json.Unmarshal(b, &tolerance); err != nil {
			return err
		}
	}
	sets, err := filepath.Glob(filepath.Join(folder, "test_data_set_*"))
	if err != nil || len(sets) == 0 {
		return fmt.Errorf("no data (%v)", err)
	}
	for _, set := range sets {
		feeds, err := readValues(set, "input", m.Graph.Inputs)
		if err != nil {
			return err
		}
		want, err := readValues(set, "output", m.Graph.Outputs)
		if err != nil {
			return err
		}
		got, err := run(model, feeds)
		if err != nil {
			return err
		}
		for _, v := range m.Graph.Outputs {
			if err := allClose(got[v.Name], want[v.Name], tolerance.Rtol, tolerance.Atol); err != nil {
				return fmt.Errorf("output %q: %w", v.Name, err)
			}
		}
	}
	return nil
}

// readValues reads the tensors that a data set holds for the inputs or outputs
// of a model.
func readValues(set, kind string, infos []*onnx.ValueInfo) (map[string]*onnx.Tensor, error) {
	values := map[string]*onnx.Tensor{}
	for i, v := range infos {
		if v.Type == nil || v.Type.Tensor == nil {
			return nil, fmt.Errorf("%s %q is a sequence, map or optional", kind, v.Name)
		}
		b, err := os.ReadFile(filepath.Join(set, fmt.Sprintf("%s_%d.pb", kind, i)))
		if os.IsNotExist(err) && kind == "input" {
			continue // an initializer that is an input as well
		}
		if err != nil {
			return nil, err
		}
		if values[v.Name], err = decodeTensor(b); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// decodeTensor decodes a file that holds a tensor alone, by wrapping it into
// a model: graph (field 7 of a model), initializer (field 5 of a graph).
func decodeTensor(b []byte) (*onnx.Tensor, error) {
	field := func(number protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	m, err := onnx.Decode(field(7, field(5, b)), nil)
	if err != nil {
		return nil, err
	}
	return m.Graph.Initializers[0], nil
}

// allClose compares as NumPy's assert_allclose does: |got-want| <= atol +
// rtol |want| for floating-point numbers, equality for everything else.
func allClose(got, want *onnx.Tensor, rtol, atol float64) error {
	if got == nil {
		return fmt.Errorf("is missing")
	}
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("is %v%v, want %v%v", got.DType, got.Shape, want.DType, want.Shape)
	}
	switch w := want.Data.(type) {
	case []float32:
		return close64(wide(onnx.Of[float32](got)), wide(w), rtol, atol)
	case []float64:
		return close64(onnx.Of[float64](got), w, rtol, atol)
	case []uint16:
		if want.DType == onnx.Uint16 {
			return equal(onnx.Of[uint16](got), w)
		}
		a, err := onnx.ToFloat32(got)
		if err != nil {
			return err
		}
		b, err := onnx.ToFloat32(want)
		if err != nil {
			return err
		}
		return close64(wide(onnx.Of[float32](a)), wide(onnx.Of[float32](b)), rtol, atol)
	case []int8:
		return equal(onnx.Of[int8](got), w)
	case []int16:
		return equal(onnx.Of[int16](got), w)
	case []int32:
		return equal(onnx.Of[int32](got), w)
	case []int64:
		return equal(onnx.Of[int64](got), w)
	case []uint8:
		return equal(onnx.Of[uint8](got), w)
	case []uint32:
		return equal(onnx.Of[uint32](got), w)
	case []uint64:
		return equal(onnx.Of[uint64](got), w)
	case []bool:
		return equal(onnx.Of[bool](got), w)
	case []string:
		return equal(onnx.Of[string](got), w)
	case onnx.Packed:
		if g, ok := got.Data.(onnx.Packed); ok {
			return equal([]byte(g), []byte(w))
		}
	}
	return fmt.Errorf("no comparison of %v", want.DType)
}

func wide(list []float32) []float64 {
	out := make([]float64, len(list))
	for i, x := range list {
		out[i] = float64(x)
	}
	return out
}

func equal[T comparable](got, want []T) error {
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
	return nil
}

func close64(got, want []float64, rtol, atol float64) error {
	for i, w := range want {
		g := got[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if !(math.Abs(g-w) <= atol+rtol*math.Abs(w)) {
			return fmt.Errorf("element %d is %v, want %v", i, g, w)
		}
	}
	return nil
}
