package exec_test

import (
	"strings"
	"testing"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
)

// TestInto: an output that is the new value of an input is found in the
// input's memory after a run; one that does not fit is refused by name.
func TestInto(t *testing.T) {
	for _, tt := range []struct {
		name    string
		state   *onnx.Tensor // of the input that is written over
		wantErr string
	}{
		{"fits", onnx.FromSlice([]float32{1, 2, 3}, 3), ""},
		{"other shape", onnx.FromSlice([]float32{1, 2}, 2), `output "new" is to become the value of input "old"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := graph.New("step", 17)
			x := g.AddInput("x", onnx.Float32, 3)
			g.AddInput("old", onnx.Float32, tt.state.Shape...)
			b := ops.NewBuilder(g)
			y := b.Op("Neg", x)
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			if err := g.Rename(y, "new"); err != nil {
				t.Fatal(err)
			}
			g.AddOutput(y)
			p, err := exec.Compile(g, exec.Options{
				State: map[string]*onnx.Tensor{"x": onnx.FromSlice([]float32{4, 5, 6}, 3), "old": tt.state},
				Into:  map[string]string{"new": "old"},
			})
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := onnx.Of[float32](tt.state); got[0] != -4 || got[2] != -6 {
				t.Errorf("the input's memory holds %v", got)
			}
		})
	}
}
