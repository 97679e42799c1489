package onnxgo_test

import (
	_ "embed"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	gorgonia "gorgonia.org/tensor"

	onnxgo "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx" // registers the cases

	backend "github.com/unprune/unprune/graph/onnxgo"
	"github.com/unprune/unprune/onnx"
)

//go:embed omitted.txt
var manifest string

// TestConformance runs onnx-go's own conformance package. The cases that
// omitted.txt lists need not pass, and must not: the list stays true. Where its
// section says so, they fail on the suite's comparison alone, and the outputs
// are right.
func TestConformance(t *testing.T) {
	omitted := omissions(t)
	passed := 0
	for _, constructor := range testbackend.GetAllRegisteredTests() {
		tc := constructor()
		name := tc.GetInfo()
		o, listed := omitted[name]
		if !listed {
			if t.Run(name, tc.RunTest(newGraph(t, tc), false)); tc.Skipped {
				t.Errorf("%s: an operator is missing that omitted.txt does not list", name)
			} else if !tc.Failed {
				passed++
			}
			continue
		}
		delete(omitted, name)
		t.Run(name, func(t *testing.T) {
			err := compute(t, tc)
			if wrong := err != nil; wrong == o.right {
				t.Fatalf("omitted.txt says %q, but the outcome is: %v", o.reason, err)
			}
			t.Skip("omitted: ", o.reason)
		})
	}
	for name := range omitted {
		t.Errorf("omitted.txt lists %q, which is no case", name)
	}
	t.Logf("%d cases pass", passed)
}

// An omission is a case that the suite does not pass. The outputs may be right
// all the same.
type omission struct {
	reason string
	right  bool
}

// omissions reads the manifest: lines "[wrong] reason" or "[right] reason", and
// below each the names of cases.
func omissions(t *testing.T) map[string]omission {
	list := map[string]omission{}
	var o omission
	for line := range strings.Lines(manifest) {
		switch line = strings.TrimSpace(line); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			kind, reason, _ := strings.Cut(line[1:], "] ")
			if reason == "" || kind != "wrong" && kind != "right" {
				t.Fatalf("omitted.txt: section %q: want [wrong] or [right] and a reason", line)
			}
			o = omission{reason, kind == "right"}
		default:
			list[line] = o
		}
	}
	return list
}

// newGraph returns a backend for the operator set of the case's model.
func newGraph(t *testing.T, tc *testbackend.TestCase) *backend.Graph {
	t.Helper()
	m, err := onnx.Decode(tc.ModelB, nil)
	if err != nil {
		t.Fatal(err)
	}
	return backend.NewGraph(int(m.Opsets[0].Version))
}

// compute runs a case and compares as the official runner does, with relative
// tolerance 1e-3 and absolute 1e-7.
func compute(t *testing.T, tc *testbackend.TestCase) error {
	g := newGraph(t, tc)
	m := onnxgo.NewModel(g)
	if err := m.UnmarshalBinary(tc.ModelB); err != nil {
		return err
	}
	for i, x := range tc.Input {
		if err := m.SetInput(i, x); err != nil {
			return err
		}
	}
	if err := g.Run(); err != nil {
		return err
	}
	outs, err := m.GetOutputTensors()
	if err != nil {
		return err
	}
	if len(outs) != len(tc.ExpectedOutput) {
		return fmt.Errorf("%d outputs, want %d", len(outs), len(tc.ExpectedOutput))
	}
	for i, want := range tc.ExpectedOutput {
		if err := same(outs[i], want); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

func same(got, want gorgonia.Tensor) error {
	if got == nil || !got.Shape().Eq(want.Shape()) || got.Dtype() != want.Dtype() {
		return fmt.Errorf("have %v, want %v", got, want)
	}
	a, b := reflect.ValueOf(got.Data()), reflect.ValueOf(want.Data())
	if a.Kind() != reflect.Slice {
		return sameElement(a, b)
	}
	for i := range b.Len() {
		if err := sameElement(a.Index(i), b.Index(i)); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

func sameElement(a, b reflect.Value) error {
	ok := a.Interface() == b.Interface()
	if a.CanFloat() {
		x, y := a.Float(), b.Float()
		ok = x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= 1e-7+1e-3*math.Abs(y)
	}
	if !ok {
		return fmt.Errorf("have %v, want %v", a, b)
	}
	return nil
}
